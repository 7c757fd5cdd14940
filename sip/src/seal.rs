//! Keyed MACs that let us recognise what we once gave out, without keeping state: nonce, To-tag,
//! branch, dialog seal (guard.md section 2, R68).
//!
//! Each purpose has keys of its own, so that nothing made for one place passes in another. The MAC
//! is SipHash-2-4 with 128 bits, cut to 80 or more where a stranger may try (DNS cookies, RFC 9018,
//! rest on 64). All texts are of `A-Za-z0-9_-`, fit for tokens, quoted strings and user parts, and
//! they are canonical: change one bit and none verifies.

mod branch;
mod dialog;
mod nonce;
mod tag;
mod token;

use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};
use subtle::ConstantTimeEq;

pub use branch::BranchToken;
pub use dialog::{DialogSeal, RouteClass, Sender};
pub use nonce::{Nonce, NonceCheck};
pub use tag::Tag;
pub use token::Token;

/// The secret that everything here rests on, and the one before it, which is honoured still.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Makes and checks.
    pub current: [u8; 32],
    /// Checks only: what was given out before the last rotation.
    pub previous: Option<[u8; 32]>,
}

/// Keys must not reach a log.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

/// Makes and checks all seals; build one per key change and share it, every method is `&self`.
#[derive(Clone)]
pub struct Sealer {
    nonces: Purpose,
    tags: Purpose,
    dialogs: Purpose,
    branches: Purpose,
    loops: Purpose,
}

impl Sealer {
    /// Derives the keys of every purpose.
    pub fn new(keys: &Keys) -> Self {
        Self {
            nonces: Purpose::new(keys, "nonce"),
            tags: Purpose::new(keys, "to-tag"),
            dialogs: Purpose::new(keys, "dialog"),
            branches: Purpose::new(keys, "branch"),
            loops: Purpose::new(keys, "loop"),
        }
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(hidden)")
    }
}

/// The live keys of one purpose, as MACs that have taken their key already.
#[derive(Clone)]
struct Purpose {
    current: Mac,
    previous: Option<Mac>,
}

impl Purpose {
    fn new(keys: &Keys, purpose: &str) -> Self {
        Self {
            current: Mac::keyed(&keys.current, purpose),
            previous: keys.previous.as_ref().map(|key| Mac::keyed(key, purpose)),
        }
    }

    /// The first `N` octets of the MAC of what `feed` feeds.
    fn make<const N: usize>(&self, feed: impl FnOnce(&mut Mac)) -> [u8; N] {
        self.current.of(feed)
    }

    /// Whether `mac` is what `make` makes, or made before the last rotation; in constant time.
    fn verify<const N: usize>(&self, mac: &[u8; N], feed: impl Fn(&mut Mac)) -> bool {
        let made_by = |key: &Mac| bool::from(key.of::<N>(&feed).ct_eq(mac));
        made_by(&self.current) || self.previous.as_ref().is_some_and(made_by)
    }
}

/// SipHash over fields: each with its length, so that no two sequences of fields look alike.
#[derive(Clone)]
struct Mac(SipHasher24);

impl Mac {
    fn keyed(key: &[u8; 32], purpose: &str) -> Self {
        let derived = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(key);
        let mut half = [0; 16];
        for (octet, derived) in half.iter_mut().zip(derived.finalize()) {
            *octet = derived;
        }
        Self(SipHasher24::new_with_key(&half))
    }

    fn of<const N: usize>(&self, feed: impl FnOnce(&mut Self)) -> [u8; N] {
        const { assert!(N <= 16) };
        let mut mac = self.clone();
        feed(&mut mac);
        let whole = mac.0.finish128().as_bytes();
        let mut cut = [0; N];
        cut.copy_from_slice(&whole[..N]);
        cut
    }

    fn octets(&mut self, octets: &[u8]) {
        self.0.write(octets);
        self.number(octets.len() as u64);
    }

    fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sealer(octet: u8) -> Sealer {
        Sealer::new(&Keys { current: [octet; 32], previous: None })
    }

    /// After a rotation from `sealer(previous)` to `sealer(current)`.
    pub(crate) fn rotated(current: u8, previous: u8) -> Sealer {
        Sealer::new(&Keys { current: [current; 32], previous: Some([previous; 32]) })
    }

    /// Every text that differs from `text` in one bit.
    pub(crate) fn with_one_bit_flipped(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        (0..text.len() * 8).map(move |bit| {
            let mut flipped = text.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        })
    }

    pub(crate) fn is_plain(text: &[u8]) -> bool {
        text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
    }

    #[test]
    fn purposes_and_keys_do_not_share_macs() {
        let mac = |sealer: &Sealer| {
            let feed = |mac: &mut Mac| mac.number(1);
            [sealer.nonces.make::<16>(feed), sealer.tags.make(feed), sealer.branches.make(feed)]
        };
        let [one, other] = [mac(&sealer(1)), mac(&sealer(2))];
        let all: std::collections::HashSet<_> = one.into_iter().chain(other).collect();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn moving_an_octet_between_fields_changes_the_mac() {
        let mac = |fields: [&[u8]; 2]| {
            sealer(1).tags.make::<16>(|mac| fields.into_iter().for_each(|field| mac.octets(field)))
        };
        assert_ne!(mac([b"ab", b"c"]), mac([b"a", b"bc"]));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let keys = Keys { current: [7; 32], previous: None };
        assert_eq!(format!("{keys:?} {:?}", Sealer::new(&keys)), "Keys(hidden) Sealer(hidden)");
    }
}
