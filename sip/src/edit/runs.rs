//! Copies a message line by line, untouched neighbours in one piece.

use crate::message::index::{Line, Span};
use crate::message::octets::{digits, is_lws};
use crate::message::{HeaderName, Message, Values};

/// Appends `name: value` and a line end.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
}

/// Appends all parts.
pub(crate) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends a number in decimal digits.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: usize) {
    let mut text = [b'0'; 20];
    let mut first = text.len();
    loop {
        first -= 1;
        text[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&text[first..]);
        }
    }
}

/// A writer that holds back the stretch of source octets it was last told to keep, so that lines
/// which stand together are copied together.
pub(super) struct Runs<'o, 'm> {
    out: &'o mut Vec<u8>,
    message: Message<'m>,
    body: &'m [u8],
    held: Span,
    length_kept: bool,
}

impl<'o, 'm> Runs<'o, 'm> {
    pub fn new(out: &'o mut Vec<u8>, message: Message<'m>, body: &'m [u8]) -> Self {
        Runs { out, message, body, held: Span::default(), length_kept: false }
    }

    pub fn value(&self, line: &Line) -> &'m [u8] {
        line.value.of(self.message.source())
    }

    pub fn name(&self, line: &Line) -> &'m [u8] {
        line.name.of(self.message.source())
    }

    pub fn keep_start_line(&mut self) {
        self.keep_whole(self.message.index().start_line);
    }

    pub fn status_line(&mut self, status: u16, reason: &str) {
        self.out.extend_from_slice(b"SIP/2.0 ");
        put_number(self.out, usize::from(status));
        put(self.out, &[b" ", reason.as_bytes(), b"\r\n"]);
    }

    /// Keeps a line as it is. Content-Length waits for the body: it is written at the end unless
    /// it turns out right.
    pub fn keep(&mut self, line: &Line) {
        if line.id == HeaderName::ContentLength {
            let length = self.body.len() as u64;
            if self.length_kept || digits(self.value(line)) != Some(length) {
                return;
            }
            self.length_kept = true;
        }
        self.keep_whole(line.whole);
    }

    fn keep_whole(&mut self, whole: Span) {
        if self.message.index().bare_lf {
            return self.keep_with_crlf(whole);
        }
        if self.held.end != whole.start {
            self.flush();
            self.held.start = whole.start;
        }
        self.held.end = whole.end;
    }

    /// A line that ended in LF alone gets its CR: the next hop may know no other line end.
    fn keep_with_crlf(&mut self, whole: Span) {
        let line = whole.of(self.message.source());
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.write(&[line.strip_suffix(b"\r").unwrap_or(line), b"\r\n"]);
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(self.held.of(self.message.source()));
        self.held = Span::default();
    }

    pub fn write(&mut self, parts: &[&[u8]]) {
        self.flush();
        put(self.out, parts);
    }

    pub fn field(&mut self, name: &str, value: &[u8]) {
        self.flush();
        put_field(self.out, name, value);
    }

    pub fn max_forwards(&mut self, hops: u8) {
        self.number("Max-Forwards", usize::from(hops));
    }

    fn number(&mut self, name: &str, number: usize) {
        self.write(&[name.as_bytes(), b": "]);
        put_number(self.out, number);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Keeps a line's name and lets `write` make its value.
    pub fn replace(&mut self, line: &Line, write: impl FnOnce(&mut Vec<u8>)) {
        let head = Span { start: line.whole.start, end: line.value.start };
        self.write(&[head.of(self.message.source())]);
        write(self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Keeps a line without its first `skip` values; tells how many are still to be removed.
    pub fn without_first(&mut self, line: &Line, skip: usize) -> usize {
        let mut values = Values::new(self.value(line));
        let removed = values.by_ref().take(skip).count();
        let rest = values.rest();
        let start = rest.iter().position(|o| !is_lws(*o) && *o != b',');
        if let Some(rest) = start.and_then(|start| rest.get(start..)) {
            self.replace(line, |out| out.extend_from_slice(rest));
        }
        skip - removed
    }

    /// Ends the head and appends the body.
    pub fn finish(mut self) {
        if !self.length_kept {
            self.number("Content-Length", self.body.len());
        }
        self.write(&[b"\r\n", self.body]);
    }
}
