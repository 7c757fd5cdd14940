//! What a stateful proxy decides (RFC 3261 section 16), without sockets, clocks or tables: whether
//! a request may go on, by which way, and which of many answers goes back.

mod breadth;
mod response_context;
mod route;

pub use breadth::{BREADTH_DEFAULT, breadth, breadth_share};
pub use response_context::{ResponseContext, Verdict};
pub use route::{NextHop, Routed, next_hop, preprocess};

use crate::message::{HeaderName, Message};
use crate::refusal::Refusal;
use crate::seal::BranchToken;

/// What a request without Max-Forwards is given (RFC 3261 section 16.6, step 3).
pub const MAX_FORWARDS_DEFAULT: u8 = 70;

/// The Max-Forwards of the forwarded request (RFC 3261 sections 16.3, step 3, and 16.6, step 3).
///
/// # Errors
/// 483 where it is used up, 400 where it is no number of 0 to 255. The caller answers an OPTIONS
/// that has come to its end, if it likes to.
pub fn max_forwards(request: Message<'_>) -> Result<u8, Refusal> {
    match request.max_forwards() {
        None => Ok(MAX_FORWARDS_DEFAULT),
        Some(Err(())) => Err(Refusal::bad_request("Bad Max-Forwards")),
        Some(Ok(left)) => left.checked_sub(1).ok_or(Refusal::TooManyHops),
    }
}

/// Whether the request has passed here before on the same way (RFC 3261 section 16.3, step 4, as
/// RFC 5393 section 4.2 demands it of every proxy that forks). `ours` are the branches in its Vias
/// that are our own; one that came back with another hash is a spiral, and may go on.
pub fn is_loop(ours: impl IntoIterator<Item = BranchToken>, loop_hash: u64) -> bool {
    ours.into_iter().any(|branch| branch.loop_hash == loop_hash)
}

/// Proxy-Require (RFC 3261 section 16.3, step 5): this proxy has no extensions.
///
/// # Errors
/// 420 with every option tag that stands there.
pub fn check_proxy_require(request: Message<'_>) -> Result<(), Refusal> {
    unknown_tags(request, HeaderName::ProxyRequire, &[])
        .map_or(Ok(()), |unknown| Err(Refusal::BadExtension(unknown)))
}

/// The option tags of a field that are none of `known`, as Unsupported lists them.
pub(crate) fn unknown_tags(
    request: Message<'_>,
    field: HeaderName,
    known: &[&str],
) -> Option<Vec<u8>> {
    let is_known =
        |tag: &[u8]| known.iter().any(|known| tag.eq_ignore_ascii_case(known.as_bytes()));
    let unknown: Vec<&[u8]> = request.values(field).filter(|tag| !is_known(tag)).collect();
    (!unknown.is_empty()).then(|| unknown.join(&b", "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::OwnedMessage;

    fn request(fields: &str) -> OwnedMessage {
        let text = format!(
            "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 7 OPTIONS\r\n\
             {fields}\r\n"
        );
        OwnedMessage::new(text.into_bytes()).expect("a message of this test")
    }

    #[test]
    fn max_forwards_goes_down_by_one_and_ends_at_zero() {
        let cases =
            [("", Ok(70)), ("Max-Forwards: 70\r\n", Ok(69)), ("Max-Forwards: 1\r\n", Ok(0))];
        for (fields, expected) in cases {
            assert_eq!(max_forwards(request(fields).view()), expected, "{fields}");
        }
        let spent = request("Max-Forwards: 0\r\n");
        assert_eq!(max_forwards(spent.view()), Err(Refusal::TooManyHops));
    }

    #[test]
    fn same_way_twice_is_a_loop_and_another_way_a_spiral() {
        let branch = |loop_hash| BranchToken { shard: 0, serial: 1, loop_hash };
        assert!(is_loop([branch(1), branch(2)], 2));
        assert!(!is_loop([branch(1), branch(2)], 3));
        assert!(!is_loop([], 0));
    }

    #[test]
    fn proxy_require_is_refused_with_its_list() {
        assert_eq!(check_proxy_require(request("").view()), Ok(()));
        let asking = request("Proxy-Require: sec-agree, foo\r\nProxy-Require: bar\r\n");
        let refusal = Refusal::BadExtension(b"sec-agree, foo, bar".to_vec());
        assert_eq!(check_proxy_require(asking.view()), Err(refusal));
    }
}
