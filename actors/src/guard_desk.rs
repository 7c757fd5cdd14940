//! The guarded keys of one shard: who is suspended, and which keys have a guard. Suspensions are
//! kept here, outside the actors, so that evicting a guard never frees a guesser.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::quality::RandomState;
use rempart_storage::Suspension;

use crate::auth_guard::{Attempt, AuthGuard, GuardKey, Judgement, evaluate};
use crate::bans::{network, source_of};
use crate::clock::{now, now_unix};
use crate::directory::Directory;
use crate::scribe::Record;
use crate::shared::Shared;
use crate::tally::Tally;

/// Guard actors per shard.
pub const GUARDS_MAX: usize = 10_000;

/// Suspensions kept per shard.
pub const SUSPENSIONS_MAX: usize = 65_536;

struct Standing {
    until: Instant,
    row: Suspension,
}

/// See the module.
pub struct GuardDesk {
    shared: Arc<Shared>,
    shard: usize,
    guards: Directory<GuardKey, AuthGuard>,
    suspensions: HashMap<GuardKey, Standing, RandomState>,
}

impl GuardDesk {
    /// The desk of `shard`.
    pub fn new(shared: Arc<Shared>, shard: usize) -> Self {
        let guards = Directory::new(GUARDS_MAX);
        Self { shared, shard, guards, suspensions: HashMap::default() }
    }

    /// Whether the key is suspended.
    pub fn is_suspended(&self, key: &GuardKey, now: Instant) -> bool {
        self.suspensions.get(key).is_some_and(|standing| now < standing.until)
    }

    /// Judges an attempt at once, or hands it to the key's guard: `None`, and the guard answers.
    ///
    /// A key that never failed has no guard; its first failure makes one.
    pub fn judge(&mut self, attempt: Attempt, guarded: bool) -> Option<Judgement> {
        if guarded && self.is_suspended(&attempt.key, now()) {
            return Some(Judgement::Suspended);
        }
        if let Some(guard) = self.guards.get(&attempt.key) {
            // A guard with a full mailbox refuses: closed, never open.
            return guard.try_send(attempt).err().map(|_| Judgement::Suspended);
        }
        if evaluate(&self.shared, &attempt) {
            return Some(Judgement::Right);
        }
        if guarded {
            self.start_guard(&attempt);
        }
        Some(Judgement::Wrong)
    }

    fn start_guard(&mut self, attempt: &Attempt) {
        let mut tally = Tally::new(self.shared.settings().guard, now());
        let suspends = tally.fail(now());
        let key = attempt.key.clone();
        if suspends && let Some(until) = tally.suspended_until(now()) {
            self.suspend(key.clone(), until);
        }
        let (shared, shard) = (self.shared.clone(), self.shard);
        self.guards.get_or_start(&attempt.key, || AuthGuard::new(key, tally, shared, shard));
    }

    /// Notes a suspension and persists it. Full: the one that ends first goes.
    pub fn suspend(&mut self, key: GuardKey, until: Instant) {
        let row = row(&key, until);
        self.shared.write(Record::Suspension(row.clone()));
        self.restore(key, until, row);
    }

    fn restore(&mut self, key: GuardKey, until: Instant, row: Suspension) {
        if self.suspensions.len() >= SUSPENSIONS_MAX {
            self.make_room();
        }
        self.suspensions.insert(key, Standing { until, row });
    }

    fn make_room(&mut self) {
        self.sweep();
        if self.suspensions.len() >= SUSPENSIONS_MAX {
            let first = self.suspensions.iter().min_by_key(|(_, standing)| standing.until);
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.suspensions.remove(&key);
            }
        }
    }

    /// Takes over what an earlier run persisted.
    pub fn load(&mut self, rows: impl IntoIterator<Item = Suspension>) {
        let (now, now_unix) = (now(), now_unix());
        for row in rows {
            let Some(user) = rempart_sip::uri::Aor::parse(&row.user) else { continue };
            let key = GuardKey { user, source: row.source.as_ref().map(source_of) };
            let left = row.until.saturating_sub(now_unix);
            if left > 0 {
                self.restore(key, now + std::time::Duration::from_secs(left), row);
            }
        }
    }

    /// Lifts every suspension that `lifts` names, guards too; returns how many stood.
    pub fn lift(&mut self, lifts: impl Fn(&GuardKey) -> bool) -> usize {
        let guarded: Vec<GuardKey> =
            self.guards.iter().map(|(key, _)| key).filter(|key| lifts(key)).cloned().collect();
        for key in &guarded {
            self.guards.remove(key);
        }
        let now = now();
        let keys: Vec<GuardKey> =
            self.suspensions.keys().filter(|key| lifts(key)).cloned().collect();
        let lifted = keys.iter().filter_map(|key| self.suspensions.remove(key));
        let standing = lifted.filter(|standing| now < standing.until);
        standing.map(|standing| self.shared.write(Record::Unsuspend(standing.row))).count()
    }

    /// The suspensions that stand.
    pub fn rows(&self) -> Vec<Suspension> {
        let now = now();
        let standing = self.suspensions.values().filter(|standing| now < standing.until);
        standing.map(|standing| standing.row.clone()).collect()
    }

    /// Drops what has ended.
    pub fn sweep(&mut self) {
        let now = now();
        self.suspensions.retain(|_, standing| now < standing.until);
        self.guards.sweep();
    }
}

fn row(key: &GuardKey, until: Instant) -> Suspension {
    let since = now_unix();
    let left = until.saturating_duration_since(now());
    Suspension {
        user: key.user.to_string(),
        source: key.source.map(network),
        reason: "wrong passwords".to_owned(),
        since,
        until: since + left.as_secs_f64().ceil() as u64,
    }
}
