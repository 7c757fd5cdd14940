//! Session tickets: a client that comes back skips the costly half of the handshake. Their keys are
//! kept in the store, so that a restart of the server does not send every phone through a full
//! handshake at once, and are replaced often, because who steals one can read the TLS 1.2 sessions
//! it sealed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use rempart_storage::{Store, TicketKey, put_ticket_keys, ticket_keys};
use rustls::server::ProducesTickets;

/// How long a key makes tickets, in seconds.
const MAKES: u64 = 6 * 3_600;

/// How long a ticket is good, in seconds.
const LIFE: u32 = 12 * 3_600;

/// Keys together: the one that makes tickets and those whose tickets are still good.
const KEYS_MAX: usize = 4;

/// Octets that tell which key sealed a ticket.
const ID: usize = 8;

/// The keys in force, newest first.
#[derive(Default)]
pub(super) struct Ring {
    keys: ArcSwap<Vec<Key>>,
}

struct Key {
    stored: TicketKey,
    id: [u8; ID],
    aead: LessSafeKey,
}

impl Key {
    fn of(stored: TicketKey) -> Option<Self> {
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &stored.secret).ok()?);
        let name =
            digest::digest(&digest::SHA256, &[b"ticket".as_slice(), &stored.secret].concat());
        let id = name.as_ref().first_chunk().copied()?;
        Some(Self { stored, id, aead })
    }
}

impl Ring {
    /// Takes over the keys of the store and replaces what is too old at `now` (Unix seconds). A
    /// store that fails costs resumption after a restart, nothing else.
    pub(super) fn load(&self, store: &dyn Store, now: u64) {
        match ticket_keys(store) {
            Ok(keys) => self.set(keys),
            Err(error) => tracing::warn!(%error, "TLS ticket keys are made anew"),
        }
        self.turn(store, now);
    }

    /// Makes a new key when the newest is old, and forgets those whose tickets have ended.
    pub(super) fn turn(&self, store: &dyn Store, now: u64) {
        let mut keys: Vec<TicketKey> = self.keys.load().iter().map(|key| key.stored).collect();
        // A clock that was set back makes keys of the future: they go too.
        let fresh = |key: &TicketKey| key.made <= now && now - key.made < MAKES;
        if keys.first().is_some_and(fresh) {
            return;
        }
        keys.retain(|key| key.made <= now && now - key.made < MAKES + u64::from(LIFE));
        let mut secret = [0; 32];
        if rand::fill(&mut secret).is_err() {
            return tracing::error!("the system's random source fails; no new TLS ticket key");
        }
        keys.insert(0, TicketKey { secret, made: now });
        keys.truncate(KEYS_MAX);
        if let Err(error) = put_ticket_keys(store, &keys) {
            tracing::warn!(%error, "TLS ticket keys are not kept");
        }
        self.set(keys);
    }

    fn set(&self, keys: Vec<TicketKey>) {
        let keys = keys.into_iter().take(KEYS_MAX).filter_map(Key::of).collect();
        self.keys.store(Arc::new(keys));
    }
}

/// Makes and opens the tickets of one profile; those of others do not open.
pub(super) struct Ticketer {
    pub(super) ring: Arc<Ring>,
    /// The profile's place in the config.
    pub(super) profile: Arc<str>,
}

impl std::fmt::Debug for Ticketer {
    /// Keys stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticketer").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFE
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.ring.keys.load();
        let key = keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let (unique, bound) = (Nonce::assume_unique_for_key(nonce), self.profile.as_bytes());
        key.aead.seal_in_place_append_tag(unique, Aad::from(bound), &mut sealed).ok()?;
        Some([&key.id, nonce.as_slice(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_first_chunk::<ID>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.ring.keys.load();
        let key = keys.iter().find(|key| key.id == *id)?;
        let (unique, bound) = (Nonce::assume_unique_for_key(*nonce), self.profile.as_bytes());
        let mut sealed = sealed.to_vec();
        let length = key.aead.open_in_place(unique, Aad::from(bound), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rempart_storage::MemoryStore;

    const HOUR: u64 = 3_600;

    fn ticketer(ring: &Arc<Ring>, profile: &str) -> Ticketer {
        Ticketer { ring: ring.clone(), profile: profile.into() }
    }

    fn ring(store: &MemoryStore, now: u64) -> Arc<Ring> {
        let ring = Arc::new(Ring::default());
        ring.load(store, now);
        ring
    }

    #[test]
    fn a_ticket_outlives_a_restart_and_opens_for_its_own_profile_alone() {
        let store = MemoryStore::new();
        let ticket = ticketer(&ring(&store, HOUR), "tls").encrypt(b"state").expect("a ticket");
        let after = ring(&store, 2 * HOUR);
        assert_eq!(ticketer(&after, "tls").decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(ticketer(&after, "tls.profiles[0]").decrypt(&ticket), None);
        for at in [0, ID, ticket.len() - 1] {
            let mut bent = ticket.clone();
            bent[at] ^= 1;
            assert_eq!(ticketer(&after, "tls").decrypt(&bent), None, "octet {at}");
        }
        assert_eq!(ticketer(&after, "tls").decrypt(&ticket[..ID]), None);
    }

    #[test]
    fn keys_are_replaced_and_old_tickets_end() {
        let store = MemoryStore::new();
        let ring = ring(&store, 0);
        let ticket = ticketer(&ring, "tls").encrypt(b"state").expect("a ticket");
        for hour in 1..=17 {
            ring.turn(&store, hour * HOUR);
            assert!(ticketer(&ring, "tls").decrypt(&ticket).is_some(), "hour {hour}");
        }
        ring.turn(&store, 18 * HOUR);
        assert_eq!(ticketer(&ring, "tls").decrypt(&ticket), None);
        assert!(ring.keys.load().len() <= KEYS_MAX);
        assert_eq!(ticket_keys(&store).expect("kept").len(), ring.keys.load().len());
    }

    #[test]
    fn a_clock_set_back_makes_a_new_key() {
        let store = MemoryStore::new();
        let ring = ring(&store, 100 * HOUR);
        ring.turn(&store, HOUR);
        let keys: Vec<u64> = ring.keys.load().iter().map(|key| key.stored.made).collect();
        assert_eq!(keys, [HOUR]);
    }
}
