//! Rempart inside another actix system: the edge with a wire of this program's own (one UDP socket
//! on loopback), a subscriber provisioned while it runs, a phone that asks and registers, and the
//! end, after which the socket is free again.
//!
//! ```text
//! cargo run -p rempart-actors --example embed
//! ```

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rempart_actors::Edge;
use rempart_actors::door::Door;
use rempart_actors::location::Location;
use rempart_actors::names::Names;
use rempart_actors::settings::{Listener, Settings};
use rempart_actors::shared::Homes;
use rempart_actors::wire::{Outbox, Resolved, Resolver, SendToken, Wire};
use rempart_sip::digest::{self, Ha1};
use rempart_sip::flow::{Flow, Transport};
use rempart_sip::message::{HeaderName, OwnedMessage};
use rempart_sip::uri::{Aor, Host};
use rempart_storage::{Journal, MemoryStore, Subscriber, put_subscriber};

type Failed = Box<dyn Error + Send + Sync>;

const DOMAIN: &str = "example.org";
const USER: &str = "101";
const PASSWORD: &str = "a long secret";

fn main() -> Result<(), Failed> {
    actix::System::new().block_on(async {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (store, wire) = (Arc::new(MemoryStore::new()), Arc::new(OneSocket(socket.into())));
        let edge = Edge::start(settings(address), homes(store.clone()), wire, 1).await?;
        println!("edge on udp:{address}");
        let aor = provision(&edge, &store)?;
        tokio::task::spawn_blocking(move || phone(address)).await??;
        let bindings = edge.bindings(&aor);
        let binding = bindings.first().ok_or("the registration is not there")?;
        println!("{aor} is at {}", String::from_utf8_lossy(&binding.contact));
        edge.close();
        UdpSocket::bind(address).map_err(|error| format!("the socket is still open: {error}"))?;
        println!("edge closed");
        Ok(())
    })
}

/// A new subscriber: into the store, then into force.
fn provision(edge: &Edge, store: &MemoryStore) -> Result<Aor, Failed> {
    let aor = Aor::new(USER.as_bytes(), DOMAIN).ok_or("no address of record")?;
    let ha1 = Ha1::new(USER, DOMAIN, PASSWORD);
    put_subscriber(store, &Subscriber { aor: aor.clone(), ha1, created: 0, changed: 0 })?;
    edge.reload_subscriber(&aor)?;
    Ok(aor)
}

/// The seed's values, for one domain and one listener.
fn settings(address: SocketAddr) -> Settings {
    let aliases = [Host::from(address.ip())];
    let names = Names::new(&[DOMAIN.to_owned()], &aliases, &[address]);
    let listener = Listener { transport: Transport::Udp, address, advertise: None };
    Settings::new(names, vec![listener])
}

/// Everything in memory.
fn homes(store: Arc<MemoryStore>) -> Homes {
    let (journal, location) = (Journal::in_memory(), Location::default());
    Homes { store, journal, location, resolver: Arc::new(NoNames) }
}

/// No names are looked up here; a server that sends to foreign domains brings a real resolver.
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, name: String, done: Box<dyn FnOnce(Resolved) + Send>) {
        done(Err(format!("{name} is not looked up")));
    }
}

/// One UDP socket, read and written by the only shard.
struct OneSocket(Arc<UdpSocket>);

impl Wire for OneSocket {
    fn outbox(&self, _shard: usize) -> Box<dyn Outbox> {
        Box::new(Direct(self.0.clone()))
    }

    fn open(&self, _shard: usize, door: Door) {
        let socket = self.0.clone();
        actix_rt::spawn(async move {
            if let Err(error) = read(&socket, &door).await {
                eprintln!("no longer reading: {error}");
            }
        });
    }
}

/// From the socket to the door: the banned unread, the rest in batches, here of one.
async fn read(socket: &UdpSocket, door: &Door) -> io::Result<()> {
    let local = socket.local_addr()?;
    let socket = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
    let mut octets = vec![0; 65_535];
    loop {
        let (length, remote) = socket.recv_from(&mut octets).await?;
        let flow = Flow { transport: Transport::Udp, local, remote, connection: 0 };
        if door.is_banned(&flow) {
            continue;
        }
        let mut batch = door.batch();
        batch.push(flow, &octets[..length]);
        if let Err(refused) = door.deliver(batch) {
            door.shed(refused.len());
        }
    }
}

/// Sends at once and never waits: a datagram that does not leave is one that got lost.
struct Direct(Arc<UdpSocket>);

impl Outbox for Direct {
    fn send(&mut self, flow: &Flow, message: &[u8], _token: Option<SendToken>) {
        self.0.send_to(message, flow.remote).ok();
    }

    fn flush(&mut self) {}

    fn local_for(&mut self, transport: Transport, _remote: IpAddr) -> Option<SocketAddr> {
        self.0.local_addr().ok().filter(|_| transport == Transport::Udp)
    }

    fn is_open(&self, flow: &Flow) -> bool {
        flow.transport == Transport::Udp
    }
}

/// A phone: asks whether the server lives, then registers with its password.
fn phone(server: SocketAddr) -> Result<(), Failed> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(server)?;
    ask(&socket, "OPTIONS", 1, "")?;
    let challenged = ask(&socket, "REGISTER", 2, "")?;
    let challenge = challenged.view().header(HeaderName::WwwAuthenticate).ok_or("no challenge")?;
    let uri = format!("sip:{DOMAIN}");
    let credentials = digest::answer(challenge, "REGISTER", &uri, USER, PASSWORD, "cnonce", 1)
        .ok_or("a challenge we cannot answer")?;
    let more = format!("Authorization: {credentials}\r\n");
    match ask(&socket, "REGISTER", 3, &more)?.view().status() {
        200 => Ok(()),
        status => Err(format!("not registered: {status}").into()),
    }
}

/// One request and its answer.
fn ask(socket: &UdpSocket, method: &str, cseq: u32, more: &str) -> Result<OwnedMessage, Failed> {
    socket.send(request(method, cseq, socket.local_addr()?, more).as_bytes())?;
    let mut octets = vec![0; 65_535];
    let length = socket.recv(&mut octets)?;
    octets.truncate(length);
    let answer = OwnedMessage::new(octets).map_err(|malformed| malformed.reason)?;
    let (status, reason) = (answer.view().status(), answer.view().reason());
    println!("{method:8} -> {status} {}", String::from_utf8_lossy(reason));
    Ok(answer)
}

fn request(method: &str, cseq: u32, own: SocketAddr, more: &str) -> String {
    format!(
        "{method} sip:{DOMAIN} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {own};rport;branch=z9hG4bKembed{cseq}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{USER}@{DOMAIN}>;tag=embed\r\n\
         To: <sip:{USER}@{DOMAIN}>\r\n\
         Call-ID: embed\r\n\
         CSeq: {cseq} {method}\r\n\
         Contact: <sip:{USER}@{own}>\r\n\
         {more}\
         Content-Length: 0\r\n\r\n"
    )
}
