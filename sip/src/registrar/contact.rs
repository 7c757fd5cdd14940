//! The Contacts of a REGISTER (RFC 3261 section 10.3, steps 6 and 7): all of them are read and
//! judged before any binding changes.

use super::{Binding, Limits};
use crate::limits::{BINDING_TEXT_MAX, REQUEST_URI_MAX};
use crate::message::{HeaderName, Message, NameAddr, Params};
use crate::refusal::Refusal;
use crate::uri::{Scheme, Uri};

const BAD_CONTACT: Refusal = Refusal::bad_request("Bad Contact");

/// What a REGISTER asks for.
pub(super) enum Asked<'a> {
    /// The bindings as they are: no Contact.
    Nothing,
    /// `Contact: *`
    RemoveAll,
    /// Each of these.
    Contacts(Vec<Contact<'a>>),
}

/// One Contact, judged.
pub(super) struct Contact<'a> {
    /// The bare URI without the headers behind `?`, which would go into requests of ours.
    text: &'a [u8],
    uri: Uri<'a>,
    q: u16,
    /// Seconds within the limits; 0 removes.
    pub(super) expires: u32,
    instance: &'a [u8],
    reg_id: u32,
}

/// Reads every Contact.
pub(super) fn read<'a>(request: Message<'a>, limits: &Limits) -> Result<Asked<'a>, Refusal> {
    let values: Vec<&[u8]> = request.values(HeaderName::Contact).collect();
    if values.is_empty() {
        let written = request.header(HeaderName::Contact).is_some();
        return if written { Err(BAD_CONTACT) } else { Ok(Asked::Nothing) };
    }
    if values.contains(&&b"*"[..]) {
        let alone = values.len() == 1 && request.expires() == Some(0);
        return if alone { Ok(Asked::RemoveAll) } else { Err(BAD_CONTACT) };
    }
    // Enough to remove every binding and write as many others; more only costs comparisons.
    if values.len() > limits.contacts_max.saturating_mul(2) {
        return Err(Refusal::TooManyContacts);
    }
    let default = request.expires().unwrap_or(limits.default);
    let contacts: Result<Vec<_>, _> =
        values.into_iter().map(|value| Contact::parse(value, default, limits)).collect();
    let contacts = contacts?;
    if contacts.iter().any(|contact| (1..limits.min).contains(&contact.expires)) {
        return Err(Refusal::IntervalTooBrief { min: limits.min });
    }
    Ok(Asked::Contacts(contacts))
}

impl<'a> Contact<'a> {
    pub(super) fn parse(value: &'a [u8], expires: u32, limits: &Limits) -> Result<Self, Refusal> {
        let address = NameAddr::parse(value).ok_or(BAD_CONTACT)?;
        let (text, uri) = target(address.uri).ok_or(BAD_CONTACT)?;
        let params = address.params;
        let expires = match params.get("expires") {
            None => expires,
            Some(written) => seconds(written).unwrap_or(limits.default),
        };
        let instance = instance(&params).ok_or(BAD_CONTACT)?;
        Ok(Self {
            text,
            uri,
            q: params.get("q").map_or(1000, quality),
            expires: expires.min(limits.max),
            instance,
            reg_id: if instance.is_empty() { 0 } else { reg_id(&params) },
        })
    }

    /// Whether the binding is of this contact.
    pub(super) fn names(&self, binding: &Binding) -> bool {
        if self.reg_id > 0 && binding.reg_id > 0 {
            return self.reg_id == binding.reg_id
                && self.instance.eq_ignore_ascii_case(&binding.instance);
        }
        self.text == binding.contact
            || Uri::parse(&binding.contact).is_ok_and(|uri| uri.equals(&self.uri))
    }

    /// The binding that it asks for.
    pub(super) fn binding(&self, template: &Binding, now_unix: u64) -> Binding {
        Binding {
            contact: self.text.to_vec(),
            q: self.q,
            expires_at: now_unix.saturating_add(u64::from(self.expires)),
            instance: self.instance.to_vec(),
            reg_id: self.reg_id,
            ..template.clone()
        }
    }
}

