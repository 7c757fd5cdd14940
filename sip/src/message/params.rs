//! Parameters of a header value or URI: `;name=value;flag` (RFC 3261 section 25.1).

use super::octets::{find, find_unquoted, trim};

/// A parameter list, read when asked. White space round `;` and `=` is allowed, quotes are kept
/// off the values, empty parameters are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    text: &'a [u8],
}

impl<'a> Params<'a> {
    /// A list from its text, with or without the first semicolon.
    pub fn new(text: &'a [u8]) -> Self {
        Params { text }
    }

    /// The list as written.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.text
    }

    /// The value of the first parameter of that name (any case); empty for a flag.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// Each parameter's name and value; no value for a flag.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        Pieces { rest: Some(self.text) }.filter(|piece| !piece.is_empty()).map(split_value)
    }

    /// False when a semicolon has no parameter behind it, as in `;;` (RFC 4475 section 3.1.2.1).
    pub(crate) fn well_separated(&self) -> bool {
        let text = trim(self.text);
        let text = text.strip_prefix(b";").unwrap_or(text);
        self.text.is_empty() || Pieces { rest: Some(text) }.all(|piece| !piece.is_empty())
    }

    /// Every stretch between semicolons outside quotes, untrimmed, empty ones too.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Stretches { rest: Some(self.text) }
    }
}

fn split_value(piece: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(equals) = find(piece, b'=') else { return (piece, None) };
    let (name, value) = piece.split_at(equals);
    (trim(name), Some(unquote(trim(value.get(1..).unwrap_or_default()))))
}

/// The inside of a quoted string, escapes left in; anything else as it is.
pub(crate) fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

struct Stretches<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Stretches<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = find_unquoted(rest, b';').unwrap_or(rest.len());
        self.rest = rest.get(end + 1..);
        rest.get(..end)
    }
}

struct Pieces<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut stretches = Stretches { rest: self.rest };
        let piece = stretches.next().map(trim);
        self.rest = stretches.rest;
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_values_and_quoted_semicolons_are_told_apart() {
        let params = Params::new(b";lr; a = \"x;y\" ;b=1;+sip.instance=\"<urn:uuid:0>\"");
        assert_eq!(params.get("LR"), Some(&b""[..]));
        assert_eq!(params.get("a"), Some(&b"x;y"[..]));
        assert_eq!(params.get("B"), Some(&b"1"[..]));
        assert_eq!(params.get("+sip.instance"), Some(&b"<urn:uuid:0>"[..]));
        assert_eq!(params.get("c"), None);
        assert_eq!(params.iter().count(), 4);
    }

    #[test]
    fn folded_white_space_is_no_part_of_a_value() {
        let params = Params::new(b"\r\n  ;\r\n tag\r\n = 98asjd8\r\n ");
        assert_eq!(params.get("tag"), Some(&b"98asjd8"[..]));
    }

    #[test]
    fn empty_parameters_are_passed_over_and_told() {
        assert_eq!(Params::new(b";;a;;").iter().count(), 1);
        assert!(!Params::new(b";;a").well_separated());
        assert!(!Params::new(b";a;").well_separated());
        assert!(Params::new(b";a;b=1").well_separated());
        assert!(Params::new(b"").well_separated());
    }
}
