//! Digest nonces that prove an address (RFC 7616 section 3.3, guard.md section 2).
//!
//! Layout: 46 bits of milliseconds, 2 of transport, 64 unique ones, 80 of MAC over these, the
//! source and the realm.

use std::time::Duration;

use super::token::{Token, decode};
use super::{Mac, Sealer};
use crate::flow::{SourceKey, Transport};

/// A nonce: 32 characters.
pub type Nonce = Token<32>;

/// What a nonce is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceCheck {
    /// Ours, given to this source, and young enough.
    Fresh {
        /// The unique part, for what must be consumed once (nc, or the nonce itself without qop).
        id: u64,
        /// When it was made, in Unix milliseconds.
        issued_ms: u64,
    },
    /// Ours and given to this source, but too old or from before the start: `stale=true`.
    Stale,
    /// Not ours, or given to another source or realm: also `stale=true`, and no proof of anything.
    Unknown,
}

const CLEAR: usize = 14;
const MAC: usize = 10;

impl Sealer {
    /// Makes the nonce of one challenge. `unique` must not repeat within a nonce's life: the
    /// caller's counter or random number. `now_ms` is Unix time.
    pub fn nonce(
        &self,
        now_ms: u64,
        unique: u64,
        source: SourceKey,
        realm: &str,
        transport: Transport,
    ) -> Nonce {
        let stamp = now_ms << 2 | u64::from(transport.code());
        let mut octets = [0; CLEAR + MAC];
        octets[..6].copy_from_slice(&stamp.to_be_bytes()[2..]);
        octets[6..CLEAR].copy_from_slice(&unique.to_be_bytes());
        let mac: [u8; MAC] = self.nonces.make(|mac| {
            mac.number(stamp & STAMP_MASK);
            mac.number(unique);
            feed(mac, source, realm);
        });
        octets[CLEAR..].copy_from_slice(&mac);
        Token::encode(&octets)
    }

    /// What a nonce that came from `source` is worth. Younger than `life` and made after
    /// `not_before_ms`, the start of the process, is fresh: the table of consumed nonces does not
    /// survive a restart. The transport is not compared: phones change it between the challenge
    /// and the answer.
    pub fn check_nonce(
        &self,
        text: &[u8],
        now_ms: u64,
        life: Duration,
        not_before_ms: u64,
        source: SourceKey,
        realm: &str,
    ) -> NonceCheck {
        let Some((stamp, id, mac)) = split(text) else { return NonceCheck::Unknown };
        let ours = self.nonces.verify(&mac, |mac| {
            mac.number(stamp);
            mac.number(id);
            feed(mac, source, realm);
        });
        if !ours {
            return NonceCheck::Unknown;
        }
        let issued_ms = stamp >> 2;
        // Either way: a clock that was set back must not lengthen a life without bound.
        let age = u128::from(now_ms.abs_diff(issued_ms));
        if issued_ms < not_before_ms || age > life.as_millis() {
            return NonceCheck::Stale;
        }
        NonceCheck::Fresh { id, issued_ms }
    }
}

/// What of the stamp is carried: good until the year 4199.
const STAMP_MASK: u64 = (1 << 48) - 1;

fn feed(mac: &mut Mac, source: SourceKey, realm: &str) {
    mac.octets(&source.0.to_le_bytes());
    mac.octets(realm.as_bytes());
}

