//! What every home of data offers: six tables of bytes, read by key or prefix, changed in
//! batches that are atomic and on disk when `commit` returns.

use std::fmt;

use crate::StoreError;

/// The number of the layout of all rows. A store with an older one is exported and migrated when
/// it opens, one with a newer one is refused.
pub const FORMAT: u32 = 1;

/// A table: its own space of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Digest secrets by address of record.
    Subscribers = b's',
    /// The address table (the seed's group 1 and others).
    Trusted = b't',
    /// Banned sources.
    Bans = b'b',
    /// Suspended users, from one source or from all.
    Suspensions = b'u',
    /// Secrets of the server itself: what nonces and seals are made with.
    Keys = b'k',
    /// About the store: its format number.
    Meta = b'm',
}

impl Table {
    /// Every table, in the order of an export.
    pub const ALL: [Self; 6] =
        [Self::Meta, Self::Keys, Self::Subscribers, Self::Trusted, Self::Bans, Self::Suspensions];

    /// The name exports and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribers => "subscribers",
            Self::Trusted => "trusted",
            Self::Bans => "bans",
            Self::Suspensions => "suspensions",
            Self::Keys => "keys",
            Self::Meta => "meta",
        }
    }

    /// The table of that [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// A key as homes with a single ordered map keep it: the table's octet, then the key.
    pub(crate) fn prefixed(self, key: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(1 + key.len());
        whole.push(self as u8);
        whole.extend_from_slice(key);
        whole
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One step of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where the row is.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// The new value; none deletes the row.
    pub value: Option<Vec<u8>>,
}

/// Changes that take effect together or not at all. Of two to the same row the later one holds.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row, whether or not there was one.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change { table, key: key.into(), value: Some(value.into()) });
    }

    /// Deletes a row; one that is absent is no error.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.changes.push(Change { table, key: key.into(), value: None });
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether committing it would do nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many octets of keys and values it holds.
    pub fn octets(&self) -> usize {
        let octets = |change: &Change| change.key.len() + change.value.as_ref().map_or(0, Vec::len);
        self.changes.iter().map(octets).sum()
    }

    /// The changes in the order they were made, for whoever writes a store.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        self.changes.into_iter()
    }
}

/// A home of rows. Calls may come from any thread and may wait for the disk, so actors call
/// from a blocking thread or at start.
pub trait Store: Send + Sync + 'static {
    /// The value under a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Hands every row whose key starts with `prefix` to `row`, in order of the keys, until it
    /// returns false. Changes made meanwhile may or may not be seen. `row` must not commit.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// Makes the changes, all or none; they are durable when it returns. Several threads may
    /// call it at once and then share the wait for the disk.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_found_by_its_name() {
        for table in Table::ALL {
            assert_eq!(Table::named(table.name()), Some(table));
        }
        assert_eq!(Table::named("dialogs"), None);
    }

    #[test]
    fn a_batch_counts_changes_and_octets() {
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.put(Table::Bans, "key", "value");
        batch.delete(Table::Bans, "key");
        assert_eq!((batch.len(), batch.octets()), (2, 11));
    }
}
