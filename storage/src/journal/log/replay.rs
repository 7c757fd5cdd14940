//! Reading a journal when it opens.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use super::super::record::{HEAD, HEADER, Marks};
use super::super::scan::{Scan, Section, Step};

/// What a replay found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where good records end.
    pub end: u64,
    /// Octets of the latest records of all names.
    pub live: u64,
}

/// Hands the name and value of each good record to `each`, oldest first, and tells of others.
pub(super) fn replay(
    path: &Path,
    file: &File,
    marks: Marks,
    length: u64,
    each: &mut dyn FnMut(&str, &[u8]),
) -> io::Result<Found> {
    let start = HEADER as u64;
    let mut scan = Scan::new(Section { file, at: start }, marks, start, length);
    // Only the sum is wanted, which a collision of two names in millions hardly changes.
    let (hashes, mut sizes) = (RandomState::new(), HashMap::new());
    let end = loop {
        match scan.advance()? {
            Step::Record { octets, .. } => {
                if let Some((name, value)) = split(octets) {
                    sizes.insert(hashes.hash_one(name), octets.len() as u64);
                    each(name, value);
                }
            }
            Step::Skipped { offset, octets } => tracing::warn!(journal = %path.display(), offset,
                octets, "damaged records skipped, later ones are good"),
            Step::Torn { offset } => {
                tracing::warn!(journal = %path.display(), offset, octets = length - offset,
                    "torn record at the end cut off, as a crash leaves it");
                break offset;
            }
            Step::End => break length,
        }
    };
    Ok(Found { end, live: sizes.values().sum() })
}

/// The name and value in a record.
pub(super) fn split(record: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = record.get(HEAD..)?.split_first_chunk()?;
    let (name, value) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(name).ok()?, value))
}
