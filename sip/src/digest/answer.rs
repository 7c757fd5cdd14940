//! The client's side: answering a challenge, for outbound authentication and for test phones.

use md5::{Digest, Md5};
use sha2::Sha256;

use super::Algorithm;
use super::fields::{Fields, unescape, write_quoted};
use super::ha1::{Hex, joined};

/// The value of an Authorization or Proxy-Authorization header field that answers `challenge`, the
/// value of a WWW-Authenticate or Proxy-Authenticate one (RFC 7616 section 3.4).
///
/// `cnonce` and `nc` are used where the challenge offers `qop="auth"`. `None`: not a Digest
/// challenge, no realm or nonce in it, or an algorithm or protection that we do not know.
pub fn answer(
    challenge: &[u8],
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
    cnonce: &str,
    nc: u32,
) -> Option<String> {
    let challenge = Challenge::parse(challenge)?;
    let ask = Ask { method, uri, user, password, cnonce, nc: &format!("{nc:08x}") };
    let response = match challenge.algorithm.unwrap_or(Algorithm::Md5) {
        Algorithm::Md5 => challenge.response::<Md5>(&ask),
        Algorithm::Sha256 => challenge.response::<Sha256>(&ask),
    };
    String::from_utf8(challenge.write(&ask, response.text())).ok()
}

struct Ask<'a> {
    method: &'a str,
    uri: &'a str,
    user: &'a str,
    password: &'a str,
    cnonce: &'a str,
    nc: &'a str,
}

/// Values as written between the quotes.
struct Challenge<'a> {
    realm: &'a [u8],
    nonce: &'a [u8],
    algorithm: Option<Algorithm>,
    opaque: Option<&'a [u8]>,
    qop: bool,
}

impl<'a> Challenge<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let fields = Fields::of_digest(value).ok()?.collect::<Result<Vec<_>, _>>().ok()?;
        let get = |name: &str| {
            let mut named =
                fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
            named.next().map(|(_, value)| *value)
        };
        let algorithm = match get("algorithm") {
            Some(token) => Some(Algorithm::parse(token)?),
            None => None,
        };
        let offers_auth = |qop: &[u8]| {
            qop.split(|&byte| byte == b',')
                .any(|one| one.trim_ascii().eq_ignore_ascii_case(b"auth"))
        };
        let qop = get("qop");
        if qop.is_some_and(|qop| !offers_auth(qop)) {
            return None;
        }
        Some(Self {
            realm: get("realm")?,
            nonce: get("nonce")?,
            algorithm,
            opaque: get("opaque"),
            qop: qop.is_some(),
        })
    }

    fn response<D: Digest>(&self, ask: &Ask) -> Hex {
        let realm = unescape(self.realm);
        let ha1 = joined::<D>(&[ask.user.as_bytes(), &realm, ask.password.as_bytes()]);
        let ha2 = joined::<D>(&[ask.method.as_bytes(), ask.uri.as_bytes()]);
        let (ha1, ha2) = (Hex::of(&ha1), Hex::of(&ha2));
        let (nc, cnonce) = (ask.nc.as_bytes(), ask.cnonce.as_bytes());
        Hex::of(&if self.qop {
            joined::<D>(&[ha1.text(), self.nonce, nc, cnonce, b"auth", ha2.text()])
        } else {
            joined::<D>(&[ha1.text(), self.nonce, ha2.text()])
        })
    }

    fn write(&self, ask: &Ask, response: &[u8]) -> Vec<u8> {
        let mut out = b"Digest username=".to_vec();
        write_quoted(&mut out, ask.user.as_bytes());
        let mut raw = |name: &str, value: &[u8]| {
            out.extend_from_slice(format!(", {name}=\"").as_bytes());
            out.extend_from_slice(value);
            out.push(b'"');
        };
        raw("realm", self.realm);
        raw("nonce", self.nonce);
        raw("uri", ask.uri.as_bytes());
        raw("response", response);
        if let Some(opaque) = self.opaque {
            raw("opaque", opaque);
        }
        if let Some(algorithm) = self.algorithm {
            out.extend_from_slice(format!(", algorithm={}", algorithm.token()).as_bytes());
        }
        if self.qop {
            let qop = format!(", qop=auth, nc={}, cnonce=\"{}\"", ask.nc, ask.cnonce);
            out.extend_from_slice(qop.as_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Credentials, Ha1, challenge};
    use super::*;
    use proptest::prelude::*;

    fn answer_to(challenge: &str) -> Option<String> {
        answer(challenge.as_bytes(), "REGISTER", "sip:example.org", "alice", "secret", "c0", 1)
    }

    #[test]
    fn answers_to_our_own_challenges_verify() {
        let ha1 = Ha1::new("alice", "a \"quoted\" \\realm", "secret");
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            for qop in [true, false] {
                let mut value = Vec::new();
                challenge(&mut value, "a \"quoted\" \\realm", "nonce", algorithm, false, qop);
                let text = answer_to(&String::from_utf8_lossy(&value)).expect("an answer");
                let credentials = Credentials::parse(text.as_bytes()).expect("good credentials");
                assert_eq!(credentials.qop.is_some(), qop);
                assert!(credentials.verify(b"REGISTER", &ha1, Algorithm::Md5), "{text}");
                assert!(!credentials.verify(b"INVITE", &ha1, Algorithm::Md5));
            }
        }
    }

    #[test]
    fn a_plain_challenge_is_answered_as_rfc_2069_has_it() {
        let text = answer_to("Digest realm=\"r\", nonce=\"n\", opaque=\"o\"").expect("an answer");
        assert!(text.starts_with("Digest username=\"alice\", realm=\"r\", nonce=\"n\", uri="));
        assert!(text.ends_with(", opaque=\"o\""), "{text}");
    }

    #[test]
    fn auth_is_chosen_from_a_list_of_protections() {
        let text = answer_to("Digest realm=\"r\",nonce=\"n\",qop=\"auth-int, auth\"");
        assert!(text.is_some_and(|text| text.ends_with(", qop=auth, nc=00000001, cnonce=\"c0\"")));
    }

    #[test]
    fn what_we_cannot_answer_is_not_answered() {
        for challenge in [
            "Basic realm=\"r\"",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\",nonce=\"n\",algorithm=MD5-sess",
            "Digest realm=\"r\",nonce=\"n\",qop=\"auth-int\"",
            "Digest realm=\"r",
        ] {
            assert_eq!(answer_to(challenge), None, "{challenge}");
        }
    }

    proptest! {
        #[test]
        fn every_user_and_password_verifies(user in "\\PC{1,12}", password in "\\PC{0,12}") {
            let mut value = Vec::new();
            challenge(&mut value, "example.org", "n", Algorithm::Sha256, false, true);
            let text = answer(&value, "INVITE", "sip:b", &user, &password, "c", 7).expect("answer");
            let credentials = Credentials::parse(text.as_bytes()).expect("good credentials");
            prop_assert_eq!(credentials.username.as_ref(), user.as_bytes());
            prop_assert_eq!(credentials.nc, Some(7));
            let ha1 = Ha1::new(&user, "example.org", &password);
            prop_assert!(credentials.verify(b"INVITE", &ha1, Algorithm::Md5));
        }
    }
}
