//! A binding, and its compact form for the journal: a version octet, then fields in order, numbers
//! as LEB128 and texts behind their lengths.

use crate::flow::Flow;

/// The form that `encode` writes. Another one in its place is refused, not guessed at.
const VERSION: u8 = 1;

/// One contact of an address of record, and how to reach it (RFC 3261 section 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The contact's URI: no angle brackets, no headers.
    pub contact: Vec<u8>,
    /// Preference in thousandths, 0 to 1000.
    pub q: u16,
    /// When it ends, in seconds of Unix time.
    pub expires_at: u64,
    /// Call-ID of the REGISTER that wrote it.
    pub call_id: Vec<u8>,
    /// CSeq number of that REGISTER.
    pub cseq: u32,
    /// Path values as written, the first hop first (RFC 3327).
    pub path: Vec<Vec<u8>>,
    /// The flow that the REGISTER came by.
    pub flow: Flow,
    /// `+sip.instance` without its quotes, or empty.
    pub instance: Vec<u8>,
    /// `reg-id` of RFC 5626, or 0.
    pub reg_id: u32,
    /// User-Agent as written, on one line.
    pub user_agent: Vec<u8>,
    /// The methods of Allow, comma-separated; empty for everything.
    pub allow: Vec<u8>,
    /// The Via's sent-by was the source address: no NAT between.
    pub via_is_source: bool,
}

impl Binding {
    /// Appends the compact form; an ordinary phone takes 150 to 250 octets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_text(out, &self.contact);
        put_number(out, u64::from(self.q));
        put_number(out, self.expires_at);
        put_text(out, &self.call_id);
        put_number(out, u64::from(self.cseq));
        put_number(out, self.path.len() as u64);
        self.path.iter().for_each(|value| put_text(out, value));
        self.flow.encode(out);
        put_text(out, &self.instance);
        put_number(out, u64::from(self.reg_id));
        put_text(out, &self.user_agent);
        put_text(out, &self.allow);
        out.push(u8::from(self.via_is_source));
    }

    /// Reads what `encode` wrote at the start of `bytes`, and how many octets it took. `None` for
    /// another version, and for what was cut short.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = Reader { rest: bytes };
        if reader.octet()? != VERSION {
            return None;
        }
        let binding = Self {
            contact: reader.text()?,
            q: reader.number()?.try_into().ok()?,
            expires_at: reader.number()?,
            call_id: reader.text()?,
            cseq: reader.number()?.try_into().ok()?,
            path: reader.texts()?,
            flow: reader.flow()?,
            instance: reader.text()?,
            reg_id: reader.number()?.try_into().ok()?,
            user_agent: reader.text()?,
            allow: reader.text()?,
            via_is_source: reader.octet()? != 0,
        };
        Some((binding, bytes.len() - reader.rest.len()))
    }

    /// Whether the phone takes requests of this method (its Allow; RFC 3261 section 20.5).
    pub fn allows(&self, method: &[u8]) -> bool {
        let mut methods = self.allow.split(|octet| *octet == b',');
        self.allow.is_empty() || methods.any(|allowed| allowed.trim_ascii() == method)
    }

    /// The same device, on the same of its flows.
    pub(super) fn is_same_instance(&self, other: &Self) -> bool {
        !self.instance.is_empty()
            && self.instance.eq_ignore_ascii_case(&other.instance)
            && self.reg_id == other.reg_id
    }

    /// The same addresses; a new connection between them has replaced the old one.
    pub(super) fn is_same_flow(&self, other: &Self) -> bool {
        let ends = |flow: &Flow| (flow.transport, flow.local, flow.remote);
        ends(&self.flow) == ends(&other.flow)
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes fields off the front of stored octets, which may be anything.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7f);
            number |= bits << shift;
            if octet < 0x80 {
                return (bits << shift >> shift == bits).then_some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(text.to_vec())
    }

    fn texts(&mut self) -> Option<Vec<Vec<u8>>> {
        // Nothing is reserved: the number is only as good as the octets behind it.
        let mut texts = Vec::new();
        for _ in 0..self.number()? {
            texts.push(self.text()?);
        }
        Some(texts)
    }

    fn flow(&mut self) -> Option<Flow> {
        let (flow, taken) = Flow::decode(self.rest)?;
        self.rest = self.rest.get(taken..)?;
        Some(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..200)
    }

    prop_compose! {
        fn binding()(
            texts in [text(), text(), text(), text(), text()],
            path in prop::collection::vec(text(), 0..3),
            numbers: (u64, u32, u32, u64),
            q in 0..=1000u16,
            via_is_source: bool,
        ) -> Binding {
            let [contact, call_id, instance, user_agent, allow] = texts;
            let (expires_at, cseq, reg_id, connection) = numbers;
            let local = "192.0.2.1:5061".parse().expect("an address of this test");
            let remote = "198.51.100.7:40000".parse().expect("an address of this test");
            let flow = Flow { transport: Transport::Tls, local, remote, connection };
            Binding {
                contact, q, expires_at, call_id, cseq, path, flow, instance, reg_id, user_agent,
                allow, via_is_source,
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes(bindings in prop::collection::vec(binding(), 1..3)) {
            let mut bytes = Vec::new();
            bindings.iter().for_each(|binding| binding.encode(&mut bytes));
            let mut rest = &bytes[..];
            for binding in bindings {
                let (back, taken) = Binding::decode(rest).expect("what was encoded");
                prop_assert_eq!(back, binding);
                rest = &rest[taken..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn cut_bindings_do_not_decode(binding in binding(), cut in 0.0..1.0f64) {
            let mut bytes = Vec::new();
            binding.encode(&mut bytes);
            let length = (bytes.len() as f64 * cut) as usize;
            prop_assert_eq!(Binding::decode(&bytes[..length]), None);
        }

        #[test]
        fn any_octets_decode_or_do_not(mut bytes: Vec<u8>, at: usize, octet: u8) {
            let _ = Binding::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = Binding::decode(&bytes);
            let at = at % bytes.len();
            bytes[at] = octet;
            let _ = Binding::decode(&bytes);
        }

        #[test]
        fn changed_octets_decode_or_do_not(binding in binding(), at: usize, octet: u8) {
            let mut bytes = Vec::new();
            binding.encode(&mut bytes);
            let at = at % bytes.len();
            bytes[at] = octet;
            let _ = Binding::decode(&bytes);
        }
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(Binding::decode(&[VERSION + 1; 100]), None);
        assert_eq!(Binding::decode(&[]), None);
    }

    #[test]
    fn numbers_longer_than_64_bits_are_refused() {
        let mut long = [0xff; 10];
        long[9] = 0x02;
        assert_eq!(Reader { rest: &long }.number(), None);
        long[9] = 0x01;
        assert_eq!(Reader { rest: &long }.number(), Some(u64::MAX));
    }
}
