//! As much of SIP as a load generator reads: the status, a header line, the numbers it wrote
//! itself. It trusts the server under test to send whole messages and nothing else.

/// A received message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    raw: &'a str,
}

impl<'a> Message<'a> {
    /// None when the octets are not text.
    pub fn new(raw: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(raw).ok().map(|raw| Self { raw })
    }

    /// The status code of a response.
    pub fn status(self) -> Option<u16> {
        self.raw.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request and its Request-URI.
    pub fn request(self) -> Option<(&'a str, &'a str)> {
        let mut words = self.raw.lines().next()?.split(' ');
        let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
        (version == "SIP/2.0").then_some((method, uri))
    }

    /// Each header line after the first line, as name and value.
    pub fn headers(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let lines = self.raw.split("\r\n").skip(1).take_while(|line| !line.is_empty());
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
    }

    /// The values of every line with this name or its compact form.
    pub fn lines(self, name: &str) -> impl Iterator<Item = &'a str> {
        let compact = compact(name);
        self.headers()
            .filter(move |(found, _)| {
                found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact)
            })
            .map(|(_, value)| value)
    }

    /// The first of them.
    pub fn header(self, name: &str) -> Option<&'a str> {
        self.lines(name).next()
    }

    /// The number and the method of CSeq.
    pub fn cseq(self) -> Option<(u32, &'a str)> {
        let (number, method) = self.header("CSeq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The URI of Contact, without angle brackets.
    pub fn contact(self) -> Option<&'a str> {
        let value = self.header("Contact")?;
        let Some((_, rest)) = value.split_once('<') else { return value.split(';').next() };
        rest.split('>').next()
    }
}

fn compact(name: &str) -> &'static str {
    match name {
        "Via" => "v",
        "From" => "f",
        "To" => "t",
        "Call-ID" => "i",
        "Contact" => "m",
        // No header has an empty name.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"SIP/2.0 407 Proxy Authentication Required\r\n\
        v: SIP/2.0/UDP 127.1.0.1:5070;branch=z9hG4bK1\r\n\
        CSeq: 12 INVITE\r\nRecord-Route: <sip:a;lr>\r\nRecord-Route: <sip:b;lr>\r\n\
        Contact: \"B\" <sip:b@127.2.0.1:5080>;expires=5\r\nContent-Length: 0\r\n\r\nnot: header";

    #[test]
    fn a_response_is_read() {
        let message = Message::new(ANSWER).expect("text");
        assert_eq!(message.status(), Some(407));
        assert_eq!(message.request(), None);
        assert_eq!(message.cseq(), Some((12, "INVITE")));
        assert_eq!(message.contact(), Some("sip:b@127.2.0.1:5080"));
        assert_eq!(message.header("Via"), Some("SIP/2.0/UDP 127.1.0.1:5070;branch=z9hG4bK1"));
        let routes: Vec<&str> = message.lines("record-route").collect();
        assert_eq!(routes, ["<sip:a;lr>", "<sip:b;lr>"]);
        assert_eq!(message.header("not"), None);
    }

    #[test]
    fn a_request_is_read() {
        let message = Message::new(b"BYE sip:b@127.0.0.1 SIP/2.0\r\n\r\n").expect("text");
        assert_eq!(message.request(), Some(("BYE", "sip:b@127.0.0.1")));
        assert_eq!(message.status(), None);
        assert_eq!(message.cseq(), None);
    }
}
