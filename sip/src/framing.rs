//! A byte stream made into messages (RFC 3261 section 18.3) and keep-alives
//! (RFC 5626 section 3.5.1).
//!
//! A stream whose next boundary is not known for sure ends: guessing would let a peer smuggle one
//! message inside another.

use crate::message::octets::{find, is_token};
use crate::scan::content_length;
use std::fmt;

/// What a stream gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, head and body.
    Message(Vec<u8>),
    /// CR LF CR LF between messages: to be answered with CR LF.
    Ping,
    /// CR LF between messages: the answer to a ping of ours.
    Pong,
}

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// The message is, or says it is, longer than the limit.
    TooLong,
    /// Content-Length is missing, stands twice or is no number.
    ContentLength,
    /// What stands there begins no SIP message.
    NotSip,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FramingError::TooLong => "message over the limit",
            FramingError::ContentLength => "missing or bad Content-Length",
            FramingError::NotSip => "not SIP",
        })
    }
}

impl std::error::Error for FramingError {}

/// Octets of room that a stream keeps between messages: thousands of idle connections must not
/// each hold what their longest message took.
const IDLE_CAPACITY: usize = 2_048;

/// Cuts one stream. Feed it with `push`, then take frames (it is an iterator) until None; it
/// holds at most one unfinished message and what was pushed last.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Octets of `buffer` that were handed out.
    taken: usize,
    /// Octets after `taken` in which no blank line begins.
    searched: usize,
    /// Length of the message whose head is complete.
    total: Option<usize>,
    max: usize,
    failed: bool,
}

impl Framer {
    /// A framer for one stream; `max` octets are the most a message may have.
    pub fn new(max: usize) -> Self {
        Framer { buffer: Vec::new(), taken: 0, searched: 0, total: None, max, failed: false }
    }

