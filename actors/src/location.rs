//! The location service (RFC 3261 section 10): bindings by address of record, packed, in memory.
//! The journal makes them survive; this table answers.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use parking_lot::RwLock;
use rempart_sip::registrar::Binding;
use rempart_sip::uri::Aor;

const PARTS: usize = 64;

type Part = RwLock<HashMap<Box<str>, Box<[u8]>, RandomState>>;

/// Every binding, split over locks.
pub struct Location {
    parts: Vec<Part>,
    hasher: RandomState,
    aors: AtomicUsize,
}

impl Default for Location {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Self { parts, hasher: RandomState::default(), aors: AtomicUsize::new(0) }
    }
}

impl Location {
    /// The bindings of `aor` that live at `now_unix`, best first.
    pub fn bindings(&self, aor: &Aor, now_unix: u64) -> Vec<Binding> {
        let part = self.part(aor.as_str()).read();
        let mut bindings = part.get(aor.as_str()).map(|packed| unpack(packed)).unwrap_or_default();
        bindings.retain(|binding| binding.expires_at > now_unix);
        bindings
    }

    /// Replaces the bindings of `aor`.
    pub fn put(&self, aor: &str, bindings: &[Binding]) {
        let mut part = self.part(aor).write();
        let before = match bindings.is_empty() {
            true => part.remove(aor).is_some(),
            false => part.insert(aor.into(), pack(bindings)).is_some(),
        };
        match (before, bindings.is_empty()) {
            (true, true) => self.aors.fetch_sub(1, Ordering::Relaxed),
            (false, false) => self.aors.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Addresses of record with bindings, expired ones not yet swept among them.
    pub fn count(&self) -> usize {
        self.aors.load(Ordering::Relaxed)
    }

    /// Drops what has expired from one of the table's parts; call it with a growing `turn`.
    pub fn sweep(&self, turn: usize, now_unix: u64) {
        let mut part = self.parts[turn % PARTS].write();
        let before = part.len();
        part.retain(|_, packed| unpack(packed).iter().any(|binding| binding.expires_at > now_unix));
        self.aors.fetch_sub(before - part.len(), Ordering::Relaxed);
    }

    fn part(&self, aor: &str) -> &Part {
        &self.parts[self.hasher.hash_one(aor) as usize % PARTS]
    }
}

fn pack(bindings: &[Binding]) -> Box<[u8]> {
    let mut packed = Vec::with_capacity(256);
    for binding in bindings {
        binding.encode(&mut packed);
    }
    packed.into_boxed_slice()
}

fn unpack(mut packed: &[u8]) -> Vec<Binding> {
    let mut bindings = Vec::with_capacity(1);
    while let Some((binding, length)) = Binding::decode(packed) {
        bindings.push(binding);
        packed = packed.get(length..).unwrap_or_default();
    }
    bindings
}

#[cfg(test)]
pub(crate) mod tests {
    use rempart_sip::flow::{Flow, Transport};

    use super::*;

    pub(crate) fn binding(contact: &str, expires_at: u64) -> Binding {
        let address = "192.0.2.9:5060".parse().expect("an address");
        Binding {
            contact: contact.into(),
            q: 1000,
            expires_at,
            call_id: b"c".to_vec(),
            cseq: 1,
            path: vec![],
            flow: Flow {
                transport: Transport::Udp,
                local: address,
                remote: address,
                connection: 0,
            },
            instance: vec![],
            reg_id: 0,
            user_agent: vec![],
            allow: vec![],
            via_is_source: true,
        }
    }

    #[test]
    fn expired_bindings_are_not_served_and_are_swept() {
        let location = Location::default();
        let aor = Aor::parse("101@example.org").expect("an AOR");
        location.put(aor.as_str(), &[binding("sip:a@h", 100), binding("sip:b@h", 200)]);
        assert_eq!(location.bindings(&aor, 99).len(), 2);
        assert_eq!(location.bindings(&aor, 100).len(), 1);
        (0..PARTS).for_each(|turn| location.sweep(turn, 150));
        assert_eq!(location.count(), 1);
        (0..PARTS).for_each(|turn| location.sweep(turn, 200));
        assert_eq!(location.count(), 0);
    }

    #[test]
    fn no_bindings_left_means_no_entry() {
        let location = Location::default();
        location.put("101@example.org", &[binding("sip:a@h", 100)]);
        location.put("101@example.org", &[]);
        assert_eq!(location.count(), 0);
    }
}
