//! The guard as SIP uses it: digest credentials, judged by the subscribers' secrets, answered to
//! the transaction that waits.

use actix::prelude::*;
use rempart_sip::digest::{Algorithm, Credentials};
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::Aor;
use rempart_storage::Suspension;

use crate::auth_guard::{Attempt, AuthGuard, Keeper};
use crate::router::Judged;
use crate::scribe::Record;
use crate::settings::GuardRule;
use crate::shared::Shared;
use crate::suspensions::Suspensions;

/// Digest credentials on a valid nonce.
#[derive(Clone, Debug)]
pub struct Digest {
    /// The request's method.
    pub method: Vec<u8>,
    /// The header value with the credentials.
    pub credentials: Vec<u8>,
    /// The algorithm where the credentials name none.
    pub algorithm: Algorithm,
}

/// An attempt for which a request waits: its router hears the judgement as [`Judged`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct DigestAttempt {
    /// The attempt.
    pub attempt: Attempt<Digest>,
    /// The waiting transaction.
    pub transaction: TransactionKey,
    /// The shard where it waits.
    pub shard: usize,
}

impl Keeper for Shared {
    type Proof = Digest;

    fn rule(&self) -> GuardRule {
        self.guard_rule()
    }

    /// Unknown users are checked against a dummy, at the same cost.
    fn is_right(&self, user: &Aor, proof: &Digest) -> bool {
        let Ok(credentials) = Credentials::parse(&proof.credentials) else { return false };
        let verify = |ha1: &_| credentials.verify(&proof.method, ha1, proof.algorithm);
        self.accounts.check(user, verify)
    }

    fn suspensions(&self) -> &Suspensions {
        &self.suspensions
    }

    fn suspended(&self, suspension: Suspension) {
        self.write(Record::Suspension(suspension));
    }
}

impl Handler<DigestAttempt> for AuthGuard<Shared> {
    type Result = ();

    fn handle(&mut self, waiting: DigestAttempt, ctx: &mut Self::Context) {
        let judgement = self.judge(&waiting.attempt, ctx);
        let DigestAttempt { transaction, shard, .. } = waiting;
        self.keeper().tell(shard, Judged { transaction, judgement });
    }
}
