//! Digest authentication of local users (R13, R54 to R61), up to the guard's judgement and on.

use rempart_sip::digest;
use rempart_sip::message::{HeaderName, Method};
use rempart_sip::refusal::Refusal;
use rempart_sip::seal::NonceCheck;
use rempart_sip::transaction::{InviteServer, NonInviteServer, TransactionKey};
use rempart_sip::uri::Aor;
use tracing::{debug, info};

use super::credentials::{self, Shown};
use super::{Arrival, Judged, Router};
use crate::auth_guard::{Attempt, GuardKey, Judgement};
use crate::decisions::{Outcome, Who};
use crate::digest_guard::{Digest, DigestAttempt};
use crate::policy::Caller;
use crate::settings::{GuardMode, Settings};
use crate::transactions::{Server, ServerTransaction, Stage, Transactions};

/// What follows once the user has shown who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The registrar.
    Register,
    /// The relay rules.
    Route,
}

/// A request whose credentials are being judged.
#[derive(Debug)]
pub struct Pending {
    aor: Aor,
    then: Then,
    nonce: Nonce,
}

#[derive(Clone, Copy, Debug)]
struct Nonce {
    id: u64,
    issued_ms: u64,
    nc: u32,
}

impl Router {
    /// Asks for credentials, refuses them, or has them judged.
    pub(super) fn authenticate(
        &mut self,
        arrival: &Arrival<'_>,
        key: TransactionKey,
        aor: Aor,
        then: Then,
    ) {
        let settings = self.shared.settings();
        let shown = match credentials::find(arrival.message, aor.domain()) {
            Ok(Some(shown)) => shown,
            Ok(None) => {
                self.rule("digest", format_args!("no credentials for {}", aor.domain()));
                return self.challenge(arrival, &aor, false);
            }
            Err(refusal) => return self.refuse(arrival, &refusal),
        };
        let guarded = self.guard_key(arrival, &shown, &aor, &settings);
        self.decisions.borrow_mut().credentials(guarded.user.as_str());
        if self.is_suspended(&guarded, arrival, &settings) {
            self.rule("guard", format_args!("{} is suspended", guarded.user));
            return self.refuse(arrival, &Refusal::TryLater);
        }
        if let Err(refusal) = credentials::check(arrival.message, &shown, &aor, &settings) {
            self.rule("digest", format_args!("credentials of {}", guarded.user));
            return self.refuse(arrival, &refusal);
        }
        let Some(nonce) = self.fresh_nonce(arrival, &shown, aor.domain(), &settings) else {
            self.rule("digest", format_args!("the nonce is old, used up or not for this source"));
            return self.challenge(arrival, &aor, true);
        };
        if !self.transactions.has_room() {
            return self.refuse(arrival, &Refusal::Overloaded);
        }
        let attempt = self.attempt(arrival, key, &shown, guarded);
        self.judge(arrival, Pending { aor, then, nonce }, attempt);
    }

    fn guard_key(
        &self,
        arrival: &Arrival<'_>,
        shown: &Shown<'_>,
        aor: &Aor,
        settings: &Settings,
    ) -> GuardKey {
        let user = shown.user(aor.domain()).unwrap_or_else(|| aor.clone());
        let by_user = settings.guard.mode == GuardMode::SeedUser;
        GuardKey { user, source: (!by_user).then(|| arrival.flow.source()) }
    }

    /// R56, at the price of one look-up.
    fn is_suspended(&self, key: &GuardKey, arrival: &Arrival<'_>, settings: &Settings) -> bool {
        settings.guard.mode != GuardMode::Off && self.shared.suspensions.holds(key, arrival.now)
    }

    fn fresh_nonce(
        &self,
        arrival: &Arrival<'_>,
        shown: &Shown<'_>,
        realm: &str,
        settings: &Settings,
    ) -> Option<Nonce> {
        let clock = &self.shared.clock;
        let checked = self.shared.sealer.check_nonce(
            shown.credentials.nonce,
            clock.unix_ms(arrival.now),
            settings.auth.nonce_life,
            clock.started_unix_ms(),
            arrival.flow.source(),
            realm,
        );
        let NonceCheck::Fresh { id, issued_ms } = checked else { return None };
        let nc = shown.nc();
        self.nonces.is_fresh(id, issued_ms, nc).then_some(Nonce { id, issued_ms, nc })
    }

