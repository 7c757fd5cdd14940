//! Stages 3 to 8: one router per shard parses what the gate admits, absorbs retransmissions,
//! applies the relay rules (R1, R2, R12 to R22) and relays. It owns the shard's transactions.

mod answer;
mod authenticate;
mod classify;
mod credentials;
mod dialog;
mod forward;
mod gateways;
mod intake;
mod locate;
mod registration;
mod responses;
mod secure;
mod telling;
mod timers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use rempart_sip::flow::Flow;
use rempart_sip::message::{Index, Message as SipMessage, OwnedMessage};
use rempart_sip::refusal::Refusal;
use rempart_sip::registrar::Binding;
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::Aor;
use tracing::error;

use crate::auth_guard::{GuardKey, Judgement};
use crate::clock::{now, now_unix};
use crate::decisions::Memory;
use crate::digest_guard::DigestAttempt;
use crate::directory::Directory;
use crate::door::{Pool, recycle};
use crate::guard_desk::{GuardDesk, Ruling};
use crate::nonce_uses::NonceUses;
use crate::shared::Shared;
use crate::subscriber::{ForgetBindings, SUBSCRIBERS_MAX, Subscriber, WaitingRegister};
use crate::transactions::Transactions;
use crate::wire::{Batch, Outbox, Resolved, SendToken};

pub use authenticate::Pending;

/// Batches that wait for the router.
pub const ROUTER_MAILBOX: usize = 8_192;

/// Messages that the gate let through.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Admitted(pub Batch);

/// A message with a token did not leave.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SendFailed(pub SendToken);

/// A guard's judgement on the credentials of a waiting request.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Judged {
    /// The waiting transaction.
    pub transaction: TransactionKey,
    /// The judgement.
    pub judgement: Judgement,
}

/// A subscriber's answer to a waiting REGISTER.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Registered {
    /// The waiting transaction.
    pub transaction: TransactionKey,
    /// Its request, given back.
    pub request: Box<OwnedMessage>,
    /// The bindings now in force, or why nothing changed.
    pub outcome: Result<Vec<Binding>, Refusal>,
}

/// The addresses of a name that a waiting request asked for.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NameResolved {
    transaction: TransactionKey,
    target: Box<crate::relay::Target>,
    result: Resolved,
}

/// A datagram came back: an ICMP error says that nobody takes it there, and quotes the branch that
/// we gave it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Returned {
    /// The client transaction that the branch names.
    pub serial: u64,
    /// Where it was sent to.
    pub to: std::net::SocketAddr,
}

/// The addresses of a gateway that is to be probed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GatewayResolved {
    uri: Arc<str>,
    result: Resolved,
}

/// Forgets the failures of a user, of a source, or of both together.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ForgetFailures {
    /// The user, or everyone.
    pub user: Option<String>,
    /// The source, or every source.
    pub source: Option<rempart_sip::flow::SourceKey>,
}

impl ForgetFailures {
    /// Whether it names this key.
    pub fn names(&self, key: &GuardKey) -> bool {
        self.user.as_deref().is_none_or(|user| key.user.as_str() == user)
            && self.source.is_none_or(|source| key.source == Some(source))
    }
}

/// Time to send what the last messages left in the buffers.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

/// See the module.
pub struct Router {
    shared: Arc<Shared>,
    shard: usize,
    outbox: Box<dyn Outbox>,
    pool: Pool,
    decisions: Memory,
    transactions: Transactions,
    desk: GuardDesk<Shared>,
    nonces: NonceUses,
    subscribers: Directory<Aor, Subscriber>,
    registered: Vec<Registered>,
    index: Index,
    out: Vec<u8>,
    unique: u64,
    flush_due: bool,
    armed: Option<(Instant, SpawnHandle)>,
    sweeps: usize,
    counted: usize,
}

/// One request as it is worked on.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    message: SipMessage<'a>,
    flow: Flow,
    now: Instant,
}

impl Router {
    /// The router of `shard`, sending through `outbox`, with the shard's memory.
    pub fn new(
        shared: Arc<Shared>,
        shard: usize,
        outbox: Box<dyn Outbox>,
        pool: Pool,
        decisions: Memory,
    ) -> Self {
        let transactions = shared.settings().limits.transactions / shared.shards();
        Self {
            desk: GuardDesk::new(shared.clone()),
            transactions: Transactions::new(transactions.max(1)),
            shared,
            shard,
            outbox,
            pool,
            decisions,
            nonces: NonceUses::default(),
            subscribers: Directory::new(SUBSCRIBERS_MAX),
            registered: Vec::new(),
            index: Index::default(),
            out: Vec::with_capacity(2048),
            unique: rand::random(),
            flush_due: false,
            armed: None,
            sweeps: 0,
            counted: 0,
        }
    }

    fn subscriber(&mut self, aor: &Aor) -> &Addr<Subscriber> {
        let shared = &self.shared;
        self.subscribers.get_or_start(aor, || Subscriber::new(aor.clone(), shared.clone()))
    }

