//! What the tables hold, as types: one row each, written as a version digit and JSON, so that an
//! operator can read an export and a later release can tell an older row.

mod ban;
mod keys;
mod subscriber;
mod suspension;
mod tickets;
mod trusted;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::ban::{Ban, Evidence, ban, bans, for_each_ban, put_ban, remove_ban};
pub use self::keys::{load_or_create_keys, rotate_keys};
pub use self::subscriber::{
    Subscriber, for_each_subscriber, put_subscriber, remove_subscriber, subscriber, subscribers,
};
pub use self::suspension::{
    Suspension, for_each_suspension, put_suspension, remove_suspensions, suspensions,
};
pub use self::tickets::{TicketKey, put_ticket_keys, ticket_keys};
pub use self::trusted::{
    Reach, TrustedAddress, for_each_trusted, put_trusted, remove_trusted, trusted,
};
use crate::{Batch, Store, StoreError, Table};

/// What leads each value.
const VERSION: u8 = b'1';

/// A typed row of one table.
pub trait Row: Sized {
    /// Where rows of this type are.
    const TABLE: Table;

    /// The key it is kept under; a later row with the same key takes its place.
    fn key(&self) -> Vec<u8>;

    /// Its octets.
    fn value(&self) -> Vec<u8>;

    /// The row of these octets, or what is wrong with them.
    fn read(value: &[u8]) -> Result<Self, String>;

    /// Adds the writing of this row to a batch, for many at once.
    fn stage(&self, batch: &mut Batch) {
        batch.put(Self::TABLE, self.key(), self.value());
    }
}

/// Deletes bans and suspensions that ended before `now_unix` (seconds); returns how many.
pub fn remove_ended(store: &dyn Store, now_unix: u64) -> Result<usize, StoreError> {
    let mut batch = Batch::new();
    let ended = bans(store)?.into_iter().filter(|ban| ban.until < now_unix);
    ended.for_each(|ban| batch.delete(Table::Bans, ban.key()));
    let ended = suspensions(store)?.into_iter().filter(|row| row.until < now_unix);
    ended.for_each(|row| batch.delete(Table::Suspensions, row.key()));
    commit_counted(store, batch)
}

/// How many changes, after they were made; an empty batch does not trouble the disk.
fn commit_counted(store: &dyn Store, batch: Batch) -> Result<usize, StoreError> {
    let count = batch.len();
    if count > 0 {
        store.commit(batch)?;
    }
    Ok(count)
}

fn put<R: Row>(store: &dyn Store, row: &R) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    row.stage(&mut batch);
    store.commit(batch)
}

fn get<R: Row>(store: &dyn Store, key: &[u8]) -> Result<Option<R>, StoreError> {
    let Some(value) = store.get(R::TABLE, key)? else { return Ok(None) };
    R::read(&value).map(Some).map_err(|detail| bad::<R>(key, detail))
}

/// Whether there was a row to remove.
fn remove<R: Row>(store: &dyn Store, key: &[u8]) -> Result<bool, StoreError> {
    if store.get(R::TABLE, key)?.is_none() {
        return Ok(false);
    }
    let mut batch = Batch::new();
    batch.delete(R::TABLE, key);
    store.commit(batch)?;
    Ok(true)
}

/// Rows that do not read are logged and passed over: one of them must not keep the others, and
/// the server, from working.
fn for_each<R: Row>(
    store: &dyn Store,
    prefix: &[u8],
    mut row: impl FnMut(R),
) -> Result<(), StoreError> {
    store.scan(R::TABLE, prefix, &mut |key, value| {
        match R::read(value) {
            Ok(read) => row(read),
            Err(detail) => tracing::error!(error = %bad::<R>(key, detail), "row passed over"),
        }
        true
    })
}

fn collect<R: Row>(store: &dyn Store, prefix: &[u8]) -> Result<Vec<R>, StoreError> {
    let mut rows = Vec::new();
    for_each(store, prefix, |row| rows.push(row))?;
    Ok(rows)
}

fn bad<R: Row>(key: &[u8], detail: String) -> StoreError {
    StoreError::BadRow { table: R::TABLE, key: String::from_utf8_lossy(key).into(), detail }
}

fn to_json(row: &impl Serialize) -> Vec<u8> {
    let mut value = vec![VERSION];
    // Writing to memory does not fail, and no row holds a map or a number that JSON cannot.
    serde_json::to_writer(&mut value, row).expect("rows are plain structs");
    value
}

fn from_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    match value.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        _ => Err("its version is unknown".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn ban_until(source: &str, until: u64) -> Ban {
        let (source, reason) = (source.parse().expect("a network"), "flood".into());
        Ban { source, reason, evidence: Evidence::Unproven, since: 1, until, level: 0 }
    }

    #[test]
    fn rows_that_do_not_read_are_passed_over_and_named_when_asked_for() {
        let store = MemoryStore::new();
        put(&store, &ban_until("192.0.2.1/32", 9)).expect("a write");
        let mut batch = Batch::new();
        batch.put(Table::Bans, "192.0.2.0/32", "1{");
        batch.put(Table::Bans, "192.0.2.2/32", "2{}");
        batch.put(Table::Bans, "192.0.2.3/32", "");
        store.commit(batch).expect("a commit");
        assert_eq!(bans(&store).expect("bans").len(), 1);
        let error = get::<Ban>(&store, b"192.0.2.2/32").expect_err("a refusal");
        assert!(error.to_string().contains("version is unknown"), "{error}");
    }

    #[test]
    fn what_has_ended_is_removed_and_what_goes_on_is_kept() {
        let store = MemoryStore::new();
        put(&store, &ban_until("192.0.2.1/32", 9)).expect("a write");
        put(&store, &ban_until("192.0.2.2/32", 10)).expect("a write");
        assert_eq!(remove_ended(&store, 10).expect("a sweep"), 1);
        assert_eq!(bans(&store).expect("bans"), [ban_until("192.0.2.2/32", 10)]);
        assert_eq!(remove_ended(&store, 10).expect("a sweep"), 0);
    }
}
