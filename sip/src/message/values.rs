//! Comma-separated header values (RFC 3261 section 7.3.1): commas inside quoted strings and
//! angle brackets belong to the value.

use super::octets::{find, quoted_len, trim};

/// Where the first value of a list ends: its comma, or the end of the list.
pub(crate) fn value_end(list: &[u8]) -> usize {
    match find(list, b',') {
        Some(_) => value_end_of_many(list),
        None => list.len(),
    }
}

fn value_end_of_many(list: &[u8]) -> usize {
    let mut at = 0;
    let mut bracket = false;
    while let Some(octet) = list.get(at) {
        at += 1;
        match octet {
            b',' if !bracket => return at - 1,
            b'<' => bracket = true,
            b'>' => bracket = false,
            b'"' => match quoted_len(list.get(at..).unwrap_or_default()) {
                Some(length) => at += length,
                None => return list.len(),
            },
            _ => {}
        }
    }
    list.len()
}

/// The values of one list, trimmed; empty ones are passed over.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    /// The values of one header line or of any other comma-separated text.
    pub fn new(list: &'a [u8]) -> Self {
        Values { rest: list }
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = value_end(self.rest);
            let value = trim(self.rest.get(..end)?);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let list = br#""a, \"b" <sip:x,y@h>;p="1,2" , <sip:z@h>,,*"#;
        let values: Vec<_> = Values::new(list).collect();
        assert_eq!(values[0], br#""a, \"b" <sip:x,y@h>;p="1,2""#);
        assert_eq!(values[1..], [&b"<sip:z@h>"[..], b"*"]);
    }

    #[test]
    fn quote_that_never_closes_makes_one_value() {
        assert_eq!(Values::new(br#""a, b"#).count(), 1);
    }
}
