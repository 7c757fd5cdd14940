//! The table of stream connections, ours and theirs: found by the peer's address from any shard,
//! each with a bounded queue of octets to write.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use rempart_actors::identity::Session;
use rempart_actors::wire::SendToken;
use rempart_sip::flow::{Flow, SourceKey, Transport};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::newcomers::Newcomers;
use super::opened::Opened;

/// Octets that may wait for one peer to read; a peer that lets more pile up is cut off.
pub(super) const QUEUE_MAX: usize = 256 * 1024;

/// Locks over which the table is spread.
const SHELVES: usize = 16;

/// The sender of a message, who wants to hear if it was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) shard: usize,
    pub(super) token: SendToken,
}

/// The way back to the senders of messages that were not sent.
#[derive(Clone)]
pub(super) struct Reports(Arc<[mpsc::Sender<SendToken>]>);

impl Reports {
    pub(super) fn new(shards: Vec<mpsc::Sender<SendToken>>) -> Self {
        Self(shards.into())
    }

    /// Reports one message. Where a shard has no room for the report, its timers notice instead.
    pub(super) fn failed(&self, origin: Origin) {
        if let Some(shard) = self.0.get(origin.shard) {
            shard.try_send(origin.token).ok();
        }
    }
}

/// Bounds of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections_max: usize,
    pub(super) per_source_max: usize,
    /// Of all, those that have shown nothing yet.
    pub(super) newcomers_max: usize,
}

/// All stream connections.
pub(super) struct Connections {
    shelves: [Mutex<Shelf>; SHELVES],
    /// Never reused, in the next process neither, so that a flow of a dead connection cannot name
    /// a later one. 0 is no connection.
    next: AtomicU64,
    count: AtomicUsize,
    newcomers: Mutex<Newcomers>,
    opened: Mutex<Opened>,
    displaced: AtomicU64,
    bounds: Bounds,
    reports: Reports,
}

/// The connections of some sources. One source's are all on one shelf.
#[derive(Default)]
struct Shelf {
    by_remote: HashMap<(Transport, SocketAddr), Vec<Arc<Handle>>>,
    per_source: HashMap<SourceKey, usize>,
}

impl Connections {
    pub(super) fn new(bounds: Bounds, reports: Reports) -> Arc<Self> {
        Arc::new(Self {
            shelves: Default::default(),
            next: AtomicU64::new(first_id()),
            count: AtomicUsize::new(0),
            newcomers: Mutex::default(),
            opened: Mutex::default(),
            displaced: AtomicU64::new(0),
            bounds,
            reports,
        })
    }

    /// How many connections stand or are being opened.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many made room for others before they had shown anything.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// The way back to senders.
    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    fn shelf(&self, source: SourceKey) -> MutexGuard<'_, Shelf> {
        let mixed = (source.0 as u64) ^ (source.0 >> 64) as u64;
        let index = (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % SHELVES;
        self.shelves[index].lock()
    }

    /// A place for one more connection that `remote` opened; `None` where a bound is reached.
    pub(super) fn admit(
        self: &Arc<Self>,
        transport: Transport,
        remote: SocketAddr,
    ) -> Option<Seat> {
        self.place(Handle::new(transport, remote))
    }

    /// A place for a connection that we open to `remote`, where TLS is to prove `name`, or the
    /// address without one.
    pub(super) fn reserve(
        self: &Arc<Self>,
        transport: Transport,
        remote: SocketAddr,
        name: Option<&str>,
    ) -> Option<Seat> {
        let name = name.map(|name| name.to_ascii_lowercase().into());
        let seat = self.place(Handle { ours: true, name, ..Handle::new(transport, remote) })?;
        if transport == Transport::Tls {
            let handle = seat.handle();
            self.opened.lock().note(handle.id, (remote, handle.name.clone()));
        }
        Some(seat)
    }

    /// Notes that a connection has shown what it is for: others may not have its place.
    pub(super) fn settle(&self, handle: &Handle) {
        self.newcomers.lock().remove(handle.id);
    }

    /// Where a bound is reached, newcomers give up their places: one of the source itself, or the
    /// most dispensable of all.
    fn make_room(&self, source: SourceKey, now: Instant) {
        let held = self.shelf(source).per_source.get(&source).copied().unwrap_or(0);
        if held >= self.bounds.per_source_max {
            let oldest = self.newcomers.lock().oldest_of(source);
            self.displace(oldest);
        }
        let newcomers = self.newcomers.lock();
        let full = newcomers.count() >= self.bounds.newcomers_max
            || self.count() >= self.bounds.connections_max;
        let found = if full { newcomers.dispensable(now) } else { None };
        drop(newcomers);
        self.displace(found);
    }

