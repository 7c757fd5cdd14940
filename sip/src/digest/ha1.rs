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
