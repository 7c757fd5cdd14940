//! Rewrites a journal to the latest value of each name, while appends and flushes go on.
//!
//! The live records up to a moment are copied first, then what was written since, as often as it
//! takes until little is left; that little is copied while flushes wait, and the new file takes
//! the old one's place by a rename. A crash at any point leaves one of the two, whole.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::record::HEADER;
use super::super::scan::{Scan, Section, Step};
use super::{Shared, create_with, replay, unfinished};
use crate::{lock, now_unix};

/// Octets that may be left to copy while flushes wait.
const TAIL_MAX: u64 = 256 << 10;

/// How young these octets have to be to be synced after the rename, when flushes go on again.
/// Older ones are promised to be on the disk already, so they are synced before it.
const TAIL_AGE_MAX: Duration = Duration::from_millis(100);

/// How often to catch up before flushes wait for whatever is left.
const ROUNDS_MAX: u32 = 8;

/// After a failure the next attempt waits this long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The compaction at work, if there is one.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    thread: Option<JoinHandle<io::Result<()>>>,
    not_before: Option<Instant>,
}

impl Compaction {
    /// Starts one where the file holds more than twice what was live last and is not small.
    /// Since it then halves at least, or doubles what counts as live, each octet appended
    /// causes at most two to be copied.
    pub(super) fn start_if_due(&mut self, shared: &Arc<Shared>) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.finish();
        let now = Instant::now();
        if !shared.is_due() || self.not_before.is_some_and(|earliest| now < earliest) {
            return;
        }
        self.not_before = Some(now + RETRY_AFTER);
        let shared = shared.clone();
        let started = thread::Builder::new().name("rempart-compact".into());
        match started.spawn(move || shared.compact()) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "journal not compacted, tried again later"),
        }
    }

    /// Waits for the one at work, which gives up soon when the log closes.
    pub(super) fn finish(&mut self) {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) => self.not_before = None,
            Some(Ok(Err(error))) if error.kind() != io::ErrorKind::Interrupted => {
                tracing::warn!(%error, "journal not compacted, tried again later");
            }
            _ => {}
        }
    }
}

/// The latest record of each live name: the name's hash, and where the record starts. Two hashes
/// with secret keys make 128 bits, so that no two names share one.
struct Latest {
    hashes: [RandomState; 2],
    records: HashMap<[u64; 2], u64>,
}

impl Latest {
    fn key(&self, name: &str) -> [u64; 2] {
        self.hashes.each_ref().map(|hash| hash.hash_one(name))
    }
}

impl Shared {
    fn is_due(&self) -> bool {
        let disk = self.disk.lock();
        disk.rewrite || disk.end > self.compact_min && disk.end > 2 * disk.live
    }

    /// Does it all, in the calling thread.
    pub(super) fn compact(&self) -> io::Result<()> {
        let _one = self.compacting.lock();
        let written = self.rewrite();
        if written.is_err() {
            drop(std::fs::remove_file(unfinished(&self.path)));
        }
        written
    }

    fn rewrite(&self) -> io::Result<()> {
        let (old, end) = self.position();
        let (latest, end) = self.survey(&old, end)?;
        let file = create_with(&unfinished(&self.path), self.marks)?;
        let mut fresh = Fresh { file, end: HEADER as u64 };
        self.copy_latest(&old, end, &latest, &mut fresh)?;
        drop(latest);
        let live = fresh.end - HEADER as u64;
        let (copied, at) = self.catch_up(&old, end, &mut fresh)?;
        self.replace(&old, copied, at, fresh, live)?;
        tracing::debug!(journal = %self.path.display(), octets_before = copied,
            octets_live = live, "journal compacted");
        Ok(())
    }

    fn position(&self) -> (Arc<File>, u64) {
        let disk = self.disk.lock();
        (disk.file.clone(), disk.end)
    }

    /// Finds the latest record of each name that is not dead, and where records end: a write
    /// that is under way may have left half of one, which the catching up then copies.
    fn survey(&self, old: &File, end: u64) -> io::Result<(Latest, u64)> {
        let hashes = [RandomState::new(), RandomState::new()];
        let mut latest = Latest { hashes, records: HashMap::new() };
        let now = now_unix();
        let end = self.each_record(old, end, |offset, record| {
            let Some((name, value)) = replay::split(record) else { return Ok(()) };
            let key = latest.key(name);
            if (self.dead)(value, now) {
                latest.records.remove(&key);
            } else {
                latest.records.insert(key, offset);
            }
            Ok(())
        })?;
        Ok((latest, end))
    }

    fn copy_latest(
        &self,
        old: &File,
        end: u64,
        latest: &Latest,
        fresh: &mut Fresh,
    ) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 18, fresh);
        self.each_record(old, end, |offset, record| {
            let Some((name, _)) = replay::split(record) else { return Ok(()) };
            if latest.records.get(&latest.key(name)) == Some(&offset) {
                out.write_all(record)?;
            }
            Ok(())
        })?;
        out.flush()
    }

    /// Returns where the records end. Damaged ones are left out; opening told of them.
    fn each_record(
        &self,
        old: &File,
        end: u64,
        mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let start = HEADER as u64;
        let mut scan = Scan::new(Section { file: old, at: start }, self.marks, start, end);
        for count in 0u32.. {
            if count.is_multiple_of(1024) && self.is_closing() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match scan.advance()? {
                Step::Record { offset, octets } => each(offset, octets)?,
                Step::Skipped { .. } => {}
                Step::Torn { offset } => return Ok(offset),
                Step::End => break,
            }
        }
        Ok(end)
    }

    /// Copies what was written since, until little is left, and syncs it. Returns how far the
    /// old file is copied, and when that was its end.
    fn catch_up(
        &self,
        old: &File,
        mut copied: u64,
        fresh: &mut Fresh,
    ) -> io::Result<(u64, Instant)> {
        let mut at = Instant::now();
        for _ in 0..ROUNDS_MAX {
            at = Instant::now();
            let end = self.position().1;
            fresh.copy(old, copied, end)?;
            copied = end;
            fresh.file.sync_data()?;
            if self.position().1 - copied <= TAIL_MAX && at.elapsed() < TAIL_AGE_MAX {
                break;
            }
        }
        Ok((copied, at))
    }

    /// Copies the rest, which was written after `at`, and puts the new file in the old one's
    /// place while flushes wait.
    fn replace(
        &self,
        old: &File,
        copied: u64,
        at: Instant,
        mut fresh: Fresh,
        live: u64,
    ) -> io::Result<()> {
        let file = {
            let mut disk = self.disk.lock();
            fresh.copy(old, copied, disk.end)?;
            if at.elapsed() >= TAIL_AGE_MAX {
                fresh.file.sync_data()?;
            }
            std::fs::rename(unfinished(&self.path), &self.path)?;
            disk.file = Arc::new(fresh.file);
            (disk.end, disk.live, disk.rewrite) = (fresh.end, live, false);
            disk.file.clone()
        };
        let synced = file.sync_data();
        self.disk.lock().rewrite |= synced.is_err();
        synced?;
        self.path.parent().map_or(Ok(()), lock::sync_folder)
    }
}

/// The file being written.
struct Fresh {
    file: File,
    end: u64,
}

impl Fresh {
    fn copy(&mut self, old: &File, from: u64, to: u64) -> io::Result<()> {
        let mut section = Section { file: old, at: from }.take(to - from);
        io::copy(&mut section, self)?;
        Ok(())
    }
}

impl Write for Fresh {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(octets, self.end)?;
        self.end += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