    fn displace(&self, handle: Option<Arc<Handle>>) {
        let Some(handle) = handle else { return };
        handle.close();
        self.remove(&handle);
        self.displaced.fetch_add(1, Ordering::Relaxed);
    }

    fn place(self: &Arc<Self>, handle: Handle) -> Option<Seat> {
        let (remote, now) = (handle.remote, Instant::now());
        self.make_room(SourceKey::of(remote.ip()), now);
        let source = SourceKey::of(remote.ip());
        let mut shelf = self.shelf(source);
        if shelf.per_source.get(&source).is_some_and(|count| *count >= self.bounds.per_source_max) {
            return None;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.bounds.connections_max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let handle = Arc::new(Handle { id, ..handle });
        shelf.by_remote.entry((handle.transport, remote)).or_default().push(handle.clone());
        *shelf.per_source.entry(source).or_default() += 1;
        drop(shelf);
        if !handle.ours {
            self.newcomers.lock().add(handle.clone(), now);
        }
        Some(Seat { connections: self.clone(), handle })
    }

    /// The connection that `flow` names, if it stands.
    pub(super) fn named(&self, flow: &Flow) -> Option<Arc<Handle>> {
        self.find(flow, |handle| handle.id == flow.connection)
    }

    /// The connection that `flow` names, else any with the same peer, the newest first. Over TLS
    /// that is one which we opened to that address and no name.
    pub(super) fn towards(&self, flow: &Flow) -> Option<Arc<Handle>> {
        self.named(flow).or_else(|| match (flow.transport, flow.connection) {
            (Transport::Tls, 0) => self.proving(flow, None),
            (Transport::Tls, _) => None,
            _ => self.find(flow, |_| true),
        })
    }

    /// A connection that we opened to the peer of `flow`, on which it proves, or has yet to prove,
    /// to be `name`; without a name, to be that address.
    pub(super) fn proving(&self, flow: &Flow, name: Option<&str>) -> Option<Arc<Handle>> {
        let same = |own: Option<&str>| match (own, name) {
            (Some(own), Some(name)) => own.eq_ignore_ascii_case(name),
            (own, name) => own == name,
        };
        self.find(flow, |handle| handle.ours && same(handle.name.as_deref()))
    }

    /// What a TLS connection to the peer of `flow` has to prove: the address where the flow names
    /// no connection, else what the one it names had to. `None`: that one was not ours, and its
    /// far end not a listener.
    pub(super) fn proof_for(&self, flow: &Flow) -> Option<Option<Box<str>>> {
        if flow.connection == 0 {
            return Some(None);
        }
        let opened = self.opened.lock();
        let (remote, name) = opened.peer(flow.connection)?;
        (*remote == flow.remote).then(|| name.clone())
    }

    fn find(&self, flow: &Flow, fits: impl Fn(&Handle) -> bool) -> Option<Arc<Handle>> {
        let shelf = self.shelf(flow.source());
        let handles = shelf.by_remote.get(&(flow.transport, flow.remote))?;
        handles.iter().rev().find(|handle| fits(handle) && !handle.is_closed()).cloned()
    }

    /// Frees a place, once.
    fn remove(&self, handle: &Handle) {
        if handle.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        self.newcomers.lock().remove(handle.id);
        let source = SourceKey::of(handle.remote.ip());
        let key = (handle.transport, handle.remote);
        let mut shelf = self.shelf(source);
        if let Some(handles) = shelf.by_remote.get_mut(&key) {
            handles.retain(|other| other.id != handle.id);
            if handles.is_empty() {
                shelf.by_remote.remove(&key);
            }
        }
        if let Some(count) = shelf.per_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                shelf.per_source.remove(&source);
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where ids of connections begin: with the time, which is later than any id of an earlier process.
fn first_id() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(1).max(1)
}

/// A connection's place in the table. Dropping it, in a panic too, frees the place and reports
/// what was not sent.
pub(super) struct Seat {
    connections: Arc<Connections>,
    handle: Arc<Handle>,
}

impl Seat {
    /// The connection.
    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Reports what a chunk did not get to write.
    pub(super) fn report(&self, chunk: &Chunk) {
        for mark in chunk.marks.iter().filter(|mark| mark.end > chunk.written) {
            self.connections.reports.failed(mark.origin);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.remove(&self.handle);
        for mark in self.handle.finish() {
            self.connections.reports.failed(mark.origin);
        }
    }
}

/// One connection, as those who send see it.
pub(super) struct Handle {
    pub(super) id: u64,
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    /// Whether we opened it.
    pub(super) ours: bool,
    /// Whom the peer of a TLS connection that we opened has to prove to be; `None`: the address.
    pub(super) name: Option<Box<str>>,
    session: OnceLock<Arc<Session>>,
    /// Its place is free again.
    gone: AtomicBool,
    queue: Mutex<Queue>,
    /// There is something to write.
    pub(super) more: Notify,
    /// The connection is to be closed at once.
    pub(super) cut: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    /// Octets in the writer's hands.
    owed: usize,
    closed: bool,
}

/// Where a message whose sender wants to hear ends.
#[derive(Clone, Copy)]
struct Mark {
    end: usize,
    origin: Origin,
}

/// Octets taken out of a queue to be written.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    written: usize,
}

impl Chunk {
    /// What is not written yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Notes that octets were written.
    pub(super) fn advance(&mut self, octets: usize) {
        self.written += octets;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        self.written = 0;
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unqueued {
    /// The connection is gone; another may be opened.
    Closed,
    /// The peer does not read; the connection is being cut.
    Full,
}

impl Handle {
    fn new(transport: Transport, remote: SocketAddr) -> Self {
        let (queue, more, cut) = (Mutex::default(), Notify::new(), Notify::new());
        let (ours, name, session, gone) = (false, None, OnceLock::new(), AtomicBool::new(false));
        Self { id: 0, transport, remote, ours, name, session, gone, queue, more, cut }
    }

    /// Notes what a TLS handshake agreed on.
    pub(super) fn agree(&self, session: Session) {
        self.session.get_or_init(|| Arc::new(session));
    }

    /// What the TLS handshake agreed on; `None` before its end and on other transports.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.get().cloned()
    }

    /// Whether nothing can be sent any more.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Has the connection closed at once.
    fn close(&self) {
        self.queue.lock().closed = true;
        self.cut.notify_one();
    }

    /// Queues one message; a queue over its bound cuts the connection.
    pub(super) fn push(&self, message: &[u8], origin: Option<Origin>) -> Result<(), Unqueued> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(Unqueued::Closed);
        }
        if queue.bytes.len() + queue.owed + message.len() > QUEUE_MAX {
            queue.closed = true;
            self.cut.notify_one();
            return Err(Unqueued::Full);
        }
        queue.bytes.extend_from_slice(message);
        let end = queue.bytes.len();
        queue.marks.extend(origin.map(|origin| Mark { end, origin }));
        drop(queue);
        self.more.notify_one();
        Ok(())
    }

    /// Fills a written-out chunk with what is queued. False: there is nothing to write.
    pub(super) fn take(&self, chunk: &mut Chunk) -> bool {
        if !chunk.rest().is_empty() {
            return true;
        }
        chunk.clear();
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.bytes, &mut chunk.bytes);
        std::mem::swap(&mut queue.marks, &mut chunk.marks);
        queue.owed = chunk.bytes.len();
        if queue.owed == 0 {
            // Thousands of quiet connections hold no buffers.
            queue.bytes = Vec::new();
            chunk.bytes = Vec::new();
        }
        queue.owed != 0
    }

