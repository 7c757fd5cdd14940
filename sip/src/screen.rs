//! What a request must have before anyone thinks about it: essential fields beyond the scan's,
//! and not the signature of an attack tool.

use crate::message::octets::is_lws;
use crate::message::{HeaderName, Message, Method, NameAddr, Via};
use crate::refusal::Refusal;
use crate::scan::Malformed;
use crate::uri::{Scheme, Uri};

/// Judges a scanned request: Request-URI, From, To, every Via, Proxy-Require, Max-Forwards
/// (RFC 3261 section 16.3). A response passes: its fields are its client transaction's business.
///
/// # Errors
/// `Malformed` naming the field, `UnsupportedUriScheme`, `BadExtension`, `TooManyHops`.
pub fn screen(m: Message<'_>) -> Result<(), Refusal> {
    if !m.is_request() {
        return Ok(());
    }
    request_uri(m.request_uri())?;
    address(m.from(), "Bad From")?;
    address(m.to(), "Bad To")?;
    vias(m)?;
    extensions(m)?;
    max_forwards(m)
}

fn bad(reason: &'static str) -> Refusal {
    Malformed::bad(reason).into()
}

/// Headers in a Request-URI are forbidden (RFC 3261 section 19.1.1, RFC 4475 section 3.1.2.11).
fn request_uri(text: &[u8]) -> Result<(), Refusal> {
    let uri = Uri::parse(text).map_err(|_| bad("Bad Request-URI"))?;
    match uri.scheme {
        Scheme::Other(_) => Err(Refusal::UnsupportedUriScheme),
        _ if !uri.headers.is_empty() => Err(bad("Bad Request-URI")),
        _ => Ok(()),
    }
}

/// Unknown schemes pass here (RFC 4475 section 3.3.4): they make the sender foreign, not faulty.
fn address(address: Option<NameAddr<'_>>, reason: &'static str) -> Result<(), Refusal> {
    let fine = address.is_some_and(|address| Uri::parse(address.uri).is_ok());
    fine.then_some(()).ok_or_else(|| bad(reason))
}

/// Responses go back by these, so none of them may be a riddle (RFC 4475 section 3.1.2.1).
fn vias(m: Message<'_>) -> Result<(), Refusal> {
    let is_fine = |value| Via::parse(value).is_some_and(|via| via.params.well_separated());
    let fine = m.values(HeaderName::Via).all(is_fine);
    fine.then_some(()).ok_or_else(|| bad("Bad Via"))
}

/// We know no extension that a proxy has to support (RFC 3261 section 16.3 item 5); ACK and
/// CANCEL cannot be refused for one (section 8.2.2.3).
fn extensions(m: Message<'_>) -> Result<(), Refusal> {
    let wanted: Vec<&[u8]> = match m.method() {
        Method::Ack | Method::Cancel => return Ok(()),
        _ => m.values(HeaderName::ProxyRequire).collect(),
    };
    if wanted.is_empty() { Ok(()) } else { Err(Refusal::BadExtension(wanted.join(&b", "[..]))) }
}

fn max_forwards(m: Message<'_>) -> Result<(), Refusal> {
    match m.max_forwards() {
        Some(Err(())) => Err(bad("Bad Max-Forwards")),
        Some(Ok(0)) => Err(Refusal::TooManyHops),
        _ => Ok(()),
    }
}

/// The product names of attack tools (R33). They match as whole product tokens, in any case,
/// before the `/`: `UserFriendly Phone` is served.
#[derive(Clone, Debug, Default)]
pub struct Scanners {
    names: Vec<Vec<u8>>,
}

impl Scanners {
    /// A set of product names; empty ones are passed over.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().trim().as_bytes().to_vec());
        Scanners { names: names.filter(|name| !name.is_empty()).collect() }
    }

    /// True when a product of the User-Agent value is one of the names. Comments are passed over.
    pub fn matches(&self, user_agent: &[u8]) -> bool {
        let mut depth = 0u32;
        let mut words = user_agent.split(move |octet| {
            let inside = depth > 0;
            match octet {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            inside || depth > 0 || is_lws(*octet)
        });
        words.any(|word| self.is_known(word.split(|octet| *octet == b'/').next()))
    }

    fn is_known(&self, product: Option<&[u8]>) -> bool {
        product.is_some_and(|p| self.names.iter().any(|name| name.eq_ignore_ascii_case(p)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::OwnedMessage;

    const INVITE: &str = "INVITE sip:b@h SIP/2.0\r\n\
        Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
        From: <sip:a@h>;tag=1\r\n\
        To: <sip:b@h>\r\n\
        Call-ID: x\r\n\
        CSeq: 7 INVITE\r\n\
        Max-Forwards: 70\r\n\r\n";

    fn screened(old: &str, new: &str) -> Result<(), Refusal> {
        screen(
            OwnedMessage::new(INVITE.replace(old, new).into_bytes())
                .expect("a good test message")
                .view(),
        )
    }

    #[test]
    fn plain_request_passes() {
        assert_eq!(screened("", ""), Ok(()));
        assert_eq!(screened("sip:b@h SIP", "tel:+4912345 SIP"), Ok(()));
        assert_eq!(screened("Max-Forwards: 70\r\n", ""), Ok(()));
    }

    #[test]
    fn faults_name_the_field() {
        assert_eq!(screened("sip:b@h SIP", "sip:b@h?Route=x SIP"), Err(bad("Bad Request-URI")));
        assert_eq!(screened("sip:b@h SIP", "b@h SIP"), Err(bad("Bad Request-URI")));
        assert_eq!(screened("<sip:a@h>", "<sip:a@h"), Err(bad("Bad From")));
        assert_eq!(screened("To: <sip:b@h>", "To: <b@h>"), Err(bad("Bad To")));
        assert_eq!(screened("Forwards: 70", "Forwards: 256"), Err(bad("Bad Max-Forwards")));
        assert_eq!(screened("bK1", "bK1,;"), Err(bad("Bad Via")));
    }

    #[test]
    fn faults_with_a_status_of_their_own_get_it() {
        assert_eq!(screened("sip:b@h SIP", "urn:x SIP"), Err(Refusal::UnsupportedUriScheme));
        assert_eq!(screened("Forwards: 70", "Forwards: 0"), Err(Refusal::TooManyHops));
        let both = Refusal::BadExtension(b"a, b".to_vec());
        assert_eq!(screened("Max", "Proxy-Require: a\r\nProxy-Require: b\r\nMax"), Err(both));
    }

    #[test]
    fn scanners_match_as_whole_products() {
        let scanners = Scanners::new(["friendly", "sipcli", "VaxSIPUserAgent", ""]);
        for known in ["friendly", "SIPCLI/v1.8", "Foo/1 vaxsipuseragent/3.5", "a (b) Friendly/2"] {
            assert!(scanners.matches(known.as_bytes()), "{known}");
        }
        for fine in ["UserFriendly Phone", "friendly-phone", "X (friendly)", "X/friendly", ""] {
            assert!(!scanners.matches(fine.as_bytes()), "{fine}");
        }
    }
}
