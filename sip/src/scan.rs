//! One pass over one datagram: start line, header spans, body, and what RFC 3261 will not have.
//!
//! Verdicts follow the RFC 4475 torture messages. A fault does not stop the pass, because the
//! answer that names it needs the Via, From, To, Call-ID and CSeq that stand behind it.

mod field;

use crate::limits::{CSEQ_MAX, HEADERS_MAX, MESSAGE_MAX, METHOD_MAX, REQUEST_URI_MAX};
use crate::message::index::{Line, Span};
use crate::message::octets::{digits, find, is_lws, is_token, quotes_close};
use crate::message::{CSeq, HeaderName, Index, Message, Method};
pub use crate::refusal::Malformed;
use field::{Field, Next, next_field};
use std::fmt;

impl Malformed {
    /// A 400 with this reason phrase.
    pub const fn bad(reason: &'static str) -> Self {
        Malformed { status: 400, reason }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

impl std::error::Error for Malformed {}

/// Fills `index` from one datagram, or one message of a stream, without allocating beyond the
/// index's growth. Octets after Content-Length are dropped; without one, the body is the rest.
///
/// # Errors
/// The first fault met. The index still holds what was found, so that a 400 can be built where
/// `Message::can_answer` is true.
pub fn scan(raw: &[u8], index: &mut Index) -> Result<(), Malformed> {
    index.clear();
    if raw.len() > MESSAGE_MAX {
        return Err(Malformed { status: 513, reason: "Message Too Large" });
    }
    let mut pass = Pass { raw, index, fault: None };
    let head = pass.start_line();
    let body = pass.fields(head);
    pass.body(body);
    pass.required();
    pass.fault.map_or(Ok(()), Err)
}

/// Content-Length of a head that ends with its blank line, as `scan` would read it.
///
/// # Errors
/// It stands twice or is no number.
pub(crate) fn content_length(head: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut length = None;
    let mut at = find(head, b'\n').map_or(head.len(), |end| end + 1);
    loop {
        at = match next_field(head, at) {
            Next::Field(field) => {
                if field.id == HeaderName::ContentLength {
                    let value = read_length(field.value.of(head)).filter(|_| length.is_none());
                    length = Some(value.ok_or(BAD_LENGTH)?);
                }
                field.whole.end as usize
            }
            Next::Unnamed { end } => end,
            Next::Blank { .. } | Next::End => return Ok(length),
        };
    }
}

const BAD_LENGTH: Malformed = Malformed::bad("Bad Content-Length");

fn read_length(value: &[u8]) -> Option<usize> {
    digits(value).and_then(|length| usize::try_from(length).ok())
}

/// The state of one pass.
struct Pass<'a, 'i> {
    raw: &'a [u8],
    index: &'i mut Index,
    fault: Option<Malformed>,
}

impl<'a> Pass<'a, '_> {
    fn refuse(&mut self, fault: Malformed) {
        self.fault.get_or_insert(fault);
    }

    fn refuse_unless(&mut self, fine: bool, reason: &'static str) {
        if !fine {
            self.refuse(Malformed::bad(reason));
        }
    }

    /// Reads the start line, tells where the next line begins.
    fn start_line(&mut self) -> usize {
        let raw = self.raw;
        let start = raw.iter().take_while(|o| matches!(o, b'\r' | b'\n')).count();
        let rest = raw.get(start..).unwrap_or_default();
        let length = find(rest, b'\n').map_or(rest.len(), |end| end + 1);
        let line = rest.get(..length).unwrap_or_default();
        self.index.start_line = Span::new(start, start + length);
        self.index.whole = Span::new(start, raw.len());
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        self.index.bare_lf = text.len() < line.len() && !text.ends_with(b"\r");
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match text.get(..4) {
            Some(protocol) if protocol.eq_ignore_ascii_case(b"SIP/") => {
                self.status_line(text, start);
            }
            _ => self.request_line(text, start),
        }
        start + length
    }

    /// `METHOD SP Request-URI SP SIP/2.0`, single spaces (RFC 4475 sections 3.1.2.7 to 3.1.2.10).
    fn request_line(&mut self, text: &'a [u8], start: usize) {
        let method = text.iter().take_while(|o| is_token(**o)).count();
        if method == 0 || method > METHOD_MAX || text.get(method) != Some(&b' ') {
            return self.refuse(Malformed::bad("Bad Request-Line"));
        }
        self.index.request = true;
        self.index.word = Span::new(start, start + method);
        let last = text.iter().rposition(|o| *o == b' ').unwrap_or(method).max(method);
        let uri = text.get(method + 1..last).unwrap_or_default();
        let version = text.get(last + 1..).unwrap_or_default();
        self.index.uri = Span::new(start + method + 1, start + method + 1 + uri.len());
        self.version(version);
        self.request_uri(uri);
    }

    fn version(&mut self, version: &[u8]) {
        if version.eq_ignore_ascii_case(b"SIP/2.0") {
            return;
        }
        self.refuse(match is_version(version) {
            true => Malformed { status: 505, reason: "Version Not Supported" },
            false => Malformed::bad("Bad Request-Line"),
        });
    }

    fn request_uri(&mut self, uri: &[u8]) {
        if uri.len() > REQUEST_URI_MAX {
            self.refuse(Malformed { status: 414, reason: "Request-URI Too Long" });
        }
        let odd = |o: &u8| *o <= b' ' || matches!(o, b'<' | b'>' | b'"' | 0x7f);
        self.refuse_unless(!uri.is_empty() && !uri.iter().any(odd), "Bad Request-URI");
    }

    /// `SIP/2.0 SP 3DIGIT SP reason`.
    fn status_line(&mut self, text: &'a [u8], start: usize) {
        let version = text.iter().position(|o| *o == b' ').unwrap_or(text.len());
        self.version(&text[..version]);
        let rest = text.get(version + 1..).unwrap_or_default();
        let end = rest.iter().position(|o| *o == b' ').unwrap_or(rest.len());
        let reason = rest.get(end + 1..).unwrap_or_default();
        let word = start + text.len() - reason.len();
        self.index.word = Span::new(word, word + reason.len());
        match digits(&rest[..end]) {
            Some(status @ 100..=699) if end == 3 => self.index.status = status as u16,
            _ => self.refuse(Malformed::bad("Bad Status-Line")),
        }
        let odd = reason.iter().any(|o| matches!(o, 0 | b'\r'));
        self.refuse_unless(!odd, "Bad Status-Line");
    }

    /// Indexes the header fields, tells where the body begins.
    fn fields(&mut self, mut at: usize) -> usize {
        loop {
            match next_field(self.raw, at) {
                Next::Field(field) => {
                    at = field.whole.end as usize;
                    self.field(field);
                }
                Next::Unnamed { end } => {
                    self.refuse(Malformed::bad("Bad header line"));
                    at = end;
                }
                Next::Blank { end } => return end,
                Next::End => {
                    self.refuse(Malformed::bad("Missing blank line"));
                    return self.raw.len();
                }
            }
            if self.index.lines().len() >= HEADERS_MAX {
                self.refuse(Malformed::bad("Too many header fields"));
                return self.raw.len();
            }
        }
    }

    fn field(&mut self, field: Field) {
        let id = field.id;
        self.index.bare_lf |= field.bare_lf;
        self.refuse_unless(!field.bare_cr, "Bare CR in header");
        if id.stands_once() && self.index.has(id) {
            self.refuse(Malformed::bad(twice(id)));
        }
        if id.holds_addresses() && !quotes_close(field.value.of(self.raw)) {
            self.refuse(Malformed::bad(unbalanced(id)));
        }
        let Field { name, value, whole, .. } = field;
        self.index.push(Line { id, name, value, whole });
    }

    /// Content-Length against what is there (RFC 3261 section 18.3).
    fn body(&mut self, start: usize) {
        let mut end = self.raw.len();
        if let Some(value) = self.value(HeaderName::ContentLength) {
            match read_length(value) {
                Some(length) if length <= end - start => end = start + length,
                _ => self.refuse(BAD_LENGTH),
            }
        }
        self.index.body = Span::new(start, end);
        self.index.whole.end = end as u32;
    }

    fn value(&self, name: HeaderName) -> Option<&'a [u8]> {
        self.index.starting_with(name).first().map(|line| line.value.of(self.raw))
    }

