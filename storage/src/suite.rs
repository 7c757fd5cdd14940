//! The same tests for every home: `store_suite!(name, open)` makes a test module of them.
//!
//! Each function takes an empty store and panics where it does not keep the promises of
//! [`Store`]. They are public so that a store written elsewhere can be held to them.

use crate::{Batch, MemoryStore, Store, StoreError, Table, export, import};

/// Makes a module `$name` with one test per promise. `$open` is called for each and returns an
/// empty store and whatever must outlive it, such as its temporary folder.
#[macro_export]
macro_rules! store_suite {
    ($name:ident, $open:expr) => {
        $crate::store_suite!(@tests $name, $open,
            absent_row_reads_as_none,
            put_row_is_read_back,
            later_change_of_a_batch_holds,
            deleted_row_is_gone,
            tables_do_not_share_keys,
            any_octets_are_a_key,
            scan_is_ordered_and_keeps_to_its_prefix,
            scan_stops_when_told,
            large_batch_is_one_commit,
            parallel_commits_all_hold,
            export_and_import_round_trip);
    };
    (@tests $name:ident, $open:expr, $($fact:ident),+) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $fact() {
                    let (store, _keep) = ($open)();
                    $crate::suite::$fact(&store);
                }
            )+
        }
    };
}

/// A key that was never written reads as none, and its deletion is no error.
pub fn absent_row_reads_as_none(store: &dyn Store) {
    assert_eq!(get(store, Table::Bans, b"nobody"), None);
    commit(store, |batch| batch.delete(Table::Bans, "nobody"));
    assert_eq!(get(store, Table::Bans, b"nobody"), None);
}

/// A row reads as it was written last.
pub fn put_row_is_read_back(store: &dyn Store) {
    commit(store, |batch| batch.put(Table::Keys, "key", "one"));
    commit(store, |batch| batch.put(Table::Keys, "key", "two"));
    assert_eq!(get(store, Table::Keys, b"key"), Some(b"two".to_vec()));
}

/// Within a batch the order of changes counts.
pub fn later_change_of_a_batch_holds(store: &dyn Store) {
    commit(store, |batch| {
        batch.put(Table::Bans, "kept", "early");
        batch.put(Table::Bans, "dropped", "early");
        batch.delete(Table::Bans, "kept");
        batch.delete(Table::Bans, "dropped");
        batch.put(Table::Bans, "kept", "late");
    });
    assert_eq!(get(store, Table::Bans, b"kept"), Some(b"late".to_vec()));
    assert_eq!(get(store, Table::Bans, b"dropped"), None);
}

/// A deletion takes one row and no other.
pub fn deleted_row_is_gone(store: &dyn Store) {
    commit(store, |batch| {
        batch.put(Table::Bans, "a", "1");
        batch.put(Table::Bans, "ab", "2");
    });
    commit(store, |batch| batch.delete(Table::Bans, "a"));
    assert_eq!(keys(store, Table::Bans, b""), [b"ab".to_vec()]);
}

/// The same key in two tables is two rows.
pub fn tables_do_not_share_keys(store: &dyn Store) {
    commit(store, |batch| {
        for table in Table::ALL {
            batch.put(table, "key", table.name());
        }
    });
    for table in Table::ALL {
        assert_eq!(get(store, table, b"key"), Some(table.name().as_bytes().to_vec()));
        assert!(keys(store, table, b"").contains(&b"key".to_vec()));
    }
    commit(store, |batch| batch.delete(Table::Bans, "key"));
    assert!(get(store, Table::Suspensions, b"key").is_some());
}

/// Empty keys, empty values and octets that are no text are rows like others.
pub fn any_octets_are_a_key(store: &dyn Store) {
    let odd: [&[u8]; 4] = [b"", b"\0", b"\xff\xff", b"a\0b"];
    commit(store, |batch| odd.iter().for_each(|key| batch.put(Table::Trusted, *key, *key)));
    for key in odd {
        assert_eq!(get(store, Table::Trusted, key), Some(key.to_vec()));
    }
    assert_eq!(keys(store, Table::Trusted, b"\xff"), [b"\xff\xff".to_vec()]);
}

/// Rows come in order of their keys and only those under the prefix.
pub fn scan_is_ordered_and_keeps_to_its_prefix(store: &dyn Store) {
    let shuffled = ["b2", "a", "b1", "c", "b", "b10"];
    commit(store, |batch| shuffled.iter().for_each(|key| batch.put(Table::Bans, *key, "")));
    commit(store, |batch| batch.put(Table::Suspensions, "b3", ""));
    assert_eq!(keys(store, Table::Bans, b"b"), [&b"b"[..], b"b1", b"b10", b"b2"]);
    assert_eq!(keys(store, Table::Bans, b"").len(), shuffled.len());
    assert!(keys(store, Table::Bans, b"d").is_empty());
}

/// A callback that returns false is called no more.
pub fn scan_stops_when_told(store: &dyn Store) {
    commit(store, |batch| (0..9u8).for_each(|key| batch.put(Table::Bans, [key], "")));
    let mut seen = 0;
    let scanned = store.scan(Table::Bans, b"", &mut |_, _| {
        seen += 1;
        seen < 3
    });
    scanned.expect("a scan");
    assert_eq!(seen, 3);
}

/// Thousands of changes are one batch.
pub fn large_batch_is_one_commit(store: &dyn Store) {
    let key = |number: u32| format!("user{number:05}@example.org");
    commit(store, |batch| {
        (0..20_000).for_each(|number| batch.put(Table::Subscribers, key(number), [7; 120]));
    });
    assert_eq!(keys(store, Table::Subscribers, b"user0").len(), 10_000);
    assert_eq!(get(store, Table::Subscribers, key(19_999).as_bytes()), Some(vec![7; 120]));
}

/// Threads that commit at once lose nothing of each other.
pub fn parallel_commits_all_hold(store: &dyn Store) {
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            scope.spawn(move || {
                for number in 0..25u8 {
                    commit(store, |batch| batch.put(Table::Bans, [thread, number], "held"));
                    assert!(get(store, Table::Bans, &[thread, number]).is_some());
                }
            });
        }
    });
    assert_eq!(keys(store, Table::Bans, b"").len(), 200);
}

/// What is exported from one store is the same in the store that imports it.
pub fn export_and_import_round_trip(store: &dyn Store) {
    commit(store, |batch| {
        batch.put(Table::Subscribers, "101@example.org", r#"{"v":1}"#);
        batch.put(Table::Keys, "seal", [0u8, 255, 10, 13]);
        batch.put(Table::Trusted, "", "");
    });
    let mut text = Vec::new();
    let written = export(store, &mut text).expect("an export");
    let copy = MemoryStore::new();
    assert_eq!(import(&copy, &mut text.as_slice()).expect("an import"), written);
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Meta) {
        assert_eq!(rows(store, table).expect("rows"), rows(&copy, table).expect("rows"));
    }
}

fn commit(store: &dyn Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).expect("a commit");
}

fn get(store: &dyn Store, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    store.get(table, key).expect("a read")
}

fn keys(store: &dyn Store, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let scanned = store.scan(table, prefix, &mut |key, _| {
        keys.push(key.to_vec());
        true
    });
    scanned.expect("a scan");
    keys
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(store: &dyn Store, table: Table) -> Result<Rows, StoreError> {
    let mut rows = Vec::new();
    store.scan(table, b"", &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        true
    })?;
    Ok(rows)
}
