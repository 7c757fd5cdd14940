//! Round trips over loopback, and connections over pipes with a paused clock.

mod tls;

use super::*;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use rempart_actors::door::shard_of;
use rempart_actors::wire::{Batch, SendToken};
use rempart_sip::flow::{Flow, SourceKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Notify;

use stream::Opener;

const OPTIONS: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKa\r\n\
    From: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\
    Max-Forwards: 9\r\nContent-Length: 0\r\n\r\n";

/// A shard that keeps what it is told.
#[derive(Clone)]
struct Recorder {
    shards: usize,
    heard: Rc<RefCell<Heard>>,
    news: Rc<Notify>,
}

#[derive(Default)]
struct Heard {
    messages: VecDeque<(Flow, Vec<u8>)>,
    failed: VecDeque<SendToken>,
    returned: VecDeque<(SocketAddr, Vec<u8>)>,
    banned: Option<IpAddr>,
    /// Deliveries still to be refused.
    full: usize,
    refused: usize,
    shed: usize,
}

impl Recorder {
    fn new(shards: usize) -> Self {
        Self { shards, heard: Rc::default(), news: Rc::default() }
    }

    async fn wait_for<T>(&self, mut look: impl FnMut(&mut Heard) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(&mut self.heard.borrow_mut()) {
                return found;
            }
            self.news.notified().await;
        }
    }

    async fn message(&self) -> (Flow, Vec<u8>) {
        self.wait_for(|heard| heard.messages.pop_front()).await
    }

    async fn failure(&self) -> SendToken {
        self.wait_for(|heard| heard.failed.pop_front()).await
    }

    fn tell(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.borrow_mut());
        self.news.notify_one();
    }
}

impl Intake for Recorder {
    fn is_banned(&self, flow: &Flow) -> bool {
        self.heard.borrow().banned == Some(flow.remote.ip())
    }

    fn batch(&self) -> Batch {
        Batch::new()
    }

    fn deliver(&self, batch: Batch) -> Result<(), Batch> {
        if self.heard.borrow().full > 0 {
            self.tell(|heard| (heard.full, heard.refused) = (heard.full - 1, heard.refused + 1));
            return Err(batch);
        }
        let owned = |(flow, bytes): (Flow, &[u8])| (flow, bytes.to_vec());
        self.tell(|heard| heard.messages.extend(batch.iter().map(owned)));
        Ok(())
    }

    fn send_failed(&self, token: SendToken) {
        self.tell(|heard| heard.failed.push_back(token));
    }

    fn returned(&self, to: SocketAddr, quote: &[u8]) {
        self.tell(|heard| heard.returned.push_back((to, quote.to_vec())));
    }

    fn shard_of(&self, source: IpAddr) -> usize {
        shard_of(SourceKey::of(source), self.shards)
    }

    fn shed(&self, messages: usize) {
        self.tell(|heard| heard.shed += messages);
    }
}

/// A self-signed pair that ends with the process.
fn profiles() -> Profiles {
    profiles_of(r#"{"listen": ["tls:127.0.0.1:0"], "storage": {"memory": {}}}"#)
}

fn profiles_of(json: &str) -> Profiles {
    let config = config::Config::parse(json, std::path::Path::new("c.json")).expect("a config");
    let store = Arc::new(rempart_storage::MemoryStore::new());
    Profiles::load(Arc::new(config), store).expect("a pair is made")
}

/// Transports with one recorder per shard, all on this thread.
struct Server {
    transports: Transports,
    shards: Vec<Recorder>,
}

impl Server {
    fn new(listen: &[&str], shards: usize, limits: Limits) -> Self {
        Self::with(listen, shards, limits, profiles())
    }

    fn with(listen: &[&str], shards: usize, limits: Limits, profiles: Profiles) -> Self {
        let spec = |text: &&str| {
            let (transport, address) = text.split_once(':').expect("udp:address");
            ListenSpec {
                transport: Transport::parse(transport.as_bytes()).expect("a transport"),
                address: address.parse().expect("an address"),
                name: text.to_string(),
            }
        };
        let listen: Vec<_> = listen.iter().map(spec).collect();
        let transports = Transports::bind(&listen, shards, limits, profiles).expect("free ports");
        let recorders: Vec<_> = (0..shards).map(|_| Recorder::new(shards)).collect();
        for (shard, recorder) in recorders.iter().enumerate() {
            transports.open_into(shard, recorder.clone());
        }
        Self { transports, shards: recorders }
    }

    fn udp() -> Self {
        Self::new(&["udp:0.0.0.0:0"], 1, Limits::default())
    }

    fn tcp() -> Self {
        Self::new(&["tcp:127.0.0.1:0"], 1, Limits::default())
    }

    fn port(&self) -> u16 {
        self.transports.listeners().first().expect("a listener").address.port()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    fn recorder(&self) -> &Recorder {
        self.shards.first().expect("a shard")
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        self.transports.outbox(0)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("a listener")
    }
}

async fn phone(ip: [u8; 4]) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((ip, 0))).await.expect("loopback is a /8")
}

