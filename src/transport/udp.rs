//! UDP: one reader per listener and shard, and the queues from which a shard's datagrams leave.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;

use rempart_actors::wire::{Batch, SendToken};
use rempart_sip::flow::{Flow, Transport};
use tokio::io::Interest;

use super::intake::Intake;
use super::mmsg::{BATCH, Packet, Receiver, Sender};
use super::returned::Returned;
use super::station::{Job, Station};

/// Batches read in a row before the shard's actors get their turn.
const BATCHES_IN_A_ROW: usize = 4;

/// Returned datagrams read in a row before the shard's actors get their turn.
const RETURNED_IN_A_ROW: usize = 64;

/// How often a message is sent anew because the kernel answered with the error of an earlier one,
/// which is gone once it was told. Where more come meanwhile, someone floods us with them.
const EARLIER_ERRORS_MAX: usize = 2;

/// Octets queued on one listener before they are sent without waiting for `flush`.
const QUEUE_MAX: usize = 256 * 1024;

/// One UDP listener: its sockets, one per shard or one for all.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    sockets: Vec<UdpSocket>,
}

impl Port {
    pub(super) fn new(address: SocketAddr, sockets: Vec<UdpSocket>) -> Self {
        Self { address, sockets }
    }

    /// The socket that a shard reads, if it reads one of its own.
    pub(super) fn own(&self, shard: usize) -> Option<&UdpSocket> {
        self.sockets.get(shard)
    }

    /// The socket that a shard sends from.
    fn outgoing(&self, shard: usize) -> Option<&UdpSocket> {
        self.own(shard).or_else(|| self.sockets.first())
    }

    fn is_wildcard(&self) -> bool {
        self.address.ip().is_unspecified()
    }
}

/// Reads a shard's own socket, where the port has one, until the transports close.
pub(super) async fn read<I: Intake>(port: Arc<Port>, station: Station<I>) -> io::Result<()> {
    let Some(socket) = port.own(station.shard) else { return Ok(()) };
    // The reactor wants a descriptor of its own; senders on any thread keep the first.
    let socket = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
    let mut reader = Reader::new(port, station);
    let station = reader.station.clone();
    tokio::select! {
        result = reader.run(&socket) => result,
        () = station.closing() => Ok(()),
    }
}

struct Reader<I> {
    port: Arc<Port>,
    receiver: Receiver,
    returned: Returned,
    /// A batch that nothing was put into: under a flood of banned sources none is taken in vain.
    spare: Option<Batch>,
    /// Datagrams of other shards, by shard: the program of `steering` may be missing, and does
    /// not yet run for the first datagrams after binding.
    strays: Vec<Batch>,
    station: Station<I>,
}

impl<I: Intake> Reader<I> {
    fn new(port: Arc<Port>, station: Station<I>) -> Self {
        let (receiver, returned) = (Receiver::new(), Returned::new());
        Self { port, receiver, returned, spare: None, strays: Vec::new(), station }
    }

