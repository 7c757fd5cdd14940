//! Flood metering of one source: a sliding window over the times of its requests. Pure: the
//! caller brings the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::settings::FloodRule;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, actix::MessageResponse)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes nowhere (R31).
    Drop,
    /// It crossed the limit and goes nowhere (R32). Said once a ban.
    Ban,
}

/// The meter of one source (R23).
#[derive(Debug)]
pub struct Meter {
    rule: FloodRule,
    times: VecDeque<Instant>,
    banned_until: Option<Instant>,
    last: Instant,
}

impl Meter {
    /// A meter that already knows of requests at `times`, oldest first.
    pub fn new(rule: FloodRule, times: impl IntoIterator<Item = Instant>, now: Instant) -> Self {
        Self { rule, times: times.into_iter().collect(), banned_until: None, last: now }
    }

    /// Counts one request.
    pub fn hit(&mut self, now: Instant) -> Verdict {
        self.last = now;
        if self.banned_until.is_some_and(|until| now < until) {
            return Verdict::Drop;
        }
        if self.banned_until.take().is_some() {
            self.times.clear();
        }
        self.forget(now);
        if self.times.len() < self.rule.requests as usize {
            self.times.push_back(now);
            return Verdict::Pass;
        }
        self.banned_until = Some(now + self.rule.ban);
        Verdict::Ban
    }

    fn forget(&mut self, now: Instant) {
        let window = self.rule.window;
        while self.times.front().is_some_and(|time| now.duration_since(*time) >= window) {
            self.times.pop_front();
        }
    }

    /// After this instant the meter holds nothing worth remembering (R26).
    pub fn idle_at(&self) -> Instant {
        let quiet = self.last + self.rule.forget.max(self.rule.window);
        self.banned_until.map_or(quiet, |until| until.max(quiet))
    }
}

/// How many requests a source makes before it gets a meter of its own: half the limit, and few
/// enough to fit a table cell.
pub fn threshold(rule: &FloodRule) -> usize {
    ((rule.requests / 2) as usize).clamp(1, crate::sources::TIMES_MAX)
}

/// The seed's rule (R23, R25, R26).
pub const SEED_RULE: FloodRule = FloodRule {
    requests: 16,
    window: Duration::from_secs(2),
    ban: Duration::from_secs(300),
    forget: Duration::from_secs(4),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn seventeenth_request_in_two_seconds_is_banned_for_300_seconds() {
        let now = Instant::now();
        let mut meter = Meter::new(SEED_RULE, [], now);
        for number in 0..16 {
            assert_eq!(meter.hit(after(now, number * 100)), Verdict::Pass);
        }
        assert_eq!(meter.hit(after(now, 1999)), Verdict::Ban);
        assert_eq!(meter.hit(after(now, 299_000)), Verdict::Drop);
        assert_eq!(meter.hit(after(now, 301_998)), Verdict::Drop);
        assert_eq!(meter.hit(after(now, 301_999)), Verdict::Pass);
    }

    #[test]
    fn hits_during_the_ban_do_not_prolong_it() {
        let now = Instant::now();
        let mut meter = Meter::new(SEED_RULE, [now; 16], now);
        assert_eq!(meter.hit(now), Verdict::Ban);
        for secs in 1..300 {
            assert_eq!(meter.hit(after(now, secs * 1000)), Verdict::Drop);
        }
        assert_eq!(meter.hit(after(now, 300_000)), Verdict::Pass);
    }

    #[test]
    fn sixteen_in_any_two_seconds_go_on_for_ever() {
        let now = Instant::now();
        let mut meter = Meter::new(SEED_RULE, [], now);
        for number in 0..1000 {
            assert_eq!(meter.hit(after(now, number * 125)), Verdict::Pass);
        }
        assert_eq!(meter.hit(after(now, 999 * 125)), Verdict::Ban);
    }
}