    /// Closes the queue and gives back the marks of what it still held.
    fn finish(&self) -> Vec<Mark> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.bytes = Vec::new();
        std::mem::take(&mut queue.marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections_max: usize, per_source_max: usize) -> (Arc<Connections>, Receiver) {
        let (sender, receiver) = mpsc::channel(8);
        let reports = Reports::new(vec![sender]);
        let bounds = Bounds { connections_max, per_source_max, newcomers_max: connections_max };
        (Connections::new(bounds, reports), receiver)
    }

    type Receiver = mpsc::Receiver<SendToken>;

    fn remote(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], port))
    }

    fn flow(remote: SocketAddr, connection: u64) -> Flow {
        Flow { transport: Transport::Tcp, local: remote, remote, connection }
    }

    fn origin(token: u64) -> Option<Origin> {
        Some(Origin { shard: 0, token: SendToken(token) })
    }

    /// A connection that has shown what it is for.
    fn settled(table: &Arc<Connections>, remote: SocketAddr) -> Option<Seat> {
        let seat = table.admit(Transport::Tcp, remote)?;
        table.settle(seat.handle());
        Some(seat)
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let (table, _reports) = table(3, 2);
        let seats = [1, 2].map(|port| settled(&table, remote(1, port)));
        assert!(seats.iter().all(Option::is_some));
        assert!(table.admit(Transport::Tcp, remote(1, 3)).is_none());
        let other = settled(&table, remote(2, 1));
        assert!(other.is_some());
        assert!(table.admit(Transport::Tcp, remote(3, 1)).is_none(), "three in all");
        drop(seats);
        assert_eq!(table.count(), 1);
        assert!(table.admit(Transport::Tcp, remote(1, 3)).is_some());
    }

    fn named(table: &Connections, seat: &Seat) -> bool {
        table.named(&flow(seat.handle().remote, seat.handle().id)).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_make_room_and_those_who_have_spoken_do_not() {
        let (table, _reports) = table(4, 4);
        let spoken = settled(&table, remote(1, 1)).expect("room");
        let admit = |last, port| table.admit(Transport::Tcp, remote(last, port)).expect("room");
        let (greedy, lone) = ([1, 2].map(|port| admit(2, port)), admit(3, 1));
        let next = admit(4, 1);
        assert!(!named(&table, &greedy[0]), "the source with the most gives one up");
        assert_eq!((table.count(), table.displaced()), (4, 1));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let last = admit(5, 1);
        assert!(!named(&table, &greedy[1]), "who had his time gives way, oldest first");
        let later = admit(6, 1);
        assert!(!named(&table, &lone));
        for seat in [&spoken, &next, &last, &later] {
            assert!(named(&table, seat), "{}", seat.handle().remote);
        }
        drop((greedy, lone));
        assert_eq!(table.count(), 4, "a place is freed once");
    }

    #[test]
    fn a_source_at_its_bound_gives_up_its_own_newcomer() {
        let (table, _reports) = table(9, 2);
        let spoken = settled(&table, remote(1, 1)).expect("room");
        let first = table.admit(Transport::Tcp, remote(1, 2)).expect("room");
        let second = table.admit(Transport::Tcp, remote(1, 3)).expect("the first makes room");
        assert!(named(&table, &spoken) && named(&table, &second) && !named(&table, &first));
    }

    #[test]
    fn tls_is_found_by_the_name_it_proves_and_not_by_its_address() {
        let (table, _reports) = table(9, 9);
        let at = Flow { transport: Transport::Tls, ..flow(remote(1, 1), 0) };
        let theirs = table.admit(Transport::Tls, remote(1, 1)).expect("room");
        assert!(table.towards(&at).is_none(), "who is there has not proved the address");
        let named = table.reserve(Transport::Tls, remote(1, 1), Some("A.example")).expect("room");
        assert!(table.towards(&at).is_none());
        let found = table.proving(&at, Some("a.Example")).expect("the same name");
        assert_eq!(found.id, named.handle().id);
        assert!(table.proving(&at, Some("b.example")).is_none());
        let own = Flow { connection: theirs.handle().id, ..at };
        assert!(table.towards(&own).is_some(), "the very connection");
        drop(theirs);
        assert!(table.towards(&own).is_none());
    }

    #[test]
    fn a_dead_connection_is_replaced_by_another_with_the_same_peer() {
        let (table, _reports) = table(9, 9);
        let old = table.admit(Transport::Tcp, remote(1, 1)).expect("room");
        let id = old.handle().id;
        assert!(table.named(&flow(remote(1, 1), id)).is_some());
        drop(old);
        let new = table.admit(Transport::Tcp, remote(1, 1)).expect("room");
        assert_ne!(new.handle().id, id, "ids are never reused");
        assert!(table.named(&flow(remote(1, 1), id)).is_none());
        let found = table.towards(&flow(remote(1, 1), id)).expect("the new one");
        assert_eq!(found.id, new.handle().id);
        assert!(table.towards(&flow(remote(1, 2), 0)).is_none());
    }

    #[test]
    fn what_is_not_written_is_reported_and_what_is_written_is_not() {
        let (table, mut reports) = table(9, 9);
        let seat = table.admit(Transport::Tcp, remote(1, 1)).expect("room");
        for (message, token) in [("first", 1), ("second", 2)] {
            seat.handle().push(message.as_bytes(), origin(token)).expect("room");
        }
        let mut chunk = Chunk::default();
        assert!(seat.handle().take(&mut chunk));
        chunk.advance("first".len() + 2);
        seat.handle().push(b"third", origin(3)).expect("room");
        seat.report(&chunk);
        drop(seat);
        assert_eq!(reports.try_recv(), Ok(SendToken(2)));
        assert_eq!(reports.try_recv(), Ok(SendToken(3)));
        assert!(reports.try_recv().is_err());
    }

    #[test]
    fn a_peer_that_does_not_read_is_cut_off() {
        let (table, _reports) = table(9, 9);
        let seat = table.admit(Transport::Tcp, remote(1, 1)).expect("room");
        let handle = seat.handle();
        handle.push(&[b'x'; QUEUE_MAX - 1], None).expect("just fits");
        let mut chunk = Chunk::default();
        assert!(handle.take(&mut chunk));
        assert_eq!(handle.push(b"xx", None), Err(Unqueued::Full), "owed octets count");
        assert_eq!(handle.push(b"x", None), Err(Unqueued::Closed));
        assert!(table.towards(&flow(remote(1, 1), 0)).is_none());
    }
}