    /// Adds what was read. After an error it is ignored.
    pub fn push(&mut self, octets: &[u8]) {
        if self.failed {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(octets);
    }

    /// True while a message has begun and not ended, for the deadline on it. Ask after the last
    /// frame was taken.
    pub fn pending(&self) -> bool {
        !self.failed && !matches!(self.rest().first(), None | Some(b'\r' | b'\n'))
    }

    /// What was not handed out. After `FramingError::ContentLength` it begins with a whole head,
    /// from which a 400 can be built before the stream is closed.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    fn step(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.total.is_none() {
            if let Some(frame) = self.between() {
                return Ok(Some(frame));
            }
            self.total = self.head()?;
        }
        let whole = self.total.and_then(|total| self.rest().get(..total)).map(<[u8]>::to_vec);
        let Some(message) = whole else { return Ok(None) };
        self.take(message.len());
        Ok(Some(Frame::Message(message)))
    }

    fn take(&mut self, octets: usize) {
        self.taken += octets;
        self.searched = 0;
        self.total = None;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(IDLE_CAPACITY);
            self.taken = 0;
        }
    }

    /// Line ends between messages. A CR LF that stands last waits for its sequel, because it may
    /// be half a ping.
    fn between(&mut self) -> Option<Frame> {
        loop {
            let (octets, frame) = match self.rest() {
                [b'\r', b'\n', b'\r', b'\n', ..] => (4, Some(Frame::Ping)),
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return None,
                [b'\r', b'\n', ..] => (2, Some(Frame::Pong)),
                [b'\r' | b'\n', ..] => (1, None),
                _ => return None,
            };
            self.take(octets);
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// Length of the message at hand, once its head is whole.
    fn head(&mut self) -> Result<Option<usize>, FramingError> {
        let Some(first) = self.rest().first().filter(|o| !matches!(o, b'\r' | b'\n')) else {
            return Ok(None);
        };
        if !is_token(*first) {
            return Err(FramingError::NotSip);
        }
        let Some(end) = self.blank_line() else {
            let fits = self.rest().len() <= self.max;
            return fits.then_some(None).ok_or(FramingError::TooLong);
        };
        let head = self.rest().get(..end).unwrap_or_default();
        let length = content_length(head).ok().flatten().ok_or(FramingError::ContentLength)?;
        let total = end.checked_add(length).filter(|total| *total <= self.max);
        total.map(Some).ok_or(FramingError::TooLong)
    }

    /// Where the head ends; remembers how far it looked.
    fn blank_line(&mut self) -> Option<usize> {
        loop {
            let rest = self.buffer.get(self.taken..)?;
            let line_end = self.searched + find(rest.get(self.searched..)?, b'\n')?;
            match rest.get(line_end + 1..)? {
                [b'\n', ..] => return Some(line_end + 2),
                [b'\r', b'\n', ..] => return Some(line_end + 3),
                [] | [b'\r'] => {
                    self.searched = line_end;
                    return None;
                }
                _ => self.searched = line_end + 1,
            }
        }
    }
}

impl Iterator for Framer {
    type Item = Result<Frame, FramingError>;

    /// The next frame. None: more octets are needed, or the stream has ended with an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nCall-ID: x\r\nContent-Length: 0\r\n\r\n";
    const BODY: &[u8] = b"INFO sip:h SIP/2.0\nX: \r\n \r\nl :\r\n 4\n\n\r\n\r\n";

    fn frames(framer: &mut Framer, octets: &[u8]) -> Vec<Result<Frame, FramingError>> {
        framer.push(octets);
        framer.collect()
    }

    fn message(octets: &[u8]) -> Result<Frame, FramingError> {
        Ok(Frame::Message(octets.to_vec()))
    }

    #[test]
    fn messages_and_keep_alives_come_apart() {
        let stream = [b"\r\n\r\n", PLAIN, b"\r\n", BODY, b"\r\n\r\n", PLAIN].concat();
        let ping = || Ok(Frame::Ping);
        let expected =
            [ping(), message(PLAIN), Ok(Frame::Pong), message(BODY), ping(), message(PLAIN)];
        assert_eq!(frames(&mut Framer::new(999), &stream), expected);
    }

    #[test]
    fn only_a_begun_message_is_pending() {
        let mut framer = Framer::new(999);
        assert!(frames(&mut framer, b"\r\n").is_empty() && !framer.pending());
        assert_eq!(frames(&mut framer, b"\r\n"), [Ok(Frame::Ping)]);
        assert!(frames(&mut framer, b"OPT").is_empty() && framer.pending());
        assert_eq!(frames(&mut framer, &PLAIN[3..]), [message(PLAIN)]);
        assert!(!framer.pending());
    }

    #[test]
    fn unknown_boundary_ends_the_stream() {
        let end = |octets: &[u8]| frames(&mut Framer::new(60), octets).pop();
        let length = Some(Err(FramingError::ContentLength));
        assert_eq!(end(b"GET / HTTP/1.1\r\n\r\n"), length);
        assert_eq!(end(b"A sip:h SIP/2.0\r\nl: 1\r\nl: 1\r\n\r\n"), length);
        assert_eq!(end(b"A sip:h SIP/2.0\r\nl: -1\r\n\r\n"), length);
        assert_eq!(end(b"A sip:h SIP/2.0\r\nl: 99\r\n\r\n"), Some(Err(FramingError::TooLong)));
        assert_eq!(end(&[b'a'; 61]), Some(Err(FramingError::TooLong)));
        assert_eq!(end(b"\x16\x03\x01"), Some(Err(FramingError::NotSip)));
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let mut framer = Framer::new(60);
        assert_eq!(frames(&mut framer, b"\x16").len(), 1);
        assert!(frames(&mut framer, PLAIN).is_empty() && !framer.pending());
    }

    #[test]
    fn idle_stream_holds_little() {
        let body = "x".repeat(50_000);
        let text = format!("A sip:h SIP/2.0\r\nl: 50000\r\n\r\n{body}");
        let mut framer = Framer::new(65_535);
        assert_eq!(frames(&mut framer, text.as_bytes()).len(), 1);
        assert!(framer.buffer.capacity() < 5_000);
    }

    #[test]
    fn largest_number_does_not_overflow() {
        let stream = b"A sip:h SIP/2.0\r\nl: 18446744073709551615\r\n\r\n";
        assert_eq!(frames(&mut Framer::new(99), stream), [Err(FramingError::TooLong)]);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in proptest::collection::vec(1usize..9, 0..60)) {
            let stream = [PLAIN, b"\r\n\r\n", BODY, PLAIN, b"\r\n", PLAIN].concat();
            let mut framer = Framer::new(999);
            let (mut got, mut rest) = (Vec::new(), &stream[..]);
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                got.extend(frames(&mut framer, piece));
                rest = tail;
            }
            got.extend(frames(&mut framer, rest));
            prop_assert_eq!(got, frames(&mut Framer::new(999), &stream));
        }

        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framer = Framer::new(64);
            framer.push(&octets);
            prop_assert!(framer.by_ref().count() <= octets.len());
        }
    }
}
