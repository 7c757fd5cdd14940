//! One remembered decision: a few cut slices of the message and the rules it met, in one buffer
//! that the next record of its slot reuses.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use rempart_sip::flow::{Flow, Transport};

use super::Outcome;

/// Octets kept of one value of a message, and of what one rule says.
pub const VALUE_MAX: usize = 128;

/// Octets kept of all the rules of one record.
pub const RULES_MAX: usize = 768;

/// Method, Call-ID, From, the user of the credentials, target.
const FIELDS: usize = 5;

/// What is looked at of a message.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The flow it came by.
    pub flow: Flow,
    /// Its method.
    pub method: &'a [u8],
    /// Its Call-ID.
    pub call_id: &'a [u8],
    /// The URI in From.
    pub from: &'a [u8],
    /// The Request-URI; of a REGISTER the URI in To.
    pub target: &'a [u8],
}

impl Seen<'_> {
    /// Nothing was read of it but where it came from.
    pub fn unread(flow: Flow) -> Self {
        Self { flow, method: b"", call_id: b"", from: b"", target: b"" }
    }
}

/// A decision as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When it was made first, Unix milliseconds.
    pub first_ms: u64,
    /// When it was made last.
    pub last_ms: u64,
    /// Its place among the decisions of its shard.
    pub turn: u64,
    /// How often; the other parts are those of the last time.
    pub times: u32,
    /// Where the message came from.
    pub flow: Flow,
    /// Its method; empty where nothing was read.
    pub method: String,
    /// Its Call-ID, cut at [`VALUE_MAX`] octets like all that follows.
    pub call_id: String,
    /// The URI in From.
    pub from: String,
    /// `user@realm` of the credentials shown; empty where none were.
    pub user: String,
    /// The Request-URI; of a REGISTER the URI in To.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The rules in the order they were asked, each with what it compared.
    pub rules: Vec<(String, String)>,
}

impl Decision {
    /// Puts decisions in the order in which they were made.
    pub fn when(&self) -> (u64, u64) {
        (self.last_ms, self.turn)
    }
}

/// A slot of a ring.
#[derive(Debug)]
pub(super) struct Record {
    pub serial: u64,
    pub first_ms: u64,
    pub last_ms: u64,
    /// Puts what happened within one millisecond in order.
    pub turn: u64,
    pub times: u32,
    pub outcome: Outcome,
    flow: Flow,
    text: String,
    ends: [u16; FIELDS],
}

impl Default for Record {
    fn default() -> Self {
        let none = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let flow = Flow { transport: Transport::Udp, local: none, remote: none, connection: 0 };
        Self {
            serial: 0,
            first_ms: 0,
            last_ms: 0,
            turn: 0,
            times: 0,
            outcome: Outcome::PENDING,
            flow,
            text: String::new(),
            ends: [0; FIELDS],
        }
    }
}

impl Record {
    /// Takes the slot for a message.
    pub fn write(&mut self, seen: &Seen<'_>, user: &str, rules: &str, now_ms: u64) {
        (self.first_ms, self.last_ms, self.times) = (now_ms, now_ms, 1);
        (self.flow, self.outcome) = (seen.flow, Outcome::PENDING);
        self.text.clear();
        let fields = [seen.method, seen.call_id, seen.from, user.as_bytes(), seen.target];
        for (end, field) in self.ends.iter_mut().zip(fields) {
            push_octets(&mut self.text, field);
            *end = self.text.len() as u16;
        }
        self.add(rules);
    }

    /// Adds rules, as far as there is room for whole ones.
    pub fn add(&mut self, rules: &str) {
        let room = (self.rules_start() + RULES_MAX).saturating_sub(self.text.len());
        if rules.len() <= room {
            return self.text.push_str(rules);
        }
        let fits = rules.floor_char_boundary(room);
        let whole = rules[..fits].rfind('\n').map_or(0, |end| end + 1);
        self.text.push_str(&rules[..whole]);
    }

    /// The same decision once more: the later text stands.
    pub fn repeat(&mut self, later: &mut Self) {
        self.times = self.times.saturating_add(1);
        (self.last_ms, self.turn) = (later.last_ms, later.turn);
        self.flow = later.flow;
        std::mem::swap(&mut self.text, &mut later.text);
        std::mem::swap(&mut self.ends, &mut later.ends);
    }

    /// The flow it came by.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.field(0)
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        self.field(1)
    }

    /// The URI in From.
    pub fn from(&self) -> &str {
        self.field(2)
    }

    /// The user of the credentials.
    pub fn user(&self) -> &str {
        self.field(3)
    }

    /// The Request-URI, or the URI in To.
    pub fn target(&self) -> &str {
        self.field(4)
    }

    fn field(&self, number: usize) -> &str {
        let end = |number: usize| usize::from(self.ends.get(number).copied().unwrap_or(0));
        let start = number.checked_sub(1).map_or(0, end);
        self.text.get(start..end(number)).unwrap_or_default()
    }

    fn rules_start(&self) -> usize {
        usize::from(self.ends[FIELDS - 1])
    }

    /// A copy to hand out.
    pub fn told(&self) -> Decision {
        let rules = self.text.get(self.rules_start()..).unwrap_or_default();
        let rule = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        Decision {
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            turn: self.turn,
            times: self.times,
            flow: self.flow,
            method: self.method().to_owned(),
            call_id: self.call_id().to_owned(),
            from: self.from().to_owned(),
            user: self.user().to_owned(),
            target: self.target().to_owned(),
            outcome: self.outcome,
            rules: rules.lines().map(rule).collect(),
        }
    }
}

/// The longest start of `text` that fits, whole characters only.
pub(super) fn cut(text: &str, octets_max: usize) -> &str {
    &text[..text.floor_char_boundary(octets_max)]
}

/// Appends octets from the network, cut, as text.
fn push_octets(out: &mut String, octets: &[u8]) {
    if octets.len() <= VALUE_MAX
        && let Ok(text) = std::str::from_utf8(octets)
    {
        return out.push_str(text);
    }
    let end = out.len() + VALUE_MAX;
    for chunk in octets.utf8_chunks() {
        let mark = if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
        for part in [chunk.valid(), mark] {
            out.push_str(cut(part, end.saturating_sub(out.len())));
        }
        if out.len() >= end {
            return;
        }
    }
}

/// Writes as much as fits and drops the rest.
struct Bounded<'a> {
    out: &'a mut String,
    end: usize,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.end.saturating_sub(self.out.len());
        self.out.push_str(if text.len() <= room { text } else { cut(text, room) });
        Ok(())
    }
}

/// Appends one rule, a line of its own.
pub(super) fn push_rule(out: &mut String, name: &str, value: fmt::Arguments<'_>) {
    if out.len() + name.len() + VALUE_MAX + 3 > RULES_MAX {
        return;
    }
    out.push_str(name);
    out.push_str(": ");
    let start = out.len();
    // Writing to a String cannot fail.
    Bounded { end: start + VALUE_MAX, out }.write_fmt(value).ok();
    if out.as_bytes()[start..].iter().any(|octet| matches!(octet, b'\n' | b'\r')) {
        let one_line = out[start..].replace(['\n', '\r'], " ");
        out.truncate(start);
        out.push_str(&one_line);
    }
    out.push('\n');
}
