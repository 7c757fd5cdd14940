//! What a transport brings to the actors and what it gets from them: batches of datagrams in,
//! messages out. The root crate brings sockets; tests and embedders bring what they like.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use rempart_sip::flow::{Flow, Transport};

use crate::door::Door;
use crate::identity::{Identity, Session};
use crate::ticket::Ticket;

/// Several received messages in one buffer, each with the flow it came by.
///
/// One batch is one actor message, however many datagrams it carries.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<(Flow, Range<usize>)>,
    ticket: Option<Ticket>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of one message.
    pub fn of(flow: Flow, message: &[u8]) -> Self {
        let mut batch = Self::new();
        batch.push(flow, message);
        batch
    }

    /// Appends one message, copied.
    pub fn push(&mut self, flow: Flow, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.entries.push((flow, start..self.bytes.len()));
    }

    /// The messages with their flows, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (Flow, &[u8])> {
        self.entries.iter().map(|(flow, span)| (*flow, &self.bytes[span.clone()]))
    }

    /// Keeps the messages for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Flow, &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.entries.retain(|(flow, span)| keep(flow, &bytes[span.clone()]));
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Empties it, keeping its buffers and giving back its place among the work in hand.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.ticket = None;
    }

    /// Gives back its place among the work in hand: it waits outside.
    pub(crate) fn release(mut self) -> Self {
        self.ticket = None;
        self
    }

    /// Moves as many places among the work in hand as `part` has messages to it.
    pub(crate) fn lend_places(&mut self, part: &mut Self) {
        part.ticket = self.ticket.as_mut().map(|ticket| ticket.split(part.len()));
    }

    pub(crate) fn octets(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn hold(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }
}

/// Names one send for which the sender wants to hear of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendToken(pub u64);

/// Where one shard's messages leave. Lives on the shard's arbiter; never blocks.
pub trait Outbox {
    /// Queues one message for `flow`.
    ///
    /// On a stream transport `flow.connection` names the connection; 0 means any connection to
    /// `flow.remote`, opened if there is none. Over TLS an address proves nothing about who is
    /// there: 0 means one opened to that address and proven for it, and a connection that a flow
    /// names and that has gone is replaced only where we opened it, with the same proof. A message
    /// that cannot be sent is dropped and, when it carries a token, reported through
    /// [`Door::send_failed`].
    fn send(&mut self, flow: &Flow, message: &[u8], token: Option<SendToken>);

    /// Hands everything queued to the kernel.
    fn flush(&mut self);

    /// The local address (a listener's port, the address the kernel routes by) from which
    /// `remote` is reached over `transport`; `None` where no listener can.
    fn local_for(&mut self, transport: Transport, remote: IpAddr) -> Option<SocketAddr>;

    /// Whether a stream connection still stands, or can be opened again with the same proof.
    /// Datagram flows always do.
    fn is_open(&self, flow: &Flow) -> bool;

    /// A connection to `remote`, found or begun, on which the peer has proven to be `name`; without
    /// a name, to be that address. Messages sent meanwhile leave once the proof is given, and are
    /// reported as unsent when it is not. `None` where a bound is reached or no listener fits.
    ///
    /// Transports without TLS have nothing to prove: any connection will do.
    fn connection_to(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        _name: Option<&str>,
    ) -> Option<Flow> {
        let local = self.local_for(transport, remote.ip())?;
        Some(Flow { transport, local, remote, connection: 0 })
    }

    /// What was agreed on when the TLS connection of `flow` was made; `None` for other transports
    /// and for connections that are gone.
    fn session(&self, _flow: &Flow) -> Option<Arc<Session>> {
        None
    }

    /// The certificate that the peer of `flow` showed; `None` where it showed none.
    fn identity(&self, flow: &Flow) -> Option<Arc<Identity>> {
        self.session(flow)?.peer.clone()
    }
}

/// A set of transports, opened once on each shard.
pub trait Wire: Send + Sync + 'static {
    /// Called on the arbiter of `shard`, before its actors start.
    fn outbox(&self, shard: usize) -> Box<dyn Outbox>;

    /// Called on the arbiter of `shard` once its actors run: start reading into `door`.
    fn open(&self, shard: usize, door: Door);
}

/// What a look-up hands back: the addresses of the name, or why there are none.
pub type Resolved = Result<Vec<IpAddr>, String>;

/// Looks host names up without keeping anyone else waiting.
pub trait Resolver: Send + Sync + 'static {
    /// Looks up the addresses of `name` and calls `done` once, on any thread, within seconds.
    fn resolve(&self, name: String, done: Box<dyn FnOnce(Resolved) + Send>);
}
