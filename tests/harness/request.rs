//! A request before it is sent: an ordered list of header lines that a test may bend as it likes.

use super::unique;

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, as it will stand in the start line.
    pub method: String,
    /// The Request-URI.
    pub uri: String,
    /// Header lines in order.
    pub lines: Vec<(String, String)>,
    /// The body; Content-Length is written from it unless a test sets its own.
    pub body: Vec<u8>,
}

impl Request {
    /// Appends one more line.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.lines.push((name.to_string(), value.into()));
        self
    }

    /// Replaces the first line of that name and drops the others, or appends it.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        let place = self.lines.iter().position(|(field, _)| field.eq_ignore_ascii_case(name));
        let place = place.unwrap_or(self.lines.len());
        self = self.without(name);
        self.lines.insert(place.min(self.lines.len()), (name.to_string(), value.into()));
        self
    }

    /// Drops every line of that name.
    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body and its type.
    pub fn body(mut self, kind: &str, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.set("Content-Type", kind)
    }

    /// Gives From another URI and a fresh tag.
    pub fn by(self, uri: &str) -> Self {
        self.set("From", format!("<{uri}>;tag={}", unique("f")))
    }

    /// Gives To a tag, as a request inside a dialog has.
    pub fn tagged(self, tag: &str) -> Self {
        let to = self.header("To").to_string();
        self.set("To", format!("{to};tag={tag}"))
    }

    /// The first value of that name, empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.lines.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The number in CSeq.
    pub fn cseq(&self) -> u32 {
        let number = self.header("CSeq").split_whitespace().next();
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The same request as a new transaction: next CSeq, new branch.
    pub fn again(self) -> Self {
        let next = format!("{} {}", self.cseq() + 1, self.method);
        self.set("CSeq", next).fresh_branch()
    }

    /// Gives the topmost Via a new branch.
    pub fn fresh_branch(self) -> Self {
        let via = self.header("Via").to_string();
        let head = via.split(";branch=").next().unwrap_or("").to_string();
        self.set("Via", format!("{head};branch={}", unique("z9hG4bK")))
    }

    /// The CANCEL of this INVITE (RFC 3261 section 9.1).
    pub fn cancel(&self) -> Self {
        let kept = ["Via", "From", "To", "Call-ID", "Route", "Max-Forwards"];
        let lines = self.lines.iter().filter(|(name, _)| kept.contains(&name.as_str())).cloned();
        let cancel = Self {
            method: "CANCEL".into(),
            uri: self.uri.clone(),
            lines: lines.collect(),
            body: Vec::new(),
        };
        cancel.with("CSeq", format!("{} CANCEL", self.cseq()))
    }

    /// The ACK of a failure of this INVITE, whose response bore this To (section 17.1.1.3).
    pub fn ack(&self, to: &str) -> Self {
        let mut ack = self.cancel().set("CSeq", format!("{} ACK", self.cseq())).set("To", to);
        ack.method = "ACK".into();
        ack
    }

    /// The octets on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} SIP/2.0\r\n", self.method, self.uri);
        for (name, value) in &self.lines {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.header("Content-Length").is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        [text.as_bytes(), &self.body].concat()
    }
}