    /// The fields without which nothing can be matched (RFC 3261 section 8.1.1).
    fn required(&mut self) {
        for (name, reason) in MISSING {
            let fine = self.value(name).is_some_and(|value| !value.is_empty());
            self.refuse_unless(fine, reason);
        }
        if let Some(value) = self.value(HeaderName::CSeq) {
            self.cseq(value);
        }
        let call_id = self.value(HeaderName::CallId).unwrap_or_default();
        self.refuse_unless(!call_id.iter().any(|o| is_lws(*o) || *o == 0), "Bad Call-ID");
        let via = Message::new(self.raw, self.index).via();
        self.refuse_unless(via.is_some(), "Bad Via");
    }

    fn cseq(&mut self, value: &'a [u8]) {
        let Some(cseq) = CSeq::parse(value).filter(|cseq| cseq.number <= CSEQ_MAX) else {
            return self.refuse(Malformed::bad("Bad CSeq"));
        };
        let method = Method::parse(self.index.word.of(self.raw));
        let fine = !self.index.request || cseq.method == method;
        self.refuse_unless(fine, "CSeq method does not match");
    }
}

const MISSING: [(HeaderName, &str); 5] = [
    (HeaderName::Via, "Missing Via"),
    (HeaderName::From, "Missing From"),
    (HeaderName::To, "Missing To"),
    (HeaderName::CallId, "Missing Call-ID"),
    (HeaderName::CSeq, "Missing CSeq"),
];

fn is_version(text: &[u8]) -> bool {
    let Some((name, number)) = text.split_at_checked(4) else { return false };
    let Some((major, minor)) = find(number, b'.').and_then(|dot| number.split_at_checked(dot))
    else {
        return false;
    };
    let minor = minor.get(1..).unwrap_or_default();
    name.eq_ignore_ascii_case(b"SIP/") && digits(major).is_some() && digits(minor).is_some()
}

fn twice(id: HeaderName) -> &'static str {
    match id {
        HeaderName::From => "Duplicate From",
        HeaderName::To => "Duplicate To",
        HeaderName::CallId => "Duplicate Call-ID",
        HeaderName::CSeq => "Duplicate CSeq",
        HeaderName::MaxForwards => "Duplicate Max-Forwards",
        _ => "Duplicate Content-Length",
    }
}

fn unbalanced(id: HeaderName) -> &'static str {
    match id {
        HeaderName::From => "Unterminated quote in From",
        HeaderName::To => "Unterminated quote in To",
        HeaderName::Contact => "Unterminated quote in Contact",
        HeaderName::Route => "Unterminated quote in Route",
        HeaderName::RecordRoute => "Unterminated quote in Record-Route",
        _ => "Unterminated quote in header",
    }
}

#[cfg(test)]
mod tests;
