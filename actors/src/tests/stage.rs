//! Shards on the test's own arbiter, and phones that are plain octets.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rempart_sip::digest::{Algorithm, Ha1, answer};
use rempart_sip::flow::{Flow, SourceKey, Transport};
use rempart_sip::message::{HeaderName, OwnedMessage};
use rempart_sip::screen::Scanners;
use rempart_sip::transaction::Timing;
use rempart_sip::uri::{Aor, Host};
use rempart_storage::{Journal, MemoryStore, Store, Subscriber, put_subscriber};

use crate::door::{Door, shard_of};
use crate::edge::{Plug, door};
use crate::location::Location;
use crate::meter::SEED_RULE;
use crate::names::Names;
use crate::settings::{
    AuthRule, GuardMode, GuardRule, Limits, Listener, Pstn, ScannerRule, Settings,
};
use crate::shared::{Homes, Shared};
use crate::ticket::InFlight;
use crate::wire::{Outbox, Resolved, Resolver, SendToken, Wire};

/// The domain served.
pub const DOMAIN: &str = "sip.example.org";

/// A message in whose answer this stands makes the outbox panic: a fault of ours, made to order.
pub const FAULT: &str = "make-it-panic";

thread_local! {
    /// Whether this test's clock stands still already.
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

type Sent = Arc<Mutex<Vec<(Flow, Vec<u8>)>>>;

struct Tape(Sent);

impl Outbox for Tape {
    fn send(&mut self, flow: &Flow, message: &[u8], _: Option<SendToken>) {
        let faulty = message.windows(FAULT.len()).any(|part| part == FAULT.as_bytes());
        assert!(!faulty, "{FAULT}");
        self.0.lock().push((*flow, message.to_vec()));
    }

    fn flush(&mut self) {}

    fn local_for(&mut self, _: Transport, _: IpAddr) -> Option<SocketAddr> {
        Some(server())
    }

    fn is_open(&self, _: &Flow) -> bool {
        true
    }
}

impl Wire for Tape {
    fn outbox(&self, _: usize) -> Box<dyn Outbox> {
        Box::new(Self(self.0.clone()))
    }

    fn open(&self, _: usize, _: Door) {}
}

struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: String, done: Box<dyn FnOnce(Resolved) + Send>) {
        done(Err("no names here".to_owned()));
    }
}

fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

/// The shipped values, and the listings' guard.
pub fn settings() -> Settings {
    let transport = Transport::Udp;
    Settings {
        listeners: vec![Listener { transport, address: server(), advertise: None }],
        names: Names::new(&[DOMAIN.to_owned()], &[Host::from(server().ip())], &[server()]),
        trusted: Vec::new(),
        flood: None,
        guard: GuardRule {
            mode: GuardMode::SeedIpUser,
            failures: 3,
            suspend: Duration::from_secs(900),
            forget: Duration::from_secs(920),
        },
        scanners: Some(ScannerRule { names: Scanners::new(["friendly"]), answered: true }),
        auth: AuthRule {
            nonce_life: Duration::from_secs(300),
            algorithms: vec![Algorithm::Md5],
            by_domain: Default::default(),
            qop: true,
        },
        require_tls: Default::default(),
        registrar: rempart_sip::registrar::Limits {
            min: 60,
            default: 3600,
            max: 3600,
            contacts_max: 10,
        },
        pstn: Pstn {
            numbers: regex::bytes::Regex::new("^\\+[0-9]+$").expect("a pattern"),
            ..Pstn::default()
        },
        outbound: None,
        egress: Default::default(),
        timing: Timing::default(),
        limits: Limits { sources: 1024, transactions: 1024, in_flight: 256, message: 65_535 },
    }
}

/// The same with the seed's flood rule.
pub fn with_flood() -> Settings {
    Settings { flood: Some(SEED_RULE), ..settings() }
}

/// Running shards; alice has the password `secret`.
pub struct Stage {
    /// What the shards share.
    pub shared: Arc<Shared>,
    /// The store, for what must be there after a restart.
    pub store: Arc<MemoryStore>,
    /// The ways in, by shard.
    pub doors: Vec<Door>,
    /// The bound on work in hand.
    pub in_flight: InFlight,
    sent: Sent,
    requests: u32,
}

impl Stage {
    /// Shards that start empty, on a clock that stands still.
    pub fn new(settings: Settings, shards: usize) -> Self {
        if !PAUSED.replace(true) {
            tokio::time::pause();
        }
        let aor = Aor::parse("alice@sip.example.org").expect("an AOR");
        let ha1 = Ha1::new("alice", DOMAIN, "secret");
        let store = Arc::new(MemoryStore::new());
        let alice = Subscriber { aor, ha1, created: 0, changed: 0 };
        put_subscriber(&*store, &alice).expect("memory takes it");
        Self::over(store, settings, shards)
    }

