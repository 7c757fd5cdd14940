//! What a phone answers a challenge with: an Authorization or Proxy-Authorization value.

use std::borrow::Cow;

use md5::{Digest, Md5};
use sha2::Sha256;
use sha2::digest::Output;
use subtle::ConstantTimeEq;

use super::fields::{Fields, unescape};
use super::ha1::{Hex, joined};
use super::{Algorithm, Ha1};
use crate::uri::hex_digit;

/// Why credentials cannot be judged at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCredentials {
    /// Not Digest: look at the next header field, challenge if there is none.
    OtherScheme,
    /// A field is missing, twice there, or not what it should be; names it.
    Malformed(&'static str),
}

/// The algorithm that credentials name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed<'a> {
    /// One of ours.
    Known(Algorithm),
    /// Any other, as written; never offered, so refused.
    Unknown(&'a [u8]),
}

/// The protection that credentials claim (RFC 7616 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// `auth`
    Auth,
    /// `auth-int` or anything else; never offered, never verified.
    Other,
}

/// Digest credentials, with the escapes of quoted strings undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who says he is asking.
    pub username: Cow<'a, [u8]>,
    /// The realm of the challenge.
    pub realm: Cow<'a, [u8]>,
    /// The nonce of the challenge, as written.
    pub nonce: &'a [u8],
    /// The digest `uri`: the request URI by the phone's account.
    pub uri: Cow<'a, [u8]>,
    /// The hash, in hexadecimal digits, as written.
    pub response: &'a [u8],
    /// The algorithm; `None`: the phone named none.
    pub algorithm: Option<Claimed<'a>>,
    /// The phone's own nonce; there where `qop` is.
    pub cnonce: Option<Cow<'a, [u8]>>,
    /// The protection; `None` for phones that know only RFC 2069.
    pub qop: Option<Qop>,
    /// How often the phone has used the nonce, this time included; there where `qop` is.
    pub nc: Option<u32>,
    /// Nonce count and protection as written, since they are hashed so.
    written: (&'a [u8], &'a [u8]),
}

impl<'a> Credentials<'a> {
    /// Reads the value of an Authorization or Proxy-Authorization header field.
    ///
    /// Every field may stand once. With `qop`, `cnonce` and `nc` must be there too.
    pub fn parse(value: &'a [u8]) -> Result<Self, BadCredentials> {
        let raw = Raw::read(value)?;
        let qop = raw.get(QOP).map(Qop::parse);
        let nc = raw.get(NC).map(parse_nc).transpose()?;
        if qop.is_some() && (nc.is_none() || raw.get(CNONCE).is_none()) {
            return Err(BadCredentials::Malformed("Missing nc or cnonce"));
        }
        Ok(Self {
            username: unescape(raw.need(USERNAME, "Missing digest username")?),
            realm: unescape(raw.need(REALM, "Missing digest realm")?),
            nonce: raw.need(NONCE, "Missing digest nonce")?,
            uri: unescape(raw.need(URI, "Missing digest uri")?),
            response: raw.need(RESPONSE, "Missing digest response")?,
            algorithm: raw.get(ALGORITHM).map(Claimed::parse),
            cnonce: raw.get(CNONCE).map(unescape),
            qop,
            nc,
            written: (raw.get(NC).unwrap_or_default(), raw.get(QOP).unwrap_or_default()),
        })
    }

    /// Whether the hash is what the owner of `ha1` would send with a request of this method
    /// (RFC 7616 section 3.4.1). `default` stands in where no algorithm is named.
    ///
    /// The comparison takes the same time wherever the hashes differ, and a user without a
    /// SHA-256 HA1 takes as long as one who has it.
    pub fn verify(&self, method: &[u8], ha1: &Ha1, default: Algorithm) -> bool {
        match self.algorithm.unwrap_or(Claimed::Known(default)) {
            Claimed::Known(Algorithm::Md5) => self.verify_by::<Md5>(method, &ha1.md5),
            Claimed::Known(Algorithm::Sha256) => {
                let stored = ha1.sha256.unwrap_or_default();
                self.verify_by::<Sha256>(method, &stored) && ha1.sha256.is_some()
            }
            Claimed::Unknown(_) => false,
        }
    }