fn towards(remote: SocketAddr, connection: u64) -> Flow {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
    Flow { transport: Transport::Tcp, local, remote, connection }
}

/// Reads `length` octets.
async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets).await.expect("so many octets");
    octets
}

#[actix::test]
async fn an_answer_leaves_from_the_address_that_received() {
    let server = Server::udp();
    let phone = phone([127, 0, 0, 1]).await;
    let asked = SocketAddr::from(([127, 0, 0, 9], server.port()));
    phone.send_to(OPTIONS, asked).await.expect("loopback");
    let (flow, message) = server.recorder().message().await;
    assert_eq!(message, OPTIONS);
    assert_eq!((flow.local, flow.connection), (asked, 0));
    let mut outbox = server.outbox();
    assert!(outbox.is_open(&flow));
    outbox.send(&flow, b"answer", None);
    outbox.flush();
    let mut buffer = [0; 16];
    let (length, from) = phone.recv_from(&mut buffer).await.expect("an answer");
    assert_eq!((buffer.get(..length), from), (Some(&b"answer"[..]), asked));
}

#[actix::test]
async fn keepalives_banned_sources_and_long_datagrams_go_nowhere() {
    let limits = Limits { message: 1_300, ..Limits::default() };
    let server = Server::new(&["udp:0.0.0.0:0"], 1, limits);
    let (good, bad) = (phone([127, 0, 0, 1]).await, phone([127, 0, 0, 66]).await);
    server.recorder().tell(|heard| heard.banned = Some(IpAddr::from([127, 0, 0, 66])));
    bad.send_to(b"banned", server.address()).await.expect("loopback");
    for bytes in [&b""[..], b"\r\n\r\n", &[b'x'; 1_301], b"last"] {
        good.send_to(bytes, server.address()).await.expect("loopback");
    }
    assert_eq!(server.recorder().message().await.1, b"last");
    assert_eq!(server.recorder().heard.borrow().shed, 1);
}

#[actix::test]
async fn datagrams_without_room_are_shed() {
    let server = Server::udp();
    server.recorder().tell(|heard| heard.full = 1);
    let phone = phone([127, 0, 0, 1]).await;
    phone.send_to(b"one", server.address()).await.expect("loopback");
    server.recorder().wait_for(|heard| (heard.shed == 1).then_some(())).await;
    phone.send_to(b"two", server.address()).await.expect("loopback");
    assert_eq!(server.recorder().message().await.1, b"two");
}

#[actix::test]
async fn every_source_is_read_on_its_own_shard() {
    let server = Server::new(&["udp:127.0.0.1:0"], 3, Limits::default());
    for last in 1..=20 {
        let phone = phone([127, 0, 0, last]).await;
        phone.send_to(b"x", server.address()).await.expect("loopback");
        let ip = IpAddr::from([127, 0, 0, last]);
        let recorder = server.shards.get(shard_of(SourceKey::of(ip), 3)).expect("a shard");
        assert_eq!(recorder.message().await.0.remote.ip(), ip);
    }
}

