//! One header field with its folded lines (RFC 3261 section 7.3.1): where its name, value and end
//! stand.

use crate::message::HeaderName;
use crate::message::index::Span;
use crate::message::octets::{find2, is_lws, is_whole_token};

/// A header field found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub id: HeaderName,
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
    let rest = raw.get(at..).unwrap_or_default();
    let colon = find2(rest, b':', b'\n').unwrap_or(rest.len());
    let name = rest.get(..colon).map_or(0, name_len);
    let id = HeaderName::parse(rest.get(..name).unwrap_or_default());
    let is_name = || is_whole_token(rest.get(..name).unwrap_or_default());
    if rest.get(colon) != Some(&b':') || (id == HeaderName::Other && !is_name()) {
        return Next::Unnamed { end: line_end(raw, at).whole };
    }
    let end = line_end(raw, at + colon);
    Next::Field(Field {
        id,
        name: Span::new(at, at + name),
        value: trimmed(raw, at + colon + 1, end.text),
        whole: Span::new(at, end.whole),
        bare_lf: end.bare_lf,
        bare_cr: end.bare_cr,
    })
}

/// Length of a name without the white space that may stand before its colon.
fn name_len(name: &[u8]) -> usize {
    let blanks = name.iter().rev().take_while(|o| matches!(o, b' ' | b'\t')).count();
    name.len() - blanks
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
