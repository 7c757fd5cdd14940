//! Facts of forwarding and answering, on messages as phones and proxies write them.

use super::*;
use crate::message::OwnedMessage;

const INVITE: &str = "INVITE sip:b@h SIP/2.0\r\n\
    v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport, SIP/2.0/TCP b\r\n\
    Subject:  odd\r\n  folded \r\n\
    Route: <sip:one;lr>, \"a, b\" <sip:two;lr>\r\n\
    Record-Route: <sip:old;lr>\r\n\
    Route: <sip:three;lr> , <sip:four;lr>\r\n\
    Max-Forwards : 70\r\n\
    From: <sip:a@h>;tag=1\r\n\
    To: <sip:b@h>\r\n\
    Call-ID: x\r\n\
    CSeq: 7 INVITE\r\n\
    Timestamp: 54\r\n\
    Proxy-Authorization: Digest x\r\n\
    l: 4\r\n\r\n\0\u{1}ok";

const RESPONSE: &str = "SIP/2.0 401 Nope\r\n\
    Via: SIP/2.0/UDP us;branch=z9hG4bKus , SIP/2.0/UDP a\r\n\
    Via: SIP/2.0/UDP b\r\n\
    From: <sip:a@h>;tag=1\r\n\
    To: <sip:b@h>;tag=2\r\n\
    Call-ID: x\r\n\
    CSeq: 7 INVITE\r\n\
    WWW-Authenticate: Digest realm=\"evil\"\r\n\
    Content-Disposition: session\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 2\r\n\r\nno";

fn message(text: &str) -> OwnedMessage {
    OwnedMessage::new(text.as_bytes().to_vec()).expect("a good test message")
}

fn plain() -> Forward<'static> {
    Forward {
        request_uri: None,
        via: b"SIP/2.0/UDP us;branch=z9hG4bKus",
        received: None,
        record_routes: &[],
        routes: Routes::Keep { skip: 0, push: None },
        max_forwards: 69,
        remove: &[],
        add: &[],
    }
}

fn forwarded(text: &str, forward: &Forward<'_>) -> String {
    let mut out = b"stale".to_vec();
    forward_request(&mut out, message(text).view(), forward);
    String::from_utf8(out).expect("a good test message")
}

fn answered(text: &str, answer: &Reply<'_>) -> String {
    let mut out = Vec::new();
    reply(&mut out, message(text).view(), answer);
    String::from_utf8(out).expect("a good test message")
}

#[test]
fn forwarding_changes_max_forwards_and_adds_a_via_line_only() {
    let expected = INVITE
        .replace("v: SIP", "Via: SIP/2.0/UDP us;branch=z9hG4bKus\r\nv: SIP")
        .replace("Max-Forwards : 70", "Max-Forwards: 69");
    assert_eq!(forwarded(INVITE, &plain()), expected);
}

#[test]
fn routes_are_removed_out_of_comma_lists_and_over_lines() {
    let skip = |skip| Forward { routes: Routes::Keep { skip, push: None }, ..plain() };
    let one = forwarded(INVITE, &skip(1));
    assert!(one.contains("\r\nRoute: \"a, b\" <sip:two;lr>\r\n"));
    assert!(one.contains("\r\nRoute: <sip:three;lr> , <sip:four;lr>\r\n"));
    let three = forwarded(INVITE, &skip(3));
    assert_eq!(three.matches("\r\nRoute:").count(), 1);
    assert!(three.contains("\r\nRoute: <sip:four;lr>\r\n"));
    assert!(!forwarded(INVITE, &skip(9)).contains("\r\nRoute:"));
}

#[test]
fn our_record_routes_and_routes_stand_first() {
    let ours = [b"<sip:us;lr>".to_vec(), b"<sip:us;transport=tcp;lr>".to_vec()];
    let routes = Routes::Keep { skip: 1, push: Some(b"<sip:next;lr>") };
    let out = forwarded(INVITE, &Forward { record_routes: &ours, routes, ..plain() });
    let owned = message(&out);
    let values: Vec<_> = owned.view().values(HeaderName::RecordRoute).collect();
    assert_eq!(values, [&ours[0][..], &ours[1], b"<sip:old;lr>"]);
    assert_eq!(owned.view().values(HeaderName::Route).next(), Some(&b"<sip:next;lr>"[..]));
    let replaced = forwarded(INVITE, &Forward { routes: Routes::Replace(&ours), ..plain() });
    assert_eq!(message(&replaced).view().values(HeaderName::Route).count(), 2);
}

#[test]
fn source_is_written_into_the_via_below_ours() {
    let received = Some("192.0.2.9:4444".parse().expect("a good test message"));
    let out = forwarded(INVITE, &Forward { received, ..plain() });
    let expected = "v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport=4444;received=192.0.2.9, SIP";
    assert!(out.contains(expected), "{out}");
}

#[test]
fn named_fields_go_and_new_ones_stand_last() {
    let remove = [HeaderName::ProxyAuthorization];
    let add: [(&str, &[u8]); 1] = [("P-Asserted-Identity", b"<sip:a@h>")];
    let request_uri = Some(&b"sip:b@192.0.2.7"[..]);
    let out = forwarded(INVITE, &Forward { request_uri, remove: &remove, add: &add, ..plain() });
    assert!(out.starts_with("INVITE sip:b@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/UDP us;"));
    assert!(!out.contains("Proxy-Authorization"));
    assert!(out.contains("\r\nl: 4\r\nP-Asserted-Identity: <sip:a@h>\r\n\r\n"));
}

