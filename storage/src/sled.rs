//! The default home: a sled database in a folder, with exports beside it that replace it should
//! it not open any more.
//!
//! All tables share one sled tree, their octet leading each key, because a sled batch is atomic
//! within a tree and simple there.

mod exporter;
mod exports;
mod group;
mod room;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use self::exporter::Exporter;
use self::exports::Exports;
use self::group::Group;
use crate::{Batch, Store, StoreError, Table, export, format, lock, now_unix};

/// sled takes memory up to this for pages in use, in octets.
const CACHE_MAX: u64 = 64 << 20;

/// Room that must stay free on the disk, in octets: a sled that meets a full disk refuses all
/// work until it is reopened, so a commit is refused before that.
const ROOM_MIN: u64 = 16 << 20;

/// How often a lock that our own closed database has not let go yet is tried, and how far apart.
const REOPENS_MAX: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// How a [`SledStore`] keeps its exports.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The least time between two periodic exports. None are written where nothing changed.
    pub export_every: Duration,
    /// How many of them are kept.
    pub exports_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { export_every: Duration::from_secs(600), exports_max: 3 }
    }
}

/// Rows in a sled database. One process at a time has it open.
#[derive(Debug)]
pub struct SledStore {
    // Fields are dropped in this order: the last export needs the database, and the lock goes
    // last of all.
    _exporter: Exporter,
    shared: Arc<Shared>,
    _lock: File,
}

/// What the store and its exporting thread both use.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    tree: sled::Db,
    /// sled's own file, for the fsync that sled leaves out.
    file: File,
    group: Group,
    exports: Exports,
    room_min: u64,
}

impl SledStore {
    /// Opens or creates the store in a folder, with the usual [`Options`].
    ///
    /// An older format is exported to `exports/` and migrated. A database that does not open is
    /// renamed aside and replaced by the newest good export, which is logged as an error: what
    /// changed after that export is lost. Fails with [`StoreError::Locked`] where another
    /// process has it open, [`StoreError::NewerFormat`], or [`StoreError::Damaged`] where no
    /// good export is there.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(folder, Options::default())
    }

    /// The same with other [`Options`].
    pub fn open_with(folder: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        lock::create_folder(folder)?;
        let lock = lock::hold(&folder.join("lock"))?;
        let exports = Exports::new(folder, options.exports_max);
        finish_restore(folder)?;
        let shared = open_or_restore(folder, &exports)?;
        shared.settle_format()?;
        let shared = Arc::new(shared);
        let exporter = Exporter::start(shared.clone(), options.export_every)?;
        Ok(Self { _exporter: exporter, shared, _lock: lock })
    }

    /// Writes an export beside the database now and returns its path.
    pub fn export_now(&self) -> Result<PathBuf, StoreError> {
        self.shared.export_now()
    }
}

impl Store for SledStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.shared.scan(table, prefix, row)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.shared.commit(batch)
    }
}

impl Store for Shared {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.guarded("read", || self.tree.get(table.prefixed(key)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let mut rows = self.tree.scan_prefix(table.prefixed(prefix));
        while let Some(next) = self.guarded("read", || rows.next().transpose())? {
            let (key, value) = next;
            if !row(key.get(1..).unwrap_or_default(), &value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        room::require(&self.folder, self.room_min.saturating_add(batch.octets() as u64))?;
        let mut changes = sled::Batch::default();
        for change in batch.into_changes() {
            let key = change.table.prefixed(&change.key);
            match change.value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        self.guarded("write", || self.tree.apply_batch(changes))?;
        self.exports.note_change();
        self.group.commit(|| self.sync())
    }
}

impl Shared {
    fn open(folder: &Path, path: &Path, exports: Exports) -> Result<Self, StoreError> {
        let new = !path.exists();
        let tree = open_tree(path)?;
        let file = File::open(path.join("db"))
            .map_err(|error| StoreError::io(path, "open the database file", error))?;
        if new {
            let synced = lock::sync_folder(path).and_then(|()| lock::sync_folder(folder));
            synced.map_err(|error| StoreError::io(path, "write the folder to disk", error))?;
        }
        let (folder, group) = (folder.to_path_buf(), Group::default());
        Ok(Self { folder, tree, file, group, exports, room_min: ROOM_MIN })
    }

    /// Migrates older rows, after exporting them, and numbers a new store.
    fn settle_format(&self) -> Result<(), StoreError> {
        let Some(number) = format::of(self, &self.folder)? else {
            let mut batch = Batch::new();
            format::stamp(&mut batch);
            return self.commit(batch);
        };
        if number < crate::FORMAT {
            let kept = self.exports.write_before_migration(self, number)?;
            tracing::warn!(from = number, to = crate::FORMAT, export = %kept.display(),
                "store is of an older format, migrating");
            format::migrate(self, number)?;
        }
        Ok(())
    }

    fn export_now(&self) -> Result<PathBuf, StoreError> {
        self.exports.write(|file| export(self, file))
    }

    /// Makes everything applied so far durable. sled's flush is sync_file_range(2): it starts
    /// and awaits the writing of pages, but neither the drive's cache nor the file's size are
    /// made safe by it, so that it holds through kill -9 and not through a power cut. Hence the
    /// sync of its file.
    fn sync(&self) -> Result<(), StoreError> {
        self.guarded("flush", || self.tree.flush())?;
        self.file.sync_data().map_err(|error| StoreError::io(&self.folder, "sync", error))
    }

    fn guarded<T>(
        &self,
        doing: &'static str,
        call: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        guarded(&self.folder.join("sled"), doing, call)
    }
}

/// sled panics on some kinds of damage, which must not take the caller's thread along.
fn guarded<T>(
    path: &Path,
    doing: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| meaning(path, doing, error)),
        Err(panic) => Err(damaged(path, said(&*panic))),
    }
}

fn meaning(path: &Path, doing: &'static str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                damaged(path, error.to_string())
            }
            _ => StoreError::io(path, doing, error),
        },
        other => damaged(path, other.to_string()),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "the database engine gave up".to_owned())
}

