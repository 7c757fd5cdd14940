//! Header field names that the server looks at, and their compact forms.
//!
//! Names are folded to one octet while a message is scanned, so that later look-ups compare no
//! text. A name that stands here costs nothing more; the others are `Other` and found by text.

/// A header field name. Case-insensitive; compact forms are folded in (RFC 3261 section 7.3.3).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderName {
    /// RFC 3261 section 20.42; compact `v`.
    Via,
    /// RFC 3261 section 20.20; compact `f`.
    From,
    /// RFC 3261 section 20.39; compact `t`.
    To,
    /// RFC 3261 section 20.8; compact `i`.
    CallId,
    /// RFC 3261 section 20.16.
    CSeq,
    /// RFC 3261 section 20.10; compact `m`.
    Contact,
    /// RFC 3261 section 20.22.
    MaxForwards,
    /// RFC 3261 section 20.34.
    Route,
    /// RFC 3261 section 20.30.
    RecordRoute,
    /// RFC 3327.
    Path,
    /// RFC 3261 section 20.32.
    Require,
    /// RFC 3261 section 20.29.
    ProxyRequire,
    /// RFC 3261 section 20.37; compact `k`.
    Supported,
    /// RFC 3261 section 20.40.
    Unsupported,
    /// RFC 3261 section 20.7.
    Authorization,
    /// RFC 3261 section 20.28.
    ProxyAuthorization,
    /// RFC 3261 section 20.44.
    WwwAuthenticate,
    /// RFC 3261 section 20.27.
    ProxyAuthenticate,
    /// RFC 3261 section 20.14; compact `l`.
    ContentLength,
    /// RFC 3261 section 20.15; compact `c`.
    ContentType,
    /// RFC 3261 section 20.19.
    Expires,
    /// RFC 3261 section 20.23.
    MinExpires,
    /// RFC 3261 section 20.41.
    UserAgent,
    /// RFC 3261 section 20.35.
    Server,
    /// RFC 3261 section 20.5.
    Allow,
    /// RFC 6665; compact `o`.
    Event,
    /// RFC 3261 section 20.17.
    Date,
    /// RFC 3261 section 20.38.
    Timestamp,
    /// RFC 3261 section 20.33.
    RetryAfter,
    /// RFC 3515; compact `r`.
    ReferTo,
    /// RFC 5393.
    MaxBreadth,
    /// RFC 3325.
    PAssertedIdentity,
    /// RFC 3325.
    PPreferredIdentity,
    /// The draft that RFC 3325 replaced; phones still send it.
    RemotePartyId,
    /// RFC 3323.
    Privacy,
    /// RFC 3608.
    ServiceRoute,
    /// Every other name.
    Other,
}

/// How many names there are: the size of tables indexed by name.
pub(crate) const COUNT: usize = HeaderName::Other as usize + 1;

/// Name and text, in the order of the enum.
static NAMES: [(HeaderName, &str); COUNT] = [
    (HeaderName::Via, "Via"),
    (HeaderName::From, "From"),
    (HeaderName::To, "To"),
    (HeaderName::CallId, "Call-ID"),
    (HeaderName::CSeq, "CSeq"),
    (HeaderName::Contact, "Contact"),
    (HeaderName::MaxForwards, "Max-Forwards"),
    (HeaderName::Route, "Route"),
    (HeaderName::RecordRoute, "Record-Route"),
    (HeaderName::Path, "Path"),
    (HeaderName::Require, "Require"),
    (HeaderName::ProxyRequire, "Proxy-Require"),
    (HeaderName::Supported, "Supported"),
    (HeaderName::Unsupported, "Unsupported"),
    (HeaderName::Authorization, "Authorization"),
    (HeaderName::ProxyAuthorization, "Proxy-Authorization"),
    (HeaderName::WwwAuthenticate, "WWW-Authenticate"),
    (HeaderName::ProxyAuthenticate, "Proxy-Authenticate"),
    (HeaderName::ContentLength, "Content-Length"),
    (HeaderName::ContentType, "Content-Type"),
    (HeaderName::Expires, "Expires"),
    (HeaderName::MinExpires, "Min-Expires"),
    (HeaderName::UserAgent, "User-Agent"),
    (HeaderName::Server, "Server"),
    (HeaderName::Allow, "Allow"),
    (HeaderName::Event, "Event"),
    (HeaderName::Date, "Date"),
    (HeaderName::Timestamp, "Timestamp"),
    (HeaderName::RetryAfter, "Retry-After"),
    (HeaderName::ReferTo, "Refer-To"),
    (HeaderName::MaxBreadth, "Max-Breadth"),
    (HeaderName::PAssertedIdentity, "P-Asserted-Identity"),
    (HeaderName::PPreferredIdentity, "P-Preferred-Identity"),
    (HeaderName::RemotePartyId, "Remote-Party-ID"),
    (HeaderName::Privacy, "Privacy"),
    (HeaderName::ServiceRoute, "Service-Route"),
    (HeaderName::Other, ""),
];

impl HeaderName {
    /// The long form in its usual spelling; empty for `Other`.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Reads a name in long or compact form, in any case.
    pub fn parse(name: &[u8]) -> Self {
        match name {
            [letter] => Self::compact(*letter),
            _ => Self::long(name),
        }
    }

    fn compact(letter: u8) -> Self {
        match letter.to_ascii_lowercase() {
            b'v' => HeaderName::Via,
            b'f' => HeaderName::From,
            b't' => HeaderName::To,
            b'i' => HeaderName::CallId,
            b'm' => HeaderName::Contact,
            b'l' => HeaderName::ContentLength,
            b'c' => HeaderName::ContentType,
            b'k' => HeaderName::Supported,
            b'o' => HeaderName::Event,
            b'r' => HeaderName::ReferTo,
            _ => HeaderName::Other,
        }
    }