/// Stamp, unique part and MAC.
fn split(text: &[u8]) -> Option<(u64, u64, [u8; MAC])> {
    let octets: [u8; CLEAR + MAC] = decode(text)?;
    let (stamp, rest) = octets.split_first_chunk::<6>()?;
    let (unique, mac) = rest.split_first_chunk::<8>()?;
    let stamp = stamp.iter().fold(0, |stamp, &octet| stamp << 8 | u64::from(octet));
    Some((stamp, u64::from_be_bytes(*unique), *mac.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{is_plain, rotated, sealer, with_one_bit_flipped};
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    const NOW: u64 = 1_790_000_000_000;
    const LIFE: Duration = Duration::from_secs(300);

    fn source(text: &str) -> SourceKey {
        SourceKey::of(text.parse::<IpAddr>().expect("an address of this test"))
    }

    fn nonce(sealer: &Sealer) -> Nonce {
        sealer.nonce(NOW, 7, source("192.0.2.1"), "example.org", Transport::Udp)
    }

    fn check(sealer: &Sealer, text: &[u8], now_ms: u64) -> NonceCheck {
        sealer.check_nonce(text, now_ms, LIFE, NOW - 1000, source("192.0.2.1"), "example.org")
    }

    #[test]
    fn a_nonce_is_fresh_for_its_life_and_stale_after() {
        let sealer = sealer(1);
        let nonce = nonce(&sealer);
        let fresh = NonceCheck::Fresh { id: 7, issued_ms: NOW };
        assert!(is_plain(nonce.as_bytes()) && nonce.as_str().len() == 32);
        assert_eq!(check(&sealer, nonce.as_bytes(), NOW), fresh);
        assert_eq!(check(&sealer, nonce.as_bytes(), NOW + 300_000), fresh);
        assert_eq!(check(&sealer, nonce.as_bytes(), NOW + 300_001), NonceCheck::Stale);
    }

    #[test]
    fn a_clock_set_back_does_not_lengthen_a_life_without_bound() {
        let sealer = sealer(1);
        let nonce = nonce(&sealer);
        let check = |now_ms| {
            let (source, realm) = (source("192.0.2.1"), "example.org");
            sealer.check_nonce(nonce.as_bytes(), now_ms, LIFE, 0, source, realm)
        };
        assert_ne!(check(NOW - 300_000), NonceCheck::Stale);
        assert_eq!(check(NOW - 300_001), NonceCheck::Stale);
    }

    #[test]
    fn a_nonce_from_before_the_start_is_stale() {
        let sealer = sealer(1);
        let nonce = nonce(&sealer);
        let start = NOW + 1;
        let found = sealer.check_nonce(
            nonce.as_bytes(),
            NOW + 2,
            LIFE,
            start,
            source("192.0.2.1"),
            "example.org",
        );
        assert_eq!(found, NonceCheck::Stale);
    }

    #[test]
    fn a_nonce_is_worth_nothing_at_another_source_or_realm() {
        let sealer = sealer(1);
        let nonce = nonce(&sealer);
        let at = |address, realm| {
            sealer.check_nonce(nonce.as_bytes(), NOW, LIFE, 0, source(address), realm)
        };
        assert_eq!(at("192.0.2.2", "example.org"), NonceCheck::Unknown);
        assert_eq!(at("192.0.2.1", "example.net"), NonceCheck::Unknown);
        assert_ne!(at("::ffff:192.0.2.1", "example.org"), NonceCheck::Unknown);
    }

    #[test]
    fn transports_make_different_nonces_that_check_alike() {
        let sealer = sealer(1);
        let tls = sealer.nonce(NOW, 7, source("192.0.2.1"), "example.org", Transport::Tls);
        assert_ne!(tls, nonce(&sealer));
        let fresh = NonceCheck::Fresh { id: 7, issued_ms: NOW };
        assert_eq!(check(&sealer, tls.as_bytes(), NOW), fresh);
    }

    #[test]
    fn a_nonce_outlives_one_rotation_of_the_key_and_no_more() {
        let nonce = nonce(&sealer(1));
        assert_ne!(check(&rotated(2, 1), nonce.as_bytes(), NOW), NonceCheck::Unknown);
        assert_eq!(check(&rotated(3, 2), nonce.as_bytes(), NOW), NonceCheck::Unknown);
    }

    #[test]
    fn a_nonce_with_one_bit_flipped_is_unknown() {
        let sealer = sealer(1);
        for text in with_one_bit_flipped(nonce(&sealer).as_bytes()) {
            assert_eq!(check(&sealer, &text, NOW), NonceCheck::Unknown);
        }
    }

    proptest! {
        #[test]
        fn what_we_did_not_make_is_unknown(text in "[A-Za-z0-9_-]{0,40}", bytes: Vec<u8>) {
            let sealer = sealer(1);
            prop_assert_eq!(check(&sealer, text.as_bytes(), NOW), NonceCheck::Unknown);
            prop_assert_eq!(check(&sealer, &bytes, NOW), NonceCheck::Unknown);
        }

        #[test]
        fn every_nonce_we_make_is_fresh(now_ms in 0u64..1 << 46, unique: u64, ip: u128) {
            let (sealer, source) = (sealer(1), SourceKey::of(IpAddr::V6(ip.into())));
            let nonce = sealer.nonce(now_ms, unique, source, "r", Transport::Tcp);
            let found = sealer.check_nonce(nonce.as_bytes(), now_ms, LIFE, 0, source, "r");
            prop_assert_eq!(found, NonceCheck::Fresh { id: unique, issued_ms: now_ms });
        }
    }
}
