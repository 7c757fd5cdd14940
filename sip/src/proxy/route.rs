//! Route (RFC 3261 sections 16.4, 16.6 step 6, and 16.12): which of the values are ours and fall
//! away, and where the request goes next, with loose routers and with the strict ones of RFC 2543.

use smallvec::SmallVec;

use crate::message::NameAddr;
use crate::refusal::Refusal;
use crate::uri::Uri;

/// A request after Route preprocessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// The Request-URI, which a strict router before us may have hidden in the last Route.
    pub request_uri: &'a [u8],
    /// The URIs that were ours, in order: the Request-URI of a strict router, then Routes.
    pub ours: SmallVec<[&'a [u8]; 2]>,
    /// How many Route values were removed from the front.
    pub skipped: usize,
    /// The last Route value became the Request-URI.
    pub took_last: bool,
    /// What is left of the Route values, as written.
    pub routes: SmallVec<[&'a [u8]; 4]>,
}

/// Where a request goes next, and how it must look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop<'a> {
    /// The URI that decides where to send it.
    pub target: &'a [u8],
    /// The Request-URI to send.
    pub request_uri: &'a [u8],
    /// The Route values to send where they are not the request's own without the first
    /// `Routed::skipped`.
    pub routes: Option<Vec<Vec<u8>>>,
}

/// Takes what is ours off a request's way (section 16.4). `is_ours` tells whether a URI is one
/// that we put into Record-Route or Path, or that names just this server.
///
/// All leading Routes of ours go at once, because a hop between two transports writes two.
///
/// # Errors
/// 400 where a Route value is no address.
pub fn preprocess<'a>(
    request_uri: &'a [u8],
    values: impl Iterator<Item = &'a [u8]>,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Routed<'a>, Refusal> {
    let mut routes: SmallVec<[&[u8]; 4]> = values.collect();
    let mut routed = Routed {
        request_uri,
        ours: SmallVec::new(),
        skipped: 0,
        took_last: false,
        routes: SmallVec::new(),
    };
    // A strict router has put our own Route URI, which says lr, in place of the Request-URI. An
    // address of record of ours does not say so.
    if !routes.is_empty() && is_loose(request_uri) && is_ours(request_uri) {
        let last = routes.pop().unwrap_or_default();
        routed.ours.push(request_uri);
        routed.request_uri = route_uri(last)?;
        routed.took_last = true;
    }
    for value in &routes {
        let uri = route_uri(value)?;
        if !is_ours(uri) {
            break;
        }
        routed.ours.push(uri);
        routed.skipped += 1;
    }
    routes.drain(..routed.skipped);
    routed.routes = routes;
    Ok(routed)
}

/// Where the request goes (section 16.6, steps 6 and 7): to the first Route, or to
/// `request_uri`, which is the preprocessed one or the target that location gave.
///
/// # Errors
/// 400 where a Route value is no SIP address.
pub fn next_hop<'a>(routed: &Routed<'a>, request_uri: &'a [u8]) -> Result<NextHop<'a>, Refusal> {
    let Some((first, rest)) = routed.routes.split_first() else {
        let routes = routed.took_last.then(Vec::new);
        return Ok(NextHop { target: request_uri, request_uri, routes });
    };
    let target = route_uri(first)?;
    if is_loose(target) {
        let routes = routed.took_last.then(|| owned(&routed.routes));
        return Ok(NextHop { target, request_uri, routes });
    }
    let mut routes = owned(rest);
    routes.push([b"<", request_uri, b">"].concat());
    Ok(NextHop { target, request_uri: target, routes: Some(routes) })
}

fn owned(values: &[&[u8]]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.to_vec()).collect()
}

/// The URI of a Route value.
fn route_uri(value: &[u8]) -> Result<&[u8], Refusal> {
    let address = NameAddr::parse(value).filter(|address| Uri::parse(address.uri).is_ok());
    address.map(|address| address.uri).ok_or(Refusal::bad_request("Bad Route"))
}