#[actix::test]
async fn a_lone_socket_hands_datagrams_to_their_shards() {
    let mut bound = Bound::default();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("possible");
    let address = socket.local_addr().expect("bound");
    bound.udp.push(Arc::new(udp::Port::new(address, vec![socket])));
    let shared = Arc::new(Shared::new(bound, 2, Limits::default(), profiles()));
    let transports = Transports { shared };
    let shards = [Recorder::new(2), Recorder::new(2)];
    for (shard, recorder) in shards.iter().enumerate() {
        transports.open_into(shard, recorder.clone());
    }
    for last in [2, 3] {
        let phone = phone([127, 0, 0, last]).await;
        phone.send_to(b"x", address).await.expect("loopback");
        let recorder = shards.get(usize::from(last % 2)).expect("a shard");
        let (flow, _) = recorder.message().await;
        assert_eq!(flow.remote, phone.local_addr().expect("bound"));
    }
}

#[actix::test]
async fn a_datagram_that_cannot_leave_is_reported() {
    let server = Server::udp();
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let flow = Flow { transport: Transport::Udp, ..towards(remote, 0) };
    let mut outbox = server.outbox();
    outbox.send(&flow, &vec![0; 65_530], Some(SendToken(3)));
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 9));
    outbox.send(&Flow { remote: v6, ..flow }, b"no such listener", Some(SendToken(4)));
    outbox.flush();
    assert_eq!(server.recorder().failure().await, SendToken(4));
    assert_eq!(server.recorder().failure().await, SendToken(3));
    assert_eq!(server.transports.counts().datagrams_refused, 1);
}

