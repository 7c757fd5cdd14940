//! One actor per guarded key that has failed: owns the failures and the timer that forgets them.
//! Its mailbox serialises the attempts, so no interleaving gets a fourth evaluation (P6).

use std::sync::Arc;

use actix::prelude::*;
use rempart_sip::digest::{Algorithm, Credentials};
use rempart_sip::flow::SourceKey;
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::Aor;
use tracing::warn;

use crate::clock::now;
use crate::directory::Retire;
use crate::router::Judged;
use crate::shared::Shared;
use crate::tally::Tally;

/// What failures are counted by: the pair, or the user alone (`seed-user`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GuardKey {
    /// The user that the credentials name.
    pub user: Aor,
    /// The source; none counts every source together.
    pub source: Option<SourceKey>,
}

/// Credentials on a valid nonce, to be judged.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Attempt {
    /// What it counts against.
    pub key: GuardKey,
    /// Where it came from, for the log.
    pub source: SourceKey,
    /// The request's method.
    pub method: Vec<u8>,
    /// The header value with the credentials.
    pub credentials: Vec<u8>,
    /// The algorithm where the credentials name none.
    pub algorithm: Algorithm,
    /// The waiting transaction.
    pub transaction: TransactionKey,
    /// The shard where it waits.
    pub shard: usize,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The password is right.
    Right,
    /// It is wrong, and counted.
    Wrong {
        /// Failures of the key in a row, this one among them.
        failures: u32,
    },
    /// The key is suspended: nothing was evaluated (R56).
    Suspended,
}

/// Guards one key (R54, R63, R68).
pub struct AuthGuard {
    key: GuardKey,
    tally: Tally,
    shared: Arc<Shared>,
}

impl AuthGuard {
    /// A guard that already knows of `tally`.
    pub fn new(key: GuardKey, tally: Tally, shared: Arc<Shared>) -> Self {
        Self { key, tally, shared }
    }

    fn judge(&mut self, attempt: &Attempt, ctx: &mut Context<Self>) -> Judgement {
        if self.tally.suspended_until(now()).is_some() {
            return Judgement::Suspended;
        }
        if evaluate(&self.shared, attempt) {
            // R61: success forgets every failure, and with them the guard: once it has judged what
            // waits in its mailbox, which a stop would lose.
            self.tally = Tally::new(self.shared.settings().guard, now());
            ctx.notify(Rest);
            return Judgement::Right;
        }
        if self.tally.fail(now()) {
            self.suspend(attempt.source);
        }
        Judgement::Wrong { failures: self.tally.failures() }
    }

    fn suspend(&mut self, source: SourceKey) {
        warn!(
            event = "guard.suspend", source = %source.address(), user = %self.key.user,
            failures = self.tally.failures(), "auth failed 3rd time"
        );
        if let Some(until) = self.tally.suspended_until(now()) {
            self.shared.suspend(self.key.clone(), until);
        }
    }

    fn stop_when_idle(&mut self, ctx: &mut Context<Self>) {
        let left = self.tally.idle_at().saturating_duration_since(now());
        if left.is_zero() {
            return ctx.stop();
        }
        ctx.run_later(left, Self::stop_when_idle);
    }
}

impl Actor for AuthGuard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.stop_when_idle(ctx);
    }
}

/// Ends a guard that has nothing to remember.
#[derive(Message)]
#[rtype(result = "()")]
struct Rest;

impl Handler<Rest> for AuthGuard {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
        if self.tally.failures() == 0 {
            ctx.stop();
        }
    }
}

impl Handler<Retire> for AuthGuard {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Attempt> for AuthGuard {
    type Result = ();

    fn handle(&mut self, attempt: Attempt, ctx: &mut Self::Context) {
        let judgement = self.judge(&attempt, ctx);
        let judged = Judged { transaction: attempt.transaction, judgement };
        self.shared.tell(attempt.shard, judged);
    }
}

/// Whether the password is right. Unknown users are checked against a dummy, at the same cost.
pub fn evaluate(shared: &Shared, attempt: &Attempt) -> bool {
    let Ok(credentials) = Credentials::parse(&attempt.credentials) else { return false };
    let verify = |ha1: &_| credentials.verify(&attempt.method, ha1, attempt.algorithm);
    shared.accounts.check(&attempt.key.user, verify)
}
