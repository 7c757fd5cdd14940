//! The fixed table in which every source is first counted (R23): full keys, eight ways, no
//! allocation after the start. A stranger's packet can touch a cell, never make an actor.

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use rempart_sip::flow::SourceKey;

use crate::settings::FloodRule;

/// Request times that one cell holds.
pub const TIMES_MAX: usize = 8;

const WAYS: usize = 8;

/// What the table says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Below the threshold: it goes on.
    Pass,
    /// The source passed the threshold: from now on it is metered by an actor of its own, which
    /// starts with these request times, the present one not among them.
    Hot {
        /// When they came, oldest first, rounded down to whole milliseconds: nobody is banned
        /// early for the rounding.
        times: [Instant; TIMES_MAX],
        /// How many of them count.
        count: usize,
    },
    /// The set is full of busier sources: the table under-counts, it never bans from a shared cell.
    Full,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    key: u128,
    times_ms: [u32; TIMES_MAX],
    count: u8,
}

/// The table of one shard.
#[derive(Debug)]
pub struct Sources {
    cells: Vec<Cell>,
    hasher: RandomState,
    started: Instant,
    full: u64,
}

impl Sources {
    /// Room for `sources` sources, at least one set.
    pub fn new(sources: usize, started: Instant) -> Self {
        let cells = sources.next_multiple_of(WAYS).max(WAYS);
        let cells = vec![Cell::default(); cells];
        Self { cells, hasher: RandomState::default(), started, full: 0 }
    }

    /// Counts one request of `source`; past `threshold` requests in the window it is hot.
    pub fn hit(
        &mut self,
        source: SourceKey,
        rule: &FloodRule,
        threshold: usize,
        now: Instant,
    ) -> Counted {
        let (now_ms, window_ms) = (self.tick(now), rule.window.as_millis() as u32);
        let idle_ms = rule.forget.max(rule.window).as_millis() as u32;
        let Some(cell) = self.cell(source, now_ms, idle_ms) else {
            self.full += 1;
            return Counted::Full;
        };
        cell.forget(now_ms, window_ms);
        if usize::from(cell.count) < threshold {
            cell.push(now_ms);
            return Counted::Pass;
        }
        let cell = std::mem::take(cell);
        self.hot(&cell, now)
    }

    /// How many requests found no cell since the start.
    pub fn full(&self) -> u64 {
        self.full
    }

    /// Forgets a source.
    pub fn remove(&mut self, source: SourceKey) {
        let set = self.set(source);
        if let Some(cell) = set.iter_mut().find(|cell| cell.count > 0 && cell.key == source.0) {
            *cell = Cell::default();
        }
    }

    fn tick(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_millis() as u32
    }

    fn hot(&self, cell: &Cell, now: Instant) -> Counted {
        let elapsed = now.saturating_duration_since(self.started).as_millis() as u64;
        let times = cell.times_ms.map(|time| {
            let age = (elapsed as u32).wrapping_sub(time);
            self.started + Duration::from_millis(elapsed.saturating_sub(u64::from(age)))
        });
        Counted::Hot { times, count: usize::from(cell.count) }
    }

    fn set(&mut self, source: SourceKey) -> &mut [Cell] {
        let sets = self.cells.len() / WAYS;
        let set = self.hasher.hash_one(source.0) as usize % sets;
        &mut self.cells[set * WAYS..(set + 1) * WAYS]
    }

    fn cell(&mut self, source: SourceKey, now_ms: u32, idle_ms: u32) -> Option<&mut Cell> {
        let set = self.set(source);
        let known = set.iter().position(|cell| cell.count > 0 && cell.key == source.0);
        let place = known.or_else(|| set.iter().position(|cell| cell.is_idle(now_ms, idle_ms)))?;
        let cell = set.get_mut(place)?;
        if known.is_none() {
            *cell = Cell { key: source.0, ..Cell::default() };
        }
        Some(cell)
    }
}

impl Cell {
    fn is_idle(&self, now_ms: u32, idle_ms: u32) -> bool {
        let last = usize::from(self.count).checked_sub(1).and_then(|at| self.times_ms.get(at));
        last.is_none_or(|last| now_ms.wrapping_sub(*last) >= idle_ms)
    }

    fn forget(&mut self, now_ms: u32, window_ms: u32) {
        let times = &self.times_ms[..usize::from(self.count)];
        let old = times.iter().take_while(|time| now_ms.wrapping_sub(**time) >= window_ms).count();
        self.times_ms.copy_within(old.., 0);
        self.count -= old as u8;
    }

    fn push(&mut self, now_ms: u32) {
        if let Some(place) = self.times_ms.get_mut(usize::from(self.count)) {
            *place = now_ms;
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::SEED_RULE;

    fn source(number: u32) -> SourceKey {
        SourceKey::of(std::net::Ipv4Addr::from(0x0A00_0000 + number).into())
    }

    #[test]
    fn ninth_request_in_the_window_is_hot_and_brings_the_eight_times() {
        let now = Instant::now();
        let mut sources = Sources::new(64, now);
        for number in 0..8 {
            let at = now + Duration::from_millis(number * 10);
            assert_eq!(sources.hit(source(1), &SEED_RULE, 8, at), Counted::Pass);
        }
        let at = now + Duration::from_millis(100);
        let Counted::Hot { times, count } = sources.hit(source(1), &SEED_RULE, 8, at) else {
            panic!("not hot");
        };
        assert_eq!((count, times[0], times[7]), (8, now, now + Duration::from_millis(70)));
    }

    #[test]
    fn a_time_is_never_taken_for_later_than_it_was() {
        let started = Instant::now();
        let mut sources = Sources::new(64, started);
        let first = started + Duration::from_micros(500);
        sources.hit(source(1), &SEED_RULE, 1, first);
        let at = started + Duration::from_micros(2_000_900);
        let Counted::Hot { times, .. } = sources.hit(
            source(1),
            &crate::settings::FloodRule { window: Duration::from_secs(3), ..SEED_RULE },
            1,
            at,
        ) else {
            panic!("not hot");
        };
        assert_eq!(times[0], started);
    }

    #[test]
    fn old_requests_leave_the_window() {
        let now = Instant::now();
        let mut sources = Sources::new(64, now);
        for number in 0..100 {
            let at = now + Duration::from_millis(number * 250);
            assert_eq!(sources.hit(source(1), &SEED_RULE, 8, at), Counted::Pass);
        }
    }

    #[test]
    fn a_full_table_lets_pass_and_says_so_and_idle_cells_serve_again() {
        let now = Instant::now();
        let mut sources = Sources::new(8, now);
        let hits = (0..9).map(|number| sources.hit(source(number), &SEED_RULE, 8, now));
        assert_eq!(hits.filter(|hit| *hit == Counted::Full).count(), 1);
        assert_eq!(sources.full(), 1);
        let later = now + SEED_RULE.forget;
        assert_eq!(sources.hit(source(9), &SEED_RULE, 8, later), Counted::Pass);
    }

    #[test]
    fn a_removed_source_starts_afresh() {
        let now = Instant::now();
        let mut sources = Sources::new(8, now);
        for _ in 0..8 {
            sources.hit(source(1), &SEED_RULE, 8, now);
        }
        sources.remove(source(1));
        assert_eq!(sources.hit(source(1), &SEED_RULE, 8, now), Counted::Pass);
    }
}
