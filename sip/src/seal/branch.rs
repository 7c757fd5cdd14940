//! Branches of requests that we send: they say which shard a response belongs to before any table
//! is asked, and whether a request has been here before (RFC 3261 sections 16.6, step 8, and 16.3,
//! step 4).
//!
//! Layout: the magic cookie, then shard (8 bits), serial (64), loop hash (64), MAC (56). The MAC is
//! shorter than elsewhere because a response must match a live transaction besides.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Sealer;
use super::token::decode;

/// Begins every branch of RFC 3261 (section 8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";
const CLEAR: usize = 17;
const MAC: usize = 7;
const OCTETS: usize = CLEAR + MAC;

/// What one of our branches carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BranchToken {
    /// The shard that owns the transaction.
    pub shard: u8,
    /// The shard's number for it, never given twice.
    pub serial: u64,
    /// `Sealer::loop_hash` of what decided the request's way.
    pub loop_hash: u64,
}

impl Sealer {
    /// The branch of a request that we send: 39 characters.
    pub fn branch(&self, shard: u8, serial: u64, loop_hash: u64) -> String {
        let mut octets = [shard; OCTETS];
        octets[1..9].copy_from_slice(&serial.to_be_bytes());
        octets[9..CLEAR].copy_from_slice(&loop_hash.to_be_bytes());
        let mac: [u8; MAC] = self.branches.make(|mac| mac.octets(&octets[..CLEAR]));
        octets[CLEAR..].copy_from_slice(&mac);
        let mut branch = String::with_capacity(MAGIC_COOKIE.len() + OCTETS / 3 * 4);
        branch.push_str(MAGIC_COOKIE);
        URL_SAFE_NO_PAD.encode_string(octets, &mut branch);
        branch
    }

    /// What our own branch carries; `None` for anybody else's.
    pub fn open_branch(&self, branch: &[u8]) -> Option<BranchToken> {
        let octets: [u8; OCTETS] = decode(branch.strip_prefix(MAGIC_COOKIE.as_bytes())?)?;
        let (clear, mac) = octets.split_first_chunk::<CLEAR>()?;
        if !self.branches.verify::<MAC>(mac.first_chunk()?, |mac| mac.octets(clear)) {
            return None;
        }
        let (shard, rest) = clear.split_first()?;
        let (serial, loop_hash) = rest.split_first_chunk()?;
        Some(BranchToken {
            shard: *shard,
            serial: u64::from_be_bytes(*serial),
            loop_hash: u64::from_be_bytes(*loop_hash.first_chunk()?),
        })
    }

    /// A hash of what decides a request's way (request URI, tags, Call-ID, CSeq number, Route,
    /// Proxy-Require): equal to that in a Via of ours, it is a loop; different, a spiral.
    pub fn loop_hash(&self, parts: &[&[u8]]) -> u64 {
        let feed = |mac: &mut super::Mac| parts.iter().for_each(|part| mac.octets(part));
        u64::from_le_bytes(self.loops.make(feed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{is_plain, rotated, sealer, with_one_bit_flipped};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn branches_begin_with_the_cookie_and_have_one_length() {
        for (serial, loop_hash) in [(0, 0), (u64::MAX, u64::MAX), (1, 2)] {
            let branch = sealer(1).branch(1, serial, loop_hash);
            assert!(branch.starts_with("z9hG4bK") && is_plain(branch.as_bytes()), "{branch}");
            assert_eq!(branch.len(), 39);
        }
    }

    #[test]
    fn a_branch_outlives_one_rotation_of_the_key_and_no_more() {
        let branch = sealer(1).branch(3, 4, 5);
        assert!(rotated(2, 1).open_branch(branch.as_bytes()).is_some());
        assert!(rotated(3, 2).open_branch(branch.as_bytes()).is_none());
    }

    #[test]
    fn a_branch_with_one_bit_flipped_is_not_ours() {
        let sealer = sealer(1);
        for text in with_one_bit_flipped(sealer.branch(3, 4, 5).as_bytes()) {
            assert_eq!(sealer.open_branch(&text), None);
        }
    }

    #[test]
    fn loop_hashes_differ_by_key_and_by_part() {
        let hash = |octet, parts: &[&[u8]]| sealer(octet).loop_hash(parts);
        assert_eq!(hash(1, &[b"a", b"b"]), hash(1, &[b"a", b"b"]));
        assert_ne!(hash(1, &[b"a", b"b"]), hash(2, &[b"a", b"b"]));
        assert_ne!(hash(1, &[b"a", b"b"]), hash(1, &[b"ab", b""]));
    }

    proptest! {
        #[test]
        fn a_branch_says_what_went_in(shard: u8, serial: u64, loop_hash: u64) {
            let sealer = sealer(1);
            let branch = sealer.branch(shard, serial, loop_hash);
            let token = BranchToken { shard, serial, loop_hash };
            prop_assert_eq!(sealer.open_branch(branch.as_bytes()), Some(token));
        }

        #[test]
        fn any_octets_are_refused(bytes: Vec<u8>, text in "z9hG4bK[A-Za-z0-9_-]{0,40}") {
            prop_assert_eq!(sealer(1).open_branch(&bytes), None);
            prop_assert_eq!(sealer(1).open_branch(text.as_bytes()), None);
        }
    }
}
