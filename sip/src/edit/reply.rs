//! Messages we write ourselves from the fields of another one: answers, CANCEL, ACK.
//!
//! An answer carries what RFC 3261 section 8.2.6 demands and no more: no body and no banner, so
//! that a forged source gets fewer octets from us than its forger spent.

use super::runs::{put, put_field, put_number};
use super::via;
use crate::message::{HeaderName, Message, Method, NameAddr, Values};
use std::net::SocketAddr;

/// An answer to a request.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: &'a str,
    /// Tag for To, put there only where the request has none.
    pub to_tag: Option<&'a [u8]>,
    /// More header fields, in this order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Where the request came from: written into the top Via as `received` when its sent-by
    /// differs or `rport` stands there, and as `rport` when it stands there (RFC 3581).
    pub received: Option<SocketAddr>,
}

/// Writes an answer without body into `out`, which is cleared first: Via, From, To, Call-ID and
/// CSeq of the request; Record-Route for a response that makes a dialog, unless `headers` has one;
/// Timestamp for a provisional response or success.
pub fn reply(out: &mut Vec<u8>, request: Message<'_>, reply: &Reply<'_>) {
    out.clear();
    out.extend_from_slice(b"SIP/2.0 ");
    put_number(out, usize::from(reply.status));
    put(out, &[b" ", reply.reason.as_bytes(), b"\r\n"]);
    vias(out, request, reply.received);
    if makes_dialog(request, reply) {
        copy(out, request, HeaderName::RecordRoute);
    }
    copy(out, request, HeaderName::From);
    to(out, request, reply.to_tag);
    copy(out, request, HeaderName::CallId);
    copy(out, request, HeaderName::CSeq);
    if reply.status < 300 && !has(reply, "Timestamp") {
        copy(out, request, HeaderName::Timestamp);
    }
    reply.headers.iter().for_each(|(name, value)| put_field(out, name, value));
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

fn has(reply: &Reply<'_>, name: &str) -> bool {
    reply.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
}

/// RFC 3261 section 12.1.1, RFC 6665 section 4, RFC 3515: who copies Record-Route.
fn makes_dialog(request: Message<'_>, reply: &Reply<'_>) -> bool {
    use Method::{Invite, Notify, Refer, Subscribe};
    let opens = matches!(request.method(), Invite | Subscribe | Notify | Refer);
    opens && (101..300).contains(&reply.status) && !has(reply, "Record-Route")
}

fn copy(out: &mut Vec<u8>, from: Message<'_>, name: HeaderName) {
    from.lines(name).for_each(|value| put_field(out, name.as_str(), value));
}

fn vias(out: &mut Vec<u8>, request: Message<'_>, received: Option<SocketAddr>) {
    let mut source = received;
    for value in request.lines(HeaderName::Via) {
        match source.take().filter(|source| via::differs(value, *source)) {
            Some(source) => {
                out.extend_from_slice(b"Via: ");
                via::write(out, value, source);
                out.extend_from_slice(b"\r\n");
            }
            None => put_field(out, "Via", value),
        }
    }
}

fn to(out: &mut Vec<u8>, request: Message<'_>, tag: Option<&[u8]>) {
    let value = request.header(HeaderName::To).unwrap_or_default();
    match tag.filter(|_| request.to_tag().is_none()) {
        Some(tag) => put(out, &[b"To: ", value, b";tag=", tag, b"\r\n"]),
        None => put_field(out, "To", value),
    }
}

/// Writes the CANCEL of a request that we sent into `out`, which is cleared first
/// (RFC 3261 section 9.1).
pub fn cancel(out: &mut Vec<u8>, sent_request: Message<'_>) {
    companion(out, sent_request, "CANCEL", sent_request);
}

/// Writes the ACK of a response from 300 up to an INVITE that we sent into `out`, which is cleared
/// first (RFC 3261 section 17.1.1.3).
pub fn ack_failure(out: &mut Vec<u8>, sent_invite: Message<'_>, response: Message<'_>) {
    companion(out, sent_invite, "ACK", response);
}

/// A request of ours within the dialog that a 2xx to an INVITE of ours made.
#[derive(Clone, Copy, Debug)]
pub struct InDialog<'a> {
    /// ACK or BYE.
    pub method: &'a str,
    /// CSeq number: the INVITE's for an ACK, a higher one for all else.
    pub cseq: u32,
    /// Our Via value.
    pub via: &'a str,
}

/// Writes it into `out`, which is cleared first (RFC 3261 section 12.2.1.1): to the Contact of the
/// response, by the way that it recorded beyond us. `false` where it names no Contact.
pub fn in_dialog(
    out: &mut Vec<u8>,
    request: &InDialog<'_>,
    sent_invite: Message<'_>,
    response: Message<'_>,
) -> bool {
    let contact = response.values(HeaderName::Contact).next().and_then(NameAddr::parse);
    let Some(contact) = contact else { return false };
    out.clear();
    put(out, &[request.method.as_bytes(), b" ", contact.uri, b" SIP/2.0\r\n"]);
    put_field(out, "Via", request.via.as_bytes());
    put_field(out, "Max-Forwards", b"70");
    let recorded: Vec<&[u8]> = response.values(HeaderName::RecordRoute).collect();
    let ours_and_before = sent_invite.values(HeaderName::RecordRoute).count();
    let beyond = recorded.len().saturating_sub(ours_and_before);
    recorded.iter().take(beyond).rev().for_each(|route| put_field(out, "Route", route));
    copy(out, sent_invite, HeaderName::From);
    copy(out, response, HeaderName::To);
    copy(out, sent_invite, HeaderName::CallId);
    let cseq = format!("{} {}", request.cseq, request.method);
    put_field(out, "CSeq", cseq.as_bytes());
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    true
}

/// A request of the same transaction: same URI, top Via, Route, From, Call-ID and CSeq number.
fn companion(out: &mut Vec<u8>, sent: Message<'_>, method: &str, to_from: Message<'_>) {
    out.clear();
    put(out, &[method.as_bytes(), b" ", sent.request_uri(), b" SIP/2.0\r\n"]);
    let via = sent.lines(HeaderName::Via).flat_map(Values::new).next();
    put_field(out, "Via", via.unwrap_or_default());
    copy(out, sent, HeaderName::MaxForwards);
    copy(out, sent, HeaderName::Route);
    copy(out, sent, HeaderName::From);
    copy(out, to_from, HeaderName::To);
    copy(out, sent, HeaderName::CallId);
    out.extend_from_slice(b"CSeq: ");
    put_number(out, sent.cseq().map_or(0, |cseq| cseq.number as usize));
    put(out, &[b" ", method.as_bytes(), b"\r\nContent-Length: 0\r\n\r\n"]);
}
