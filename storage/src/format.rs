//! The format number of a store, and the way from older ones to [`FORMAT`].

use std::path::Path;

use crate::{Batch, FORMAT, Store, StoreError, Table};

/// The key in [`Table::Meta`] that holds the number, in decimal digits.
pub(crate) const KEY: &[u8] = b"format";

/// Adds to `batch` what turns one format into the next.
type Step = fn(&dyn Store, &mut Batch) -> Result<(), StoreError>;

/// The step at index N leads from format N to N + 1.
const STEPS: [Step; FORMAT as usize] = [number_unnumbered];

/// Rows of format 0 are those of format 1; only the number is missing.
fn number_unnumbered(_: &dyn Store, _: &mut Batch) -> Result<(), StoreError> {
    Ok(())
}

/// Adds the number of this release to a batch.
pub(crate) fn stamp(batch: &mut Batch) {
    batch.put(Table::Meta, KEY, FORMAT.to_string());
}

/// The number a store carries; rows without a number are format 0, a store without rows has none.
/// `path` is named where the number is newer or makes no sense.
pub(crate) fn of(store: &dyn Store, path: &Path) -> Result<Option<u32>, StoreError> {
    let Some(value) = store.get(Table::Meta, KEY)? else {
        return Ok(has_rows(store)?.then_some(0));
    };
    let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| StoreError::Damaged {
        path: path.to_path_buf(),
        detail: "its format number is not a number".into(),
        remedy: "move it away; the newest export beside it is then loaded at the next start".into(),
    })?;
    known(number, path).map(Some)
}

/// Refuses what a later release wrote.
pub(crate) fn known(number: u32, path: &Path) -> Result<u32, StoreError> {
    if number > FORMAT {
        let path = path.to_path_buf();
        return Err(StoreError::NewerFormat { path, found: number, known: FORMAT });
    }
    Ok(number)
}

/// Brings the rows to [`FORMAT`], one format at a time, each in one commit.
pub(crate) fn migrate(store: &dyn Store, from: u32) -> Result<(), StoreError> {
    for (step, next) in STEPS.iter().zip(1u32..).skip(from as usize) {
        let mut batch = Batch::new();
        step(store, &mut batch)?;
        batch.put(Table::Meta, KEY, next.to_string());
        store.commit(batch)?;
    }
    Ok(())
}

fn has_rows(store: &dyn Store) -> Result<bool, StoreError> {
    let mut found = false;
    for table in Table::ALL {
        store.scan(table, b"", &mut |_, _| {
            found = true;
            false
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn number(store: &dyn Store) -> Result<Option<u32>, StoreError> {
        of(store, Path::new("data"))
    }

    #[test]
    fn an_empty_store_has_no_number_and_rows_without_one_are_format_zero() {
        let store = MemoryStore::new();
        assert_eq!(number(&store).expect("a number"), None);
        let mut batch = Batch::new();
        batch.put(Table::Bans, "192.0.2.1/32", "{}");
        store.commit(batch).expect("a commit");
        assert_eq!(number(&store).expect("a number"), Some(0));
        migrate(&store, 0).expect("a migration");
        assert_eq!(number(&store).expect("a number"), Some(FORMAT));
    }

    #[test]
    fn a_newer_number_is_refused_and_nonsense_is_damage() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(Table::Meta, KEY, (FORMAT + 1).to_string());
        store.commit(batch.clone()).expect("a commit");
        assert!(matches!(number(&store), Err(StoreError::NewerFormat { .. })));
        batch.put(Table::Meta, KEY, "one");
        store.commit(batch).expect("a commit");
        assert!(matches!(number(&store), Err(StoreError::Damaged { .. })));
    }
}
