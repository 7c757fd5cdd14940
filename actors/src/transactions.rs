//! Transactions are not actors: pure machines in one table per shard, with one armed timer for
//! all of them. Requests retransmitted end here, before anything is decided twice.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use rempart_sip::flow::Flow;
use rempart_sip::message::OwnedMessage;
use rempart_sip::transaction::{
    InviteClient, InviteServer, NonInviteClient, NonInviteServer, Todo, TransactionKey,
};

use crate::decisions::Note;
use crate::relay::Relay;

/// How long an answer without a machine is kept for retransmissions: 64 times T1's default.
pub const ANSWER_KEPT: Duration = Duration::from_secs(32);

/// How long a request waits for an actor of ours. One that panicked never answers, and the request
/// must not keep its place for ever.
pub const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// The machine of a server transaction.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// RFC 3261 section 17.2.1 with RFC 6026.
    Invite(InviteServer),
    /// RFC 3261 section 17.2.2.
    NonInvite(NonInviteServer),
    /// An answer kept until then and never retransmitted by timer: a refusal to a source that has
    /// proved nothing must not be amplified (guard.md section 8).
    Kept(Instant),
}

/// What a request is waiting for.
#[derive(Debug, Default)]
pub enum Stage {
    /// Nothing yet.
    #[default]
    Arrived,
    /// The guard's judgement; then the nonce use is consumed.
    Judging(Box<crate::router::Pending>),
    /// The registrar.
    Registering,
    /// The callees.
    Relayed(Box<Relay>),
    /// Nothing more: it was answered.
    Answered,
}

/// One request and what became of it.
#[derive(Debug)]
pub struct ServerTransaction {
    /// Where it came from and where responses go.
    pub flow: Flow,
    /// Its machine.
    pub machine: Server,
    /// The request; gone once it was answered for good.
    pub request: Option<Box<OwnedMessage>>,
    /// The last response sent.
    pub response: Vec<u8>,
    /// What it waits for.
    pub stage: Stage,
    /// What is remembered of it, until its outcome is.
    pub note: Option<Note>,
    decided_by: Instant,
    armed: Option<Instant>,
}

/// One request sent on, and whom its responses concern.
#[derive(Debug)]
pub struct ClientTransaction {
    /// Where it went.
    pub flow: Flow,
    /// Its machine.
    pub machine: Client,
    /// The request as sent.
    pub sent: Vec<u8>,
    /// Whom its responses concern.
    pub owner: Owner,
    /// The gateway it was sent to, if it was one.
    pub gateway: Option<Arc<str>>,
    /// When silence so far means to turn elsewhere.
    pub patience: Option<Instant>,
    /// Nobody waits for it any more: an answer that rings is cancelled.
    pub given_up: bool,
    armed: Option<Instant>,
}

/// Whom the responses of a client transaction concern.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// A relayed request.
    Relay {
        /// Its server transaction.
        server: TransactionKey,
        /// The branch there.
        branch: usize,
        /// The caller, for a 2xx that outlives the server transaction.
        upstream: Flow,
    },
    /// The probe of a gateway.
    Probe,
    /// The BYE of a call that nobody waits for any more.
    HangUp,
}

/// The machine of a client transaction.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// RFC 3261 section 17.1.1 with RFC 6026.
    Invite(InviteClient),
    /// RFC 3261 section 17.1.2.
    NonInvite(NonInviteClient),
}

/// Whose timer fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A server transaction's.
    Server(TransactionKey),
    /// A client transaction's, by serial.
    Client(u64),
    /// Timer C of a relayed INVITE.
    Relay(TransactionKey),
}

#[derive(Debug, PartialEq, Eq)]
struct Alarm(Instant, Due);

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The table of one shard.
#[derive(Debug)]
pub struct Transactions {
    servers: HashMap<TransactionKey, Box<ServerTransaction>, RandomState>,
    clients: HashMap<u64, Box<ClientTransaction>, RandomState>,
    alarms: BinaryHeap<Reverse<Alarm>>,
    answered: VecDeque<TransactionKey>,
    transactions_max: usize,
    serial: u64,
}

impl Transactions {
    /// Room for `transactions_max` server transactions.
    pub fn new(transactions_max: usize) -> Self {
        Self {
            servers: HashMap::default(),
            clients: HashMap::default(),
            alarms: BinaryHeap::new(),
            answered: VecDeque::new(),
            transactions_max,
            serial: rand::random(),
        }
    }

    /// Server transactions now.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// Makes room for one more: the oldest answered one goes. `false` when all are in progress.
    pub fn has_room(&mut self) -> bool {
        while self.servers.len() >= self.transactions_max {
            let Some(oldest) = self.answered.pop_front() else { return false };
            let done =
                |transaction: &ServerTransaction| matches!(transaction.stage, Stage::Answered);
            if self.servers.get(&oldest).is_some_and(|transaction| done(transaction)) {
                self.servers.remove(&oldest);
            }
        }
        true
    }

