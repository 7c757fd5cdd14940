//! The guarded keys of one shard, or of any login: which of them have a guard, and who judges an
//! attempt.

use std::sync::Arc;

use actix::Addr;

use crate::auth_guard::{Attempt, AuthGuard, GuardKey, Judgement, Keeper};
use crate::clock::now;
use crate::directory::Directory;
use crate::settings::GuardMode;

/// Guard actors per shard.
pub const GUARDS_MAX: usize = 10_000;

/// Who judges an attempt.
pub enum Ruling<'a, K: Keeper> {
    /// The desk has judged.
    Now(Judgement),
    /// The key has failed before: its guard judges, one attempt after the other. Send it the
    /// attempt; a guard that does not take it refuses: closed, never open.
    Ask(&'a Addr<AuthGuard<K>>),
}

/// See the module.
pub struct GuardDesk<K: Keeper> {
    keeper: Arc<K>,
    guards: Directory<GuardKey, AuthGuard<K>>,
}

impl<K: Keeper> GuardDesk<K> {
    /// A desk without guards.
    pub fn new(keeper: Arc<K>) -> Self {
        Self { keeper, guards: Directory::new(GUARDS_MAX) }
    }

    /// Judges an attempt at once, or names the guard that must be asked.
    ///
    /// A key that never failed has no guard; its first failure makes one.
    pub fn judge(&mut self, attempt: &Attempt<K::Proof>) -> Ruling<'_, K> {
        let guarded = self.keeper.rule().mode != GuardMode::Off;
        if guarded && self.keeper.suspensions().holds(&attempt.key, now()) {
            return Ruling::Now(Judgement::Suspended);
        }
        if self.guards.get(&attempt.key).is_none() {
            return Ruling::Now(self.judge_first(attempt, guarded));
        }
        match self.guards.get(&attempt.key) {
            Some(guard) => Ruling::Ask(guard),
            None => Ruling::Now(Judgement::Suspended),
        }
    }

    fn judge_first(&mut self, attempt: &Attempt<K::Proof>, guarded: bool) -> Judgement {
        if self.keeper.is_right(&attempt.key.user, &attempt.proof) {
            return Judgement::Right;
        }
        if guarded {
            let mut guard = AuthGuard::fresh(attempt.key.clone(), self.keeper.clone());
            guard.fail(attempt.source);
            self.guards.get_or_start(&attempt.key, || guard);
        }
        Judgement::Wrong { failures: 1 }
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
