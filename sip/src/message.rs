//! One SIP message: its bytes as they came, an index into them, and headers read when asked.
//!
//! The raw bytes stay the truth: nothing here rewrites, and what is not asked for is not parsed.

pub(crate) mod header_name;
pub(crate) mod index;
mod method;
mod name_addr;
pub(crate) mod octets;
mod params;
mod values;
mod via;

pub use header_name::HeaderName;
pub use index::Index;
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::Params;
pub use values::Values;
pub(crate) use values::value_end;
pub use via::Via;

use crate::limits::CSEQ_MAX;
use crate::scan::{Malformed, scan};
use index::Line;
use octets::{digits, is_lws, is_whole_token, trim};

/// A scanned message: borrowed bytes and the index that `scan` filled from the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    raw: &'a [u8],
    index: &'a Index,
}

/// CSeq (RFC 3261 section 20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Sequence number, under 2^31.
    pub number: u32,
    /// Method as written there.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads a value; None where the number is out of range or a part is missing.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (number, method) = split_cseq(value)?;
        let number = u32::try_from(digits(number)?).ok().filter(|n| *n <= CSEQ_MAX)?;
        Some(CSeq { number, method: Method::parse(method) })
    }
}

/// Number and method of a CSeq value, the number unread.
fn split_cseq(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = value.iter().position(|o| is_lws(*o))?;
    let (number, rest) = value.split_at(end);
    let method = trim(rest);
    (digits(number).is_some() && is_whole_token(method)).then_some((number, method))
}

impl<'a> Message<'a> {
    /// A view of `raw` through the index that `scan` filled from it. An index of other bytes gives
    /// wrong parts, never a panic.
    pub fn new(raw: &'a [u8], index: &'a Index) -> Self {
        Message { raw, index }
    }

    /// The message without leading CRLFs and without octets past Content-Length.
    pub fn raw(self) -> &'a [u8] {
        self.index.whole.of(self.raw)
    }

    /// True for a request, false for a response and for what is neither.
    pub fn is_request(self) -> bool {
        self.index.request
    }

    /// Status code of a response, 0 for a request.
    pub fn status(self) -> u16 {
        self.index.status
    }

    /// Reason phrase of a response, empty for a request.
    pub fn reason(self) -> &'a [u8] {
        if self.is_request() { b"" } else { self.index.word.of(self.raw) }
    }

    /// Method of a request; for a response, the one of its CSeq.
    pub fn method(self) -> Method<'a> {
        if self.is_request() {
            return Method::parse(self.index.word.of(self.raw));
        }
        let cseq = self.header(HeaderName::CSeq).and_then(split_cseq);
        Method::parse(cseq.map_or(b"", |(_, method)| method))
    }

    /// Request-URI as written, empty for a response.
    pub fn request_uri(self) -> &'a [u8] {
        self.index.uri.of(self.raw)
    }

    /// Value of the first line of that name. Outer white space is gone, folds are left in: typed
    /// readers take CR LF for white space.
    pub fn header(self, name: HeaderName) -> Option<&'a [u8]> {
        self.index.starting_with(name).first().map(|line| line.value.of(self.raw))
    }

    /// Value of every line of that name, in order.
    pub fn lines(self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + 'a {
        let named = self.index.starting_with(name).iter().filter(move |line| line.id == name);
        named.map(move |line| line.value.of(self.raw))
    }

    /// Every comma-separated value of that name over all its lines (RFC 3261 section 7.3.1).
    pub fn values(self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.lines(name).flat_map(Values::new)
    }

    /// Value of the first line of a name without id, in any case; a compact form is found by its
    /// long name.
    pub fn other(self, name: &str) -> Option<&'a [u8]> {
        let short = header_name::compact_of(name);
        let is_named = |line: &&Line| match line.name.of(self.raw) {
            [letter] if short == Some(letter.to_ascii_lowercase()) => true,
            written => written.eq_ignore_ascii_case(name.as_bytes()),
        };
        let mut others = self.index.starting_with(HeaderName::Other).iter();
        others.find(is_named).map(|line| line.value.of(self.raw))
    }

    /// The body that Content-Length covers; without one, the rest of the datagram.
    pub fn body(self) -> &'a [u8] {
        self.index.body.of(self.raw)
    }

    /// True for a request that an error response may be built from: not an ACK, and with Via,
    /// From, To, Call-ID and CSeq (RFC 3261 section 8.2.6.2).
    pub fn can_answer(self) -> bool {
        let usable = |name| self.header(name).is_some_and(|value| !value.is_empty());
        self.is_request()
            && self.method() != Method::Ack
            && [HeaderName::From, HeaderName::To, HeaderName::CallId].into_iter().all(usable)
            && self.header(HeaderName::CSeq).and_then(split_cseq).is_some()
            && self.via().is_some()
    }

    /// Call-ID, empty if absent.
    pub fn call_id(self) -> &'a [u8] {
        self.header(HeaderName::CallId).unwrap_or_default()
    }

    /// CSeq, where it is there and in range.
    pub fn cseq(self) -> Option<CSeq<'a>> {
        self.header(HeaderName::CSeq).and_then(CSeq::parse)
    }

    /// From address.
    pub fn from(self) -> Option<NameAddr<'a>> {
        self.header(HeaderName::From).and_then(NameAddr::parse)
    }

    /// To address.
    pub fn to(self) -> Option<NameAddr<'a>> {
        self.header(HeaderName::To).and_then(NameAddr::parse)
    }

    /// Tag of From, None where absent or empty.
    pub fn from_tag(self) -> Option<&'a [u8]> {
        self.from()?.tag()
    }

    /// Tag of To, None where absent or empty.
    pub fn to_tag(self) -> Option<&'a [u8]> {
        self.to()?.tag()
    }

    /// Topmost Via; None where it is absent or unusable.
    pub fn via(self) -> Option<Via<'a>> {
        Via::parse(self.values(HeaderName::Via).next()?)
    }

    /// Every usable Via, topmost first.
    pub fn vias(self) -> impl Iterator<Item = Via<'a>> + 'a {
        self.values(HeaderName::Via).filter_map(Via::parse)
    }

    /// Max-Forwards: None where absent, an error where it is no number of 0 to 255.
    pub fn max_forwards(self) -> Option<Result<u8, ()>> {
        let number = digits(self.header(HeaderName::MaxForwards)?);
        Some(number.and_then(|n| u8::try_from(n).ok()).ok_or(()))
    }

    /// Expires in seconds: None where absent or no number, `u32::MAX` where larger than that.
    pub fn expires(self) -> Option<u32> {
        let seconds = digits(self.header(HeaderName::Expires)?)?;
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// A copy that owns its bytes.
    pub fn to_owned(self) -> OwnedMessage {
        let end = self.index.whole.end as usize;
        let raw = self.raw.get(..end).unwrap_or(self.raw).to_vec();
        OwnedMessage { raw, index: self.index.clone() }
    }

    /// The index, for those who edit spans.
    pub(crate) fn index(self) -> &'a Index {
        self.index
    }

    /// All bytes the spans point into.
    pub(crate) fn source(self) -> &'a [u8] {
        self.raw
    }
}

