//! The journal of bindings: each change of an address of record is a record, so that a server
//! that was killed finds every phone again.
//!
//! Bindings are served from memory and change with every registration, which is too often for a
//! database. A record holds all bindings of one address of record; the last one counts.

mod log;
mod record;
mod scan;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rempart_sip::registrar::Binding;

use self::log::Log;
use crate::StoreError;

/// Seconds that expired bindings are kept through a compaction: a clock that jumps forward for a
/// moment must not cost them.
const EXPIRED_KEPT: u64 = 3_600;

/// Where changes of bindings are written down. Clones are the same journal, for any thread.
#[derive(Clone, Debug)]
pub struct Journal {
    /// None keeps nothing.
    log: Option<Arc<Log>>,
}

impl Journal {
    /// Opens or creates `bindings.journal` in a folder and replays it: `each` is called for every
    /// record, oldest first, with an address of record and all its bindings at that time. A later
    /// call for the same address replaces the earlier one, an empty list means that there are
    /// none, and expired bindings may be among them.
    ///
    /// A torn record at the end is cut off and damaged ones are skipped, both with a warning.
    /// Fails with [`StoreError::Locked`] or [`StoreError::NewerFormat`], or where the system does
    /// not let it read and write.
    pub fn open(
        folder: impl AsRef<Path>,
        mut each: impl FnMut(&str, Vec<Binding>),
    ) -> Result<Self, StoreError> {
        let log = Log::open(folder.as_ref(), is_dead, &mut |aor, value| {
            let (bindings, unreadable) = read(value);
            if unreadable {
                tracing::warn!(%aor, "bindings of an unknown form passed over");
            }
            each(aor, bindings);
        })?;
        Ok(Self { log: Some(Arc::new(log)) })
    }

    /// A journal without a file, for tests and embedding: it takes everything and keeps nothing.
    pub fn in_memory() -> Self {
        Self { log: None }
    }

    /// Notes all bindings an address of record has now; none ends it. Nothing is written before
    /// [`flush`](Self::flush), and one flush for many appends is cheap.
    pub fn append(&self, aor: &str, bindings: &[Binding]) {
        if let Some(log) = &self.log {
            log.append(aor, |out| write(out, bindings));
        }
    }

    /// Writes everything appended before, by whatever thread: it survives the death of the
    /// process when this returns, and a power cut half a second later. After an error nothing is
    /// lost, and the next flush tries again, so a registration that was refused meanwhile may yet
    /// be found at the next start.
    pub fn flush(&self) -> io::Result<()> {
        self.log.as_ref().map_or(Ok(()), |log| log.flush())
    }

    /// Octets in the file.
    pub fn size(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.size())
    }
}

/// A value is one binding after another, each led by its length.
fn write(out: &mut Vec<u8>, bindings: &[Binding]) {
    for binding in bindings {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        binding.encode(out);
        let (head, encoded) = out.split_at_mut(start + 4);
        let (_, length) = head.split_at_mut(start);
        length.copy_from_slice(&(encoded.len() as u32).to_le_bytes());
    }
}

/// The bindings that read, and whether there are any that do not.
fn read(mut value: &[u8]) -> (Vec<Binding>, bool) {
    let (mut bindings, mut unreadable) = (Vec::new(), false);
    while let Some((length, rest)) = value.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((encoded, rest)) = rest.split_at_checked(length) else { return (bindings, true) };
        match Binding::decode(encoded) {
            Some((binding, _)) => bindings.push(binding),
            None => unreadable = true,
        }
        value = rest;
    }
    (bindings, unreadable || !value.is_empty())
}

fn is_dead(value: &[u8], now_unix: u64) -> bool {
    let (bindings, unreadable) = read(value);
    let over = |binding: &Binding| binding.expires_at.saturating_add(EXPIRED_KEPT) < now_unix;
    !unreadable && bindings.iter().all(over)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use rempart_sip::flow::{Flow, Transport};

    use super::*;

    fn binding(contact: &str, expires_at: u64) -> Binding {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        Binding {
            contact: contact.into(),
            q: 1000,
            expires_at,
            call_id: b"call".into(),
            cseq: 7,
            path: vec![b"<sip:edge.example.org;lr>".into()],
            flow: Flow {
                transport: Transport::Tcp,
                local: address(5060),
                remote: address(40_000),
                connection: 9,
            },
            instance: b"<urn:uuid:1>".into(),
            reg_id: 1,
            user_agent: b"phone/1".into(),
            allow: b"INVITE, ACK".into(),
            via_is_source: true,
        }
    }

    fn open(folder: &Path) -> (Journal, BTreeMap<String, Vec<Binding>>) {
        let mut found = BTreeMap::new();
        let journal = Journal::open(folder, |aor, bindings| {
            found.insert(aor.to_owned(), bindings);
        });
        (journal.expect("a journal"), found)
    }

    #[test]
    fn bindings_are_found_after_reopening_as_they_were_appended_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(folder.path());
        let two = [binding("sip:101@192.0.2.1", 10), binding("sip:101@192.0.2.2", 20)];
        journal.append("101@example.org", &two[..1]);
        journal.append("102@example.org", &two);
        journal.append("101@example.org", &two);
        journal.append("102@example.org", &[]);
        journal.clone().flush().expect("a flush");
        assert!(journal.size() > 0);
        drop(journal);
        let (_, found) = open(folder.path());
        assert_eq!(found.get("101@example.org"), Some(&two.to_vec()));
        assert_eq!(found.get("102@example.org"), Some(&Vec::new()));
    }

    #[test]
    fn a_journal_in_memory_takes_everything_and_has_no_size() {
        let journal = Journal::in_memory();
        journal.append("101@example.org", &[binding("sip:101@192.0.2.1", 10)]);
        journal.flush().expect("a flush");
        assert_eq!(journal.size(), 0);
    }

    #[test]
    fn a_binding_of_an_unknown_form_is_passed_over_and_kept_in_the_file() {
        let mut value = Vec::new();
        write(&mut value, &[binding("sip:101@192.0.2.1", 10)]);
        value.extend_from_slice(&[2, 0, 0, 0, 0xff, 0xff]);
        write(&mut value, &[binding("sip:101@192.0.2.2", 10)]);
        let (bindings, unreadable) = read(&value);
        assert_eq!((bindings.len(), unreadable), (2, true));
        assert!(!is_dead(&value, u64::MAX));
        assert!(read(&value[..value.len() - 1]).1);
    }

    #[test]
    fn a_value_is_dead_an_hour_after_its_last_binding_expired() {
        let mut value = Vec::new();
        write(&mut value, &[binding("sip:a@192.0.2.1", 10), binding("sip:b@192.0.2.1", 20)]);
        assert!(!is_dead(&value, 20 + EXPIRED_KEPT));
        assert!(is_dead(&value, 21 + EXPIRED_KEPT));
        assert!(is_dead(b"", 0));
    }
}
