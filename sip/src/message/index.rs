//! The index of one message: where its parts stand, found by one scan and reused for the next.

use super::header_name::{COUNT, HeaderName};

/// Octets from `start` up to `end` of the message that was scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// Positions in a message fit 32 bits: a longer one is refused before it is scanned.
    pub fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, end: end as u32 }
    }

    /// The octets it stands for; empty where the span is not of this message.
    pub fn of(self, raw: &[u8]) -> &[u8] {
        raw.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One header field: `name: value` with its folded lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub id: HeaderName,
    /// The name as written.
    pub name: Span,
    /// The value without white space at its ends.
    pub value: Span,
    /// The whole line, with its line end.
    pub whole: Span,
}

/// Reusable index of spans into one message; `clear` keeps its capacity.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(crate) request: bool,
    pub(crate) status: u16,
    /// From the first octet after leading CRLFs to the last one that Content-Length covers.
    pub(crate) whole: Span,
    /// Method of a request, reason phrase of a response.
    pub(crate) word: Span,
    pub(crate) uri: Span,
    /// The start line with its line end.
    pub(crate) start_line: Span,
    pub(crate) body: Span,
    /// A line ended in LF alone: forwarding writes CR LF instead.
    pub(crate) bare_lf: bool,
    lines: Vec<Line>,
    first: First,
}

/// Where in `lines` each name first stands, counted from 1; 0 = nowhere.
#[derive(Clone, Debug)]
struct First([u16; COUNT]);

impl Default for First {
    fn default() -> Self {
        First([0; COUNT])
    }
}

impl Index {
    /// Forgets the message, keeps the room.
    pub fn clear(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        *self = Index { lines, ..Index::default() };
    }

    pub(crate) fn push(&mut self, line: Line) {
        self.lines.push(line);
        let first = &mut self.first.0[line.id as usize];
        if *first == 0 {
            *first = u16::try_from(self.lines.len()).unwrap_or(0);
        }
    }

    pub(crate) fn has(&self, name: HeaderName) -> bool {
        self.first.0[name as usize] != 0
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines from the first one of that name on.
    pub(crate) fn starting_with(&self, name: HeaderName) -> &[Line] {
        match self.first.0[name as usize] {
            0 => &[],
            place => self.lines.get(usize::from(place) - 1..).unwrap_or_default(),
        }
    }
}
