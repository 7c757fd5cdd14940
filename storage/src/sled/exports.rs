//! The folder of exports beside a database: written under another name and renamed when they are
//! on disk, so that what stands there under its name is whole; the newest few are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{MemoryStore, Store, StoreError, export, lock, now_unix};

/// Periodic exports are `rows-<unix seconds, 12 digits>.jsonl`: their names sort by time.
const PREFIX: &str = "rows-";
const SUFFIX: &str = ".jsonl";

/// The exports of one store.
#[derive(Clone, Debug)]
pub(super) struct Exports {
    folder: PathBuf,
    exports_max: usize,
    /// Something was committed since the last export began.
    changed: Arc<AtomicBool>,
}

impl Exports {
    pub(super) fn new(store: &Path, exports_max: usize) -> Self {
        Self { folder: store.join("exports"), exports_max, changed: Arc::default() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn note_change(&self) {
        self.changed.store(true, Ordering::Release);
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// When the newest was written, in Unix seconds; 0 where there is none.
    pub(super) fn newest_at(&self) -> u64 {
        self.newest_first().first().and_then(|path| written_at(path)).unwrap_or(0)
    }

    /// Writes the next periodic export and removes those too many.
    pub(super) fn write(
        &self,
        fill: impl FnOnce(&mut BufWriter<File>) -> Result<u64, StoreError>,
    ) -> Result<PathBuf, StoreError> {
        self.changed.store(false, Ordering::Release);
        let name = format!("{PREFIX}{:012}{SUFFIX}", now_unix());
        let written = self.write_as(&name, fill);
        match &written {
            Ok(_) => self.remove_oldest(),
            Err(_) => self.note_change(),
        }
        written
    }

    /// Writes the one that is kept for good: the rows before their format changes.
    pub(super) fn write_before_migration(
        &self,
        store: &dyn Store,
        from: u32,
    ) -> Result<PathBuf, StoreError> {
        let name = format!("before-migration-from-{from}-{}{SUFFIX}", now_unix());
        self.write_as(&name, |file| export(store, file))
    }

    /// The newest export that reads to its end, with its rows; those that do not are named.
    pub(super) fn newest_good(&self) -> Option<(PathBuf, MemoryStore)> {
        self.newest_first().into_iter().find_map(|path| match read(&path) {
            Ok(rows) => Some((path, rows)),
            Err(error) => {
                tracing::error!(export = %path.display(), %error, "export is of no use");
                None
            }
        })
    }

    fn write_as(
        &self,
        name: &str,
        fill: impl FnOnce(&mut BufWriter<File>) -> Result<u64, StoreError>,
    ) -> Result<PathBuf, StoreError> {
        lock::create_folder(&self.folder)?;
        let (unfinished, path) = (self.folder.join("unfinished"), self.folder.join(name));
        let failed = |error| StoreError::io(&path, "write the export", error);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file =
            BufWriter::with_capacity(1 << 18, options.open(&unfinished).map_err(failed)?);
        fill(&mut file)?;
        file.flush().map_err(failed)?;
        file.get_ref().sync_all().map_err(failed)?;
        fs::rename(&unfinished, &path)
            .and_then(|()| lock::sync_folder(&self.folder))
            .map_err(failed)?;
        Ok(path)
    }

    fn remove_oldest(&self) {
        for path in self.newest_first().into_iter().skip(self.exports_max.max(1)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(export = %path.display(), %error, "old export not removed");
            }
        }
    }

    fn newest_first(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| written_at(path).is_some()).collect();
        paths.sort_unstable_by_key(|path| std::cmp::Reverse(written_at(path)));
        paths
    }
}

fn written_at(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

fn read(path: &Path) -> Result<MemoryStore, StoreError> {
    let failed = |error| StoreError::io(path, "read the export", error);
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(failed)?);
    crate::export::read(&mut file).map(|(rows, _)| rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export_at(exports: &Exports, at: u64) -> PathBuf {
        let name = format!("{PREFIX}{at:012}{SUFFIX}");
        exports.write_as(&name, |file| export(&MemoryStore::new(), file)).expect("an export")
    }

    #[test]
    fn the_newest_whole_export_is_found_and_damaged_ones_are_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let exports = Exports::new(folder.path(), 3);
        assert!(exports.newest_good().is_none());
        let good = export_at(&exports, 9);
        fs::write(export_at(&exports, 10), "cut off").expect("a write");
        assert_eq!(exports.newest_at(), 10);
        assert_eq!(exports.newest_good().map(|(path, _)| path), Some(good));
    }

    #[test]
    fn only_the_newest_few_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let exports = Exports::new(folder.path(), 2);
        (1..=4).for_each(|at| drop(export_at(&exports, at)));
        exports.note_change();
        let path = exports.write(|file| export(&MemoryStore::new(), file)).expect("an export");
        assert_eq!(exports.newest_first().first(), Some(&path));
        assert_eq!(exports.newest_first().len(), 2);
        assert!(!exports.is_changed());
    }

    #[test]
    fn a_failed_export_leaves_the_change_to_be_exported() {
        let folder = tempfile::tempdir().expect("a folder");
        let exports = Exports::new(folder.path(), 2);
        let full = |_: &mut BufWriter<File>| Err(StoreError::Full { path: "data".into() });
        assert!(exports.write(full).is_err());
        assert!(exports.is_changed());
        assert!(exports.newest_first().is_empty());
    }
}
