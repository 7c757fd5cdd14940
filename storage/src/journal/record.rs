//! The octets of a journal: a header, then records, each with a marker, a length and a checksum.
//!
//! Marker and checksum start from two random numbers in the header. So what a phone writes into
//! its Contact cannot be made to look like a record of its own, should the record round it be
//! damaged, and neither can old blocks of the disk.

use crc32fast::Hasher;

/// The number of the layout of records. A newer one is refused.
pub(super) const FORMAT: u32 = 1;

/// Octets before the first record.
pub(super) const HEADER: usize = 24;

/// Octets of a record before its payload.
pub(super) const HEAD: usize = 12;

/// The longest payload in octets: ten contacts with headers of 64 KiB, many times over. A length
/// above it is damage.
pub(super) const PAYLOAD_MAX: usize = 16 << 20;

const MAGIC: &[u8; 8] = b"rempartJ";

/// What the records of one file are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub marker: u32,
    pub seed: u32,
}

/// What the first octets of a file say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    Known(Marks),
    Newer(u32),
    Damaged,
}

impl Marks {
    pub(super) fn random() -> Self {
        Self { marker: rand::random(), seed: rand::random() }
    }

    pub(super) fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..16].copy_from_slice(&self.marker.to_le_bytes());
        header[16..20].copy_from_slice(&self.seed.to_le_bytes());
        let sum = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// Writes a record whose payload is what `fill` appends; false, and nothing written, where
    /// that is too long.
    pub(super) fn write(self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = out.len();
        out.extend_from_slice(&self.marker.to_le_bytes());
        out.extend_from_slice(&[0; HEAD - 4]);
        fill(out);
        let (_, record) = out.split_at_mut(start);
        let (head, payload) = record.split_at_mut(HEAD);
        if payload.len() > PAYLOAD_MAX {
            out.truncate(start);
            return false;
        }
        let length = (payload.len() as u32).to_le_bytes();
        head[4..8].copy_from_slice(&length);
        head[8..].copy_from_slice(&self.sum(&length, payload).to_le_bytes());
        true
    }

    /// The payload's length, where a record may begin with this head.
    pub(super) fn length(self, head: &[u8]) -> Option<usize> {
        let (marker, length) = (word(head, 0)?, word(head, 4)? as usize);
        (marker == self.marker && length <= PAYLOAD_MAX).then_some(length)
    }

    /// Whether the octets are one whole record as it was written.
    pub(super) fn holds(self, record: &[u8]) -> bool {
        let Some((head, payload)) = record.split_at_checked(HEAD) else { return false };
        word(head, 8) == Some(self.sum(&head[4..8], payload))
    }

    fn sum(self, length: &[u8], payload: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.seed);
        hasher.update(length);
        hasher.update(payload);
        hasher.finalize()
    }
}

impl Header {
    pub(super) fn read(header: &[u8; HEADER]) -> Self {
        let word = |at| word(header, at).unwrap_or_default();
        let format = word(8);
        if !header.starts_with(MAGIC) || word(20) != crc32fast::hash(&header[..20]) || format == 0 {
            Self::Damaged
        } else if format > FORMAT {
            Self::Newer(format)
        } else {
            Self::Known(Marks { marker: word(12), seed: word(16) })
        }
    }
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { marker: 0x5a17_c0de, seed: 7 };

    #[test]
    fn a_header_reads_back_and_any_changed_octet_is_damage() {
        let header = MARKS.header();
        assert_eq!(Header::read(&header), Header::Known(MARKS));
        for at in 0..HEADER {
            let mut changed = header;
            changed[at] ^= 0x10;
            assert_eq!(Header::read(&changed), Header::Damaged, "octet {at}");
        }
    }

    #[test]
    fn a_header_of_a_newer_format_says_so() {
        let mut header = MARKS.header();
        header[8] = 9;
        let sum = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::read(&header), Header::Newer(9));
    }

    #[test]
    fn a_record_holds_with_its_own_marks_and_no_others() {
        let mut record = Vec::new();
        assert!(MARKS.write(&mut record, |out| out.extend_from_slice(b"payload")));
        assert_eq!(MARKS.length(&record), Some(7));
        assert!(MARKS.holds(&record));
        assert!(!Marks { seed: 8, ..MARKS }.holds(&record));
        assert_eq!(Marks { marker: 0, ..MARKS }.length(&record), None);
    }

    #[test]
    fn a_payload_that_is_too_long_leaves_nothing_behind() {
        let mut out = b"before".to_vec();
        assert!(!MARKS.write(&mut out, |out| out.resize(out.len() + PAYLOAD_MAX + 1, 0)));
        assert_eq!(out, b"before");
    }
}