    /// A transaction that just arrived; not in the table until [`Self::put`].
    pub fn arrive(
        flow: Flow,
        machine: Server,
        request: OwnedMessage,
        now: Instant,
    ) -> Box<ServerTransaction> {
        Box::new(ServerTransaction {
            flow,
            machine,
            request: Some(Box::new(request)),
            response: Vec::new(),
            stage: Stage::Arrived,
            note: None,
            decided_by: now + DECIDED_WITHIN,
            armed: None,
        })
    }

    /// Whether the key is known.
    pub fn knows(&self, key: &TransactionKey) -> bool {
        self.servers.contains_key(key)
    }

    /// Looks at a transaction in place.
    pub fn get(&self, key: &TransactionKey) -> Option<&ServerTransaction> {
        self.servers.get(key).map(|transaction| &**transaction)
    }

    /// Takes a transaction out, to work on it; [`Self::put`] puts it back.
    pub fn take(&mut self, key: &TransactionKey) -> Option<Box<ServerTransaction>> {
        self.servers.remove(key)
    }

    /// Puts a transaction in or back, and arms its timer.
    pub fn put(&mut self, key: TransactionKey, mut transaction: Box<ServerTransaction>) {
        let deadline = transaction.deadline();
        arm(&mut self.alarms, deadline, &mut transaction.armed, Due::Server(key));
        if let Stage::Relayed(relay) = &mut transaction.stage {
            let deadline = relay.context.deadline();
            arm(&mut self.alarms, deadline, &mut relay.armed, Due::Relay(key));
        }
        self.servers.insert(key, transaction);
    }

    /// Notes that nothing but retransmissions can come to it.
    pub fn note_answered(&mut self, key: TransactionKey) {
        if self.answered.len() > 2 * self.transactions_max {
            let servers = &self.servers;
            self.answered.retain(|key| servers.contains_key(key));
        }
        self.answered.push_back(key);
    }

    /// A number no client transaction of this shard has.
    pub fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Puts a client transaction in or back, and arms its timer.
    pub fn put_client(&mut self, serial: u64, mut transaction: Box<ClientTransaction>) {
        let deadline = transaction.deadline();
        arm(&mut self.alarms, deadline, &mut transaction.armed, Due::Client(serial));
        self.clients.insert(serial, transaction);
    }

    /// Takes a client transaction out.
    pub fn take_client(&mut self, serial: u64) -> Option<Box<ClientTransaction>> {
        self.clients.remove(&serial)
    }

    /// Looks at a client transaction in place.
    pub fn client(&self, serial: u64) -> Option<&ClientTransaction> {
        self.clients.get(&serial).map(|transaction| &**transaction)
    }

    /// The number of the CANCEL of the INVITE sent under `serial`: it has a transaction of its
    /// own under the same branch (RFC 3261 section 9.1).
    pub fn cancel_serial(serial: u64) -> u64 {
        serial ^ (1 << 63)
    }

    /// The number of the BYE that ends what the INVITE sent under `serial` began.
    pub fn bye_serial(serial: u64) -> u64 {
        serial ^ (1 << 62)
    }

    /// When the earliest timer fires.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse(Alarm(at, _))| *at)
    }

    /// A timer that has fired at `now`. Timers moved meanwhile are armed anew when they come up.
    pub fn next_due(&mut self, now: Instant) -> Option<Due> {
        while self.alarms.peek().is_some_and(|Reverse(Alarm(at, _))| *at <= now) {
            let Reverse(Alarm(at, due)) = self.alarms.pop()?;
            if self.has_fired(due, at, now) {
                return Some(due);
            }
        }
        None
    }

    fn has_fired(&mut self, due: Due, at: Instant, now: Instant) -> bool {
        let alarms = &mut self.alarms;
        match due {
            Due::Server(key) => self.servers.get_mut(&key).is_some_and(|transaction| {
                let deadline = transaction.deadline();
                fired(alarms, deadline, &mut transaction.armed, due, at, now)
            }),
            Due::Client(serial) => self.clients.get_mut(&serial).is_some_and(|transaction| {
                let deadline = transaction.deadline();
                fired(alarms, deadline, &mut transaction.armed, due, at, now)
            }),
            Due::Relay(key) => match self.servers.get_mut(&key).map(|server| &mut server.stage) {
                Some(Stage::Relayed(relay)) => {
                    let deadline = relay.context.deadline();
                    fired(alarms, deadline, &mut relay.armed, due, at, now)
                }
                _ => false,
            },
        }
    }
}

fn arm(
    alarms: &mut BinaryHeap<Reverse<Alarm>>,
    deadline: Option<Instant>,
    armed: &mut Option<Instant>,
    due: Due,
) {
    if let Some(deadline) = deadline
        && armed.is_none_or(|at| deadline < at)
    {
        *armed = Some(deadline);
        alarms.push(Reverse(Alarm(deadline, due)));
    }
}

