//! Parameters of a URI, until `message` has them.

/// A list of `;name=value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    text: &'a [u8],
}

impl<'a> Params<'a> {
    /// A list from its text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The value of the first parameter of that name; empty for a flag.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// Each parameter's name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let pieces = self.text.split(|&byte| byte == b';').filter(|piece| !piece.is_empty());
        pieces.map(|piece| super::split_at(piece, b'='))
    }
}
