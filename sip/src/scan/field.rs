//! One header field with its folded lines (RFC 3261 section 7.3.1): where its name, value and end
//! stand.

use crate::message::index::Span;
use crate::message::octets::{find2, is_lws, is_token};

/// A header field found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: Span,
    /// Without white space at its ends.
    pub value: Span,
    /// With its line end.
    pub whole: Span,
    /// Its last line ended in LF alone.
    pub bare_lf: bool,
    /// A CR stood inside that ends no line: another reader may see two fields.
    pub bare_cr: bool,
}

/// What stands at a place in the head.
pub(super) enum Next {
    /// A header field.
    Field(Field),
    /// A line without a usable name, up to `end`.
    Unnamed { end: usize },
    /// The blank line; the body begins at `end`.
    Blank { end: usize },
    /// No blank line came.
    End,
}

/// Reads what stands at `at`, which is the beginning of a line.
pub(super) fn next_field(raw: &[u8], at: usize) -> Next {
    match raw.get(at..).unwrap_or_default() {
        [] => Next::End,
        [b'\r', b'\n', ..] => Next::Blank { end: at + 2 },
        [b'\n', ..] => Next::Blank { end: at + 1 },
        _ => named(raw, at),
    }
}

fn named(raw: &[u8], at: usize) -> Next {
    let name_end = run_end(raw, at, is_token);
    let colon = run_end(raw, name_end, |o| matches!(o, b' ' | b'\t'));
    let end = line_end(raw, at.max(name_end));
    if name_end == at || raw.get(colon) != Some(&b':') {
        return Next::Unnamed { end: end.whole };
    }
    Next::Field(Field {
        name: Span::new(at, name_end),
        value: trimmed(raw, colon + 1, end.text),
        whole: Span::new(at, end.whole),
        bare_lf: end.bare_lf,
        bare_cr: end.bare_cr,
    })
}

fn run_end(raw: &[u8], start: usize, inside: impl Fn(u8) -> bool) -> usize {
    let rest = raw.get(start..).unwrap_or_default();
    start + rest.iter().position(|o| !inside(*o)).unwrap_or(rest.len())
}

fn trimmed(raw: &[u8], mut start: usize, mut end: usize) -> Span {
    let lws_at = |at: usize| raw.get(at).is_some_and(|o| is_lws(*o));
    while start < end && lws_at(start) {
        start += 1;
    }
    while end > start && lws_at(end - 1) {
        end -= 1;
    }
    Span::new(start, end)
}

/// Where a field's text ends and where the next line begins.
struct LineEnd {
    text: usize,
    whole: usize,
    bare_lf: bool,
    bare_cr: bool,
}

fn line_end(raw: &[u8], start: usize) -> LineEnd {
    let mut at = start;
    let mut bare_cr = false;
    loop {
        let rest = raw.get(at..).unwrap_or_default();
        let Some(hit) = find2(rest, b'\r', b'\n').map(|hit| at + hit) else {
            return LineEnd { text: raw.len(), whole: raw.len(), bare_lf: false, bare_cr };
        };
        let whole = match raw.get(hit..).unwrap_or_default() {
            [b'\r', b'\n', ..] => hit + 2,
            [b'\n', ..] => hit + 1,
            _ => {
                bare_cr = true;
                at = hit + 1;
                continue;
            }
        };
        if !matches!(raw.get(whole), Some(b' ' | b'\t')) {
            return LineEnd { text: hit, whole, bare_lf: whole == hit + 1, bare_cr };
        }
        at = whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &[u8]) -> Field {
        match next_field(text, 0) {
            Next::Field(field) => field,
            _ => panic!("no field"),
        }
    }

    #[test]
    fn folds_and_space_before_the_colon_belong_to_the_field() {
        let text = b"TO :\r\n sip:a@h ;\r\n\ttag = 1 \r\nX: 1\r\n";
        let found = field(text);
        assert_eq!(found.name.of(text), b"TO");
        assert_eq!(found.value.of(text), b"sip:a@h ;\r\n\ttag = 1");
        assert_eq!(found.whole.end as usize, text.len() - 6);
    }

    #[test]
    fn empty_value_is_a_value() {
        let text = b"s :\r\nX: 1\r\n";
        assert_eq!(field(text).value.of(text), b"");
        assert_eq!(field(text).whole.end, 5);
    }

    #[test]
    fn carriage_return_alone_ends_no_line_and_is_told() {
        let text = b"X: a\rVia: b\n\n";
        assert!(field(text).bare_cr && field(text).bare_lf);
        assert_eq!(field(text).value.of(text), b"a\rVia: b");
    }

    #[test]
    fn line_without_name_is_passed_over_whole() {
        let is_unnamed = |text: &[u8]| matches!(next_field(text, 0), Next::Unnamed { end: 8 });
        assert!(is_unnamed(b": a\r\n b\n\r\n"));
        assert!(is_unnamed(b"a\0b: c\r\n"));
        assert!(is_unnamed(b" folded\nX: 1\n"));
    }
}
