//! Who stands at the two ends of a TLS connection, as its certificates say: what policy rules and
//! `rempart explain` read (R49).

use std::fmt;
use std::sync::Arc;

/// What a certificate says about its holder. Names are text without control characters: a
/// certificate with others is refused before it gets here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The common name of the subject.
    pub subject_cn: Option<String>,
    /// Subject alternative names that are URIs, as they are written.
    pub san_uri: Vec<String>,
    /// Subject alternative names that are DNS names, as they are written.
    pub san_dns: Vec<String>,
    /// The distinguished name of the issuer.
    pub issuer: String,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
    /// Whether the holder was proven: the chain leads to an authority that the profile trusts and
    /// nobody revoked it, or the certificate itself is pinned. On connections we opened it also
    /// bears the name we wanted.
    pub verified: bool,
    /// When it expires, in Unix seconds.
    pub not_after: u64,
}

/// What a client's certificate must agree with before its requests are served (R50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateMatch {
    /// Its common name equals the user in From.
    FromUser,
    /// A subject alternative name is `sip:` with the user and the domain in From.
    FromAor,
}

/// What was agreed on when a TLS connection was made; it stays as it is when files or the config
/// change later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The peer's certificate; `None` where it showed none.
    pub peer: Option<Arc<Identity>>,
    /// Our own; `None` where we showed none.
    pub own: Option<Arc<Identity>>,
    /// Where the profile stands in the config: `tls` or `tls.profiles[2]`.
    pub profile: Arc<str>,
    /// What the profile asks of a client's certificate.
    pub must_match: Option<CertificateMatch>,
    /// Whether a client's certificate that bears his address of record stands in for a password.
    pub as_digest: bool,
    /// The name that the peer proved, on connections we opened by one.
    pub name: Option<Arc<str>>,
}

/// A fingerprint as people compare it: two digits an octet, colons between.
pub struct Fingerprint<'a>(pub &'a [u8; 32]);

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_openssl_prints_it() {
        let mut octets = [0; 32];
        octets[0] = 0xab;
        let text = Fingerprint(&octets).to_string();
        assert!(text.starts_with("AB:00:00"), "{text}");
        assert_eq!(text.len(), 95);
    }
}