/// A SIP or SIPS URI without its headers. Other schemes would make us call numbers and write mail
/// in a subscriber's name.
fn target(written: &[u8]) -> Option<(&[u8], Uri<'_>)> {
    let whole = Uri::parse(written).ok()?;
    let text = match whole.headers.len() {
        0 => written.strip_suffix(b"?").unwrap_or(written),
        headers => written.get(..written.len().checked_sub(headers + 1)?)?,
    };
    let uri = Uri::parse(text).ok()?;
    let usable = matches!(uri.scheme, Scheme::Sip | Scheme::Sips) && text.len() <= REQUEST_URI_MAX;
    usable.then_some((text, uri))
}

/// delta-seconds; beyond 2^32 they mean the largest.
fn seconds(written: &[u8]) -> Option<u32> {
    let digits = !written.is_empty() && written.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(written).ok().filter(|_| digits)?;
    Some(text.parse().unwrap_or(u32::MAX))
}

/// A qvalue in thousandths; what is none counts as none, which is 1.
fn quality(written: &[u8]) -> u16 {
    let (whole, digits) = match written {
        [whole @ (b'0' | b'1')] => (whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return 1000,
    };
    if *whole == b'1' || !digits.iter().all(u8::is_ascii_digit) {
        return 1000;
    }
    let place = |(digit, worth): (&u8, u16)| u16::from(digit - b'0') * worth;
    digits.iter().zip([100, 10, 1]).map(place).sum()
}

/// `+sip.instance` without its quotes; empty where there is none, `None` where it could not be
/// written back in quotes.
fn instance<'a>(params: &Params<'a>) -> Option<&'a [u8]> {
    let instance = params.get("+sip.instance").unwrap_or_default();
    let odd = |octet: &u8| octet.is_ascii_control() || matches!(octet, b'"' | b'\\');
    (instance.len() <= BINDING_TEXT_MAX && !instance.iter().any(odd)).then_some(instance)
}

/// `reg-id` (RFC 5626 section 4.2.1); 0 where there is none that can be read.
fn reg_id(params: &Params<'_>) -> u32 {
    params.get("reg-id").and_then(seconds).filter(|id| *id < 1 << 31).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities_are_thousandths() {
        let cases = [("0", 0), ("1", 1000), ("0.5", 500), ("0.05", 50), ("0.125", 125)];
        let more = [("1.000", 1000), ("0.", 0), ("2", 1000), ("0.1234", 1000), ("-1", 1000)];
        for (text, expected) in cases.into_iter().chain(more).chain([("0.x", 1000), ("", 1000)]) {
            assert_eq!(quality(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn headers_of_a_contact_are_left_out() {
        let text = |uri: &'static str| target(uri.as_bytes()).map(|(text, _)| text);
        assert_eq!(text("sip:a@h;x=1?Route=%3Csip:evil%3E"), Some(&b"sip:a@h;x=1"[..]));
        assert_eq!(text("sip:a@h?"), Some(&b"sip:a@h"[..]));
        assert_eq!(text("sip:a?b@h"), Some(&b"sip:a?b@h"[..]));
        assert_eq!(text("tel:+1201"), None);
        assert_eq!(text("mailto:a@h"), None);
    }

    #[test]
    fn seconds_that_overflow_mean_the_largest() {
        assert_eq!(seconds(b"4294967297"), Some(u32::MAX));
        assert_eq!((seconds(b"60"), seconds(b""), seconds(b"+60")), (Some(60), None, None));
    }

    #[test]
    fn registration_numbers_go_up_to_31_bits() {
        let of = |text: &str| reg_id(&Params::new(text.as_bytes()));
        assert_eq!((of(";reg-id=1"), of(";reg-id=2147483648"), of(";reg-id=x")), (1, 0, 0));
    }
}
