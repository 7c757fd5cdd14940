//! The way of records to the file: a buffer that shards append to, and the disk's side of it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::record::Marks;
use super::super::scan::{Scan, Step};
use super::replay;

/// Buffered octets, while the disk refuses them, above which only the latest value of each name
/// is kept, so that a full disk does not fill the memory too.
const BUFFER_MAX: usize = 64 << 20;

/// A buffer that grew beyond this in a burst gives the memory back.
const BUFFER_KEPT: usize = 1 << 20;

/// Records not yet on their way to the file.
#[derive(Debug)]
pub(super) struct Buffer {
    records: Vec<u8>,
    squeeze_at: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { records: Vec::new(), squeeze_at: BUFFER_MAX }
    }
}

impl Buffer {
    /// Adds a record; false where its value is too long.
    pub(super) fn append(
        &mut self,
        marks: Marks,
        name: &str,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if self.records.len() >= self.squeeze_at {
            self.records = latest(&self.records, marks);
            self.squeeze_at = BUFFER_MAX.max(2 * self.records.len());
        }
        marks.write(&mut self.records, |out| {
            // A name is an address of record, 255 octets at most; a longer one is cut to what
            // its length says and then belongs to nobody.
            let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend(name.bytes().take(usize::from(length)));
            fill(out);
        })
    }
}

/// The records that hold the latest value of their name.
fn latest(records: &[u8], marks: Marks) -> Vec<u8> {
    let mut newest = HashMap::new();
    each_record(records, marks, |offset, record| {
        if let Some((name, _)) = replay::split(record) {
            newest.insert(name.to_owned(), offset);
        }
    });
    let mut kept = Vec::new();
    each_record(records, marks, |offset, record| {
        let newest = replay::split(record).and_then(|(name, _)| newest.get(name));
        if newest == Some(&offset) {
            kept.extend_from_slice(record);
        }
    });
    kept
}

fn each_record(records: &[u8], marks: Marks, mut each: impl FnMut(u64, &[u8])) {
    let mut scan = Scan::new(records, marks, 0, records.len() as u64);
    // Reading memory does not fail, and what we wrote there is not damaged.
    while let Ok(Step::Record { offset, octets }) = scan.advance() {
        each(offset, octets);
    }
}

/// The file and what is on its way there.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) file: Arc<File>,
    /// Where the file ends, which is where the next octet goes.
    pub(super) end: u64,
    /// Octets of records in use when the file was opened or compacted.
    pub(super) live: u64,
    /// Written since the last sync began.
    pub(super) dirty: bool,
    /// The file is to be compacted whatever its size.
    pub(super) rewrite: bool,
    /// The log is being dropped.
    pub(super) closing: bool,
    /// Taken from the buffer; what stands before `written` is in the file.
    pending: Vec<u8>,
    written: usize,
}

impl Disk {
    pub(super) fn new(file: File, end: u64, live: u64) -> Self {
        Self {
            file: Arc::new(file),
            end,
            live,
            dirty: false,
            rewrite: false,
            closing: false,
            pending: Vec::new(),
            written: 0,
        }
    }

    /// Writes what an earlier failure left, then what is buffered. After an error all of it is
    /// still there, and the next call goes on at the octet where this one stopped.
    pub(super) fn flush(&mut self, buffer: &Mutex<Buffer>) -> io::Result<()> {
        self.write_pending()?;
        {
            let mut buffer = buffer.lock();
            std::mem::swap(&mut buffer.records, &mut self.pending);
            buffer.squeeze_at = BUFFER_MAX;
        }
        self.write_pending()
    }

    fn write_pending(&mut self) -> io::Result<()> {
        while let Some(left) = self.pending.get(self.written..).filter(|left| !left.is_empty()) {
            match self.file.write_at(left, self.end) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.written += written;
                    self.end += written as u64;
                    self.dirty = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.pending.clear();
        self.pending.shrink_to(BUFFER_KEPT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_the_disk_does_not_take_keeps_the_latest_of_each_name() {
        let marks = Marks { marker: 1, seed: 2 };
        let mut buffer = Buffer { squeeze_at: 1_000, ..Buffer::default() };
        let mut append = |name: &str, value: u32| {
            assert!(buffer.append(marks, name, |out| out.extend_from_slice(&value.to_le_bytes())));
        };
        append("b", 7);
        (0..100).for_each(|value| append("a", value));
        assert_eq!(buffer.squeeze_at, BUFFER_MAX);
        let mut found = HashMap::new();
        let mut records = 0;
        each_record(&buffer.records, marks, |_, record| {
            let (name, value) = replay::split(record).expect("a record");
            found.insert(name.to_owned(), value.to_vec());
            records += 1;
        });
        assert!(records < 100, "{records} records are left");
        assert_eq!(found.get("a"), Some(&99u32.to_le_bytes().to_vec()));
        assert_eq!(found.get("b"), Some(&7u32.to_le_bytes().to_vec()));
    }
}
