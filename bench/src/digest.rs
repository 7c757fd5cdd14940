//! The client's side of digest with MD5 (RFC 7616), written apart from the server's so that one
//! judges the other.

use std::fmt::Write;

use md5::{Digest, Md5};

/// What a challenge asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    nonce: String,
    qop: bool,
}

/// Who answers, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// User part, also the digest's username.
    pub user: &'a str,
    /// Clear password.
    pub password: &'a str,
    /// Method of the request.
    pub method: &'a str,
    /// Request-URI of the request.
    pub uri: &'a str,
}

impl Challenge {
    /// Reads the value of WWW-Authenticate or Proxy-Authenticate; None when it is not for MD5.
    pub fn parse(value: &str) -> Option<Self> {
        let fields = value.strip_prefix("Digest ")?;
        let algorithm = field(fields, "algorithm").unwrap_or("MD5");
        if !algorithm.eq_ignore_ascii_case("MD5") {
            return None;
        }
        let qop = field(fields, "qop").is_some_and(|offered| offered.contains("auth"));
        let (realm, nonce) = (field(fields, "realm")?.into(), field(fields, "nonce")?.into());
        Some(Self { realm, nonce, qop })
    }

    /// Writes the value of Authorization or Proxy-Authorization.
    pub fn answer(&self, answer: &Answer<'_>, out: &mut String) {
        let Answer { user, password, method, uri } = *answer;
        let (realm, nonce) = (&self.realm, &self.nonce);
        let ha1 = hash(&format!("{user}:{realm}:{password}"));
        let ha2 = hash(&format!("{method}:{uri}"));
        let (response, rest) = if self.qop {
            let response = hash(&format!("{ha1}:{nonce}:00000001:bench:auth:{ha2}"));
            (response, ", qop=auth, nc=00000001, cnonce=\"bench\"")
        } else {
            (hash(&format!("{ha1}:{nonce}:{ha2}")), "")
        };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5{rest}"
        );
    }
}

/// MD5 in lower-case hexadecimal.
pub fn hash(text: &str) -> String {
    Md5::digest(text).iter().fold(String::with_capacity(32), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

fn field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split(',').find_map(|field| {
        let (found, value) = field.trim().split_once('=')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The two responses were computed apart, with Python's hashlib.
    const ANSWER: Answer<'_> =
        Answer { user: "u", password: "p", method: "REGISTER", uri: "sip:d" };

    fn answered(challenge: &str) -> String {
        let mut value = String::new();
        Challenge::parse(challenge).expect("MD5 is the default").answer(&ANSWER, &mut value);
        value
    }

    #[test]
    fn a_challenge_with_qop_is_answered() {
        let value = answered("Digest realm=\"r\", nonce=\"n\", qop=\"auth\"");
        assert!(value.contains("response=\"29efdb2134465bf19052013d4cd3468a\""), "{value}");
        assert!(value.ends_with("nc=00000001, cnonce=\"bench\""), "{value}");
    }

    #[test]
    fn a_challenge_without_qop_is_answered() {
        let value = answered("Digest realm=\"r\", nonce=\"n\"");
        assert!(value.contains("response=\"114d779e912aea3b2895aea155a420c1\""), "{value}");
        assert!(value.ends_with("algorithm=MD5"), "{value}");
    }

    #[test]
    fn md5_is_md5() {
        assert_eq!(hash("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn another_algorithm_is_passed_over() {
        let value = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256";
        assert_eq!(Challenge::parse(value), None);
    }
}
