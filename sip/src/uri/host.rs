//! Host names and addresses in one canonical form, so that a name cannot pass as two.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::BadUri;
use crate::flow::canonical_ip;

/// Longest name of the DNS, without its final dot (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
/// Longest label of the DNS.
const LABEL_MAX: usize = 63;

/// A host in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address; a v4-mapped IPv6 address is the IPv4 address it maps.
    Ip(IpAddr),
    /// A name: lower case, no final dot, never a number that a resolver would take for an address.
    Name(String),
}

impl Host {
    /// Reads the host of a URI or a Via.
    ///
    /// A name whose last label is a number is read as `inet_aton` reads it (`0x7f.1`,
    /// `2130706433`, `0177.0.0.1` are all 127.0.0.1), since the system's resolver would, or
    /// refused. Escapes, zone identifiers and empty labels are refused; underscores, which real
    /// networks have, are not. IPv6 addresses need their brackets.
    pub fn parse(text: &[u8]) -> Result<Self, BadUri> {
        Ok(match classify(text)? {
            Kind::Ip(ip) => Self::Ip(ip),
            Kind::Name(name) => Self::Name(name.to_ascii_lowercase()),
        })
    }

    /// The address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(canonical_ip(ip))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What `Host::parse` would say, without the copy.
pub(super) fn check(text: &[u8]) -> Result<(), BadUri> {
    classify(text).map(drop)
}

enum Kind<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

const BAD_HOST: BadUri = BadUri::new("Bad host in URI");

fn classify(text: &[u8]) -> Result<Kind<'_>, BadUri> {
    if let Some(bracketed) = text.strip_prefix(b"[") {
        return ipv6(bracketed).map(Kind::Ip).ok_or(BAD_HOST);
    }
    let name = text.strip_suffix(b".").unwrap_or(text);
    let last = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    if is_number(last) {
        return ipv4(name).map(|v4| Kind::Ip(IpAddr::V4(v4))).ok_or(BAD_HOST);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // No early end: the compiler takes sixteen octets a step then.
    let clean = name.len() <= NAME_MAX && name.iter().fold(true, |ok, &byte| ok & allowed(byte));
    if !clean || !name.split(|&byte| byte == b'.').all(is_label) {
        return Err(BAD_HOST);
    }
    std::str::from_utf8(name).map(Kind::Name).map_err(|_| BAD_HOST)
}

/// Length and dashes; the characters were looked at before.
fn is_label(label: &[u8]) -> bool {
    let dashed = label.starts_with(b"-") || label.ends_with(b"-");
    !label.is_empty() && label.len() <= LABEL_MAX && !dashed
}

/// Whether a resolver may take the label for a number: digits, or what begins as hexadecimal.
fn is_number(label: &[u8]) -> bool {
    let digits = !label.is_empty() && label.iter().all(u8::is_ascii_digit);
    digits || hexadecimal(label).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn hexadecimal(label: &[u8]) -> Option<&[u8]> {
    label.strip_prefix(b"0x").or_else(|| label.strip_prefix(b"0X"))
}

/// As `inet_aton`: one to four numbers, the last of which fills all octets that are left.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut address = 0u32;
    let mut parts = text.split(|&byte| byte == b'.').peekable();
    for octets_left in (0..4u32).rev() {
        let value = number(parts.next()?)?;
        if parts.peek().is_none() {
            let room = 1u64 << (8 * (octets_left + 1));
            let value = u32::try_from(value).ok().filter(|_| value < room)?;
            return Some(Ipv4Addr::from_bits(address | value));
        }
        address |= u32::from(u8::try_from(value).ok()?) << (8 * octets_left);
    }
    None
}

/// Decimal, octal after a `0`, hexadecimal after `0x`.
fn number(label: &[u8]) -> Option<u64> {
    let (digits, radix) = match label {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    // `from_str_radix` would take a sign.
    let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(digits, radix).ok()
}

/// The inside of brackets. The parser of the standard library refuses zone identifiers.
fn ipv6(bracketed: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bracketed.strip_suffix(b"]")?).ok()?;
    text.parse::<Ipv6Addr>().ok().map(|v6| canonical_ip(IpAddr::V6(v6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Option<String> {
        Host::parse(text.as_bytes()).ok().map(|host| host.to_string())
    }

    #[test]
    fn names_fold_case_and_lose_one_final_dot() {
        assert_eq!(host("SIP.Example.ORG").as_deref(), Some("sip.example.org"));
        assert_eq!(host("example.org.").as_deref(), Some("example.org"));
        assert_eq!(host("pbx").as_deref(), Some("pbx"));
        assert_eq!(host("_sip._udp.my_host").as_deref(), Some("_sip._udp.my_host"));
        assert_eq!(host("0xyz").as_deref(), Some("0xyz"));
        assert_eq!(host("3com.com").as_deref(), Some("3com.com"));
    }

    #[test]
    fn empty_labels_and_foreign_characters_are_refused() {
        let bad = ["", ".", "..", "example..org", ".example.org", "example.org..", "a b", "a%2eb"];
        for text in bad.into_iter().chain(["exa\u{e9}.org", "a@b", "a:5060", "a/b", "-a", "a-.b"]) {
            assert_eq!(host(text), None, "{text}");
        }
        assert_eq!(host(&"a".repeat(64)), None);
        assert_eq!(host(&vec!["a"; 128].join(".")), None);
        assert!(host(&vec!["a"; 127].join(".")).is_some());
    }

    #[test]
    fn odd_forms_of_an_address_are_the_address() {
        let forms = ["127.0.0.1", "127.0.0.1.", "127.1", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1"];
        let more = ["2130706433", "0x7f000001", "017700000001", "127.0.1", "[::ffff:127.0.0.1]"];
        for text in forms.into_iter().chain(more).chain(["[::FFFF:7f00:1]", "127.0.0x1"]) {
            assert_eq!(host(text).as_deref(), Some("127.0.0.1"), "{text}");
        }
        assert_eq!(host("10.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(host("1.2.515").as_deref(), Some("1.2.2.3"));
        assert_eq!(host("0").as_deref(), Some("0.0.0.0"));
    }

    #[test]
    fn numbers_that_are_no_address_are_refused() {
        let bad = ["256.0.0.1", "1.2.3.4.5", "08.0.0.1", "0x", "4294967296", "1.2.3.256", "a.1"];
        for text in bad.into_iter().chain(["1..2", "1.2.3.0x", "0x1g.1", "+1", "1.+1", "1.-1"]) {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn ipv6_needs_brackets_and_no_zone() {
        assert_eq!(host("[2001:DB8:0::1]").as_deref(), Some("[2001:db8::1]"));
        let bad = ["2001:db8::1", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1", "::1]", "[]"];
        for text in bad.into_iter().chain(["[1.2.3.4]", "[::1].", "[[::1]]"]) {
            assert_eq!(host(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused_and_stay_canonical(bytes: Vec<u8>) {
            if let Ok(host) = Host::parse(&bytes) {
                prop_assert_eq!(Host::parse(host.to_string().as_bytes()), Ok(host));
            }
        }

        #[test]
        fn printing_a_host_is_idempotent(text in "[0-9a-fxA-F_.\\[\\]:-]{1,20}\\.?") {
            if let Ok(host) = Host::parse(text.as_bytes()) {
                prop_assert_eq!(Host::parse(host.to_string().as_bytes()), Ok(host));
            }
        }

        #[test]
        fn what_the_system_reads_as_an_address_we_do_not_read_as_a_name(
            text in "(0[xX]?)?[0-9a-f]{1,4}(\\.(0x)?[0-9]{1,3}){0,3}",
        ) {
            if let Ok(Host::Name(name)) = Host::parse(text.as_bytes()) {
                let last = name.rsplit('.').next().unwrap_or_default();
                prop_assert!(!last.starts_with(|first: char| first.is_ascii_digit())
                    || last.contains(|other: char| other.is_ascii_alphabetic()));
            }
        }
    }
}
