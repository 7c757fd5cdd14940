//! SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966) as slices of the text they stand in.
//!
//! Whether a caller is local rests on these, so whatever could be read in two ways is refused.

mod aor;
mod compare;
mod host;

use std::fmt;

use crate::limits::URI_PARTS_MAX;
use crate::message::Params;
use crate::message::octets::find;

pub use aor::Aor;
pub use host::Host;

/// Why a URI is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUri {
    /// What is wrong, fit for a reason phrase: `Bad host in URI`.
    pub reason: &'static str,
}

impl BadUri {
    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for BadUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for BadUri {}

/// What stands before the first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`: TLS on every hop (RFC 5630).
    Sips,
    /// `tel`: a number (RFC 3966).
    Tel,
    /// Any other scheme, as written; 416 where it stands in a request URI.
    Other(&'a [u8]),
}

impl<'a> Scheme<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (first, rest) = text.split_first()?;
        let tail = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        if !first.is_ascii_alphabetic() || !rest.iter().all(tail) {
            return None;
        }
        Some(match text {
            _ if text.eq_ignore_ascii_case(b"sip") => Self::Sip,
            _ if text.eq_ignore_ascii_case(b"sips") => Self::Sips,
            _ if text.eq_ignore_ascii_case(b"tel") => Self::Tel,
            _ => Self::Other(text),
        })
    }
}

/// A URI, parsed into slices of its text.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// Its scheme; fields below are empty for `Scheme::Other`.
    pub scheme: Scheme<'a>,
    /// The user as written, with its escapes; of a tel URI the number.
    pub user: Option<&'a [u8]>,
    /// The password as written. Deprecated by RFC 3261 section 19.1.1, but part of comparison.
    pub password: Option<&'a [u8]>,
    /// The host as written, with the brackets of an IPv6 address; empty for tel.
    pub host: &'a [u8],
    /// The port, where one is written; never 0.
    pub port: Option<u16>,
    /// The parameters after the host, or after a tel URI's number.
    pub params: Params<'a>,
    /// What follows the question mark, without it.
    pub headers: &'a [u8],
    /// All that follows the scheme.
    rest: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a bare URI: no angle brackets, no white space round it.
    ///
    /// A SIP URI that comes back has a host that `host_canonical` accepts, at most one `@`, and
    /// none of the parameters that decide routing twice.
    pub fn parse(text: &'a [u8]) -> Result<Self, BadUri> {
        let (scheme, rest) = split_at(text, b':');
        let (Some(scheme), Some(rest)) = (Scheme::parse(scheme), rest) else {
            return Err(BadUri::new("Bad URI scheme"));
        };
        check_octets(rest)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::parse_sip(scheme, rest),
            Scheme::Tel => Self::parse_tel(rest),
            Scheme::Other(_) => Ok(Self::empty(scheme, rest)),
        }
    }

    fn parse_sip(scheme: Scheme<'a>, rest: &'a [u8]) -> Result<Self, BadUri> {
        check_escapes(rest)?;
        let (userinfo, after) = split_userinfo(rest)?;
        let mut uri = Self::empty(scheme, rest);
        if let Some(userinfo) = userinfo {
            let (user, password) = split_at(userinfo, b':');
            uri.user = Some(user).filter(|user| !user.is_empty());
            uri.password = password;
            if uri.user.is_none() {
                return Err(BadUri::new("Empty user in URI"));
            }
        }
        let (before_headers, headers) = split_at(after, b'?');
        let (hostport, params) = split_at(before_headers, b';');
        uri.headers = headers.unwrap_or_default();
        uri.params = Params::new(params.unwrap_or_default());
        (uri.host, uri.port) = split_port(hostport)?;
        host::check(uri.host)?;
        uri.check_parts()?;
        Ok(uri)
    }

    fn parse_tel(rest: &'a [u8]) -> Result<Self, BadUri> {
        check_escapes(rest)?;
        let (number, params) = split_at(rest, b';');
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.()*#%".contains(byte);
        if number.is_empty() || !number.iter().all(allowed) {
            return Err(BadUri::new("Bad number in tel URI"));
        }
        let mut uri = Self::empty(Scheme::Tel, rest);
        uri.user = Some(number);
        uri.params = Params::new(params.unwrap_or_default());
        uri.check_parts()?;
        Ok(uri)
    }

    fn empty(scheme: Scheme<'a>, rest: &'a [u8]) -> Self {
        let params = Params::new(b"");
        Self {
            scheme,
            user: None,
            password: None,
            host: b"",
            port: None,
            params,
            headers: b"",
            rest,
        }
    }

    /// Bounds the parts, and refuses what two readers would understand differently.
    fn check_parts(&self) -> Result<(), BadUri> {
        let mut seen = 0u8;
        for (index, (name, _)) in self.params.iter().enumerate() {
            if index == URI_PARTS_MAX {
                return Err(BadUri::new("Too many parameters in URI"));
            }
            let bit = routing_bit(name);
            if seen & bit != 0 {
                return Err(BadUri::new("Parameter twice in URI"));
            }
            seen |= bit;
        }
        if self.headers.iter().filter(|&&byte| byte == b'&').count() >= URI_PARTS_MAX {
            return Err(BadUri::new("Too many headers in URI"));
        }
        Ok(())
    }

    /// The user with its escapes undone; may hold any octet.
    pub fn user_unescaped(&self) -> Option<Vec<u8>> {
        self.user.map(unescape)
    }

    /// The host in the one form that comparisons, routing and the store use.
    pub fn host_canonical(&self) -> Result<Host, BadUri> {
        Host::parse(self.host)
    }

    /// The address of record that a SIP or SIPS URI with a user names (RFC 3261 section 10.3,
    /// step 5: parameters and port fall away).
    pub fn aor(&self) -> Option<Aor> {
        match self.scheme {
            Scheme::Sip | Scheme::Sips => {
                Aor::of(&self.user_unescaped()?, &Host::parse(self.host).ok()?)
            }
            Scheme::Tel | Scheme::Other(_) => None,
        }
    }

    /// Whether both mean the same by RFC 3261 section 19.1.4, or RFC 3966 section 4 for tel.
    ///
    /// The relation is the RFC's: not transitive, because parameters in one only are ignored.
    pub fn equals(&self, other: &Uri) -> bool {
        compare::equals(self, other)
    }

    /// The value of the `transport` parameter, as written.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.params.get("transport")
    }
}