#[actix::test]
async fn a_datagram_that_comes_back_is_told_by_whichever_shard_hears_of_it() {
    let server = Server::new(&["udp:127.0.0.1:0"], 3, Limits::default());
    let closed = phone([127, 0, 0, 9]).await.local_addr().expect("bound");
    let local = server.address();
    let flow = Flow { transport: Transport::Udp, local, remote: closed, connection: 0 };
    for round in [b"one", b"two"] {
        let mut outbox = server.outbox();
        outbox.send(&flow, round, None);
        outbox.flush();
        let heard = |shard: &Recorder| shard.heard.borrow_mut().returned.pop_front();
        let returned = loop {
            if let Some(returned) = server.shards.iter().find_map(heard) {
                break returned;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(returned, (closed, round.to_vec()));
    }
}

#[actix::test]
async fn a_stream_is_cut_into_messages_and_answered_on_its_connection() {
    let server = Server::tcp();
    let mut peer = server.connect().await;
    peer.write_all(&[OPTIONS, OPTIONS].concat()).await.expect("open");
    let (flow, first) = server.recorder().message().await;
    let (same, second) = server.recorder().message().await;
    assert_eq!((first.as_slice(), second.as_slice(), same), (OPTIONS, OPTIONS, flow));
    assert_eq!(flow.remote, peer.local_addr().expect("open"));
    assert_eq!(flow.local, server.address());
    let mut outbox = server.outbox();
    assert!(outbox.is_open(&flow));
    outbox.send(&flow, b"by id", None);
    outbox.send(&Flow { connection: 0, ..flow }, b"by address", None);
    assert_eq!(read(&mut peer, 15).await, b"by idby address");
    drop(peer);
    while server.transports.counts().connections > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!outbox.is_open(&flow));
}

#[actix::test]
async fn a_connection_is_opened_once_and_used_both_ways() {
    let server = Server::tcp();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let remote = listener.local_addr().expect("bound");
    let mut outbox = server.outbox();
    outbox.send(&towards(remote, 0), b"one", Some(SendToken(1)));
    outbox.send(&towards(remote, 77), b"two", Some(SendToken(2)));
    let (mut peer, _) = listener.accept().await.expect("a connection");
    assert_eq!(read(&mut peer, 6).await, b"onetwo");
    peer.write_all(OPTIONS).await.expect("open");
    let (flow, message) = server.recorder().message().await;
    assert_eq!((message.as_slice(), flow.remote), (OPTIONS, remote));
    assert_eq!(flow.local, server.address(), "the listener's port, not the connection's");
    outbox.send(&flow, b"three", None);
    assert_eq!(read(&mut peer, 5).await, b"three");
    assert_eq!(server.transports.counts().connections, 1);
    assert!(server.recorder().heard.borrow().failed.is_empty());
}

#[actix::test]
async fn a_failed_connect_reports_every_message_that_waited_for_it() {
    let server = Server::tcp();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let remote = unused.local_addr().expect("bound");
    drop(unused);
    let mut outbox = server.outbox();
    for token in [5, 6] {
        outbox.send(&towards(remote, 0), b"x", Some(SendToken(token)));
    }
    assert_eq!(server.recorder().failure().await, SendToken(5));
    assert_eq!(server.recorder().failure().await, SendToken(6));
    assert_eq!(server.transports.counts().connections, 0);
}

#[actix::test]
async fn tls_is_never_replaced_by_plain_text() {
    let server = Server::tcp();
    let flow = Flow { transport: Transport::Tls, ..towards(server.address(), 0) };
    server.outbox().send(&flow, b"secret", Some(SendToken(9)));
    assert_eq!(server.recorder().failure().await, SendToken(9));
}

#[actix::test]
async fn connections_over_the_bound_are_closed_at_once() {
    let limits = Limits { connections_per_source: 2, ..Limits::default() };
    let server = Server::new(&["tcp:127.0.0.1:0"], 1, limits);
    let mut kept = [server.connect().await, server.connect().await];
    for peer in &mut kept {
        peer.write_all(OPTIONS).await.expect("open");
        server.recorder().message().await;
    }
    let mut third = server.connect().await;
    assert_eq!(third.read(&mut [0; 8]).await.ok().unwrap_or_default(), 0);
    assert_eq!(server.transports.counts().connections_refused, 1);
    assert_eq!(server.transports.counts().connections, 2);
}

#[actix::test]
async fn a_banned_source_is_closed_at_once() {
    let server = Server::tcp();
    let mut before = server.connect().await;
    before.write_all(OPTIONS).await.expect("open");
    server.recorder().message().await;
    server.recorder().tell(|heard| heard.banned = Some(Ipv4Addr::LOCALHOST.into()));
    before.write_all(OPTIONS).await.expect("open");
    let mut after = server.connect().await;
    for peer in [&mut before, &mut after] {
        assert_eq!(peer.read(&mut [0; 8]).await.ok().unwrap_or_default(), 0);
    }
    assert!(server.recorder().heard.borrow().messages.is_empty());
}

#[actix::test]
async fn closing_writes_out_what_is_queued_and_frees_the_port() {
    let server = Server::tcp();
    let mut peer = server.connect().await;
    peer.write_all(OPTIONS).await.expect("open");
    let (flow, _) = server.recorder().message().await;
    server.outbox().send(&flow, b"last words", None);
    server.transports.close().await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.expect("closed in order");
    assert_eq!(rest, b"last words");
    assert_eq!(server.transports.counts().connections, 0);
    assert!(TcpStream::connect(server.address()).await.is_err());
}

#[actix::test]
async fn a_closed_server_gives_its_ports_back() {
    let server = Server::new(&["udp:127.0.0.1:0"], 2, Limits::default());
    let address = server.address();
    server.transports.close().await;
    let shared = Arc::downgrade(&server.transports.shared);
    drop(server);
    while shared.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    std::net::UdpSocket::bind(address).expect("free again");
}

#[actix::test]
async fn local_for_names_a_listener_and_a_routed_address() {
    let server = Server::udp();
    let mut outbox = server.outbox();
    let local = outbox.local_for(Transport::Udp, Ipv4Addr::LOCALHOST.into());
    assert_eq!(local, Some(server.address()));
    assert_eq!(outbox.local_for(Transport::Tcp, Ipv4Addr::LOCALHOST.into()), None);
}

/// One connection over a pipe, with the clock stopped: time passes only when nothing can happen.
struct Pipe {
    peer: DuplexStream,
    flow: Flow,
    server: Server,
    opened: Instant,
}

impl Pipe {
    fn new(opener: Opener) -> Self {
        tokio::time::pause();
        let server = Server::new(&["udp:127.0.0.1:0"], 1, Limits::default());
        let (peer, ours) = tokio::io::duplex(1 << 20);
        let shared = server.transports.shared.clone();
        let remote = SocketAddr::from(([192, 0, 2, 1], 5060));
        let seat = shared.connections.admit(Transport::Tcp, remote).expect("room");
        let flow = towards(remote, seat.handle().id);
        let station = Station { shard: 0, intake: server.recorder().clone(), shared };
        tokio::task::spawn_local(stream::serve(ours, flow, seat, opener, station));
        Self { peer, flow, server, opened: Instant::now() }
    }

    async fn write(&mut self, octets: &[u8]) {
        self.peer.write_all(octets).await.expect("open");
    }

    /// What is still sent before the connection is closed, and when that is, in seconds.
    async fn rest(&mut self) -> (String, u64) {
        let mut rest = Vec::new();
        self.peer.read_to_end(&mut rest).await.expect("a pipe");
        (String::from_utf8_lossy(&rest).into_owned(), self.opened.elapsed().as_secs())
    }

    async fn closed_after(&mut self) -> u64 {
        self.rest().await.1
    }
}

#[actix::test]
async fn half_a_message_has_ten_seconds_however_slowly_it_drips() {
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(OPTIONS).await;
    pipe.server.recorder().message().await;
    for octet in OPTIONS.chunks(1).take(4) {
        pipe.write(octet).await;
        // Lets the reader see the octet before time passes.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert_eq!(pipe.closed_after().await, 10);
}

#[actix::test]
async fn a_peer_that_says_nothing_has_a_minute() {
    assert_eq!(Pipe::new(Opener::Peer).closed_after().await, 60);
}

#[actix::test]
async fn a_quiet_connection_outlives_a_registration() {
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(OPTIONS).await;
    assert_eq!(pipe.closed_after().await, 3_900);
}

#[actix::test]
async fn a_peer_that_we_connected_to_may_keep_silent() {
    assert_eq!(Pipe::new(Opener::Us).closed_after().await, 3_900);
}

#[actix::test]
async fn a_ping_is_answered() {
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(b"\r\n\r\n").await;
    assert_eq!(read(&mut pipe.peer, 2).await, b"\r\n");
}

#[actix::test]
async fn a_stream_waits_for_room_and_loses_nothing() {
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.server.recorder().tell(|heard| heard.full = 3);
    pipe.write(OPTIONS).await;
    pipe.write(OPTIONS).await;
    for _ in 0..2 {
        assert_eq!(pipe.server.recorder().message().await.1, OPTIONS);
    }
    let heard = pipe.server.recorder().heard.borrow();
    assert_eq!((heard.refused, heard.shed), (3, 0));
}

#[actix::test]
async fn a_bad_content_length_is_handed_on_and_its_answer_ends_the_stream() {
    let bad = String::from_utf8_lossy(OPTIONS).replace("Length: 0", "Length: x");
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(bad.as_bytes()).await;
    let (flow, message) = pipe.server.recorder().message().await;
    assert_eq!(message, bad.as_bytes());
    pipe.server.outbox().send(&flow, b"SIP/2.0 400", None);
    assert_eq!(pipe.rest().await.0, "SIP/2.0 400");
}

#[actix::test]
async fn a_missing_content_length_is_refused_and_the_message_not_served() {
    let missing = String::from_utf8_lossy(OPTIONS).replace("Content-Length: 0\r\n", "");
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(missing.as_bytes()).await;
    let (answer, _) = pipe.rest().await;
    assert!(answer.starts_with("SIP/2.0 400 Missing Content-Length\r\n"), "{answer}");
    assert!(pipe.server.recorder().heard.borrow().messages.is_empty());
}

#[actix::test]
async fn garbage_ends_the_stream_without_a_word() {
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(b"\x16\x03\x01\x02\x00").await;
    assert_eq!(pipe.rest().await, (String::new(), 0));
}

#[actix::test]
async fn a_peer_that_does_not_read_is_given_up_and_the_loss_reported() {
    let mut pipe = Pipe::new(Opener::Peer);
    pipe.write(OPTIONS).await;
    let mut outbox = pipe.server.outbox();
    let message = vec![b'x'; 100 * 1024];
    for token in 0..13 {
        outbox.send(&pipe.flow, &message, Some(SendToken(token)));
        tokio::task::yield_now().await;
    }
    assert!(!outbox.is_open(&pipe.flow));
    // The pipe took ten and a bit, two and the rest waited, one was too much.
    for token in [12, 10, 11] {
        assert_eq!(pipe.server.recorder().failure().await, SendToken(token));
    }
}
