//! Text of a fixed length, kept in place: what goes on the wire without an allocation.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` characters of `A-Za-z0-9_-`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token<const N: usize>([u8; N]);

impl<const N: usize> Token<N> {
    /// Four characters for every three octets.
    pub(super) fn encode<const OCTETS: usize>(octets: &[u8; OCTETS]) -> Self {
        const { assert!(OCTETS.is_multiple_of(3) && OCTETS / 3 * 4 == N) };
        let mut text = [b'A'; N];
        // The lengths fit, as checked when compiled.
        let _ = URL_SAFE_NO_PAD.encode_slice(octets, &mut text);
        Self(text)
    }

    /// The text as octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for Token<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Token<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The octets of a text made by `Token::encode`; `None` for any other text.
pub(super) fn decode<const OCTETS: usize>(text: &[u8]) -> Option<[u8; OCTETS]> {
    let mut octets = [0; OCTETS];
    (decode_into(text, &mut octets)? == OCTETS).then_some(octets)
}

/// Decodes a text of any length into `octets`, and says how many it took.
pub(super) fn decode_into(text: &[u8], octets: &mut [u8]) -> Option<usize> {
    URL_SAFE_NO_PAD.decode_slice(text, octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_their_octets() {
        let token = Token::<8>::encode(b"\xff\xfe\0abc");
        assert_eq!(token.as_str(), "__4AYWJj");
        assert_eq!(decode(token.as_bytes()), Some(*b"\xff\xfe\0abc"));
    }

    #[test]
    fn other_lengths_and_alphabets_do_not_decode() {
        for text in ["", "AAAA", "AAAAAAA", "AAAAAAAAA", "AAAAAAAAAAAA", "AAAA+AAA", "AAAAAAA="] {
            assert_eq!(decode::<6>(text.as_bytes()), None, "{text}");
        }
    }
}
