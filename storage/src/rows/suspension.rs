//! Suspensions: users whose credentials are not looked at for a while.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Row, collect, commit_counted, for_each, from_json, put, to_json};
use crate::{Batch, Store, StoreError, Table};

/// A user suspended after failed credentials, from one source or from everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// `user@domain` as it was claimed; there need not be such a subscriber.
    pub user: String,
    /// The source; none is every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// Why, as logs and lists say it.
    pub reason: String,
    /// Since when, in Unix seconds.
    pub since: u64,
    /// Until when, in Unix seconds.
    pub until: u64,
}

impl Row for Suspension {
    const TABLE: Table = Table::Suspensions;

    fn key(&self) -> Vec<u8> {
        key(&self.user, self.source)
    }

    fn value(&self) -> Vec<u8> {
        to_json(self)
    }

    fn read(value: &[u8]) -> Result<Self, String> {
        from_json(value)
    }
}

/// No user holds a NUL, so that one user's keys share a prefix that no other has.
fn key(user: &str, source: Option<IpNet>) -> Vec<u8> {
    let source = source.map_or_else(String::new, |source| source.trunc().to_string());
    format!("{user}\0{source}").into_bytes()
}

/// Adds a suspension or takes the place of the one on the same user and source.
pub fn put_suspension(store: &dyn Store, row: &Suspension) -> Result<(), StoreError> {
    put(store, row)
}

/// Lifts every suspension of a user, or with a source the one from there; returns how many.
pub fn remove_suspensions(
    store: &dyn Store,
    user: &str,
    source: Option<IpNet>,
) -> Result<usize, StoreError> {
    let rows: Vec<Suspension> = collect(store, &key(user, None))?;
    let same =
        |row: &Suspension| row.source.map(|net| net.trunc()) == source.map(|net| net.trunc());
    let meant = rows.iter().filter(|row| source.is_none() || same(row));
    let mut batch = Batch::new();
    meant.for_each(|row| batch.delete(Table::Suspensions, row.key()));
    commit_counted(store, batch)
}

/// Every suspension, those that have ended included.
pub fn for_each_suspension(
    store: &dyn Store,
    row: impl FnMut(Suspension),
) -> Result<(), StoreError> {
    for_each(store, b"", row)
}

/// Every suspension as a list.
pub fn suspensions(store: &dyn Store) -> Result<Vec<Suspension>, StoreError> {
    collect(store, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn suspended(user: &str, source: Option<&str>) -> Suspension {
        let source = source.map(|text| text.parse().expect("a network"));
        Suspension { user: user.into(), source, reason: "auth".into(), since: 1, until: 901 }
    }

    #[test]
    fn one_source_or_all_of_a_user_are_lifted_and_no_other_user() {
        let store = MemoryStore::new();
        let user = "101@example.org";
        let (here, there) = (Some("192.0.2.1/32"), Some("192.0.2.2/32"));
        for row in [
            suspended(user, None),
            suspended(user, here),
            suspended(user, there),
            suspended("101@example.org.example", here),
        ] {
            put_suspension(&store, &row).expect("a write");
        }
        let source = here.map(|text| text.parse().expect("a network"));
        assert_eq!(remove_suspensions(&store, user, source).expect("a removal"), 1);
        assert_eq!(remove_suspensions(&store, user, None).expect("a removal"), 2);
        let left = suspensions(&store).expect("rows");
        assert_eq!(left, [suspended("101@example.org.example", here)]);
    }
}