    async fn run(&mut self, socket: &tokio::net::UdpSocket) -> io::Result<()> {
        loop {
            let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
            // Would-block tells the reactor to wait for the next arrival.
            let until = |drained| match drained {
                true => Err(io::Error::from(io::ErrorKind::WouldBlock)),
                false => Ok(()),
            };
            let mut more = false;
            if ready.is_error() {
                let told = socket.try_io(Interest::ERROR, || until(self.take_returned(socket)));
                more |= told.is_ok();
            }
            if ready.is_readable() {
                let read = socket.try_io(Interest::READABLE, || until(self.drain(socket)));
                more |= read.is_ok();
            }
            if more {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Passes on some returned datagrams; true when none is left.
    fn take_returned(&mut self, socket: &tokio::net::UdpSocket) -> bool {
        for _ in 0..RETURNED_IN_A_ROW {
            match self.returned.next(socket) {
                Ok(Some((to, quote))) => self.station.intake.returned(to, quote),
                Ok(None) => {}
                Err(error) => return error.kind() != io::ErrorKind::Interrupted,
            }
        }
        false
    }

    /// Reads some batches; true when nothing is left.
    fn drain(&mut self, socket: &tokio::net::UdpSocket) -> bool {
        for _ in 0..BATCHES_IN_A_ROW {
            match self.receiver.receive(socket) {
                // A batch that is not full met the end of the queue.
                Ok(count) if count < BATCH => {
                    self.take(count);
                    return true;
                }
                Ok(count) => self.take(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // Interrupted, or an error of a datagram sent earlier; reading goes on.
                Err(_) => {}
            }
        }
        false
    }

    fn take(&mut self, count: usize) {
        let mut batch = self.spare.take().unwrap_or_else(|| self.station.intake.batch());
        for index in 0..count {
            sort(self, index, &mut batch);
        }
        if batch.is_empty() {
            self.spare = Some(batch);
        } else {
            self.deliver(batch);
        }
        self.forward_strays();
    }

    fn deliver(&self, batch: Batch) {
        let intake = &self.station.intake;
        if let Err(batch) = intake.deliver(batch) {
            intake.shed(batch.len());
        }
    }

    fn forward_strays(&mut self) {
        let strays = self.strays.iter_mut().enumerate().filter(|(_, batch)| !batch.is_empty());
        for (shard, batch) in strays {
            let batch = std::mem::take(batch);
            let count = batch.len();
            if !self.station.hand_over(shard, Job::Datagrams(batch)) {
                self.station.intake.shed(count);
            }
        }
    }
}

/// Puts one datagram where it belongs: the batch, another shard's, or nowhere.
fn sort<I: Intake>(reader: &mut Reader<I>, index: usize, batch: &mut Batch) {
    let Reader { port, receiver, strays, station, .. } = reader;
    let Some((remote, own, bytes)) = receiver.datagram(index) else { return };
    if is_keepalive(bytes) {
        return;
    }
    let mut local = own.unwrap_or(port.address);
    local.set_port(port.address.port());
    let flow = Flow { transport: Transport::Udp, local, remote, connection: 0 };
    if station.intake.is_banned(&flow) {
        return;
    }
    if bytes.len() > station.shared.limits.message {
        return station.intake.shed(1);
    }
    let shard = station.intake.shard_of(remote.ip());
    if shard == station.shard {
        return batch.push(flow, bytes);
    }
    if strays.len() <= shard {
        strays.resize_with(shard + 1, Batch::new);
    }
    strays[shard].push(flow, bytes);
}

/// Empty datagrams, line ends and zeroes keep a NAT binding alive and want no answer: RFC 5626's
/// ping over UDP is STUN.
fn is_keepalive(bytes: &[u8]) -> bool {
    bytes.len() <= 8 && bytes.iter().all(|octet| matches!(octet, b'\r' | b'\n' | 0))
}

/// A message that the kernel did not take.
pub(super) struct Unsent {
    pub(super) token: Option<SendToken>,
    pub(super) error: io::Error,
}

/// What a shard sends from one listener, collected until `flush`.
pub(super) struct Queue {
    port: Arc<Port>,
    shard: usize,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    sender: Sender,
}

struct Entry {
    remote: SocketAddr,
    source: Option<SocketAddr>,
    span: Range<usize>,
    token: Option<SendToken>,
}

impl Queue {
    /// The queue of one shard at one listener.
    pub(super) fn new(port: Arc<Port>, shard: usize) -> Self {
        let (bytes, entries, sender) = (Vec::new(), Vec::new(), Sender::new());
        Self { port, shard, bytes, entries, sender }
    }

    /// The listener's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.port.address
    }

    /// Appends one message. True: the queue is long enough to be flushed.
    pub(super) fn push(&mut self, flow: &Flow, message: &[u8], token: Option<SendToken>) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        // Another address than a listener's own cannot be left from.
        let source =
            (self.port.is_wildcard() && !flow.local.ip().is_unspecified()).then_some(flow.local);
        let span = start..self.bytes.len();
        self.entries.push(Entry { remote: flow.remote, source, span, token });
        self.bytes.len() >= QUEUE_MAX
    }

    /// Sends everything queued; `unsent` hears of each message that the kernel refused.
    pub(super) fn flush(&mut self, mut unsent: impl FnMut(Unsent)) {
        let (mut done, mut earlier) = (0, 0);
        while done < self.entries.len() {
            match self.send_from(done) {
                Ok(sent) => (done, earlier) = (done + sent.max(1), 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if may_be_earlier(&error) && earlier < EARLIER_ERRORS_MAX => {
                    earlier += 1;
                }
                Err(error) => {
                    earlier = 0;
                    done += self.refused(done, error, &mut unsent);
                }
            }
        }
        self.entries.clear();
        self.bytes.clear();
    }

    fn send_from(&mut self, done: usize) -> io::Result<usize> {
        let Self { port, shard, bytes, entries, sender } = self;
        let socket = port.outgoing(*shard).ok_or(io::ErrorKind::NotConnected)?;
        let packets = entries.get(done..).unwrap_or_default().iter().map(|entry| Packet {
            remote: entry.remote,
            source: entry.source,
            bytes: bytes.get(entry.span.clone()).unwrap_or_default(),
        });
        sender.send(socket, packets)
    }

    /// What an error of the first packet means; how many packets are done with.
    fn refused(&mut self, done: usize, error: io::Error, unsent: &mut impl FnMut(Unsent)) -> usize {
        let Some(entry) = self.entries.get_mut(done) else { return 1 };
        if entry.source.is_some() && is_lost_address(&error) {
            entry.source = None;
            return 0;
        }
        // A full socket drops, as the network would: retransmission is the sender's answer.
        // A refused connection is always an earlier datagram's.
        let passing = [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionRefused];
        let token = entry.token.filter(|_| !passing.contains(&error.kind()));
        unsent(Unsent { token, error });
        1
    }
}

/// Whether the error may be what an earlier datagram met. `WouldBlock` is this one's own.
fn may_be_earlier(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::WouldBlock
}

/// A flow may outlive the address it was received at.
fn is_lost_address(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn queue() -> Queue {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let address = socket.local_addr().expect("bound");
        Queue::new(Arc::new(Port::new(address, vec![socket])), 5)
    }

    fn flow(local: [u8; 4], remote: SocketAddr) -> Flow {
        let local = SocketAddr::from((local, 5060));
        Flow { transport: Transport::Udp, local, remote, connection: 0 }
    }

    fn peer() -> (UdpSocket, SocketAddr) {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = peer.local_addr().expect("bound");
        (peer, address)
    }

    #[test]
    fn a_flush_sends_more_than_one_system_call_takes() {
        let (mut queue, (peer, to)) = (queue(), peer());
        for number in 0..70_u8 {
            queue.push(&flow([127, 0, 0, 9], to), &[number], None);
        }
        queue.flush(|unsent| panic!("{}", unsent.error));
        for number in 0..70 {
            let mut buffer = [0; 8];
            let (length, from) = peer.recv_from(&mut buffer).expect("sent");
            assert_eq!((buffer[0], length), (number, 1));
            assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 9));
        }
    }

    #[test]
    fn a_refused_message_reports_its_token_and_the_next_still_leaves() {
        let (mut queue, (peer, to)) = (queue(), peer());
        let local = [127, 0, 0, 1];
        queue.push(&flow(local, to), &vec![0; 65_530], Some(SendToken(7)));
        queue.push(&flow(local, to), b"next", Some(SendToken(8)));
        let mut tokens = Vec::new();
        queue.flush(|unsent| tokens.extend(unsent.token));
        assert_eq!(tokens, [SendToken(7)], "longer than a datagram can be");
        assert_eq!(peer.recv_from(&mut [0; 8]).expect("sent").0, 4);
    }

    #[test]
    fn what_an_earlier_datagram_met_costs_the_next_one_nothing() {
        let (mut queue, (peer, to)) = (queue(), peer());
        let socket = queue.port.outgoing(5).expect("one for all").try_clone().expect("room");
        super::super::returned::keep_returned(&socket, false).expect("an option of every kernel");
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let closed = nobody.local_addr().expect("bound");
        drop(nobody);
        let local = [127, 0, 0, 1];
        for number in 0..20_u64 {
            queue.push(&flow(local, closed), b"lost", Some(SendToken(number)));
            queue.flush(|unsent| panic!("{}", unsent.error));
            queue.push(&flow(local, to), &[number as u8], Some(SendToken(100 + number)));
            queue.flush(|unsent| panic!("{}", unsent.error));
            let mut buffer = [0; 8];
            peer.recv_from(&mut buffer).expect("sent");
            assert_eq!(u64::from(buffer[0]), number);
        }
    }

    #[test]
    fn a_lost_own_address_is_replaced_by_the_kernels_choice() {
        let (mut queue, (peer, to)) = (queue(), peer());
        queue.push(&flow([192, 0, 2, 77], to), b"x", None);
        queue.flush(|unsent| panic!("{}", unsent.error));
        assert!(peer.recv_from(&mut [0; 8]).is_ok());
    }

    #[test]
    fn only_short_runs_of_line_ends_are_keepalives() {
        for bytes in [&b""[..], b"\r\n", b"\r\n\r\n", b"\0\0\0\0"] {
            assert!(is_keepalive(bytes), "{bytes:?}");
        }
        assert!(!is_keepalive(b"\r\nOPTIONS"));
    }
}
