//! Who is suspended: one bounded set for all shards, outside any actor, so that evicting a guard
//! never frees a guesser, and a user suspended everywhere is refused everywhere at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use parking_lot::RwLock;
use rempart_sip::uri::Aor;
use rempart_storage::Suspension;

use crate::auth_guard::GuardKey;
use crate::bans::{network, source_of};

/// Suspensions kept.
pub const SUSPENSIONS_MAX: usize = 65_536;

type Standings = HashMap<GuardKey, Standing, RandomState>;

#[derive(Debug)]
struct Standing {
    until: Instant,
    row: Suspension,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Suspensions {
    standings: RwLock<Standings>,
}

impl Suspensions {
    /// Whether the key is suspended.
    pub fn holds(&self, key: &GuardKey, now: Instant) -> bool {
        self.standings.read().get(key).is_some_and(|standing| now < standing.until)
    }

    /// Notes a suspension; returns it as it is persisted. Full: the one that ends first goes.
    pub fn insert(&self, key: GuardKey, until: Instant, now: Instant, now_unix: u64) -> Suspension {
        let left = until.saturating_duration_since(now).as_secs_f64().ceil() as u64;
        let row = Suspension {
            user: key.user.to_string(),
            source: key.source.map(network),
            reason: "wrong passwords".to_owned(),
            since: now_unix,
            until: now_unix + left,
        };
        self.put(key, Standing { until, row: row.clone() }, now);
        row
    }

    fn put(&self, key: GuardKey, standing: Standing, now: Instant) {
        let mut standings = self.standings.write();
        if standings.len() >= SUSPENSIONS_MAX {
            make_room(&mut standings, now);
        }
        standings.insert(key, standing);
    }

    /// Takes over what an earlier run persisted.
    pub fn load(&self, rows: impl IntoIterator<Item = Suspension>, now: Instant, now_unix: u64) {
        for row in rows {
            let Some(user) = Aor::parse(&row.user) else { continue };
            let key = GuardKey { user, source: row.source.as_ref().map(source_of) };
            let left = row.until.saturating_sub(now_unix);
            if left > 0 {
                self.put(key, Standing { until: now + Duration::from_secs(left), row }, now);
            }
        }
    }

    /// Lifts every suspension that `lifts` names; returns those that stood.
    pub fn lift(&self, lifts: impl Fn(&GuardKey) -> bool, now: Instant) -> Vec<Suspension> {
        let lifted = self.standings.write().extract_if(|key, _| lifts(key)).collect::<Vec<_>>();
        let standing = lifted.into_iter().filter(|(_, standing)| now < standing.until);
        standing.map(|(_, standing)| standing.row).collect()
    }

    /// The suspensions that stand.
    pub fn rows(&self, now: Instant) -> Vec<Suspension> {
        let standings = self.standings.read();
        let standing = standings.values().filter(|standing| now < standing.until);
        standing.map(|standing| standing.row.clone()).collect()
    }

    /// Drops what has ended.
    pub fn sweep(&self, now: Instant) {
        self.standings.write().retain(|_, standing| now < standing.until);
    }
}

fn make_room(standings: &mut Standings, now: Instant) {
    standings.retain(|_, standing| now < standing.until);
    if standings.len() >= SUSPENSIONS_MAX {
        let first = standings.iter().min_by_key(|(_, standing)| standing.until);
        if let Some(key) = first.map(|(key, _)| key.clone()) {
            standings.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use rempart_sip::flow::SourceKey;

    use super::*;

    fn key(number: u32) -> GuardKey {
        let source = SourceKey::of(std::net::Ipv4Addr::from(0x0A00_0000 + number).into());
        let user = Aor::parse("alice@sip.example.org").expect("an AOR");
        GuardKey { user, source: Some(source) }
    }

    #[test]
    fn a_suspension_ends_by_itself_and_is_told_in_whole_seconds() {
        let (suspensions, now) = (Suspensions::default(), Instant::now());
        let row = suspensions.insert(key(1), now + Duration::from_secs(900), now, 1000);
        assert_eq!((row.since, row.until), (1000, 1900));
        assert!(suspensions.holds(&key(1), now + Duration::from_secs(899)));
        assert!(!suspensions.holds(&key(1), now + Duration::from_secs(900)));
        assert!(!suspensions.holds(&key(2), now));
    }

    #[test]
    fn what_an_earlier_run_persisted_holds_for_what_is_left_of_it() {
        let (suspensions, now) = (Suspensions::default(), Instant::now());
        let row = suspensions.insert(key(1), now + Duration::from_secs(900), now, 1000);
        let next = Suspensions::default();
        next.load([row], now, 1800);
        assert!(next.holds(&key(1), now + Duration::from_secs(99)));
        assert!(!next.holds(&key(1), now + Duration::from_secs(100)));
    }

    #[test]
    fn lifting_names_the_rows_that_stood() {
        let (suspensions, now) = (Suspensions::default(), Instant::now());
        for number in 0..3 {
            suspensions.insert(key(number), now + Duration::from_secs(900), now, 1000);
        }
        assert_eq!(suspensions.lift(|lifted| *lifted == key(1), now).len(), 1);
        assert_eq!(suspensions.rows(now).len(), 2);
    }

    #[test]
    fn a_full_set_lets_the_one_go_that_ends_first() {
        let (suspensions, now) = (Suspensions::default(), Instant::now());
        for number in 0..=SUSPENSIONS_MAX as u32 {
            let until = now + Duration::from_secs(900 + u64::from(number));
            suspensions.insert(key(number), until, now, 1000);
        }
        assert_eq!(suspensions.rows(now).len(), SUSPENSIONS_MAX);
        assert!(!suspensions.holds(&key(0), now));
    }
}