    /// The length leaves at most a handful of candidates.
    fn long(name: &[u8]) -> Self {
        let candidates: &[HeaderName] = match name.len() {
            2 => &[HeaderName::To],
            3 => &[HeaderName::Via],
            4 => &[HeaderName::From, HeaderName::CSeq, HeaderName::Path, HeaderName::Date],
            5 => &[HeaderName::Route, HeaderName::Allow, HeaderName::Event],
            6 => &[HeaderName::Server],
            7 => &[
                HeaderName::CallId,
                HeaderName::Contact,
                HeaderName::Require,
                HeaderName::Expires,
                HeaderName::Privacy,
            ],
            8 => &[HeaderName::ReferTo],
            9 => &[HeaderName::Supported, HeaderName::Timestamp],
            10 => &[HeaderName::UserAgent],
            11 => &[
                HeaderName::Unsupported,
                HeaderName::MinExpires,
                HeaderName::RetryAfter,
                HeaderName::MaxBreadth,
            ],
            12 => &[HeaderName::MaxForwards, HeaderName::RecordRoute, HeaderName::ContentType],
            13 => &[HeaderName::ProxyRequire, HeaderName::Authorization, HeaderName::ServiceRoute],
            14 => &[HeaderName::ContentLength],
            15 => &[HeaderName::RemotePartyId],
            16 => &[HeaderName::WwwAuthenticate],
            18 => &[HeaderName::ProxyAuthenticate],
            19 => &[HeaderName::ProxyAuthorization, HeaderName::PAssertedIdentity],
            20 => &[HeaderName::PPreferredIdentity],
            _ => &[],
        };
        let first = name.first().map_or(0, |letter| letter | 0x20);
        let is_it = |candidate: &&HeaderName| {
            let text = candidate.as_str().as_bytes();
            text.first().is_some_and(|letter| letter | 0x20 == first) && same_name(text, name)
        };
        candidates.iter().find(is_it).copied().unwrap_or(HeaderName::Other)
    }

    /// Names that stand once in a message (RFC 3261 section 7.3.1): a second one is an attempt to
    /// have two readers read two messages.
    pub(crate) fn stands_once(self) -> bool {
        use HeaderName::{CSeq, CallId, ContentLength, From, MaxForwards, To};
        matches!(self, From | To | CallId | CSeq | MaxForwards | ContentLength)
    }

    /// Names whose lines are comma-separated lists that may be cut into one line a value.
    pub(crate) fn is_list(self) -> bool {
        use HeaderName::{Contact, Path, RecordRoute, Route, ServiceRoute, Via};
        matches!(self, Via | Contact | Route | RecordRoute | Path | ServiceRoute)
    }

    /// Names whose value holds addresses, where a quote that never closes hides what follows.
    pub(crate) fn holds_addresses(self) -> bool {
        use HeaderName::{Contact, From, Path, RecordRoute, ReferTo, Route, ServiceRoute, To};
        matches!(self, From | To | Contact | Route | RecordRoute | Path | ReferTo | ServiceRoute)
            || matches!(self, HeaderName::PAssertedIdentity | HeaderName::PPreferredIdentity)
    }
}

/// Equality in any case, eight octets a step. `text` holds letters and hyphens only: bit 5 is the
/// case of a letter, and a hyphen without it is a CR, which no name holds.
fn same_name(text: &[u8], name: &[u8]) -> bool {
    const CASE: u64 = u64::from_le_bytes([0x20; 8]);
    let (texts, text_end) = text.as_chunks::<8>();
    let (names, name_end) = name.as_chunks::<8>();
    let differ = |(a, b): (&[u8; 8], &[u8; 8])| {
        (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)) & !CASE != 0
    };
    let differ_at_end = |(a, b): (&u8, &u8)| (a ^ b) & !0x20 != 0;
    !texts.iter().zip(names).any(differ) && !text_end.iter().zip(name_end).any(differ_at_end)
}

/// Compact forms whose long name has no id here.
const LETTERS: [(&str, u8); 10] = [
    ("Subject", b's'),
    ("Allow-Events", b'u'),
    ("Referred-By", b'b'),
    ("Content-Encoding", b'e'),
    ("Session-Expires", b'x'),
    ("Accept-Contact", b'a'),
    ("Reject-Contact", b'j'),
    ("Request-Disposition", b'd'),
    ("Identity", b'y'),
    ("Identity-Info", b'n'),
];

/// The letter of a long name without id.
pub(crate) fn compact_of(long: &str) -> Option<u8> {
    LETTERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(long)).map(|(_, letter)| *letter)
}

/// The long name of a letter without id.
pub(crate) fn long_of(letter: u8) -> Option<&'static str> {
    LETTERS.iter().find(|(_, l)| l.eq_ignore_ascii_case(&letter)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_text_in_any_case() {
        for (name, text) in &NAMES[..COUNT - 1] {
            assert_eq!(name.as_str(), *text);
            assert_eq!(HeaderName::parse(text.to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(HeaderName::parse(text.to_ascii_lowercase().as_bytes()), *name);
        }
    }

    #[test]
    fn compact_forms_are_folded() {
        assert_eq!(HeaderName::parse(b"V"), HeaderName::Via);
        assert_eq!(HeaderName::parse(b"l"), HeaderName::ContentLength);
        assert_eq!(HeaderName::parse(b"z"), HeaderName::Other);
        assert_eq!(HeaderName::parse(b"Content-Lengti"), HeaderName::Other);
        assert_eq!(HeaderName::parse(b"Content-Mength"), HeaderName::Other);
        assert_eq!((compact_of("subject"), long_of(b'S')), (Some(b's'), Some("Subject")));
    }
}
