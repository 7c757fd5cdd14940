//! The `name=value` list of a Digest header field, in either direction (RFC 7616 section 3.4).

use std::borrow::Cow;

use super::BadCredentials;
use crate::message::octets::{find, is_lws, is_token, quoted_len, trim_start};

/// Iterates over the fields after the scheme. Commas in quotes are no separators; white space may
/// stand round `=` and `,`, and a list may hold empty elements (RFC 9110 section 5.6.1).
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a value whose scheme is Digest.
    pub fn of_digest(value: &'a [u8]) -> Result<Self, BadCredentials> {
        let value = trim_start(value);
        let (scheme, rest) = value.split_at_checked(DIGEST.len()).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(DIGEST) || !rest.first().is_none_or(|&byte| is_lws(byte)) {
            return Err(BadCredentials::OtherScheme);
        }
        Ok(Self { rest })
    }

    fn field(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let end = self.rest.iter().position(|&byte| !is_token(byte)).filter(|&end| end > 0)?;
        let (name, rest) = self.rest.split_at(end);
        let rest = trim_start(trim_start(rest).strip_prefix(b"=")?);
        let (value, rest) = split_value(rest)?;
        let rest = trim_start(rest);
        self.rest = if rest.is_empty() { rest } else { rest.strip_prefix(b",")? };
        Some((name, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    /// Name and raw value; `Err` ends the list.
    type Item = Result<(&'a [u8], &'a [u8]), BadCredentials>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = trim_start(self.rest);
        while let Some(rest) = self.rest.strip_prefix(b",") {
            self.rest = trim_start(rest);
        }
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = b"";
        }
        Some(field.ok_or(BadCredentials::Malformed("Bad digest field")))
    }
}

const DIGEST: &[u8] = b"Digest";

/// A quoted string without its quotes, or what stands before the next comma or white space.
fn split_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let (inside, rest) = quoted.split_at_checked(quoted_len(quoted)?)?;
        return Some((inside.strip_suffix(b"\"")?, rest));
    }
    let end = |&byte: &u8| byte == b',' || byte == b'"' || is_lws(byte);
    Some(text.split_at(text.iter().position(end).unwrap_or(text.len())))
}

/// Undoes the quoted pairs of a quoted string's inside; copies only where there are any.
pub(super) fn unescape(inside: &[u8]) -> Cow<'_, [u8]> {
    if find(inside, b'\\').is_none() {
        return Cow::Borrowed(inside);
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut octets = inside.iter().copied();
    while let Some(octet) = octets.next() {
        out.push(if octet == b'\\' { octets.next().unwrap_or(octet) } else { octet });
    }
    Cow::Owned(out)
}

/// Appends text as a quoted string.
pub(super) fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(octet);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(value: &str) -> Result<Vec<(String, String)>, BadCredentials> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Fields::of_digest(value.as_bytes())?
            .map(|field| field.map(|(name, value)| (text(name), text(value))))
            .collect()
    }

    #[test]
    fn spaces_folds_and_quoted_commas_are_understood() {
        let found =
            fields("Digest  a = \"x,y\" ,\r\n b=1,,c\t=\t\"q\\\"z\",").expect("good fields");
        let expected = [("a", "x,y"), ("b", "1"), ("c", "q\\\"z")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_scheme_is_a_whole_word_in_any_case() {
        assert!(fields("DIGEST a=1").is_ok_and(|fields| fields.len() == 1));
        assert!(fields("Digest").is_ok_and(|fields| fields.is_empty()));
        for value in ["", "Digesta=1", "Basic abc", "Dig"] {
            assert_eq!(fields(value), Err(BadCredentials::OtherScheme), "{value}");
        }
    }

    #[test]
    fn broken_lists_are_malformed() {
        for value in ["a", "=1", "a=\"x", "a=\"x\\\"", "a=\"x\"y", "a=1 b=2", "a b=1", "a=x\"y\""] {
            let found = fields(&format!("Digest {value}"));
            assert_eq!(found, Err(BadCredentials::Malformed("Bad digest field")), "{value}");
        }
    }

    #[test]
    fn quoting_is_undone_by_unescaping() {
        assert_eq!(unescape(b"plain"), Cow::Borrowed(b"plain"));
        assert_eq!(unescape(br#"a\"b\\c\d\"#).as_ref(), br#"a"b\cd\"#);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(bytes: Vec<u8>) {
            let value = [&b"Digest "[..], &bytes].concat();
            for fields in [Fields::of_digest(&bytes), Fields::of_digest(&value)] {
                let _ = fields.map(Iterator::count);
            }
        }

        #[test]
        fn what_is_quoted_is_read_back(text: Vec<u8>) {
            let mut value = b"Digest a=".to_vec();
            write_quoted(&mut value, &text);
            let mut fields = Fields::of_digest(&value).expect("Digest");
            let (_, inside) = fields.next().expect("a field").expect("a good one");
            let back = unescape(inside).into_owned();
            prop_assert_eq!(back, text);
        }
    }
}