#[test]
fn missing_content_length_and_max_forwards_are_added() {
    let text = INVITE.replace("l: 4\r\n", "").replace("Max-Forwards : 70\r\n", "");
    let out = forwarded(&text, &plain());
    assert!(out.contains("\r\nMax-Forwards: 69\r\n"));
    assert!(out.ends_with("\r\nContent-Length: 4\r\n\r\n\0\u{1}ok"));
}

#[test]
fn octets_after_the_message_are_not_forwarded() {
    let out = forwarded(&format!("\r\n{INVITE}SMUGGLED"), &plain());
    assert_eq!(out, forwarded(INVITE, &plain()));
}

#[test]
fn bare_line_feeds_become_crlf() {
    let text = INVITE.replace("\r\n", "\n");
    let out = forwarded(&text, &plain());
    let folded = "\r\nSubject:  odd\n  folded \r\n";
    assert!(out.contains(folded));
    assert_eq!(out.replace(folded, "").matches('\n').count(), out.matches("\r\n").count() - 2);
}

#[test]
fn response_loses_our_via_and_nothing_else() {
    let mut out = Vec::new();
    forward_response(&mut out, message(RESPONSE).view(), None);
    let expected = RESPONSE.replace("SIP/2.0/UDP us;branch=z9hG4bKus , ", "");
    assert_eq!(String::from_utf8(out.clone()).expect("a good test message"), expected);
    let twice = OwnedMessage::new(out.clone()).expect("a good test message");
    forward_response(&mut out, twice.view(), None);
    let left = OwnedMessage::new(out).expect("a good test message");
    assert_eq!(left.view().vias().map(|via| via.host).collect::<Vec<_>>(), [b"b"]);
}

#[test]
fn other_status_makes_a_bare_response() {
    let mut out = Vec::new();
    forward_response(&mut out, message(RESPONSE).view(), Some((403, "Forbidden")));
    let text = String::from_utf8(out).expect("a good test message");
    assert!(text.starts_with("SIP/2.0 403 Forbidden\r\nVia: SIP/2.0/UDP a\r\n"));
    assert!(text.ends_with("CSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n"), "{text}");
}

#[test]
fn answer_has_what_the_rfc_demands_and_no_more() {
    let headers: [(&str, &[u8]); 1] = [("WWW-Authenticate", b"Digest x")];
    let received = Some("192.0.2.9:4444".parse().expect("a good test message"));
    let to_tag = Some(&b"ours"[..]);
    let answer = Reply { status: 401, reason: "Unauthorized", to_tag, headers: &headers, received };
    assert_eq!(
        answered(INVITE, &answer),
        "SIP/2.0 401 Unauthorized\r\n\
         Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport=4444;received=192.0.2.9, SIP/2.0/TCP b\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=ours\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\
         WWW-Authenticate: Digest x\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn success_copies_record_route_and_keeps_a_to_tag() {
    let text = INVITE.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=theirs");
    let to_tag = Some(&b"ours"[..]);
    let answer = Reply { status: 200, reason: "OK", to_tag, headers: &[], received: None };
    let out = answered(&text, &answer);
    assert!(out.contains("\r\nRecord-Route: <sip:old;lr>\r\n"));
    assert!(out.contains("\r\nTimestamp: 54\r\n"));
    assert!(out.contains("\r\nTo: <sip:b@h>;tag=theirs\r\n"));
}

#[test]
fn cancel_and_ack_share_the_transaction_of_the_invite() {
    let (invite, response) = (message(INVITE), message(RESPONSE));
    let mut out = Vec::new();
    cancel(&mut out, invite.view());
    let text = String::from_utf8(out.clone()).expect("a good test message");
    assert!(
        text.starts_with("CANCEL sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1")
    );
    assert!(text.contains("\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 7 CANCEL\r\n"));
    assert_eq!(message(&text).view().values(HeaderName::Route).count(), 4);
    ack_failure(&mut out, invite.view(), response.view());
    let text = String::from_utf8(out).expect("a good test message");
    assert!(text.contains("\r\nTo: <sip:b@h>;tag=2\r\n") && text.contains("\r\nCSeq: 7 ACK\r\n"));
    assert_eq!(message(&text).view().vias().count(), 1);
}

#[test]
fn request_in_a_dialog_goes_to_the_contact_by_what_was_recorded_beyond_us() {
    let invite = message(&INVITE.replace("Subject:", "Record-Route: <sip:us;lr>\r\nSubject:"));
    let ok = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP us;branch=z9hG4bKus\r\n\
        Record-Route: <sip:far;lr>, <sip:near;lr>, <sip:us;lr>, <sip:old;lr>\r\n\
        From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:b@10.0.0.9:5062>;q=1\r\nContent-Length: 0\r\n\r\n";
    let mut out = Vec::new();
    let bye = InDialog { method: "BYE", cseq: 8, via: "SIP/2.0/UDP us;branch=z9hG4bKbye" };
    assert!(in_dialog(&mut out, &bye, invite.view(), message(ok).view()));
    let text = String::from_utf8(out.clone()).expect("a good test message");
    assert!(text.starts_with("BYE sip:b@10.0.0.9:5062 SIP/2.0\r\nVia: SIP/2.0/UDP us;branch"));
    assert!(text.contains("\r\nTo: <sip:b@h>;tag=2\r\n") && text.contains("\r\nCSeq: 8 BYE\r\n"));
    let owned = message(&text);
    let routes: Vec<&[u8]> = owned.view().values(HeaderName::Route).collect();
    assert_eq!(routes, [&b"<sip:near;lr>"[..], b"<sip:far;lr>"]);
    let nowhere = message(&ok.replace("Contact:", "Subject:"));
    assert!(!in_dialog(&mut out, &bye, invite.view(), nowhere.view()));
}
