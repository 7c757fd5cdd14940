//! The flood limit and the dictionary guard before the login of an actix-web program: no SIP, no
//! store, the same actors. `POST /login` with `user` and `password` answers 200, 401, 403 while the
//! user is suspended at that address, and 429 while the address is banned.
//!
//! ```text
//! cargo run -p rempart-actors --example login_guard                    # serves on 127.0.0.1:8080
//! curl -i -d user=alice -d password=guess http://127.0.0.1:8080/login
//! cargo run -p rempart-actors --example login_guard -- --self-test     # shows every answer
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorInternalServerError, ErrorTooManyRequests};
use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, post, web};
use rempart_actors::auth_guard::{Attempt, GuardKey, Judgement, Keeper};
use rempart_actors::bans::Bans;
use rempart_actors::clock::{now, now_unix};
use rempart_actors::directory::Directory;
use rempart_actors::flood::{Banned, Flood, Hit};
use rempart_actors::guard_desk::{GuardDesk, Ruling};
use rempart_actors::meter::{SEED_RULE, Verdict};
use rempart_actors::settings::GuardRule;
use rempart_actors::suspensions::Suspensions;
use rempart_sip::flow::{Flow, SourceKey, Transport};
use rempart_sip::uri::Aor;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Failed = Box<dyn Error + Send + Sync>;

/// Addresses with a flood actor of their own; beyond it the oldest goes. Its ban stays.
const SOURCES_MAX: usize = 10_000;

/// What users belong to: a guarded user is `name@site`.
const SITE: &str = "login.example.org";

#[actix_web::main]
async fn main() -> Result<(), Failed> {
    let porter = Porter::new(Users::new([("alice", "a long secret")])).start();
    let self_test = std::env::args().skip(1).any(|argument| argument == "--self-test");
    let port = if self_test { 0 } else { 8080 };
    let porter = web::Data::new(porter);
    let app = move || App::new().app_data(porter.clone()).wrap(from_fn(limit)).service(login);
    let server = HttpServer::new(app).workers(2).bind(("127.0.0.1", port))?;
    let address = server.addrs().first().copied().ok_or("not bound")?;
    println!("http://{address}/login");
    let server = server.run();
    if !self_test {
        return Ok(server.await?);
    }
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let shown = show(address).await;
    handle.stop(false).await;
    shown
}

/// Every request of every path is one hit of its source, before anything of it is read.
async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let flow = flow(request.request()).ok_or_else(|| ErrorInternalServerError("no address"))?;
    let porter = request.app_data::<web::Data<Addr<Porter>>>();
    let porter = porter.ok_or_else(|| ErrorInternalServerError("no porter"))?;
    match porter.send(Enter(flow)).await.map_err(ErrorInternalServerError)? {
        Verdict::Pass => next.call(request).await,
        Verdict::Ban | Verdict::Drop => Err(ErrorTooManyRequests("Too many requests")),
    }
}

/// The connection. Behind a proxy of yours the source is what that proxy vouches for instead.
fn flow(request: &HttpRequest) -> Option<Flow> {
    let (local, remote) = (request.app_config().local_addr(), request.peer_addr()?);
    Some(Flow { transport: Transport::Tcp, local, remote, connection: 0 })
}

/// The login form.
#[derive(Deserialize)]
struct Form {
    user: String,
    password: String,
}

#[post("/login")]
async fn login(
    request: HttpRequest,
    porter: web::Data<Addr<Porter>>,
    form: web::Form<Form>,
) -> Result<HttpResponse, actix_web::Error> {
    let flow = flow(&request).ok_or_else(|| ErrorInternalServerError("no address"))?;
    let Form { user, password } = form.into_inner();
    let Some(user) = Aor::new(user.as_bytes(), SITE) else {
        return Ok(HttpResponse::BadRequest().body("No such name"));
    };
    let source = flow.source();
    let key = GuardKey { user, source: Some(source) };
    let attempt = Attempt { key, source, proof: password };
    Ok(match porter.send(LogIn(attempt)).await.map_err(ErrorInternalServerError)? {
        Judgement::Right => HttpResponse::Ok().body("Welcome"),
        Judgement::Wrong { .. } => HttpResponse::Unauthorized()
            .insert_header((WWW_AUTHENTICATE, "Form realm=\"login\""))
            .body("Wrong user or password"),
        Judgement::Suspended => HttpResponse::Forbidden().body("Try later"),
    })
}

/// The users' passwords and who is suspended.
struct Users {
    passwords: HashMap<Aor, String>,
    suspensions: Suspensions,
}

impl Users {
    fn new<'a>(users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let users = users.into_iter();
        let known = users.filter_map(|(user, password)| {
            Some((Aor::new(user.as_bytes(), SITE)?, password.to_owned()))
        });
        Self { passwords: known.collect(), suspensions: Suspensions::default() }
    }
}

impl Keeper for Users {
    type Proof = String;

    /// Three failures suspend for 900 s.
    fn rule(&self) -> GuardRule {
        GuardRule::default()
    }

    /// Stands for a salted, slow hash, which an unknown user must cost as well.
    fn is_right(&self, user: &Aor, password: &String) -> bool {
        self.passwords.get(user).is_some_and(|known| known == password)
    }

    fn suspensions(&self) -> &Suspensions {
        &self.suspensions
    }
}

/// Knows which actor counts for whom. All web workers ask this one.
struct Porter {
    floods: Directory<SourceKey, Flood<()>>,
    bans: Bans,
    desk: GuardDesk<Users>,
}

impl Porter {
    fn new(users: Users) -> Self {
        let (floods, bans) = (Directory::new(SOURCES_MAX), Bans::default());
        Self { floods, bans, desk: GuardDesk::new(users.into()) }
    }

