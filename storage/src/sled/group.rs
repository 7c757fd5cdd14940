//! Group commit: of the threads that wait for the disk at the same time one flushes for all, so
//! that parallel writers do not pay for a sync each.

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::StoreError;

/// Who waits for the disk. Numbers count commits since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    applied: u64,
    durable: u64,
    flushing: bool,
}

impl Group {
    /// To be called after a change was applied; returns when a flush that began later is done.
    /// The first to come flushes, those who come meanwhile wait, and one of them goes next. After
    /// a failed flush each tries on its own behalf, so that each learns why it failed.
    pub(super) fn commit(
        &self,
        flush: impl Fn() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.applied += 1;
        let mine = state.applied;
        while state.durable < mine {
            if state.flushing {
                self.turned.wait(&mut state);
                continue;
            }
            let covered = state.applied;
            state.flushing = true;
            let flushed = MutexGuard::unlocked(&mut state, &flush);
            state.flushing = false;
            self.turned.notify_all();
            flushed?;
            state.durable = state.durable.max(covered);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn threads_that_come_during_a_flush_share_the_next_one() {
        let (group, flushes) = (Group::default(), AtomicU32::new(0));
        let all_waiting = || group.state.lock().applied == 9;
        let flush = || {
            // The first flush lasts until everyone else has come.
            while flushes.load(Ordering::SeqCst) == 0 && !all_waiting() {
                std::thread::yield_now();
            }
            flushes.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let start = Barrier::new(9);
        std::thread::scope(|scope| {
            for _ in 0..9 {
                scope.spawn(|| {
                    start.wait();
                    group.commit(flush).expect("a commit");
                });
            }
        });
        assert_eq!(flushes.into_inner(), 2);
    }

    #[test]
    fn a_failed_flush_is_told_and_the_next_commit_tries_again() {
        let (group, full) = (Group::default(), AtomicU32::new(1));
        let flush = || match full.swap(0, Ordering::SeqCst) {
            1 => Err(StoreError::Full { path: "data".into() }),
            _ => Ok(()),
        };
        assert!(matches!(group.commit(flush), Err(StoreError::Full { .. })));
        group.commit(flush).expect("a commit");
        assert_eq!(group.state.lock().durable, 2);
    }
}
