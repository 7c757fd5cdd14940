//! One actor per guarded key that has failed: owns the failures and the timer that forgets them.
//! Its mailbox serialises the attempts, so no interleaving gets a fourth evaluation (P6).
//!
//! What is guarded is open: a [`Keeper`] knows what the users show and whether it is right. Rempart
//! guards digest credentials ([`digest_guard`](crate::digest_guard)); this is a guard of a user
//! with a PIN:
//!
//! ```
//! use std::sync::Arc;
//!
//! use actix::Actor;
//! use rempart_actors::auth_guard::{Attempt, AuthGuard, GuardKey, Judgement, Keeper};
//! use rempart_actors::settings::GuardRule;
//! use rempart_actors::suspensions::Suspensions;
//! use rempart_sip::flow::SourceKey;
//! use rempart_sip::uri::Aor;
//!
//! struct Pin(Suspensions);
//!
//! impl Keeper for Pin {
//!     type Proof = u16;
//!
//!     fn rule(&self) -> GuardRule {
//!         GuardRule::default()
//!     }
//!
//!     fn is_right(&self, _user: &Aor, pin: &u16) -> bool {
//!         *pin == 4711
//!     }
//!
//!     fn suspensions(&self) -> &Suspensions {
//!         &self.0
//!     }
//! }
//!
//! actix::System::new().block_on(async {
//!     let source = SourceKey::of([192, 0, 2, 7].into());
//!     let user = Aor::new(b"alice", "example.org").expect("an address of record");
//!     let key = GuardKey { user, source: Some(source) };
//!     let guard = AuthGuard::fresh(key.clone(), Arc::new(Pin(Suspensions::default()))).start();
//!     let mut judgements = Vec::new();
//!     for proof in [1, 2, 3, 4711] {
//!         let attempt = Attempt { key: key.clone(), source, proof };
//!         judgements.push(guard.send(attempt).await.expect("the guard lives"));
//!     }
//!     // The right PIN comes too late: three failures suspend for a quarter of an hour.
//!     let wrong = |failures| Judgement::Wrong { failures };
//!     assert_eq!(judgements, [wrong(1), wrong(2), wrong(3), Judgement::Suspended]);
//! });
//! ```

use std::sync::Arc;

use actix::prelude::*;
use rempart_sip::flow::SourceKey;
use rempart_sip::uri::Aor;
use rempart_storage::Suspension;
use tracing::warn;

use crate::clock::{now, now_unix};
use crate::directory::Retire;
use crate::settings::GuardRule;
use crate::suspensions::Suspensions;
use crate::tally::Tally;

/// What failures are counted by: the pair, or the user alone (`seed-user`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GuardKey {
    /// The user that the credentials name.
    pub user: Aor,
    /// The source; none counts every source together.
    pub source: Option<SourceKey>,
}

/// Something a user shows, to be judged: answered with a [`Judgement`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "Judgement")]
pub struct Attempt<P> {
    /// What it counts against.
    pub key: GuardKey,
    /// Where it came from, for the log.
    pub source: SourceKey,
    /// What the user shows.
    pub proof: P,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
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

/// Knows the users' secrets and keeps the suspensions. One serves all guards of a house.
///
/// Its methods are called on the guards' arbiter: a slow hash belongs on an arbiter of its own.
pub trait Keeper: Send + Sync + 'static {
    /// What a user shows.
    type Proof: Send + 'static;

    /// The rule in force.
    fn rule(&self) -> GuardRule;

    /// Whether `proof` is right for `user`. An unknown user must cost the same time.
    fn is_right(&self, user: &Aor, proof: &Self::Proof) -> bool;

    /// Who is suspended. Outside the actors, so that an evicted guard frees nobody.
    fn suspensions(&self) -> &Suspensions;

    /// Hears of a suspension that is in force from now on: the place to persist it.
    fn suspended(&self, _suspension: Suspension) {}
}

/// Guards one key (R54, R63, R68).
pub struct AuthGuard<K> {
    key: GuardKey,
    tally: Tally,
    keeper: Arc<K>,
}

impl<K: Keeper> AuthGuard<K> {
    /// A guard that already knows of `tally`.
    pub fn new(key: GuardKey, tally: Tally, keeper: Arc<K>) -> Self {
        Self { key, tally, keeper }
    }

    /// A guard that knows of no failure.
    pub fn fresh(key: GuardKey, keeper: Arc<K>) -> Self {
        let tally = Tally::new(keeper.rule(), now());
        Self::new(key, tally, keeper)
    }

    pub(crate) fn keeper(&self) -> &K {
        &self.keeper
    }

    pub(crate) fn judge(
        &mut self,
        attempt: &Attempt<K::Proof>,
        ctx: &mut Context<Self>,
    ) -> Judgement {
        if self.tally.suspended_until(now()).is_some() {
            return Judgement::Suspended;
        }
        if self.keeper.is_right(&self.key.user, &attempt.proof) {
            // R61: success forgets every failure, and with them the guard: once it has judged what
            // waits in its mailbox, which a stop would lose.
            self.tally = Tally::new(self.keeper.rule(), now());
            ctx.notify(Rest);
            return Judgement::Right;
        }
        self.fail(attempt.source);
        Judgement::Wrong { failures: self.tally.failures() }
    }

    /// Counts a failure; the one that reaches the limit suspends the key at once (R59).
    pub(crate) fn fail(&mut self, source: SourceKey) {
        let now = now();
        if !self.tally.fail(now) {
            return;
        }
        let (user, failures) = (&self.key.user, self.tally.failures());
        warn!(
            event = "guard.suspend", source = %source.address(), %user, failures,
            "auth failed 3rd time"
        );
        if let Some(until) = self.tally.suspended_until(now) {
            let suspensions = self.keeper.suspensions();
            let row = suspensions.insert(self.key.clone(), until, now, now_unix());
            self.keeper.suspended(row);
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

impl<K: Keeper> Actor for AuthGuard<K> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.stop_when_idle(ctx);
    }
}

/// Ends a guard that has nothing to remember.
#[derive(Message)]
#[rtype(result = "()")]
struct Rest;

impl<K: Keeper> Handler<Rest> for AuthGuard<K> {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
        if self.tally.failures() == 0 {
            ctx.stop();
        }
    }
}

impl<K: Keeper> Handler<Retire> for AuthGuard<K> {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl<K: Keeper> Handler<Attempt<K::Proof>> for AuthGuard<K> {
    type Result = Judgement;

    fn handle(&mut self, attempt: Attempt<K::Proof>, ctx: &mut Self::Context) -> Judgement {
        self.judge(&attempt, ctx)
    }
}