    fn attempt(
        &self,
        arrival: &Arrival<'_>,
        transaction: TransactionKey,
        shown: &Shown<'_>,
        key: GuardKey,
    ) -> DigestAttempt {
        let proof = Digest {
            method: arrival.message.method().as_bytes().to_vec(),
            credentials: shown.value.to_vec(),
            algorithm: shown.algorithm,
        };
        let attempt = Attempt { key, source: arrival.flow.source(), proof };
        DigestAttempt { attempt, transaction, shard: self.shard }
    }

    /// The request waits in its transaction: a retransmission must not be judged again (P10).
    fn judge(&mut self, arrival: &Arrival<'_>, pending: Pending, waiting: DigestAttempt) {
        let key = waiting.transaction;
        let mut transaction = self.arrived(arrival);
        let known = self.shared.accounts.knows(&pending.aor);
        let who = if known { Who::Known } else { self.who(&arrival.flow) };
        transaction.note = Some(self.tell_open(who, arrival));
        transaction.stage = Stage::Judging(Box::new(pending));
        let home = self.guard_home(&waiting.attempt.key);
        self.transactions.put(key, transaction);
        if home != self.shard {
            return self.shared.tell(home, waiting);
        }
        if let Some(judgement) = self.judge_here(waiting) {
            self.on_judged(Judged { transaction: key, judgement });
        }
    }

    /// A pair is guarded where its source is served, a user at one place for all sources.
    fn guard_home(&self, key: &GuardKey) -> usize {
        match key.source {
            Some(_) => self.shard,
            None => self.home(&key.user),
        }
    }

    /// The shard where an address of record is at home.
    pub(super) fn home(&self, aor: &Aor) -> usize {
        let hash = self.shared.sealer.loop_hash(&[aor.as_str().as_bytes()]);
        hash as usize % self.shared.shards()
    }

    /// A transaction for a request about to be worked on.
    pub(super) fn arrived(&self, arrival: &Arrival<'_>) -> Box<ServerTransaction> {
        let (reliable, now) = (arrival.flow.transport.reliable(), arrival.now);
        let timing = &self.shared.settings().timing;
        let machine = match arrival.message.method() {
            Method::Invite => Server::Invite(InviteServer::new(reliable, timing, now)),
            _ => Server::NonInvite(NonInviteServer::new(reliable, timing, now)),
        };
        Transactions::arrive(arrival.flow, machine, arrival.message.to_owned(), now)
    }

    /// The guard has judged.
    pub(super) fn on_judged(&mut self, judged: Judged) {
        let Some(mut transaction) = self.transactions.take(&judged.transaction) else { return };
        let stage = std::mem::take(&mut transaction.stage);
        let Stage::Judging(pending) = stage else {
            transaction.stage = stage;
            return self.transactions.put(judged.transaction, transaction);
        };
        let now = crate::clock::now();
        match judged.judgement {
            Judgement::Suspended => {
                self.rule("guard", format_args!("{} is suspended", pending.aor));
                self.finish(judged.transaction, transaction, &Refusal::TryLater, now);
            }
            Judgement::Wrong { failures } => {
                let source = transaction.flow.source();
                let limit = self.shared.settings().guard.failures;
                self.rule(
                    "guard",
                    format_args!("{failures} of {limit} wrong passwords from {source}"),
                );
                self.challenge_again(judged.transaction, transaction, &pending);
            }
            Judgement::Right => self.proved(judged.transaction, transaction, *pending),
        }
    }

    fn proved(
        &mut self,
        key: TransactionKey,
        transaction: Box<ServerTransaction>,
        pending: Pending,
    ) {
        let Nonce { id, issued_ms, nc } = pending.nonce;
        if !self.nonces.consume(id, issued_ms, nc) {
            return self.challenge_stale(key, transaction, &pending);
        }
        let source = transaction.flow.remote.ip();
        self.rule("digest", format_args!("the password of {} is right", pending.aor));
        debug!(event = "auth.ok", %source, user = %pending.aor, "authenticated");
        match pending.then {
            Then::Register => self.register(key, transaction, pending.aor),
            Then::Route => self.route_proved(key, transaction, pending.aor),
        }
    }

