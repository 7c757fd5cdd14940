//! The guarded keys of one shard: which of them have a guard, and who judges an attempt.

use std::sync::Arc;

use crate::auth_guard::{Attempt, AuthGuard, GuardKey, Judgement, evaluate};
use crate::clock::now;
use crate::directory::Directory;
use crate::shared::Shared;
use crate::tally::Tally;

/// Guard actors per shard.
pub const GUARDS_MAX: usize = 10_000;

/// See the module.
pub struct GuardDesk {
    shared: Arc<Shared>,
    guards: Directory<GuardKey, AuthGuard>,
}

impl GuardDesk {
    /// The desk of one shard.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, guards: Directory::new(GUARDS_MAX) }
    }

    /// Judges an attempt at once, or hands it to the key's guard: `None`, and the guard answers.
    ///
    /// A key that never failed has no guard; its first failure makes one.
    pub fn judge(&mut self, attempt: Attempt, guarded: bool) -> Option<Judgement> {
        if guarded && self.shared.suspensions.holds(&attempt.key, now()) {
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
        Some(Judgement::Wrong { failures: 1 })
    }

    fn start_guard(&mut self, attempt: &Attempt) {
        let mut tally = Tally::new(self.shared.settings().guard, now());
        let suspends = tally.fail(now());
        let key = attempt.key.clone();
        if suspends && let Some(until) = tally.suspended_until(now()) {
            self.shared.suspend(key.clone(), until);
        }
        let shared = self.shared.clone();
        self.guards.get_or_start(&attempt.key, || AuthGuard::new(key, tally, shared));
    }

    /// Ends every guard that `lifts` names: its key starts with no failures.
    pub fn lift(&mut self, lifts: impl Fn(&GuardKey) -> bool) {
        let keys = self.guards.iter().map(|(key, _)| key);
        let lifted: Vec<GuardKey> = keys.filter(|key| lifts(key)).cloned().collect();
        for key in &lifted {
            self.guards.remove(key);
        }
    }

    /// Forgets the guards that have ended.
    pub fn sweep(&mut self) {
        self.guards.sweep();
    }
}
