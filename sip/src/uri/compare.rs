//! Equality of URIs (RFC 3261 section 19.1.4, RFC 3966 section 4).

use super::{Host, Scheme, Uri, next_octet, routing_bit};
use crate::message::Params;

/// Whether both URIs mean the same.
pub(super) fn equals(one: &Uri, other: &Uri) -> bool {
    match (one.scheme, other.scheme) {
        (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => sip_equals(one, other),
        (Scheme::Tel, Scheme::Tel) => tel_equals(one, other),
        // Of a scheme we do not know only the identical is surely the same.
        (Scheme::Other(scheme), Scheme::Other(also)) => {
            scheme.eq_ignore_ascii_case(also) && one.rest == other.rest
        }
        _ => false,
    }
}

fn sip_equals(one: &Uri, other: &Uri) -> bool {
    one.port == other.port
        && option_equals(one.user, other.user)
        && option_equals(one.password, other.password)
        && host_equals(one.host, other.host)
        && params_equal(&one.params, &other.params)
        && headers_equal(one.headers, other.headers)
}

/// RFC 3966 section 4: digits without their visual separators, and parameters as a set.
fn tel_equals(one: &Uri, other: &Uri) -> bool {
    let digits = |uri: &Uri<'_>| -> Vec<u8> {
        let number = uri.user_unescaped().unwrap_or_default();
        number.into_iter().filter(|byte| !b"-.()".contains(byte)).collect()
    };
    let covers = |inner: &Uri<'_>, outer: &Uri<'_>| {
        inner.params.iter().all(|(name, value)| has_param(&outer.params, name, value))
    };
    digits(one).eq_ignore_ascii_case(&digits(other)) && covers(one, other) && covers(other, one)
}

fn host_equals(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
        || matches!((Host::parse(one), Host::parse(other)), (Ok(a), Ok(b)) if a == b)
}

/// A parameter in both must match; in one only it is ignored, unless it decides the way.
fn params_equal(one: &Params, other: &Params) -> bool {
    let routing =
        |params: &Params| params.iter().fold(0, |bits, (name, _)| bits | routing_bit(name));
    routing(one) == routing(other) && shared_params_match(one, other)
}

fn shared_params_match(one: &Params, other: &Params) -> bool {
    one.iter().all(|(name, value)| {
        let mut namesakes = other.iter().filter(|(other_name, _)| same_text(name, other_name));
        namesakes.all(|(_, other_value)| same_value(value, other_value))
    })
}

fn has_param(params: &Params, name: &[u8], value: Option<&[u8]>) -> bool {
    params.iter().any(|(found, also)| same_text(name, found) && same_value(value, also))
}

fn same_value(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    same_text(one.unwrap_or_default(), other.unwrap_or_default())
}

/// Headers are never ignored: each must stand in both, equally often, in any order.
fn headers_equal(one: &[u8], other: &[u8]) -> bool {
    let count = |text: &[u8], wanted: &[u8]| {
        headers(text).filter(|found| header_equals(found, wanted)).count()
    };
    one == other
        || (headers(one).count() == headers(other).count()
            && headers(one).all(|header| count(one, header) == count(other, header)))
}

fn headers(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'&').filter(|header| !header.is_empty())
}

/// Names in any case; values as they are, since most header fields (Subject) keep their case.
fn header_equals(one: &[u8], other: &[u8]) -> bool {
    let (name, value) = super::split_at(one, b'=');
    let (other_name, other_value) = super::split_at(other, b'=');
    same_text(name, other_name) && option_equals(value, other_value)
}

fn option_equals(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || units(one).eq(units(other)),
        (None, None) => true,
        _ => false,
    }
}

/// Equality without case, escapes respected.
fn same_text(one: &[u8], other: &[u8]) -> bool {
    let fold = |(octet, escaped): (u8, bool)| (octet.to_ascii_lowercase(), escaped);
    one.eq_ignore_ascii_case(other) || units(one).map(fold).eq(units(other).map(fold))
}

/// Octets with their escapes undone. An escaped reserved character stays apart from the same
/// character unescaped: `%3b` in a user is not the `;` that begins parameters.
fn units(text: &[u8]) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (octet, after, escaped) = next_octet(rest)?;
        rest = after;
        Some((octet, escaped && b";/?:@&=+$,".contains(&octet)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Uri;
    use proptest::prelude::*;

    fn equal(one: &str, other: &str) -> bool {
        let parse = |text| Uri::parse(str::as_bytes(text)).expect("a good URI");
        let forth = parse(one).equals(&parse(other));
        assert_eq!(forth, parse(other).equals(&parse(one)), "{one} and {other} both ways");
        forth
    }

    #[test]
    fn equal_pairs_of_the_rfc_are_equal() {
        let pairs = [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ];
        for (one, other) in pairs {
            assert!(equal(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn unequal_pairs_of_the_rfc_are_unequal() {
        let pairs = [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ];
        for (one, other) in pairs {
            assert!(!equal(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn scheme_user_and_password_are_never_ignored() {
        assert!(!equal("sip:a@b", "sips:a@b"));
        assert!(!equal("sip:a@b", "sip:b"));
        assert!(!equal("sip:a:x@b", "sip:a@b"));
        assert!(!equal("sip:a:x@b", "sip:a:X@b"));
        assert!(!equal("sip:a@b", "tel:1"));
    }

    #[test]
    fn user_ttl_method_and_maddr_count_even_where_one_has_none() {
        for param in ["user=ip", "ttl=1", "method=INVITE", "maddr=192.0.2.1", "transport=udp"] {
            assert!(!equal("sip:a@b", &format!("sip:a@b;{param}")), "{param}");
        }
        assert!(equal("sip:a@b;maddr=192.0.2.1;x", "sip:a@b;MADDR=192.0.2.1"));
    }

    #[test]
    fn an_escape_equals_its_character_unless_that_is_reserved() {
        assert!(equal("sip:%41lice@b", "sip:Alice@b"));
        assert!(equal("sip:a%3bb@c", "sip:a%3Bb@c"));
        assert!(!equal("sip:a%3bb@c", "sip:a;b@c"));
        assert!(equal("sip:a@b;x=%61", "sip:a@b;x=A"));
    }

    #[test]
    fn spellings_of_one_host_are_equal() {
        assert!(equal("sip:a@127.0.0.1", "sip:a@[::ffff:127.0.0.1]"));
        assert!(equal("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"));
        assert!(equal("sip:a@b.example.", "sip:a@B.example"));
    }

    #[test]
    fn tel_numbers_are_equal_without_their_separators() {
        assert!(equal("tel:+1-201-555-0123", "tel:+1(201)555.0123"));
        assert!(equal("tel:7042;phone-context=Example.com", "tel:7042;phone-context=example.com"));
        assert!(!equal("tel:7042;phone-context=example.com", "tel:7042"));
        assert!(!equal("tel:+12015550123", "tel:12015550123"));
    }

    #[test]
    fn other_schemes_are_equal_when_identical() {
        assert!(equal("ISBN:2983792873", "isbn:2983792873"));
        assert!(!equal("urn:service:sos", "urn:service:SOS"));
    }

    proptest! {
        #[test]
        fn every_uri_equals_itself(text in "(sip|sips|tel):[a-c%0-9:;=?&@.+]{1,24}") {
            if let Ok(uri) = Uri::parse(text.as_bytes()) {
                prop_assert!(uri.equals(&uri));
            }
        }
    }
}
