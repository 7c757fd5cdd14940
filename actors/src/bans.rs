//! The banned sources of one shard, in a bounded map outside any actor that could be evicted.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use ipnet::IpNet;
use rempart_sip::flow::SourceKey;
use rempart_storage::Ban;

/// Bans kept per shard.
pub const BANS_MAX: usize = 65_536;

/// One ban: when it ends on this process's clock, and what is told and persisted of it.
#[derive(Clone, Debug)]
struct Entry {
    until: Instant,
    row: Ban,
    dropped: Cell<u64>,
}

/// Which sources are banned, and why.
#[derive(Debug, Default)]
pub struct Bans {
    entries: HashMap<SourceKey, Entry, RandomState>,
}

impl Bans {
    /// Whether the source is banned at `now`.
    pub fn is_banned(&self, source: SourceKey, now: Instant) -> bool {
        !self.entries.is_empty() && self.entries.get(&source).is_some_and(|entry| now < entry.until)
    }

    /// Counts a message that was dropped under the ban of its source.
    pub fn count_dropped(&self, source: SourceKey) {
        if let Some(entry) = self.entries.get(&source) {
            entry.dropped.set(entry.dropped.get() + 1);
        }
    }

    /// Messages dropped so far under the ban of this source.
    pub fn dropped(&self, source: SourceKey) -> u64 {
        self.entries.get(&source).map_or(0, |entry| entry.dropped.get())
    }

    /// Bans `source`; a longer ban that stands already stays. Full: the ban that ends first goes.
    pub fn insert(&mut self, source: SourceKey, row: Ban, now: Instant, now_unix: u64) {
        let until = now + Duration::from_secs(row.until.saturating_sub(now_unix));
        if self.entries.get(&source).is_some_and(|entry| entry.until >= until) {
            return;
        }
        if self.entries.len() >= BANS_MAX {
            self.make_room(now);
        }
        self.entries.insert(source, Entry { until, row, dropped: Cell::new(0) });
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.until);
        if self.entries.len() >= BANS_MAX {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(source) = first.map(|(source, _)| *source) {
                self.entries.remove(&source);
            }
        }
    }

    /// Lifts the ban of one source; says whether there was one.
    pub fn remove(&mut self, source: SourceKey, now: Instant) -> bool {
        self.entries.remove(&source).is_some_and(|entry| now < entry.until)
    }

    /// What stands at `now`.
    pub fn rows(&self, now: Instant) -> Vec<Ban> {
        let standing = self.entries.values().filter(|entry| now < entry.until);
        standing.map(|entry| entry.row.clone()).collect()
    }

    /// Drops what has ended; returns how many stand.
    pub fn sweep(&mut self, now: Instant) -> usize {
        self.entries.retain(|_, entry| now < entry.until);
        self.entries.len()
    }
}

/// The network a source key stands for, as it is persisted and listed.
pub fn network(source: SourceKey) -> IpNet {
    let address = source.address();
    let prefix = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new(address, prefix).unwrap_or_else(|_| IpNet::from(address))
}

/// The source key of a persisted network.
pub fn source_of(network: &IpNet) -> SourceKey {
    SourceKey::of(network.addr())
}

#[cfg(test)]
mod tests {
    use rempart_storage::Evidence;

    use super::*;

    fn ban(source: SourceKey, secs: u64) -> Ban {
        Ban {
            source: network(source),
            reason: "flooding".to_owned(),
            evidence: Evidence::Unproven,
            since: 1000,
            until: 1000 + secs,
            level: 0,
        }
    }

    #[test]
    fn a_ban_ends_by_itself_and_a_shorter_one_does_not_shorten_it() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let source = SourceKey::of([192, 0, 2, 7].into());
        bans.insert(source, ban(source, 300), now, 1000);
        bans.insert(source, ban(source, 10), now, 1000);
        bans.count_dropped(source);
        assert_eq!(bans.dropped(source), 1);
        assert!(bans.is_banned(source, now + Duration::from_secs(299)));
        assert!(!bans.is_banned(source, now + Duration::from_secs(300)));
        assert_eq!(bans.sweep(now + Duration::from_secs(300)), 0);
    }

    #[test]
    fn a_full_set_lets_the_ban_go_that_ends_first() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        for number in 0..=BANS_MAX as u32 {
            let source = SourceKey::of(std::net::Ipv4Addr::from(0x0A00_0000 + number).into());
            bans.insert(source, ban(source, 300 + u64::from(number)), now, 1000);
        }
        assert_eq!(bans.rows(now).len(), BANS_MAX);
        assert!(!bans.is_banned(SourceKey::of([10, 0, 0, 0].into()), now));
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let source = SourceKey::of("2001:db8::7".parse().expect("an address"));
        assert_eq!(network(source).to_string(), "2001:db8::/64");
        assert_eq!(source_of(&network(source)), source);
    }
}
