//! Failures of one guarded key, and what follows from them (R54 to R61). Pure: the caller brings
//! the time.

use std::time::Instant;

use crate::settings::GuardRule;

/// The count of one (source, user) pair, or of one user.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    rule: GuardRule,
    failures: u32,
    last_failure: Instant,
}

impl Tally {
    /// A tally without failures.
    pub fn new(rule: GuardRule, now: Instant) -> Self {
        Self { rule, failures: 0, last_failure: now }
    }

    /// Until when attempts are refused unevaluated; measured from the last failure (R57).
    pub fn suspended_until(&self, now: Instant) -> Option<Instant> {
        let until = self.last_failure + self.rule.suspend;
        (self.failures >= self.rule.failures && now < until).then_some(until)
    }

    /// Counts a wrong password; `true` when this one suspends (R58). A suspension served starts
    /// the count at 0 again (R57).
    pub fn fail(&mut self, now: Instant) -> bool {
        if self.failures >= self.rule.failures || now >= self.idle_at() {
            self.failures = 0;
        }
        self.failures += 1;
        self.last_failure = now;
        self.failures >= self.rule.failures
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// After this instant nothing is remembered (R55).
    pub fn idle_at(&self) -> Instant {
        self.last_failure + self.rule.forget.max(self.rule.suspend)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::GuardMode;

    fn tally(now: Instant) -> Tally {
        let rule = GuardRule {
            mode: GuardMode::SeedIpUser,
            failures: 3,
            suspend: Duration::from_secs(900),
            forget: Duration::from_secs(920),
        };
        Tally::new(rule, now)
    }

    #[test]
    fn the_third_failure_suspends_for_900_seconds_from_the_last() {
        let now = Instant::now();
        let mut tally = tally(now);
        let second = now + Duration::from_secs(100);
        assert!(!tally.fail(now) && !tally.fail(now) && tally.fail(second));
        assert!(tally.suspended_until(second + Duration::from_secs(899)).is_some());
        assert!(tally.suspended_until(second + Duration::from_secs(900)).is_none());
    }

    #[test]
    fn after_a_suspension_the_count_starts_again() {
        let now = Instant::now();
        let mut tally = tally(now);
        let third = (0..3).map(|_| tally.fail(now)).last();
        assert_eq!(third, Some(true));
        let later = now + Duration::from_secs(901);
        assert!(!tally.fail(later));
        assert_eq!(tally.failures(), 1);
    }

    #[test]
    fn failures_920_seconds_apart_never_add_up() {
        let now = Instant::now();
        let mut tally = tally(now);
        for number in 0..10 {
            assert!(!tally.fail(now + Duration::from_secs(920 * number)));
        }
    }
}