/// Parameters that must be there on both sides or on neither for two URIs to be equal, and that
/// may stand once only.
const ROUTING_PARAMS: [&str; 5] = ["transport", "maddr", "user", "ttl", "method"];

/// A bit for each of `ROUTING_PARAMS`, none for other names.
fn routing_bit(name: &[u8]) -> u8 {
    let index = ROUTING_PARAMS.iter().position(|one| name.eq_ignore_ascii_case(one.as_bytes()));
    index.map_or(0, |index| 1 << index)
}

/// Undoes `%HH`; what is no escape stays as it is.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((octet, after, _)) = next_octet(rest) {
        out.push(octet);
        rest = after;
    }
    out
}

/// The next octet with its escape undone, what follows, and whether it was escaped.
fn next_octet(text: &[u8]) -> Option<(u8, &[u8], bool)> {
    if let [b'%', high, low, rest @ ..] = text
        && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
    {
        return Some((high << 4 | low, rest, true));
    }
    text.split_first().map(|(&octet, rest)| (octet, rest, false))
}

/// The value of a hexadecimal digit of either case.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// No URI holds white space, controls, quotes or angle brackets.
fn check_octets(text: &[u8]) -> Result<(), BadUri> {
    let foreign = |byte: u8| byte <= b' ' || matches!(byte, b'<' | b'>' | b'"' | 0x7f);
    // No early end: the compiler takes sixteen octets a step then.
    if text.is_empty() || text.iter().fold(false, |bad, &byte| bad | foreign(byte)) {
        return Err(BadUri::new("Bad character in URI"));
    }
    Ok(())
}

