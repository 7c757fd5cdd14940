//! Which nonces were used, so that an answer is good once (P11). Bounded; full means closed: a
//! nonce older than what had to be forgotten is stale.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::RandomState;

/// Nonces remembered per shard.
pub const NONCES_MAX: usize = 131_072;

/// A use without a nonce count: the nonce is good once.
pub const ONCE: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub struct NonceUses {
    highest: HashMap<u64, u32, RandomState>,
    oldest: VecDeque<(u64, u64)>,
    forgotten_ms: u64,
}

impl NonceUses {
    /// Whether nonce `id`, made at `issued_ms`, may be used with count `nc`.
    pub fn is_fresh(&self, id: u64, issued_ms: u64, nc: u32) -> bool {
        match self.highest.get(&id) {
            Some(highest) => nc > *highest,
            None => issued_ms > self.forgotten_ms,
        }
    }

    /// Consumes it; `false` when it was consumed meanwhile.
    pub fn consume(&mut self, id: u64, issued_ms: u64, nc: u32) -> bool {
        if !self.is_fresh(id, issued_ms, nc) {
            return false;
        }
        if self.highest.insert(id, nc).is_none() {
            self.oldest.push_back((issued_ms, id));
            self.make_room();
        }
        true
    }

    /// Forgets nonces made before `before_ms`: they are stale by age.
    pub fn sweep(&mut self, before_ms: u64) {
        while self.oldest.front().is_some_and(|(issued_ms, _)| *issued_ms < before_ms) {
            self.pop();
        }
    }

    fn make_room(&mut self) {
        while self.highest.len() > NONCES_MAX {
            if let Some(issued_ms) = self.pop() {
                self.forgotten_ms = self.forgotten_ms.max(issued_ms);
            }
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let (issued_ms, id) = self.oldest.pop_front()?;
        self.highest.remove(&id);
        Some(issued_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_count_is_good_once_and_must_grow() {
        let mut uses = NonceUses::default();
        assert!(uses.consume(1, 10, 1));
        assert!(!uses.consume(1, 10, 1));
        assert!(uses.consume(1, 10, 5));
        assert!(!uses.consume(1, 10, 4));
        assert!(uses.consume(2, 10, ONCE) && !uses.consume(2, 10, ONCE));
    }

    #[test]
    fn a_full_table_is_closed_to_older_nonces() {
        let mut uses = NonceUses::default();
        for id in 0..=NONCES_MAX as u64 {
            assert!(uses.consume(id, 1000 + id, 1));
        }
        assert!(!uses.is_fresh(0, 1000, 1));
        assert!(!uses.is_fresh(u64::MAX, 999, 1));
        assert!(uses.is_fresh(u64::MAX, 1001, 1));
    }
}