fn damaged(path: &Path, detail: String) -> StoreError {
    let remedy = "stop the server, move this folder aside and start: the newest export is loaded";
    StoreError::Damaged { path: path.to_path_buf(), detail, remedy: remedy.to_owned() }
}

/// Opens sled. Our own lock is held, so a lock on sled's file is that of a handle this process
/// has just closed and whose last pages are still being written.
fn open_tree(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(CACHE_MAX);
    for _ in 0..REOPENS_MAX {
        match guarded(path, "open the database", || config.open()) {
            Err(StoreError::Io { source, .. }) if is_lock(&source) => thread::sleep(REOPEN_PAUSE),
            opened => return opened,
        }
    }
    Err(StoreError::Locked { path: path.to_path_buf(), process: None })
}

fn is_lock(error: &std::io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}

/// A database that is absent while exports are there was moved aside by someone who wants one of
/// them loaded, as our errors advise.
fn open_or_restore(folder: &Path, exports: &Exports) -> Result<Shared, StoreError> {
    let path = folder.join("sled");
    if !path.exists() && exports.newest_at() > 0 {
        return restore(folder, exports, "it is absent");
    }
    match Shared::open(folder, &path, exports.clone()) {
        Err(StoreError::Damaged { detail, .. }) => restore(folder, exports, &detail),
        opened => opened,
    }
}

/// Builds a new database from the newest good export and puts it in the place of the damaged one.
fn restore(folder: &Path, exports: &Exports, detail: &str) -> Result<Shared, StoreError> {
    let (path, fresh) = (folder.join("sled"), folder.join("sled.restoring"));
    let Some((export, rows)) = exports.newest_good() else {
        let remedy = format!(
            "no good export is in {}: move both folders aside, start, and import a backup",
            exports.folder().display()
        );
        return Err(StoreError::Damaged { path, detail: detail.to_owned(), remedy });
    };
    let mut batch = Batch::new();
    for table in Table::ALL {
        rows.scan(table, b"", &mut |key, value| {
            batch.put(table, key, value);
            true
        })?;
    }
    let count = batch.len();
    Shared::open(folder, &fresh, exports.clone())?.commit(batch)?;
    let aside = folder.join(format!("sled.damaged-{}", now_unix()));
    if path.exists() {
        rename(folder, &path, &aside)?;
    }
    rename(folder, &fresh, &path)?;
    tracing::error!(database = %path.display(), moved_to = %aside.display(), detail,
        export = %export.display(), rows = count,
        "database did not open, restored from an export; changes made after it are lost");
    Shared::open(folder, &path, exports.clone())
}

/// A restored database is complete before the damaged one is moved, so after a crash in between
/// it only has to be given its name; beside a database it is an unfinished one.
fn finish_restore(folder: &Path) -> Result<(), StoreError> {
    let (path, fresh) = (folder.join("sled"), folder.join("sled.restoring"));
    match (path.exists(), fresh.exists()) {
        (false, true) => rename(folder, &fresh, &path),
        (true, true) => std::fs::remove_dir_all(&fresh)
            .map_err(|error| StoreError::io(&fresh, "remove it", error)),
        _ => Ok(()),
    }
}

fn rename(folder: &Path, from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to)
        .and_then(|()| lock::sync_folder(folder))
        .map_err(|error| StoreError::io(from, "rename it", error))
}

#[cfg(test)]
mod tests;