fn check_escapes(text: &[u8]) -> Result<(), BadUri> {
    let (_, mut escape) = split_at(text, b'%');
    while let Some(digits) = escape {
        match digits {
            [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (_, escape) = split_at(rest, b'%');
            }
            _ => return Err(BadUri::new("Bad escape in URI")),
        }
    }
    Ok(())
}

/// Splits at the only `@`; with two, one parser's host is another's user.
fn split_userinfo(rest: &[u8]) -> Result<(Option<&[u8]>, &[u8]), BadUri> {
    let (first, after) = split_at(rest, b'@');
    match after {
        None => Ok((None, rest)),
        Some(after) if find(after, b'@').is_some() => Err(BadUri::new("Two @ in URI")),
        Some(after) => Ok((Some(first), after)),
    }
}

/// What stands before the first `separator`, and after it if there is one.
fn split_at(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let found = find(text, separator).and_then(|index| text.split_at_checked(index));
    let (before, after) = found.unwrap_or((text, b""));
    (before, after.get(1..))
}

/// Splits `host:port`; the colons in brackets are the host's.
fn split_port(hostport: &[u8]) -> Result<(&[u8], Option<u16>), BadUri> {
    let bracket = hostport.iter().rposition(|&byte| byte == b']').map_or(0, |index| index + 1);
    let (name, port) = split_at(hostport.get(bracket..).unwrap_or_default(), b':');
    let host = hostport.get(..bracket + name.len()).unwrap_or_default();
    let parsed = |port| parse_port(port).ok_or(BadUri::new("Bad port in URI"));
    Ok((host, port.map(parsed).transpose()?))
}

