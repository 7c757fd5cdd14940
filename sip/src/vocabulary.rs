//! To and from rsip's types, for those who embed the server, and the messages we originate.
//!
//! rsip is the shared vocabulary of Rust SIP programs, not our reader: it cannot read part of
//! what is valid and reads some hosts wrongly. So it gets a canonical copy, its reading is held
//! against ours, and failing to convert is a normal result that decides nothing.

use crate::edit::{put, put_field};
use crate::message::header_name::long_of;
use crate::message::index::Line;
use crate::message::octets::is_lws;
use crate::message::{HeaderName, Message, OwnedMessage, Values};
use crate::scan::Malformed;
use crate::uri::Uri;
use rsip::SipMessage;
use rsip::headers::UntypedHeader;
use rsip::message::HasHeaders;
use std::fmt;

/// Why a message has no rsip form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// rsip does not read it; its own words.
    Unread(String),
    /// rsip reads another start line or other octets than stand there.
    Misread,
}

impl fmt::Display for Unconvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unconvertible::Unread(words) => write!(f, "rsip cannot read it: {words}"),
            Unconvertible::Misread => f.write_str("rsip reads it wrongly"),
        }
    }
}

impl std::error::Error for Unconvertible {}

/// Writes the message in canonical form into `out`, which is cleared first: long names in their
/// usual spelling, no folds, one value a line, CR LF, body unchanged. Never to be forwarded.
pub fn canonical(out: &mut Vec<u8>, m: Message<'_>) {
    out.clear();
    start_line(out, m);
    for line in m.index().lines() {
        let (name, value) = (name(m, line), unfolded(line.value.of(m.source())));
        if line.id.is_list() {
            Values::new(&value).for_each(|value| put(out, &[name, b": ", value, b"\r\n"]));
        } else {
            put(out, &[name, b": ", &value, b"\r\n"]);
        }
    }
    put(out, &[b"\r\n", m.body()]);
}

fn start_line(out: &mut Vec<u8>, m: Message<'_>) {
    if m.is_request() {
        return put(out, &[m.method().as_bytes(), b" ", m.request_uri(), b" SIP/2.0\r\n"]);
    }
    put(out, &[b"SIP/2.0 ", m.status().to_string().as_bytes(), b" ", m.reason(), b"\r\n"]);
}

fn name<'a>(m: Message<'a>, line: &Line) -> &'a [u8] {
    match line.name.of(m.source()) {
        written if line.id == HeaderName::Other => match written {
            [letter] => long_of(*letter).map_or(written, str::as_bytes),
            _ => written,
        },
        _ => line.id.as_str().as_bytes(),
    }
}

/// White space that holds a line end becomes one space.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for run in value.chunk_by(|a, b| is_lws(*a) == is_lws(*b)) {
        let folded = run.contains(&b'\n') || run.contains(&b'\r');
        out.extend_from_slice(if folded { b" " } else { run });
    }
    out
}

/// The message in rsip's types.
///
/// # Errors
/// rsip does not read it, or its reading prints another start line or holds another body.
pub fn to_rsip(m: Message<'_>) -> Result<SipMessage, Unconvertible> {
    let mut text = Vec::new();
    canonical(&mut text, m);
    let read = SipMessage::try_from(text.as_slice());
    let read = read.map_err(|error| Unconvertible::Unread(error.to_string()))?;
    let same = reads_like(&read, m) && read.body() == m.body();
    if same { Ok(read) } else { Err(Unconvertible::Misread) }
}

fn reads_like(read: &SipMessage, m: Message<'_>) -> bool {
    match read {
        SipMessage::Request(r) => {
            r.method.to_string().as_bytes() == m.method().as_bytes()
                && same_uri(&r.uri, m.request_uri())
        }
        SipMessage::Response(r) => r.status_code.code() == m.status(),
    }
}

/// rsip takes URI headers for part of the host and an escaped colon for a user's end, and prints
/// both back as they came, so the parts are compared as well.
fn same_uri(read: &rsip::Uri, text: &[u8]) -> bool {
    Uri::parse(text).is_ok_and(|uri| {
        read.to_string().as_bytes() == text
            && read.host_with_port.host.to_string().as_bytes() == uri.host
            && read.user().map(str::as_bytes) == uri.user
    })
}

