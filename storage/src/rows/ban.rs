//! Bans: sources that get no answer, kept so that a restart does not forgive.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Row, collect, for_each, from_json, get, put, remove, to_json};
use crate::{Store, StoreError, Table};

/// How sure it is that the source is who it says (guard.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Datagrams alone, whose sender may be forged.
    Unproven,
    /// It answered something only the true source can have seen.
    Proven,
    /// An operator said so.
    Manual,
}

/// A banned source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// An IPv4 address, an IPv6 /64, or what the operator named.
    pub source: IpNet,
    /// Why, as logs and lists say it.
    pub reason: String,
    /// On what evidence.
    pub evidence: Evidence,
    /// Since when, in Unix seconds.
    pub since: u64,
    /// Until when, in Unix seconds.
    pub until: u64,
    /// How many bans came before it, for those that grow.
    pub level: u8,
}

impl Row for Ban {
    const TABLE: Table = Table::Bans;

    fn key(&self) -> Vec<u8> {
        key(&self.source)
    }

    fn value(&self) -> Vec<u8> {
        to_json(self)
    }

    fn read(value: &[u8]) -> Result<Self, String> {
        from_json(value)
    }
}

fn key(source: &IpNet) -> Vec<u8> {
    source.trunc().to_string().into_bytes()
}

/// Adds a ban or takes the place of the one on the same network.
pub fn put_ban(store: &dyn Store, row: &Ban) -> Result<(), StoreError> {
    put(store, row)
}

/// The ban on exactly this network.
pub fn ban(store: &dyn Store, source: &IpNet) -> Result<Option<Ban>, StoreError> {
    get(store, &key(source))
}

/// Lifts the ban on exactly this network; false where there was none.
pub fn remove_ban(store: &dyn Store, source: &IpNet) -> Result<bool, StoreError> {
    remove::<Ban>(store, &key(source))
}

/// Every ban, those that have ended included.
pub fn for_each_ban(store: &dyn Store, row: impl FnMut(Ban)) -> Result<(), StoreError> {
    for_each(store, b"", row)
}

/// Every ban as a list.
pub fn bans(store: &dyn Store) -> Result<Vec<Ban>, StoreError> {
    collect(store, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn a_ban_is_found_by_its_network_however_it_is_written() {
        let store = MemoryStore::new();
        let row = Ban {
            source: "2001:db8::1/64".parse().expect("a network"),
            reason: "flood".into(),
            evidence: Evidence::Proven,
            since: 1,
            until: 301,
            level: 2,
        };
        put_ban(&store, &row).expect("a write");
        let same = "2001:db8::2/64".parse().expect("a network");
        assert_eq!(ban(&store, &same).expect("a read"), Some(row));
        assert!(remove_ban(&store, &same).expect("a removal"));
        assert!(!remove_ban(&store, &same).expect("a removal"));
    }
}
