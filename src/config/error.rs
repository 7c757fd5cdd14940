//! What is wrong with a config file, and exactly where.

use std::fmt;
use std::path::{Path, PathBuf};

use super::position::{Position, Positions};

/// Why a config was refused; prints as `config.json:12:5: flood.requests: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Where in it, if the file could be read at all.
    pub position: Option<Position>,
    /// The path of the key, if it is about one.
    pub key: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl ConfigError {
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self { file: file.to_owned(), position: None, key: None, message }
    }

    /// The text is no JSON.
    pub(super) fn of_syntax(file: &Path, error: &serde_json::Error) -> Self {
        let position = Position { line: error.line(), column: error.column() };
        let message = format!("this is no JSON: {}", without_place(&error.to_string()));
        Self { position: Some(position), ..Self::of_file(file, message) }
    }

    pub(super) fn of_value(
        file: &Path,
        positions: &Positions,
        key: String,
        message: String,
    ) -> Self {
        let position = Some(positions.value(&key));
        let key = Some(key).filter(|key| !key.is_empty());
        Self { file: file.to_owned(), position, key, message }
    }

    pub(super) fn of_key(file: &Path, positions: &Positions, key: String, message: String) -> Self {
        let position = Some(positions.key(&key));
        Self { file: file.to_owned(), position, key: Some(key), message }
    }

    /// A value of the wrong type or form, or a key nobody knows.
    pub(super) fn of_type(
        file: &Path,
        positions: &Positions,
        path: String,
        error: &serde_json::Error,
    ) -> Self {
        let message = without_place(&error.to_string());
        let path = if path == "." { String::new() } else { path };
        match unknown_key(&message) {
            Some(message) => Self::of_key(file, positions, path, message),
            None => Self::of_value(file, positions, path, message),
        }
    }
}

/// The message without the place serde_json adds, which is that of the end of the value.
fn without_place(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message.get(..end).unwrap_or(message).to_owned()
}

/// Turns serde's "unknown field `a`, expected one of `b`, `c`" into a message that helps.
fn unknown_key(message: &str) -> Option<String> {
    let (unknown, known) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let nearest = known.iter().min_by_key(|key| distance(unknown, key));
    let advice = match nearest {
        Some(key) if distance(unknown, key) <= key.len().min(unknown.len()) / 2 => {
            format!("did you mean \"{key}\"?")
        }
        Some(_) => format!("known here: {}", known.join(", ")),
        None => "nothing may stand here".to_owned(),
    };
    Some(format!("unknown key; {advice}"))
}

/// Levenshtein's distance in bytes, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let change = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = *cell;
            left = change.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("requets", "requests", 1), ("A", "a", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn an_unknown_key_suggests_the_nearest() {
        let message = "unknown field `requets`, expected one of `requests`, `window`";
        assert_eq!(
            unknown_key(message).as_deref(),
            Some("unknown key; did you mean \"requests\"?")
        );
        let message = "unknown field `zzz`, expected `path`";
        assert_eq!(unknown_key(message).as_deref(), Some("unknown key; known here: path"));
        assert_eq!(unknown_key("invalid type: null"), None);
    }
}