/// A message of ours from rsip's types. Content-Length is set to what the body has.
///
/// # Errors
/// What rsip printed is not well formed.
pub fn from_rsip(message: &SipMessage) -> Result<OwnedMessage, Malformed> {
    let mut head = message.clone();
    let body = std::mem::take(head.body_mut());
    let length = rsip::headers::ContentLength::new(body.len().to_string());
    head.headers_mut().unique_push(rsip::Header::ContentLength(length));
    OwnedMessage::new([head.to_string().as_bytes(), &body].concat())
}

/// An OPTIONS that asks a peer whether it lives (RFC 3261 section 11).
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Request-URI; To names it as well.
    pub uri: &'a str,
    /// Our own URI.
    pub from: &'a str,
    /// Tag of From.
    pub tag: &'a str,
    /// Our Via value: `SIP/2.0/UDP host:port;branch=..`.
    pub via: &'a str,
    /// Call-ID.
    pub call_id: &'a str,
    /// CSeq number.
    pub cseq: u32,
}

/// Writes the probe into `out`, which is cleared first. Written here and not by rsip, which has no
/// IPv6 host in a Request-URI.
pub fn probe(out: &mut Vec<u8>, probe: &Probe<'_>) {
    out.clear();
    put(out, &[b"OPTIONS ", probe.uri.as_bytes(), b" SIP/2.0\r\n"]);
    put_field(out, "Via", probe.via.as_bytes());
    put_field(out, "Max-Forwards", b"70");
    put_field(out, "From", format!("<{}>;tag={}", probe.from, probe.tag).as_bytes());
    put_field(out, "To", format!("<{}>", probe.uri).as_bytes());
    put_field(out, "Call-ID", probe.call_id.as_bytes());
    put_field(out, "CSeq", format!("{} OPTIONS", probe.cseq).as_bytes());
    put_field(out, "Content-Length", b"0");
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsip::message::HeadersExt;

    const MESSAGE: &[u8] = b"MESSAGE sip:b@example.com SIP/2.0\r\n\
        v: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b\r\n\
        f: <sip:a@example.com>;tag=1\r\n\
        t:\r\n <sip:b@example.com>\r\n\
        i: x\r\n\
        CSeq: 7 MESSAGE\r\n\
        s: one\r\n  two\r\n\
        l: 3\r\n\r\n\xff\0!";

    fn message(raw: &[u8]) -> OwnedMessage {
        OwnedMessage::new(raw.to_vec()).expect("a good test message")
    }

    #[test]
    fn rsip_sees_long_names_and_one_value_a_line() {
        let owned = message(MESSAGE);
        let read = to_rsip(owned.view()).expect("rsip reads it");
        assert_eq!(read.call_id_header().map(|h| h.value()), Ok("x"));
        assert_eq!(read.to_header().map(|h| h.value()), Ok("<sip:b@example.com>"));
        let vias = read.headers().iter().filter(|h| matches!(h, rsip::Header::Via(_)));
        assert_eq!(vias.count(), 2);
        let text = read.to_string();
        assert!(text.contains("\r\nSubject: one two\r\n"), "{text}");
    }

    #[test]
    fn there_and_back_keeps_the_body() {
        let read = to_rsip(message(MESSAGE).view()).expect("rsip reads it");
        let back = from_rsip(&read).expect("well formed");
        assert_eq!(back.view().body(), b"\xff\0!");
        assert_eq!(back.view().vias().count(), 2);
        assert_eq!(back.view().from_tag(), Some(&b"1"[..]));
    }

    #[test]
    fn what_rsip_cannot_read_is_told() {
        let odd = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(MESSAGE).replace(from, to).into_bytes();
            to_rsip(message(&text).view()).is_err()
        };
        assert!(odd("MESSAGE", "FOOBAR"));
        assert!(odd("sip:b@example.com SIP", "sip:[2001:db8::1] SIP"));
        assert!(odd("sip:b@example.com SIP", "sip:b@example.com?a=b SIP"));
    }

    #[test]
    fn probe_is_well_formed() {
        let mut out = Vec::new();
        let via = "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1";
        let (uri, from) = ("sip:[2001:db8::2]:5060", "sip:us@[2001:db8::1]");
        probe(&mut out, &Probe { uri, from, tag: "1", via, call_id: "x", cseq: 1 });
        let owned = message(&out);
        assert_eq!(crate::screen::screen(owned.view()), Ok(()));
    }
}