/// A message that owns its bytes, for what outlives the datagram.
#[derive(Clone, Debug)]
pub struct OwnedMessage {
    raw: Vec<u8>,
    index: Index,
}

impl OwnedMessage {
    /// Scans and keeps `raw`.
    ///
    /// # Errors
    /// What `scan` says of it.
    pub fn new(raw: Vec<u8>) -> Result<Self, Malformed> {
        let mut index = Index::default();
        scan(&raw, &mut index)?;
        Ok(OwnedMessage { raw, index })
    }

    /// The message.
    pub fn view(&self) -> Message<'_> {
        Message::new(&self.raw, &self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> OwnedMessage {
        OwnedMessage::new(text.as_bytes().to_vec()).expect("a good test message")
    }

    const REQUEST: &str = "\r\nINVITE sip:b@h SIP/2.0\r\n\
        v: SIP/2.0/UDP a:1;branch=z9hG4bK1, SIP/2.0/TCP b\r\n\
        Via: SIP/2.0/TLS c\r\n\
        f: <sip:a@h>;tag=1\r\n\
        t: <sip:b@h>\r\n\
        i: x\r\n\
        CSeq: 7 INVITE\r\n\
        s: Hello\r\n\
        X-Mine: one\r\n two\r\n\
        Expires: 99999999999\r\n\
        Max-Forwards: 300\r\n\
        l: 2\r\n\r\nokTRAILING";

    #[test]
    fn headers_are_found_by_long_name_whatever_was_written() {
        let owned = message(REQUEST);
        let m = owned.view();
        assert_eq!(m.call_id(), b"x");
        assert_eq!(m.from_tag(), Some(&b"1"[..]));
        assert_eq!(m.to_tag(), None);
        assert_eq!(m.other("subject"), Some(&b"Hello"[..]));
        assert_eq!(m.other("x-mine"), Some(&b"one\r\n two"[..]));
        assert_eq!(m.other("x-yours"), None);
        assert_eq!(m.cseq().expect("a good test message").number, 7);
    }

    #[test]
    fn vias_run_over_lines_and_commas() {
        let owned = message(REQUEST);
        let hosts: Vec<_> = owned.view().vias().map(|via| via.host).collect();
        assert_eq!(hosts, [b"a", b"b", b"c"]);
        assert_eq!(owned.view().lines(HeaderName::Via).count(), 2);
    }

    #[test]
    fn octets_outside_the_message_are_not_part_of_it() {
        let owned = message(REQUEST);
        assert!(owned.view().raw().starts_with(b"INVITE"));
        assert!(owned.view().raw().ends_with(b"\r\n\r\nok"));
        assert_eq!(owned.view().body(), b"ok");
        assert_eq!(owned.view().to_owned().view().raw(), owned.view().raw());
    }

    #[test]
    fn numbers_out_of_range_are_told_apart_from_absent_ones() {
        let owned = message(REQUEST);
        assert_eq!(owned.view().max_forwards(), Some(Err(())));
        assert_eq!(owned.view().expires(), Some(u32::MAX));
    }

    #[test]
    fn response_takes_its_method_from_cseq() {
        let text = REQUEST.replace("INVITE sip:b@h SIP/2.0", "SIP/2.0 180 Ringing  bell");
        let owned = message(&text);
        let m = owned.view();
        assert!(!m.is_request() && !m.can_answer());
        assert_eq!(
            (m.status(), m.reason(), m.method()),
            (180, &b"Ringing  bell"[..], Method::Invite)
        );
        assert_eq!(m.request_uri(), b"");
    }

    #[test]
    fn ack_is_never_answered() {
        let owned = message(&REQUEST.replace("INVITE", "ACK"));
        assert!(!owned.view().can_answer());
        assert!(message(REQUEST).view().can_answer());
    }

    #[test]
    fn index_of_other_bytes_does_not_panic() {
        let owned = message(REQUEST);
        let m = Message::new(b"short", &owned.index);
        assert_eq!(m.body(), b"");
        assert_eq!(m.via(), None);
    }
}