fn fired(
    alarms: &mut BinaryHeap<Reverse<Alarm>>,
    deadline: Option<Instant>,
    armed: &mut Option<Instant>,
    due: Due,
    at: Instant,
    now: Instant,
) -> bool {
    if *armed != Some(at) {
        return false;
    }
    *armed = None;
    if deadline.is_some_and(|deadline| deadline <= now) {
        return true;
    }
    arm(alarms, deadline, armed, due);
    false
}

impl ServerTransaction {
    /// When its timer fires.
    pub fn deadline(&self) -> Option<Instant> {
        if matches!(self.stage, Stage::Judging(_) | Stage::Registering) {
            return Some(self.decided_by);
        }
        match &self.machine {
            Server::Invite(machine) => machine.deadline(),
            Server::NonInvite(machine) => machine.deadline(),
            Server::Kept(until) => Some(*until),
        }
    }

    /// Whether an actor of ours has owed it an answer for too long.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let waits = matches!(self.stage, Stage::Judging(_) | Stage::Registering);
        waits && self.decided_by <= now
    }

    /// The same request came again.
    pub fn on_request(&mut self, now: Instant) -> Todo {
        match &mut self.machine {
            Server::Invite(machine) => machine.on_request(now),
            Server::NonInvite(machine) => machine.on_request(now),
            Server::Kept(_) => Todo { send: true, ..Todo::NOTHING },
        }
    }

    /// A response goes out.
    pub fn on_response(&mut self, status: u16, now: Instant) -> Todo {
        match &mut self.machine {
            Server::Invite(machine) => machine.on_response(status, now),
            Server::NonInvite(machine) => machine.on_response(status, now),
            Server::Kept(_) => Todo { send: true, ..Todo::NOTHING },
        }
    }

    /// Its timer fired.
    pub fn on_deadline(&mut self, now: Instant) -> Todo {
        match &mut self.machine {
            Server::Invite(machine) => machine.on_deadline(now),
            Server::NonInvite(machine) => machine.on_deadline(now),
            Server::Kept(_) => Todo { done: true, ..Todo::NOTHING },
        }
    }
}

impl ClientTransaction {
    /// A transaction for a request just sent.
    pub fn new(flow: Flow, machine: Client, sent: Vec<u8>, owner: Owner) -> Box<Self> {
        let (gateway, patience, given_up, armed) = (None, None, false, None);
        Box::new(Self { flow, machine, sent, owner, gateway, patience, given_up, armed })
    }

    /// When something is to be done about it without a message.
    fn deadline(&self) -> Option<Instant> {
        let machine = self.machine.deadline();
        self.patience.map(|at| machine.map_or(at, |machine| machine.min(at))).or(machine)
    }

    /// Whether its gateway has been silent for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.patience.is_some_and(|at| at <= now)
    }

    /// Waits for it no more, but for what it may still say.
    pub fn give_up(&mut self) {
        (self.given_up, self.patience) = (true, None);
        if let Client::Invite(machine) = &mut self.machine {
            machine.on_given_up();
        }
    }
}

impl Client {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Invite(machine) => machine.deadline(),
            Self::NonInvite(machine) => machine.deadline(),
        }
    }

    /// Its timer fired.
    pub fn on_deadline(&mut self, now: Instant) -> Todo {
        match self {
            Self::Invite(machine) => machine.on_deadline(now),
            Self::NonInvite(machine) => machine.on_deadline(now),
        }
    }

    /// A response came.
    pub fn on_response(&mut self, status: u16, now: Instant) -> Todo {
        match self {
            Self::Invite(machine) => machine.on_response(status, now),
            Self::NonInvite(machine) => machine.on_response(status, now),
        }
    }

    /// The request did not leave.
    pub fn on_transport_error(&mut self, now: Instant) -> Todo {
        match self {
            Self::Invite(machine) => machine.on_transport_error(now),
            Self::NonInvite(machine) => machine.on_transport_error(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use rempart_sip::flow::Transport;
    use rempart_sip::transaction::Timing;

    use super::*;

    #[test]
    fn a_request_waits_ten_seconds_for_an_actor_of_ours() {
        let (now, transport) = (Instant::now(), Transport::Udp);
        let address = "192.0.2.1:5060".parse().expect("an address");
        let flow = Flow { transport, local: address, remote: address, connection: 0 };
        let machine = Server::NonInvite(NonInviteServer::new(false, &Timing::default(), now));
        let request = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            From: <sip:a@a>;tag=a\r\nTo: <sip:a@a>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let request = OwnedMessage::new(request.to_vec()).expect("a request");
        let mut transaction = Transactions::arrive(flow, machine, request, now);
        assert_eq!(transaction.deadline(), None);
        transaction.stage = Stage::Registering;
        assert_eq!(transaction.deadline(), Some(now + DECIDED_WITHIN));
        assert!(!transaction.is_overdue(now) && transaction.is_overdue(now + DECIDED_WITHIN));
    }
}
