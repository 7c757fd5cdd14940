//! Digest authentication (RFC 2617, 7616, 8760) from stored HA1, without clear passwords.
//!
//! Whether a nonce, realm, digest `uri` or algorithm is the one we gave is the caller's to judge;
//! here the fields are read and the hashes compared.

mod answer;
mod credentials;
mod fields;
mod ha1;

pub use answer::answer;
pub use credentials::{BadCredentials, Claimed, Credentials, Qop};
pub use ha1::Ha1;

/// A hash that we can challenge with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// What every phone knows (RFC 2617), and the default where none is named.
    Md5,
    /// RFC 7616, RFC 8760.
    Sha256,
}

impl Algorithm {
    /// The token of RFC 7616: `MD5`, `SHA-256`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Reads a token in any case. `None` for all others, the session variants included.
    pub fn parse(token: &[u8]) -> Option<Self> {
        [Self::Md5, Self::Sha256]
            .into_iter()
            .find(|algorithm| token.eq_ignore_ascii_case(algorithm.token().as_bytes()))
    }
}

/// Appends the value of a WWW-Authenticate or Proxy-Authenticate header field (RFC 7616 section
/// 3.3). `stale` tells the phone that only its nonce is old, so that it asks nobody for a password;
/// `qop` offers `auth`.
pub fn challenge(
    out: &mut Vec<u8>,
    realm: &str,
    nonce: &str,
    algorithm: Algorithm,
    stale: bool,
    qop: bool,
) {
    out.extend_from_slice(b"Digest realm=");
    fields::write_quoted(out, realm.as_bytes());
    out.extend_from_slice(b", nonce=");
    fields::write_quoted(out, nonce.as_bytes());
    out.extend_from_slice(b", algorithm=");
    out.extend_from_slice(algorithm.token().as_bytes());
    if qop {
        out.extend_from_slice(b", qop=\"auth\"");
    }
    if stale {
        out.extend_from_slice(b", stale=true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge_text(algorithm: Algorithm, stale: bool, qop: bool) -> String {
        let mut out = Vec::new();
        challenge(&mut out, "example.org", "abc", algorithm, stale, qop);
        String::from_utf8(out).expect("a challenge is text")
    }

    #[test]
    fn a_challenge_names_realm_nonce_algorithm_and_qop() {
        assert_eq!(
            challenge_text(Algorithm::Md5, false, true),
            r#"Digest realm="example.org", nonce="abc", algorithm=MD5, qop="auth""#
        );
        assert_eq!(
            challenge_text(Algorithm::Sha256, true, false),
            r#"Digest realm="example.org", nonce="abc", algorithm=SHA-256, stale=true"#
        );
    }

    #[test]
    fn algorithms_are_read_in_any_case() {
        assert_eq!(Algorithm::parse(b"md5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::parse(b"sha-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::parse(b"MD5-sess"), None);
        assert_eq!(Algorithm::parse(b"SHA256"), None);
    }
}