    /// Judges at once, or has the key's guard answer.
    fn judge_here(&mut self, waiting: DigestAttempt) -> Option<Judgement> {
        match self.desk.judge(&waiting.attempt) {
            Ruling::Now(judgement) => Some(judgement),
            Ruling::Ask(guard) => guard.try_send(waiting).err().map(|_| Judgement::Suspended),
        }
    }

    /// Does a piece of work: a fault of ours costs the transaction in hand, not the shard. What
    /// was being worked on is out of the table, and so nothing half done is left in it.
    fn contain(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.shared.counters.refused("panic");
            error!(event = "panic", "a transaction was lost to a fault of the server");
        }
    }

    /// Every handler ends here: the buffers go out once the mailbox is drained, and the one timer
    /// follows the earliest deadline.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        if !self.flush_due {
            self.flush_due = true;
            ctx.notify(Flush);
        }
        self.arm(ctx);
    }

    fn sweep(&mut self, _: &mut Context<Self>) {
        self.desk.sweep();
        self.subscribers.sweep();
        let settings = self.shared.settings();
        let life = settings.auth.nonce_life.as_millis() as u64;
        self.nonces.sweep(self.shared.clock.unix_ms(now()).saturating_sub(life));
        if self.shard == 0 {
            self.sweeps += 1;
            self.shared.suspensions.sweep(now());
            self.shared.location.sweep(self.sweeps, now_unix());
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(ROUTER_MAILBOX);
        ctx.run_interval(Duration::from_secs(1), Self::sweep);
        // One shard probes for all.
        if self.shard == 0 {
            Self::begin_probes(ctx);
        }
    }
}

impl Handler<Admitted> for Router {
    type Result = ();

    fn handle(&mut self, Admitted(batch): Admitted, ctx: &mut Self::Context) {
        let now = now();
        for (flow, message) in batch.iter() {
            self.contain(|router| router.receive(flow, message, now));
        }
        recycle(&self.pool, batch);
        self.settle(ctx);
    }
}

impl Handler<Judged> for Router {
    type Result = ();

    fn handle(&mut self, judged: Judged, ctx: &mut Self::Context) {
        self.contain(|router| router.on_judged(judged));
        self.settle(ctx);
    }
}

impl Handler<DigestAttempt> for Router {
    type Result = ();

    /// An attempt from another shard, on a user whose home is here.
    fn handle(&mut self, waiting: DigestAttempt, _: &mut Self::Context) {
        let (transaction, shard) = (waiting.transaction, waiting.shard);
        if let Some(judgement) = self.judge_here(waiting) {
            self.shared.tell(shard, Judged { transaction, judgement });
        }
    }
}

impl Handler<WaitingRegister> for Router {
    type Result = ();

    /// A REGISTER from another shard, for a subscriber whose home is here.
    fn handle(&mut self, register: WaitingRegister, _: &mut Self::Context) {
        self.hand_to_subscriber(register);
    }
}

impl Handler<Registered> for Router {
    type Result = ();

    fn handle(&mut self, registered: Registered, ctx: &mut Self::Context) {
        self.registered.push(registered);
        self.settle(ctx);
    }
}

impl Handler<NameResolved> for Router {
    type Result = ();

    fn handle(&mut self, found: NameResolved, ctx: &mut Self::Context) {
        self.contain(|router| router.on_resolved(found));
        self.settle(ctx);
    }
}

impl Handler<SendFailed> for Router {
    type Result = ();

    fn handle(&mut self, SendFailed(token): SendFailed, ctx: &mut Self::Context) {
        self.contain(|router| router.on_send_failed(token));
        self.settle(ctx);
    }
}

impl Handler<Returned> for Router {
    type Result = ();

    fn handle(&mut self, returned: Returned, ctx: &mut Self::Context) {
        self.contain(|router| router.on_returned(returned));
        self.settle(ctx);
    }
}

impl Handler<GatewayResolved> for Router {
    type Result = ();

    fn handle(&mut self, found: GatewayResolved, ctx: &mut Self::Context) {
        self.contain(|router| router.on_gateway_resolved(found));
        self.settle(ctx);
    }
}

impl Handler<Flush> for Router {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.flush_due = false;
        self.answer_registered();
        self.contain(|router| router.outbox.flush());
        self.count_transactions();
        self.arm(ctx);
    }
}

impl Handler<ForgetBindings> for Router {
    type Result = ResponseFuture<Result<usize, String>>;

    fn handle(&mut self, forget: ForgetBindings, _: &mut Self::Context) -> Self::Result {
        let asked = self.subscriber(&forget.0).send(forget);
        Box::pin(async move { asked.await.map_err(|error| error.to_string())? })
    }
}

impl Handler<ForgetFailures> for Router {
    type Result = ();

    fn handle(&mut self, forget: ForgetFailures, _: &mut Self::Context) {
        self.desk.lift(|key| forget.names(key));
    }
}
