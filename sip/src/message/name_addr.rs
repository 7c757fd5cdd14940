//! Addresses of From, To, Contact, Route and their kin: `"Display" <uri>;params`
//! (RFC 3261 section 20.10 and 25.1).

use super::octets::{find, find_unquoted, is_lws, trim};
use super::params::{Params, unquote};

/// A `name-addr` or `addr-spec` with its header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name without its outer quotes, escapes left in; empty where there is none.
    pub display: &'a [u8],
    /// The URI without angle brackets; `*` for the Contact that stands for all.
    pub uri: &'a [u8],
    /// What follows the URI. Without brackets, parameters belong to the header (section 20).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value. None: it has no URI, a quote or bracket never closes, white space stands
    /// inside the URI, or a URI without brackets has a `?` (RFC 4475 section 3.1.2.13).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match find_unquoted(value, b'<') {
            Some(open) => Self::bracketed(value.get(..open)?, value.get(open + 1..)?),
            None => Self::bare(value),
        }
    }

    /// The tag parameter (RFC 3261 section 19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    fn bracketed(display: &'a [u8], rest: &'a [u8]) -> Option<Self> {
        let close = find(rest, b'>')?;
        let display = trim(display);
        let params = trim(rest.get(close + 1..)?);
        let usable = is_display(display) && (params.is_empty() || params.starts_with(b";"));
        let uri = usable.then(|| trim(&rest[..close])).filter(|uri| is_one_piece(uri))?;
        Some(NameAddr { display: unquote(display), uri, params: Params::new(params) })
    }

    fn bare(value: &'a [u8]) -> Option<Self> {
        let end = find(value, b';').unwrap_or(value.len());
        let (uri, params) = value.split_at(end);
        let uri = trim(uri);
        let usable = is_one_piece(uri) && !uri.contains(&b'?');
        usable.then_some(NameAddr { display: b"", uri, params: Params::new(params) })
    }
}

/// A display name may be sloppy, but one that could be read as a URI makes two readers see two
/// senders.
fn is_display(display: &[u8]) -> bool {
    display.starts_with(b"\"") || !display.iter().any(|o| matches!(o, b':' | b';'))
}

fn is_one_piece(uri: &[u8]) -> bool {
    !uri.is_empty() && !uri.iter().any(|o| is_lws(*o) || matches!(o, b'<' | b'>' | b'"' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_inside_brackets_belong_to_the_uri() {
        let address =
            NameAddr::parse(br#""A <b>; c" <sip:a@h;lr>;tag=1"#).expect("a good test message");
        assert_eq!(address.display, b"A <b>; c");
        assert_eq!(address.uri, b"sip:a@h;lr");
        assert_eq!(address.tag(), Some(&b"1"[..]));
    }

    #[test]
    fn parameters_without_brackets_belong_to_the_header() {
        let address = NameAddr::parse(b"sip:vivekg@example.com ;   tag    = 19n")
            .expect("a good test message");
        assert_eq!(address.uri, b"sip:vivekg@example.com");
        assert_eq!(address.tag(), Some(&b"19n"[..]));
    }

    #[test]
    fn sloppy_display_names_are_read() {
        let address = NameAddr::parse(b"Bell, Alexander <sip:a.g.bell@example.com>;tag=43");
        assert_eq!(address.expect("a good test message").display, b"Bell, Alexander");
        assert_eq!(
            NameAddr::parse(b"caller<sip:c@h>").expect("a good test message").uri,
            b"sip:c@h"
        );
        assert_eq!(NameAddr::parse(b"< sip:c@h >").expect("a good test message").uri, b"sip:c@h");
    }

    #[test]
    fn two_faced_addresses_are_refused() {
        let values = ["sip:a@h;x=<sip:b@h>", "sip:u@h?Route=%3C", "<sip:a@h> x", "<sip:a b@h>", ""];
        for value in values.map(str::as_bytes).iter().chain(&[&b"\"a <sip:b@h>"[..], b"<sip:a"]) {
            assert_eq!(NameAddr::parse(value), None, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn star_is_an_address_of_its_own() {
        assert_eq!(NameAddr::parse(b"*").expect("a good test message").uri, b"*");
    }
}
