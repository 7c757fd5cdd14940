//! Reads records one after another through one reused buffer, and finds the next good one where
//! some are damaged.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::record::{HEAD, Marks};

/// Octets read at once.
const CHUNK: usize = 1 << 20;

/// What comes next. Offsets count from the start of what is read, as given to [`Scan::new`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A good record, head included.
    Record { offset: u64, octets: &'a [u8] },
    /// Damaged octets, with good records after them.
    Skipped { offset: u64, octets: u64 },
    /// Octets up to the end that are no record.
    Torn { offset: u64 },
    /// All was read.
    End,
}

/// Part of a file, read from an offset on whatever others do with the file's position.
pub(super) struct Section<'a> {
    pub file: &'a File,
    pub at: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A pass over records.
pub(super) struct Scan<R> {
    source: R,
    marks: Marks,
    buffer: Vec<u8>,
    /// The part of the buffer that was read and not yet passed.
    start: usize,
    filled: usize,
    /// Where `start` is in what is read, and where that ends.
    offset: u64,
    end: u64,
    /// The record last handed out, passed at the next step.
    record: usize,
}

impl<R: Read> Scan<R> {
    /// Reads up to the offset `end` from a source that stands at `offset`.
    pub(super) fn new(source: R, marks: Marks, offset: u64, end: u64) -> Self {
        let size = usize::try_from(end.saturating_sub(offset)).unwrap_or(CHUNK).min(CHUNK);
        let buffer = vec![0; size];
        Self { source, marks, buffer, start: 0, filled: 0, offset, end, record: 0 }
    }

    /// The next step; after `Torn` or `End` there are only those.
    pub(super) fn advance(&mut self) -> io::Result<Step<'_>> {
        let passed = std::mem::take(&mut self.record);
        self.pass(passed);
        if self.offset >= self.end {
            return Ok(Step::End);
        }
        if let Some(length) = self.check()? {
            self.record = length;
            let octets = self.buffer.get(self.start..self.start + length).unwrap_or_default();
            return Ok(Step::Record { offset: self.offset, octets });
        }
        let offset = self.offset;
        if self.find()? {
            return Ok(Step::Skipped { offset, octets: self.offset - offset });
        }
        self.offset = self.end;
        Ok(Step::Torn { offset })
    }

    /// The length of the record that begins here.
    fn check(&mut self) -> io::Result<Option<usize>> {
        let (marks, left) = (self.marks, self.end - self.offset);
        let Some(payload) = marks.length(self.window(HEAD)?) else { return Ok(None) };
        let length = HEAD + payload;
        if length as u64 > left {
            return Ok(None);
        }
        let window = self.window(length)?;
        Ok(window.get(..length).is_some_and(|record| marks.holds(record)).then_some(length))
    }

    /// Goes on to the next good record after here; false where there is none.
    fn find(&mut self) -> io::Result<bool> {
        let marker = self.marks.marker.to_le_bytes();
        self.pass(1);
        loop {
            let window = self.window(HEAD)?;
            let (length, found) = (window.len(), window.windows(4).position(|four| four == marker));
            if length < HEAD {
                return Ok(false);
            }
            // Without one in the window, one may still begin in its last three octets.
            self.pass(found.unwrap_or(length - 3));
            if found.is_some() {
                if self.check()?.is_some() {
                    return Ok(true);
                }
                self.pass(1);
            }
        }
    }

    /// All that is read from here on, at least `wanted` octets unless the end comes before.
    fn window(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.filled - self.start < wanted {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
            let size = self.buffer.len().max(wanted);
            self.buffer.resize(size, 0);
            self.fill(wanted)?;
        }
        Ok(self.buffer.get(self.start..self.filled).unwrap_or_default())
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while self.filled < wanted {
            let unread = self.end - self.offset - self.filled as u64;
            let room = self.buffer.len() - self.filled;
            let size = usize::try_from(unread).unwrap_or(room).min(room);
            let (_, into) = self.buffer.split_at_mut(self.filled);
            match self.source.read(into.get_mut(..size).unwrap_or_default()) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn pass(&mut self, octets: usize) {
        self.start += octets;
        self.offset += octets as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { marker: 0x5a17_c0de, seed: 7 };

    /// Three records of different lengths; the offset after each.
    fn records() -> (Vec<u8>, [usize; 3]) {
        let mut out = Vec::new();
        let ends = [5, 0, 40].map(|length| {
            assert!(MARKS.write(&mut out, |out| out.resize(out.len() + length, b'x')));
            out.len()
        });
        (out, ends)
    }

    /// Offsets of the good records, octets skipped, and where the tail is torn.
    fn read(octets: &[u8]) -> (Vec<u64>, u64, Option<u64>) {
        let mut scan = Scan::new(octets, MARKS, 0, octets.len() as u64);
        let (mut good, mut skipped, mut torn) = (Vec::new(), 0, None);
        loop {
            match scan.advance().expect("a step") {
                Step::Record { offset, .. } => good.push(offset),
                Step::Skipped { octets, .. } => skipped += octets,
                Step::Torn { offset } => torn = Some(offset),
                Step::End => return (good, skipped, torn),
            }
        }
    }

    #[test]
    fn a_tail_torn_at_any_octet_leaves_the_records_before_it() {
        let (octets, ends) = records();
        for cut in 0..=octets.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let last = whole.checked_sub(1).map_or(0, |index| ends[index]);
            let (good, skipped, torn) = read(&octets[..cut]);
            assert_eq!((good.len(), skipped), (whole, 0), "cut at {cut}");
            assert_eq!(torn, (last < cut).then_some(last as u64), "cut at {cut}");
        }
    }

    #[test]
    fn a_record_damaged_at_any_octet_is_skipped_and_those_after_it_are_read() {
        let (octets, ends) = records();
        for at in 0..ends[1] {
            let mut damaged = octets.clone();
            damaged[at] ^= 0x80;
            let (good, skipped, torn) = read(&damaged);
            let (start, end) = if at < ends[0] { (0, ends[0]) } else { (ends[0], ends[1]) };
            assert_eq!((skipped, torn), ((end - start) as u64, None), "octet {at}");
            assert_eq!(good.len(), 2, "octet {at}");
        }
    }

    #[test]
    fn a_hole_of_zeros_longer_than_the_buffer_is_skipped() {
        let (mut octets, ends) = records();
        let (after, _) = records();
        octets.resize(ends[2] + 3 * CHUNK, 0);
        octets.extend_from_slice(&after);
        let (good, skipped, torn) = read(&octets);
        assert_eq!((good.len(), skipped, torn), (6, 3 * CHUNK as u64, None));
    }

    #[test]
    fn a_record_longer_than_the_buffer_is_read_whole() {
        let mut octets = Vec::new();
        assert!(MARKS.write(&mut octets, |out| out.resize(out.len() + 2 * CHUNK, 1)));
        let (after, _) = records();
        octets.extend_from_slice(&after);
        assert_eq!(read(&octets).0.len(), 4);
    }
}