    /// Shards over a store that is there already, as after a restart.
    pub fn over(store: Arc<MemoryStore>, settings: Settings, shards: usize) -> Self {
        let in_flight = InFlight::new(settings.limits.in_flight);
        let homes = Homes {
            store: store.clone() as Arc<dyn Store>,
            journal: Journal::in_memory(),
            location: Location::default(),
            resolver: Arc::new(NoNames),
        };
        let shared = Arc::new(Shared::load(settings, homes, shards).expect("memory opens"));
        let sent = Sent::default();
        let doors: Vec<Door> = (0..shards)
            .map(|shard| {
                let plug = Plug {
                    shared: shared.clone(),
                    wire: Arc::new(Tape(sent.clone())),
                    in_flight: in_flight.clone(),
                    bans: Arc::new(rempart_storage::bans(&*store).expect("memory reads")),
                };
                door(shard, plug)
            })
            .collect();
        shared.introduce(doors.iter().map(|door| door.router.clone()).collect());
        Self { shared, store, doors, in_flight, sent, requests: 0 }
    }

    /// Hands messages in, one batch per shard, as readers do; whether every batch found room.
    pub fn offer(&self, messages: &[(Flow, Vec<u8>)]) -> bool {
        let shard = |flow: &Flow| shard_of(flow.source(), self.doors.len());
        let mut room = true;
        for (number, door) in self.doors.iter().enumerate() {
            let mut batch = door.batch();
            let own = messages.iter().filter(|(flow, _)| shard(flow) == number);
            own.filter(|(flow, _)| !door.is_banned(flow))
                .for_each(|(flow, message)| batch.push(*flow, message));
            room &= batch.is_empty() || door.deliver(batch).is_ok();
        }
        room
    }

    /// Hands messages in and returns the status of every answer.
    pub async fn play(&mut self, messages: &[(Flow, Vec<u8>)]) -> Vec<u16> {
        assert!(self.offer(messages), "room");
        self.answers().await.iter().map(|answer| answer.view().status()).collect()
    }

    /// Lets everything happen that can, and takes what was sent.
    pub async fn answers(&mut self) -> Vec<OwnedMessage> {
        self.sent().await.into_iter().map(|(_, message)| message).collect()
    }

    /// The same, with where it went.
    pub async fn sent(&mut self) -> Vec<(Flow, OwnedMessage)> {
        settle().await;
        let sent = std::mem::take(&mut *self.sent.lock());
        let read = |(flow, message)| (flow, OwnedMessage::new(message).expect("SIP"));
        sent.into_iter().map(read).collect()
    }

    /// A keep-alive.
    pub fn options(&mut self, flow: Flow) -> (Flow, Vec<u8>) {
        let uri = format!("sip:{DOMAIN}");
        (flow, self.request("OPTIONS", &uri, &flow, "stranger", ""))
    }

    /// A REGISTER with these further header lines.
    pub fn register(&mut self, flow: Flow, user: &str, more: &str) -> (Flow, Vec<u8>) {
        let uri = format!("sip:{DOMAIN}");
        (flow, self.request("REGISTER", &uri, &flow, user, more))
    }

    /// A call to this URI by a user of ours.
    pub fn invite(&mut self, flow: Flow, user: &str, uri: &str) -> (Flow, Vec<u8>) {
        (flow, self.request("INVITE", uri, &flow, user, ""))
    }

    fn request(&mut self, method: &str, uri: &str, flow: &Flow, user: &str, more: &str) -> Vec<u8> {
        self.requests += 1;
        let (number, to) = (self.requests, flow.remote);
        let transport = flow.transport;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {to};branch=z9hG4bK{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=f{number}\r\n\
             To: <sip:{user}@{DOMAIN}>\r\nCall-ID: call-{number}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:{user}@{to}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// Asks for a challenge and builds the REGISTER that answers it with this password.
    pub async fn guess(&mut self, flow: Flow, user: &str, password: &str) -> (Flow, Vec<u8>) {
        let asking = self.register(flow, user, "");
        assert!(self.offer(&[asking]), "room");
        let challenged = self.answers().await.pop().expect("a challenge");
        let value = challenged.view().header(HeaderName::WwwAuthenticate).expect("a challenge");
        let uri = format!("sip:{DOMAIN}");
        let credentials = answer(value, "REGISTER", &uri, user, password, "cnonce", 1);
        let line = format!("Authorization: {}\r\n", credentials.expect("an answer"));
        self.register(flow, user, &line)
    }

    /// The status of a guess.
    pub async fn judged(&mut self, flow: Flow, user: &str, password: &str) -> u16 {
        let guess = self.guess(flow, user, password).await;
        *self.play(&[guess]).await.first().expect("an answer")
    }
}

/// Lets every actor do what it can without time passing.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass.
pub async fn pass(time: Duration) {
    settle().await;
    tokio::time::advance(time).await;
    settle().await;
}

/// A UDP flow from this address.
pub fn udp(ip: &str) -> Flow {
    flow(Transport::Udp, ip)
}

/// A flow from this address.
pub fn flow(transport: Transport, ip: &str) -> Flow {
    let remote = SocketAddr::new(ip.parse().expect("an address"), 5060);
    let connection = u64::from(transport.reliable());
    Flow { transport, local: server(), remote, connection }
}

/// A UDP flow whose source is at home on `shard` of `shards`.
pub fn udp_on(shard: usize, shards: usize) -> Flow {
    let all = (1..=254).map(|last| udp(&format!("198.51.100.{last}")));
    let on = |flow: &Flow| shard_of(SourceKey::of(flow.remote.ip()), shards) == shard;
    all.into_iter().find(on).expect("an address of that shard")
}
