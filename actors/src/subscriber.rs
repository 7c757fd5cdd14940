//! One actor per subscriber in use: the registrar of its address of record (RFC 3261 section 10).
//! Its mailbox orders the changes of one AOR's bindings, wherever the phones are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use rempart_sip::flow::Flow;
use rempart_sip::message::OwnedMessage;
use rempart_sip::refusal::Refusal;
use rempart_sip::registrar::{Binding, Outcome, register};
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::Aor;
use tracing::{debug, info};

use crate::clock::{now, now_unix};
use crate::directory::Retire;
use crate::router::Registered;
use crate::shared::Shared;

/// Subscriber actors per shard.
pub const SUBSCRIBERS_MAX: usize = 10_000;

/// How long an unused subscriber actor stays.
const IDLE: Duration = Duration::from_secs(60);

/// A REGISTER whose sender has been authenticated. The bindings then in force are the answer, once
/// the journal holds them; or why nothing changed.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Binding>, Refusal>")]
pub struct Register {
    /// The request.
    pub request: Box<OwnedMessage>,
    /// The flow it came by.
    pub flow: Flow,
}

/// The same with a transaction that waits: its router flushes the journal for all that registered
/// in one turn, and hears of each as [`Registered`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WaitingRegister {
    /// The subscriber.
    pub aor: Aor,
    /// The waiting transaction.
    pub transaction: TransactionKey,
    /// The shard where it waits.
    pub shard: usize,
    /// The request.
    pub request: Box<OwnedMessage>,
    /// The flow it came by.
    pub flow: Flow,
}

/// Forgets every binding of the subscriber; says how many there were.
#[derive(Debug, Message)]
#[rtype(result = "Result<usize, String>")]
pub struct ForgetBindings(pub Aor);

/// See the module (R68).
pub struct Subscriber {
    aor: Aor,
    shared: Arc<Shared>,
    used: Instant,
}

impl Subscriber {
    /// The actor of `aor`.
    pub fn new(aor: Aor, shared: Arc<Shared>) -> Self {
        Self { aor, shared, used: now() }
    }

    fn register(&self, request: &OwnedMessage, flow: Flow) -> Result<Vec<Binding>, Refusal> {
        let (shared, now_unix) = (&self.shared, now_unix());
        let existing = shared.location.bindings(&self.aor, now_unix);
        let limits = &shared.settings().registrar;
        let outcome = register(request.view(), &existing, flow, now_unix, limits)?;
        if outcome.changed {
            self.keep(&outcome.bindings);
            self.note(flow, &outcome);
        }
        Ok(outcome.bindings)
    }

    /// A phone that comes or goes is news; one that refreshes its binding is not.
    fn note(&self, flow: Flow, outcome: &Outcome) {
        let Outcome { bindings, added, removed, .. } = outcome;
        let (source, user, bindings) = (flow.remote.ip(), &self.aor, bindings.len());
        match added + removed {
            0 => debug!(event = "register", %source, %user, bindings, "binding refreshed"),
            _ => info!(
                event = "register", %source, %user, bindings, added, removed, "bindings changed"
            ),
        }
    }

    /// In memory and in the journal's buffer; the router flushes the journal before it answers.
    fn keep(&self, bindings: &[Binding]) {
        self.shared.location.put(self.aor.as_str(), bindings);
        self.shared.journal.append(self.aor.as_str(), bindings);
    }

    fn stop_when_idle(&mut self, ctx: &mut Context<Self>) {
        let left = (self.used + IDLE).saturating_duration_since(now());
        if left.is_zero() {
            return ctx.stop();
        }
        ctx.run_later(left, Self::stop_when_idle);
    }
}

impl Actor for Subscriber {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.stop_when_idle(ctx);
    }
}

impl Handler<Register> for Subscriber {
    type Result = Result<Vec<Binding>, Refusal>;

    fn handle(&mut self, register: Register, _: &mut Self::Context) -> Self::Result {
        self.used = now();
        let bindings = self.register(&register.request, register.flow)?;
        self.shared.journal.flush().map_err(|_| Refusal::StorageFailed)?;
        Ok(bindings)
    }
}

impl Handler<WaitingRegister> for Subscriber {
    type Result = ();

    fn handle(&mut self, register: WaitingRegister, _: &mut Self::Context) {
        self.used = now();
        let outcome = self.register(&register.request, register.flow);
        let WaitingRegister { transaction, shard, request, .. } = register;
        self.shared.tell(shard, Registered { transaction, request, outcome });
    }
}

impl Handler<ForgetBindings> for Subscriber {
    type Result = Result<usize, String>;

    fn handle(&mut self, _: ForgetBindings, _: &mut Self::Context) -> Self::Result {
        let bindings = self.shared.location.bindings(&self.aor, now_unix());
        self.keep(&[]);
        self.shared.journal.flush().map_err(|error| error.to_string())?;
        Ok(bindings.len())
    }
}

impl Handler<Retire> for Subscriber {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
