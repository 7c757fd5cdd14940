//! What the store keeps instead of a password.

use md5::{Digest, Md5};
use sha2::Sha256;

/// HA1 of one user in one realm: hashes of `user:realm:password` (RFC 7616 section 3.4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// By MD5.
    pub md5: [u8; 16],
    /// By SHA-256; `None` where only an MD5 HA1 was imported.
    pub sha256: Option<[u8; 32]>,
}

impl Ha1 {
    /// Both hashes of a password.
    pub fn new(user: &str, realm: &str, password: &str) -> Self {
        let parts = [user, realm, password].map(str::as_bytes);
        Self { md5: joined::<Md5>(&parts).into(), sha256: Some(joined::<Sha256>(&parts).into()) }
    }

    /// What an unknown user is checked against, so that he takes as long as a known one. No
    /// password has it, as long as the secret is one.
    pub fn dummy(secret: &[u8; 16]) -> Self {
        let parts = [&b"no subscriber has this"[..], secret];
        Self { md5: joined::<Md5>(&parts).into(), sha256: Some(joined::<Sha256>(&parts).into()) }
    }
}

/// Who holds an HA1 can log in, so it must not reach a log.
impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ha1(hidden)")
    }
}

/// The hash of the parts with colons between them.
pub(super) fn joined<D: Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut hash = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash.finalize()
}

/// A hash in lower-case hexadecimal digits, kept in place.
pub(super) struct Hex {
    text: [u8; 64],
    length: usize,
}

impl Hex {
    /// The digits of at most 32 octets.
    pub fn of(octets: &[u8]) -> Self {
        let mut text = [0; 64];
        let (pairs, _) = text.as_chunks_mut::<2>();
        for (pair, octet) in pairs.iter_mut().zip(octets) {
            *pair = [octet >> 4, octet & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
        }
        Self { text, length: octets.len().min(32) * 2 }
    }

    /// The digits.
    pub fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_over_user_realm_and_password() {
        let ha1 = Ha1::new("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(Hex::of(&ha1.md5).text(), b"939e7578ed9e3c518a452acee763bce9");
        assert!(ha1.sha256.is_some());
    }

    #[test]
    fn dummies_depend_on_their_secret_alone() {
        assert!(Ha1::dummy(&[1; 16]) == Ha1::dummy(&[1; 16]));
        assert!(Ha1::dummy(&[1; 16]) != Ha1::dummy(&[2; 16]));
    }

    #[test]
    fn a_hash_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Ha1::dummy(&[0; 16])), "Ha1(hidden)");
    }
}