/// Whether its router leaves the Request-URI alone (section 19.1.1, `lr`).
fn is_loose(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.params.get("lr").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(uri: &[u8]) -> bool {
        Uri::parse(uri).is_ok_and(|uri| uri.host == b"edge.example")
    }

    fn routed<'a>(uri: &'a str, routes: &[&'a str]) -> Routed<'a> {
        let values = routes.iter().map(|value| value.as_bytes());
        preprocess(uri.as_bytes(), values, is_ours).expect("routes of this test")
    }

    /// Target, Request-URI and, where they change, Route values of the next hop.
    fn hop(uri: &str, routes: &[&str]) -> (String, String, Option<Vec<String>>) {
        let routed = routed(uri, routes);
        let hop = next_hop(&routed, routed.request_uri).expect("routes of this test");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let routes = hop.routes.map(|routes| routes.iter().map(|route| text(route)).collect());
        (text(hop.target), text(hop.request_uri), routes)
    }

    fn refused(uri: &str, routes: &[&str]) -> Refusal {
        let values = routes.iter().map(|value| value.as_bytes());
        let routed = preprocess(uri.as_bytes(), values, is_ours);
        routed.and_then(|routed| next_hop(&routed, b"sip:b@h").map(drop)).expect_err(uri)
    }

    const OURS: &str = "<sip:seal@edge.example;lr>";
    const LOOSE: &str = "<sip:p1.example;lr>;x=1";
    const STRICT: &str = "<sip:p2.example>";

    fn row(target: &str, uri: &str, routes: &[&str]) -> (String, String, Option<Vec<String>>) {
        let routes = routes.iter().map(|route| (*route).to_owned()).collect();
        (target.into(), uri.into(), Some(routes))
    }

    #[test]
    fn request_without_routes_goes_to_its_uri() {
        assert_eq!(hop("sip:b@h", &[]), ("sip:b@h".into(), "sip:b@h".into(), None));
    }

    #[test]
    fn routes_of_ours_fall_away() {
        let routed = routed("sip:b@h", &[OURS, "<sip:edge.example;transport=tcp;lr>", LOOSE, OURS]);
        assert_eq!(routed.skipped, 2);
        let first = "sip:seal@edge.example;lr".as_bytes();
        assert_eq!(routed.ours[..], [first, b"sip:edge.example;transport=tcp;lr"]);
        assert_eq!(routed.routes[..], [LOOSE.as_bytes(), OURS.as_bytes()]);
        assert_eq!((routed.took_last, routed.request_uri), (false, &b"sip:b@h"[..]));
    }

    #[test]
    fn loose_router_is_the_target_and_leaves_the_uri_alone() {
        let expected = ("sip:p1.example;lr".into(), "sip:b@h".into(), None);
        assert_eq!(hop("sip:b@h", &[OURS, LOOSE, STRICT]), expected);
    }

    #[test]
    fn strict_router_gets_its_own_uri_and_ours_goes_last() {
        let expected = row("sip:p2.example", "sip:p2.example", &[LOOSE, "<sip:b@h>"]);
        assert_eq!(hop("sip:b@h", &[OURS, STRICT, LOOSE]), expected);
    }

    #[test]
    fn strict_router_before_us_is_undone() {
        let ours = "sip:seal@edge.example;lr";
        let first = routed(ours, &["<sip:b@h>"]);
        assert_eq!((first.request_uri, &first.ours[..]), (&b"sip:b@h"[..], &[ours.as_bytes()][..]));
        assert_eq!(hop(ours, &["<sip:b@h>"]), row("sip:b@h", "sip:b@h", &[]));
        assert_eq!(hop(ours, &[LOOSE, "<sip:b@h>"]), row("sip:p1.example;lr", "sip:b@h", &[LOOSE]));
        // The hop of two transports: the second of our Routes still stands in front.
        assert_eq!(hop(ours, &[OURS, "<sip:b@h>"]), row("sip:b@h", "sip:b@h", &[]));
    }

    #[test]
    fn address_of_record_of_ours_is_no_route() {
        let routed = routed("sip:alice@edge.example", &[OURS, LOOSE]);
        assert!(!routed.took_last);
        assert_eq!(routed.request_uri, b"sip:alice@edge.example");
    }

    #[test]
    fn routes_that_are_no_addresses_are_refused() {
        for bad in ["<sip:>", "<nothing>", "<sip:a@b@c;lr>", "<sip:p1"] {
            assert_eq!(
                refused("sip:b@h", &[OURS, bad]),
                Refusal::bad_request("Bad Route"),
                "{bad}"
            );
        }
        let refusal = refused("sip:seal@edge.example;lr", &["*"]);
        assert_eq!(refusal, Refusal::bad_request("Bad Route"));
    }
}