    fn sweep(&mut self, _: &mut Context<Self>) {
        self.floods.sweep();
        self.bans.sweep(now());
        self.desk.sweep();
    }
}

impl Actor for Porter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(10), Self::sweep);
    }
}

/// A request came by this flow.
#[derive(Message)]
#[rtype(result = "Verdict")]
struct Enter(Flow);

impl Handler<Enter> for Porter {
    type Result = ResponseFuture<Verdict>;

    fn handle(&mut self, Enter(flow): Enter, ctx: &mut Self::Context) -> Self::Result {
        let source = flow.source();
        if self.bans.is_banned(source, now()) {
            return Box::pin(std::future::ready(Verdict::Drop));
        }
        let bans = || ctx.address().recipient();
        let flood = self.floods.get_or_start(&source, || Flood::alone(source, SEED_RULE, bans()));
        let asked = flood.send(Hit(flow));
        Box::pin(async move { asked.await.unwrap_or(Verdict::Drop) })
    }
}

impl Handler<Banned> for Porter {
    type Result = ();

    fn handle(&mut self, banned: Banned, _: &mut Self::Context) {
        println!("{} is banned", banned.source);
        let row = banned.row(&SEED_RULE, now_unix());
        self.bans.insert(banned.source, row, now(), now_unix());
    }
}

/// Somebody shows a password.
#[derive(Message)]
#[rtype(result = "Judgement")]
struct LogIn(Attempt<String>);

impl Handler<LogIn> for Porter {
    type Result = ResponseFuture<Judgement>;

    fn handle(&mut self, LogIn(attempt): LogIn, _: &mut Self::Context) -> Self::Result {
        match self.desk.judge(&attempt) {
            Ruling::Now(judgement) => Box::pin(std::future::ready(judgement)),
            Ruling::Ask(guard) => {
                let asked = guard.send(attempt);
                // A guard that is gone refuses: closed, never open.
                Box::pin(async move { asked.await.unwrap_or(Judgement::Suspended) })
            }
        }
    }
}

/// A client at one address of 127.0.0.0/8, all of which Linux has.
#[derive(Clone, Copy)]
struct Client {
    server: SocketAddr,
    host: u8,
}

impl Client {
    /// The status of the answer to a login.
    async fn log_in(self, user: &str, password: &str) -> Result<u16, Failed> {
        let form = format!("user={user}&password={password}");
        let length = form.len();
        self.ask(&format!(
            "POST /login HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\n{form}"
        ))
        .await
    }

    /// The status of the answer to a request of any kind: this server has no such page.
    async fn get(self) -> Result<u16, Failed> {
        self.ask(&format!("GET / HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n")).await
    }

    async fn ask(self, request: &str) -> Result<u16, Failed> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, self.host], 0).into())?;
        let mut stream = socket.connect(self.server).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| format!("not HTTP: {answer}").into())
    }
}

/// Plays users and attackers; an error is an answer that should have been another.
async fn show(server: SocketAddr) -> Result<(), Failed> {
    let at = |host| Client { server, host };
    let (home, elsewhere) = (at(2), at(3));
    expect("the right password", &[home.log_in("alice", "a+long+secret").await?], &[200])?;
    guess(home, "alice").await?;
    expect("then the right one", &[home.log_in("alice", "a+long+secret").await?], &[403])?;
    let there = elsewhere.log_in("alice", "a+long+secret").await?;
    expect("from elsewhere", &[there], &[200])?;
    guess(elsewhere, "nobody").await?;
    expect("an unknown user", &[elsewhere.log_in("nobody", "guess").await?], &[403])?;
    burst(at(4)).await?;
    flood(server).await?;
    expect("meanwhile, from elsewhere", &[elsewhere.get().await?], &[404])?;
    println!("every answer was the expected one");
    Ok(())
}

/// Three wrong passwords.
async fn guess(client: Client, user: &str) -> Result<(), Failed> {
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(client.log_in(user, "guess").await?);
    }
    expect(&format!("three guesses for {user}"), &seen, &[401; 3])
}

/// Eight wrong passwords at once: three are compared.
async fn burst(client: Client) -> Result<(), Failed> {
    let guesses = (0..8).map(|_| actix_web::rt::spawn(client.log_in("alice", "guess")));
    let mut seen = Vec::new();
    for guess in guesses.collect::<Vec<_>>() {
        seen.push(guess.await??);
    }
    seen.sort_unstable();
    expect("eight guesses at once", &seen, &[401, 401, 401, 403, 403, 403, 403, 403])
}

/// Seventeen requests within two seconds. A machine that was too slow for it has shown nothing,
/// and tries again from another address.
async fn flood(server: SocketAddr) -> Result<(), Failed> {
    for host in 10..20 {
        let (client, started) = (Client { server, host }, Instant::now());
        let mut seen = Vec::new();
        for _ in 0..17 {
            seen.push(client.get().await?);
        }
        if started.elapsed() < SEED_RULE.window {
            let wanted = [[404; 16].as_slice(), &[429]].concat();
            expect("seventeen requests in two seconds", &seen, &wanted)?;
            let banned = client.log_in("alice", "a+long+secret").await?;
            return expect("then the right password", &[banned], &[429]);
        }
    }
    Err("this machine makes no 17 requests in two seconds".into())
}

fn expect(what: &str, seen: &[u16], wanted: &[u16]) -> Result<(), Failed> {
    println!("{what}: {seen:?}");
    if seen == wanted { Ok(()) } else { Err(format!("{what}: not {wanted:?}").into()) }
}
