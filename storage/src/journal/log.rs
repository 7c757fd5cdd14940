//! The file under a journal: records of a name and its latest value, appended to a buffer,
//! written by `flush`, synced and compacted in the background.

mod compaction;
mod replay;
mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::writer::{Buffer, Disk};
use super::record::{self, HEADER, Header, Marks};
use crate::{StoreError, lock, now_unix};

/// Written octets are synced to the disk this long after the first of them, so that with the
/// time the sync itself takes half a second passes at most.
const SYNC_AFTER: Duration = Duration::from_millis(400);

/// A file below this many octets is never compacted.
const COMPACT_MIN: u64 = 16 << 20;

/// Whether a value need not be kept at the given time in Unix seconds.
pub(super) type Dead = fn(value: &[u8], now_unix: u64) -> bool;

/// An open log; the last to drop it writes and syncs what is left.
#[derive(Debug)]
pub(super) struct Log {
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    marks: Marks,
    dead: Dead,
    /// Taken for the time of encoding one record.
    buffer: Mutex<Buffer>,
    /// Taken for the time of one write; before `buffer` where both are.
    disk: Mutex<Disk>,
    /// Held by the one compaction at work.
    compacting: Mutex<()>,
    /// Told when the file becomes dirty and when the log closes.
    work: Condvar,
    compact_min: u64,
}

impl Log {
    /// Opens or creates the file in a folder and hands each record in it to `each`, oldest first.
    pub(super) fn open(
        folder: &Path,
        dead: Dead,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<Self, StoreError> {
        Self::open_with(folder, dead, COMPACT_MIN, each)
    }

    pub(super) fn open_with(
        folder: &Path,
        dead: Dead,
        compact_min: u64,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<Self, StoreError> {
        lock::create_folder(folder)?;
        let lock = lock::hold(&folder.join("bindings.lock"))?;
        let path = folder.join("bindings.journal");
        let failed = |error| StoreError::io(&path, "open the journal", error);
        drop(std::fs::remove_file(unfinished(&path)));
        let (file, marks) = open_file(&path)?;
        let length = file.metadata().map_err(failed)?.len();
        let found = replay::replay(&path, &file, marks, length, each).map_err(failed)?;
        if found.end < length {
            file.set_len(found.end).map_err(failed)?;
        }
        let disk = Mutex::new(Disk::new(file, found.end, found.live));
        let (buffer, compacting, work) = (Mutex::default(), Mutex::new(()), Condvar::new());
        let shared = Shared { path, marks, dead, buffer, disk, compacting, work, compact_min };
        let shared = Arc::new(shared);
        let syncer = shared.clone().start()?;
        Ok(Self { shared, syncer: Some(syncer), _lock: lock })
    }

    /// Buffers the latest value of a name: what `fill` appends.
    pub(super) fn append(&self, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.shared.buffer.lock();
        if !buffer.append(self.shared.marks, name, fill) {
            drop(buffer);
            tracing::error!(%name, octets_max = record::PAYLOAD_MAX,
                "value too long for the journal, not kept through a restart");
        }
    }

    /// Writes everything buffered before; see [`Disk::flush`].
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut disk = self.shared.disk.lock();
        let was_dirty = disk.dirty;
        let flushed = disk.flush(&self.shared.buffer);
        if disk.dirty && !was_dirty {
            self.shared.work.notify_one();
        }
        flushed
    }

    /// Octets in the file.
    pub(super) fn size(&self) -> u64 {
        self.shared.disk.lock().end
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::error!(journal = %self.shared.path.display(), %error,
                "bindings not written at the end");
        }
        self.shared.disk.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(syncer) = self.syncer.take() {
            // A panic of that thread was printed; there is nobody left to tell.
            drop(syncer.join());
        }
    }
}

impl Shared {
    fn start(self: Arc<Self>) -> Result<JoinHandle<()>, StoreError> {
        let path = self.path.clone();
        thread::Builder::new()
            .name("rempart-journal".into())
            .spawn(move || self.run())
            .map_err(|error| StoreError::io(&path, "start the journal's thread", error))
    }

    /// Syncs soon after each write until the log closes; compacts in a thread beside, because
    /// syncs must not wait for that.
    fn run(self: Arc<Self>) {
        let mut compaction = compaction::Compaction::default();
        loop {
            let closing = self.await_writes();
            self.sync();
            if closing {
                compaction.finish();
                return;
            }
            compaction.start_if_due(&self);
        }
    }

    /// Returns when writes have waited long enough for their sync, or the log closes (true).
    fn await_writes(&self) -> bool {
        let mut disk = self.disk.lock();
        self.work.wait_while(&mut disk, |disk| !disk.dirty && !disk.closing);
        self.work.wait_while_for(&mut disk, |disk| !disk.closing, SYNC_AFTER);
        disk.closing
    }

    /// Syncs what was written so far. The lock is not held meanwhile.
    fn sync(&self) {
        let file = {
            let mut disk = self.disk.lock();
            disk.dirty = false;
            disk.file.clone()
        };
        if let Err(error) = file.sync_data() {
            tracing::error!(journal = %self.path.display(), %error,
                "sync failed, bindings may not survive a power cut");
            // Linux forgets which pages failed, so that only a rewritten file is surely whole.
            let mut disk = self.disk.lock();
            (disk.dirty, disk.rewrite) = (true, true);
        }
    }

    fn is_closing(&self) -> bool {
        self.disk.lock().closing
    }
}

/// The name under which a file is built that will take the journal's place.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("journal.unfinished")
}

fn open_file(path: &Path) -> Result<(File, Marks), StoreError> {
    let failed = |error| StoreError::io(path, "open the journal", error);
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => match read_header(&file).map_err(failed)? {
            Header::Known(marks) => Ok((file, marks)),
            Header::Newer(found) => {
                let (path, known) = (path.to_path_buf(), record::FORMAT);
                Err(StoreError::NewerFormat { path, found, known })
            }
            Header::Damaged => replace_damaged(path).map_err(failed),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn read_header(file: &File) -> io::Result<Header> {
    let mut header = [0; HEADER];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(Header::read(&header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Header::Damaged),
        Err(error) => Err(error),
    }
}

/// A journal without its header says nothing. Phones register again within the hour, so a server
/// that starts is worth more than one that waits for an operator.
fn replace_damaged(path: &Path) -> io::Result<(File, Marks)> {
    let aside = path.with_extension(format!("journal.damaged-{}", now_unix()));
    std::fs::rename(path, &aside)?;
    tracing::error!(journal = %path.display(), moved_to = %aside.display(),
        "journal is damaged in its header; bindings are lost until phones register again");
    create(path)
}

/// Makes an empty journal, which has its name only when it is whole.
fn create(path: &Path) -> io::Result<(File, Marks)> {
    let (name, marks) = (unfinished(path), Marks::random());
    let file = create_with(&name, marks)?;
    file.sync_all()?;
    std::fs::rename(&name, path)?;
    path.parent().map_or(Ok(()), lock::sync_folder)?;
    Ok((file, marks))
}

fn create_with(name: &Path, marks: Marks) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(name)?;
    file.write_all_at(&marks.header(), 0)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