    fn verify_by<D: Digest>(&self, method: &[u8], ha1: &[u8]) -> bool {
        let Some(response) = parse_hash::<D>(self.response) else { return false };
        let ha2 = joined::<D>(&[method, &self.uri]);
        let (ha1, ha2) = (Hex::of(ha1), Hex::of(&ha2));
        let expected = match self.qop {
            None => joined::<D>(&[ha1.text(), self.nonce, ha2.text()]),
            Some(Qop::Auth) => {
                let (nc, qop) = self.written;
                let cnonce = self.cnonce.as_deref().unwrap_or_default();
                joined::<D>(&[ha1.text(), self.nonce, nc, cnonce, qop, ha2.text()])
            }
            Some(Qop::Other) => return false,
        };
        bool::from(expected.ct_eq(&response))
    }
}

impl<'a> Claimed<'a> {
    fn parse(token: &'a [u8]) -> Self {
        Algorithm::parse(token).map_or(Self::Unknown(token), Self::Known)
    }
}

impl Qop {
    fn parse(token: &[u8]) -> Self {
        if token.eq_ignore_ascii_case(b"auth") { Self::Auth } else { Self::Other }
    }
}

/// Eight hexadecimal digits by the RFC; some phones send fewer.
fn parse_nc(text: &[u8]) -> Result<u32, BadCredentials> {
    let digits = (1..=8).contains(&text.len()).then_some(text);
    digits
        .and_then(|digits| {
            digits.iter().try_fold(0, |nc, &byte| Some(nc << 4 | u32::from(hex_digit(byte)?)))
        })
        .ok_or(BadCredentials::Malformed("Bad digest nc"))
}

/// A hash written in hexadecimal digits of either case.
fn parse_hash<D: Digest>(text: &[u8]) -> Option<Output<D>> {
    let mut hash = Output::<D>::default();
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    for (octet, [high, low]) in hash.iter_mut().zip(pairs) {
        *octet = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(hash)
}

const NAMES: [&str; 9] =
    ["username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc"];
const USERNAME: usize = 0;
const REALM: usize = 1;
const NONCE: usize = 2;
const URI: usize = 3;
const RESPONSE: usize = 4;
const ALGORITHM: usize = 5;
const CNONCE: usize = 6;
const QOP: usize = 7;
const NC: usize = 8;

/// The values of `NAMES` as written, quotes kept off.
struct Raw<'a>([Option<&'a [u8]>; NAMES.len()]);

impl<'a> Raw<'a> {
    fn read(value: &'a [u8]) -> Result<Self, BadCredentials> {
        let mut raw = Self([None; NAMES.len()]);
        for field in Fields::of_digest(value)? {
            let (name, value) = field?;
            let known = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let Some(index) = NAMES.iter().position(|name| known(name)) else { continue };
            // With two of one field, one parser's user is another's guess.
            if raw.0[index].replace(value).is_some() {
                return Err(BadCredentials::Malformed("Digest field twice"));
            }
        }
        Ok(raw)
    }

    fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.0[index]
    }

    fn need(&self, index: usize, missing: &'static str) -> Result<&'a [u8], BadCredentials> {
        self.0[index].ok_or(BadCredentials::Malformed(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RFC2617: &str = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, \
        nc=00000001, cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", \
        opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    const RFC7616: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
        uri=\"/dir/index.html\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", ";
    const RFC7616_MD5: &str = "algorithm=MD5, response=\"8ca523f5e9506fed4657c9700eebdbec\"";
    const RFC7616_SHA256: &str = "algorithm=SHA-256, \
        response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"";

    fn parse(value: &str) -> Credentials<'_> {
        Credentials::parse(value.as_bytes()).expect("good credentials")
    }

    fn malformed(value: &str) -> BadCredentials {
        Credentials::parse(value.as_bytes()).expect_err("bad credentials")
    }

    fn verifies(value: &str, ha1: &Ha1) -> bool {
        parse(value).verify(b"GET", ha1, Algorithm::Md5)
    }

    fn rfc7616() -> Ha1 {
        Ha1::new("Mufasa", "http-auth@example.org", "Circle of Life")
    }

    #[test]
    fn the_example_of_rfc_2617_verifies() {
        let ha1 = Ha1::new("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert!(verifies(RFC2617, &ha1));
        assert!(!verifies(RFC2617, &Ha1::new("Mufasa", "testrealm@host.com", "Circle of Life")));
        assert!(!parse(RFC2617).verify(b"POST", &ha1, Algorithm::Md5));
        assert!(!parse(RFC2617).verify(b"GET", &ha1, Algorithm::Sha256));
    }

    #[test]
    fn the_examples_of_rfc_7616_verify_by_both_algorithms() {
        for answer in [RFC7616_MD5, RFC7616_SHA256] {
            assert!(verifies(&format!("{RFC7616}{answer}"), &rfc7616()), "{answer}");
        }
        let upper = RFC7616_MD5.replace("8ca523f5e9506fed", "8CA523F5E9506FED");
        assert!(verifies(&format!("{RFC7616}{upper}"), &rfc7616()));
    }

    #[test]
    fn clients_without_qop_verify_by_the_older_hash() {
        let value = "Digest username=\"Mufasa\",realm=\"testrealm@host.com\",\
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",uri=\"/dir/index.html\",\
            response=\"670fd8c2df070c60b045671b8b24ff02\"";
        assert!(verifies(value, &Ha1::new("Mufasa", "testrealm@host.com", "Circle Of Life")));
    }

    #[test]
    fn an_imported_md5_hash_serves_md5_only() {
        let ha1 = Ha1 { sha256: None, ..rfc7616() };
        assert!(verifies(&format!("{RFC7616}{RFC7616_MD5}"), &ha1));
        assert!(!verifies(&format!("{RFC7616}{RFC7616_SHA256}"), &ha1));
        let zeros = Ha1 { sha256: Some([0; 32]), ..rfc7616() };
        assert!(!verifies(&format!("{RFC7616}{RFC7616_SHA256}"), &zeros));
    }

    #[test]
    fn unknown_algorithms_are_kept_and_never_verify() {
        let value = format!("{RFC7616}{}", RFC7616_MD5.replace("MD5", "MD5-sess"));
        assert_eq!(parse(&value).algorithm, Some(Claimed::Unknown(b"MD5-sess")));
        assert!(!verifies(&value, &rfc7616()));
    }

    #[test]
    fn any_octet_of_the_hash_counts() {
        let good = format!("{RFC7616}{RFC7616_MD5}");
        for bad in
            ["9ca523f5e9506fed4657c9700eebdbec", "8ca523f5e9506fed4657c9700eebdbed", "", "8c"]
        {
            assert!(!verifies(&good.replace("8ca523f5e9506fed4657c9700eebdbec", bad), &rfc7616()));
        }
        assert!(!verifies(&good.replace("qop=auth", "qop=auth-int"), &rfc7616()));
        assert!(!verifies(&good.replace("nc=00000001", "nc=00000002"), &rfc7616()));
    }

    #[test]
    fn odd_spellings_are_understood() {
        let credentials = parse(
            "digest  username = \"al\\\"i, ce\" ,\r\n realm=\"a\\\\b\",nonce=\"n\",\
             uri=\"sip:a,b\",response=x,algorithm=\"sha-256\",qop=\"Auth\",nc=A,cnonce=\"c\",",
        );
        assert_eq!(credentials.username.as_ref(), b"al\"i, ce");
        assert_eq!(credentials.realm.as_ref(), b"a\\b");
        assert_eq!(credentials.uri.as_ref(), b"sip:a,b");
        assert_eq!(credentials.algorithm, Some(Claimed::Known(Algorithm::Sha256)));
        assert_eq!((credentials.qop, credentials.nc), (Some(Qop::Auth), Some(10)));
    }

    #[test]
    fn missing_doubled_and_bad_fields_are_named() {
        let malformed = |value: &str| match malformed(value) {
            BadCredentials::Malformed(reason) => reason,
            BadCredentials::OtherScheme => "other",
        };
        assert_eq!(malformed("Basic QWxhZGRpbg=="), "other");
        assert_eq!(malformed("Digest"), "Missing digest username");
        assert_eq!(malformed("Digest username=\"a\""), "Missing digest realm");
        assert_eq!(malformed("Digest username=\"a\", Username=\"b\""), "Digest field twice");
        let full = "Digest username=\"a\",realm=\"r\",nonce=\"n\",uri=\"u\",response=\"0\"";
        assert_eq!(malformed(&format!("{full},qop=auth")), "Missing nc or cnonce");
        for nc in ["", "+1", "123456789", "xyz"] {
            let value = format!("{full},qop=auth,cnonce=\"c\",nc={nc}");
            assert_eq!(malformed(&value), "Bad digest nc", "{nc}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(bytes: Vec<u8>, text in "Digest [a-z=\",\\\\ ]{0,80}") {
            let _ = Credentials::parse(&bytes);
            let _ = Credentials::parse(text.as_bytes());
        }
    }
}