fn parse_port(text: &[u8]) -> Option<u16> {
    let digits = text.len() <= 5 && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|bad| panic!("{text}: {bad}"))
    }

    fn refused(text: &str) -> &'static str {
        Uri::parse(text.as_bytes()).map(drop).expect_err(text).reason
    }

    #[test]
    fn every_part_of_a_sip_uri_is_found() {
        let uri = uri("sip:alice:secret@Example.org:5070;transport=tcp;lr?subject=a&to=b");
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.password, Some(&b"secret"[..]));
        assert_eq!((uri.host, uri.port), (&b"Example.org"[..], Some(5070)));
        assert_eq!(uri.transport(), Some(&b"tcp"[..]));
        assert_eq!(uri.params.get("lr"), Some(&b""[..]));
        assert_eq!(uri.headers, b"subject=a&to=b");
        assert_eq!(uri.host_canonical(), Ok(Host::Name("example.org".into())));
    }

    #[test]
    fn a_uri_may_be_a_host_alone() {
        let bare = uri("sips:192.0.2.1");
        assert_eq!((bare.scheme, bare.user, bare.port), (Scheme::Sips, None, None));
        let v6 = uri("sip:[2001:db8::1]:5062;lr");
        assert_eq!((v6.host, v6.port), (&b"[2001:db8::1]"[..], Some(5062)));
        assert_eq!(uri("sip:b?to=a").headers, b"to=a");
    }

    #[test]
    fn torture_users_stay_users() {
        let semi = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(semi.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(semi.host, b"example.com");
        let escaped = uri("sip:sips%3Auser%40example.com@example.net");
        assert_eq!(escaped.user_unescaped().as_deref(), Some(&b"sips:user@example.com"[..]));
        let odd = uri("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:\
             &it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com");
        assert_eq!(odd.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
        assert_eq!(odd.host, b"example.com");
        let null = uri("sip:null-%00-null@example.com");
        assert_eq!(null.user_unescaped().as_deref(), Some(&b"null-\0-null"[..]));
        assert_eq!(null.aor(), None);
    }

    #[test]
    fn other_schemes_are_kept_as_they_are() {
        assert_eq!(uri("urn:service:sos").scheme, Scheme::Other(b"urn"));
        let odd = uri("nobodyKnowsThisScheme:totallyopaquecontent");
        assert_eq!(odd.scheme, Scheme::Other(b"nobodyKnowsThisScheme"));
        assert_eq!((odd.user, odd.host), (None, &b""[..]));
    }

    #[test]
    fn tel_numbers_are_the_user() {
        let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
        assert_eq!((tel.scheme, tel.user), (Scheme::Tel, Some(&b"+1-201-555-0123"[..])));
        assert_eq!(tel.params.get("phone-context"), Some(&b"example.com"[..]));
        assert_eq!(refused("tel:"), "Bad character in URI");
        assert_eq!(refused("tel:;a=b"), "Bad number in tel URI");
        assert_eq!(refused("tel:101@example.org"), "Bad number in tel URI");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(refused("sip:a@b@c"), "Two @ in URI");
        assert_eq!(refused("sip:a@b?Replaces=x@c"), "Two @ in URI");
        assert_eq!(refused("<sip:a@b>"), "Bad URI scheme");
        assert_eq!(refused("sip:a@b>"), "Bad character in URI");
        assert_eq!(refused("sip:a@b; lr"), "Bad character in URI");
        assert_eq!(refused("sip:a@b;transport=udp;Transport=tls"), "Parameter twice in URI");
        assert_eq!(refused("sip:a@b%2ec"), "Bad host in URI");
        assert_eq!(refused("sip:a%4@b"), "Bad escape in URI");
    }

    #[test]
    fn missing_and_bad_parts_are_refused() {
        assert_eq!(refused(""), "Bad URI scheme");
        assert_eq!(refused("alice"), "Bad URI scheme");
        assert_eq!(refused(":alice"), "Bad URI scheme");
        assert_eq!(refused("sip:"), "Bad character in URI");
        assert_eq!(refused("sip:@b"), "Empty user in URI");
        assert_eq!(refused("sip:alice@"), "Bad host in URI");
        for port in ["", "0", "65536", "99999999", "+1", "5060x"] {
            assert_eq!(refused(&format!("sip:a@b:{port}")), "Bad port in URI", "{port}");
        }
        assert_eq!(refused("sip:a@[::1"), "Bad port in URI");
        assert_eq!(refused("sip:a@[::1]x"), "Bad host in URI");
        assert_eq!(refused("sip:a@2001:db8::1"), "Bad port in URI");
    }

    #[test]
    fn thirty_three_parameters_or_headers_are_too_many() {
        let with = |count: usize| format!("sip:a@b{}", ";x=1".repeat(count));
        assert!(Uri::parse(with(32).as_bytes()).is_ok());
        assert_eq!(refused(&with(33)), "Too many parameters in URI");
        let headers = format!("sip:a@b?{}", vec!["x=1"; 33].join("&"));
        assert_eq!(refused(&headers), "Too many headers in URI");
    }

    #[test]
    fn an_address_of_record_has_no_port_no_parameters_and_no_escapes() {
        let aor = uri("sips:%61lice@Example.ORG.:5061;transport=tls").aor();
        assert_eq!(aor, Aor::parse("alice@example.org"));
        assert_eq!(uri("sip:example.org").aor(), None);
        assert_eq!(uri("tel:101").aor(), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Uri::parse(&bytes);
        }

        #[test]
        fn what_is_read_has_a_host_and_an_idempotent_address(
            user in "([a-zA-Z0-9%;:?_.]{0,8}@)?", host in "[a-zA-Z0-9.\\[\\]:%_-]{0,12}",
            tail in "[;?=a-z0-9]{0,8}",
        ) {
            let text = format!("Sip:{user}{host}{tail}");
            if let Ok(uri) = Uri::parse(text.as_bytes()) {
                prop_assert!(uri.host_canonical().is_ok());
                if let Some(aor) = uri.aor() {
                    prop_assert_eq!(Aor::parse(aor.as_str()), Some(aor));
                }
            }
        }
    }
}
