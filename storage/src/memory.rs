//! The home without a disk: an ordered map, for tests, trials and embedding.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use crate::{Batch, Store, StoreError, Table};

/// Rows in memory; they end with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.read().get(&table.prefixed(key)).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let whole = table.prefixed(prefix);
        for (key, value) in self.rows.read().range(whole.clone()..) {
            if !key.starts_with(&whole) || !row(key.get(1..).unwrap_or_default(), value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut rows = self.rows.write();
        for change in batch.into_changes() {
            let key = change.table.prefixed(&change.key);
            match change.value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store_suite!(memory, || (MemoryStore::new(), ()));
}