    fn route_proved(&mut self, key: TransactionKey, transaction: Box<ServerTransaction>, aor: Aor) {
        let now = crate::clock::now();
        let Some(request) = &transaction.request else { return };
        let arrival = Arrival { message: request.view(), flow: transaction.flow, now };
        match self.plan(&arrival, &Caller::Local(aor)) {
            Ok(plan) => self.relay(key, transaction, plan),
            Err(refusal) => self.finish(key, transaction, &refusal, now),
        }
    }

    fn challenge_again(
        &mut self,
        key: TransactionKey,
        transaction: Box<ServerTransaction>,
        pending: &Pending,
    ) {
        let source = transaction.flow.remote.ip();
        info!(event = "auth.fail", %source, user = %pending.aor, "wrong password");
        self.challenge_kept(key, transaction, pending, false);
    }

    fn challenge_stale(
        &mut self,
        key: TransactionKey,
        transaction: Box<ServerTransaction>,
        pending: &Pending,
    ) {
        self.rule("digest", format_args!("the nonce was used meanwhile"));
        self.challenge_kept(key, transaction, pending, true);
    }

    fn challenge_kept(
        &mut self,
        key: TransactionKey,
        mut transaction: Box<ServerTransaction>,
        pending: &Pending,
        stale: bool,
    ) {
        let now = crate::clock::now();
        let Some(request) = transaction.request.take() else { return };
        let arrival = Arrival { message: request.view(), flow: transaction.flow, now };
        let refusal = self.write_challenge(&arrival, &pending.aor, stale);
        let reason = if stale { "stale-nonce" } else { "wrong-password" };
        let outcome = Outcome { reason, ..Outcome::refused(&refusal) };
        self.tell_end(&mut transaction, &arrival, outcome);
        self.keep_answer(&mut transaction, now);
        transaction.stage = Stage::Answered;
        self.transactions.note_answered(key);
        self.transactions.put(key, transaction);
    }

    /// 401 or 407, with nothing kept.
    fn challenge(&mut self, arrival: &Arrival<'_>, aor: &Aor, stale: bool) {
        let refusal = self.write_challenge(arrival, aor, stale);
        let mut outcome = Outcome::refused(&refusal);
        if stale {
            outcome.reason = "stale-nonce";
        }
        self.tell(arrival, outcome);
        self.outbox.send(&arrival.flow, &self.out, None);
    }

    /// One challenge per algorithm offered, strongest first, each with a nonce of its own.
    fn write_challenge(&mut self, arrival: &Arrival<'_>, aor: &Aor, stale: bool) -> Refusal {
        let settings = self.shared.settings();
        let (refusal, name) = match arrival.message.method() {
            Method::Register => (Refusal::Unauthorized, HeaderName::WwwAuthenticate),
            _ => (Refusal::ProxyAuthenticationRequired, HeaderName::ProxyAuthenticate),
        };
        self.shared.counters.refused(refusal.id());
        let values: Vec<Vec<u8>> = settings
            .auth
            .algorithms(aor.domain())
            .iter()
            .map(|algorithm| {
                let nonce = self.nonce(arrival, aor.domain());
                let mut value = Vec::with_capacity(160);
                let (qop, realm) = (settings.auth.qop, aor.domain());
                digest::challenge(&mut value, realm, nonce.as_str(), *algorithm, stale, qop);
                value
            })
            .collect();
        let headers: Vec<(&str, &[u8])> =
            values.iter().map(|value| (name.as_str(), value.as_slice())).collect();
        self.write_reply(arrival, refusal.status().unwrap_or_default(), refusal.reason(), &headers);
        refusal
    }

    fn nonce(&mut self, arrival: &Arrival<'_>, realm: &str) -> rempart_sip::seal::Nonce {
        self.unique = self.unique.wrapping_add(1);
        let now_ms = self.shared.clock.unix_ms(arrival.now);
        let flow = &arrival.flow;
        self.shared.sealer.nonce(now_ms, self.unique, flow.source(), realm, flow.transport)
    }
}
