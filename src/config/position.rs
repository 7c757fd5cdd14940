//! Where each key of a JSON text stands, so that an error about a value, found after parsing, still
//! names line and column. Reads text that serde_json has already accepted; finds repeated keys.

use std::collections::BTreeMap;

/// Line and column, both from 1, as serde_json and editors count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

#[derive(Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
}

/// The places of all keys and values of one JSON text, by path (`flood.requests`, `listen[0]`).
pub struct Positions<'a> {
    text: &'a str,
    places: BTreeMap<String, Place>,
    /// The path of the first key that stands twice in its object.
    pub duplicate: Option<String>,
}

impl<'a> Positions<'a> {
    /// Walks `text`, which must be valid JSON; elsewhere the map is merely incomplete.
    pub fn of(text: &'a str) -> Self {
        let mut walker = Walker { text, at: 0, places: BTreeMap::new(), duplicate: None };
        walker.value(String::new(), 0);
        Self { text, places: walker.places, duplicate: walker.duplicate }
    }

    /// Where the value at `path` stands; of the nearest enclosing one if the path is not there.
    pub fn value(&self, path: &str) -> Position {
        self.position(self.nearest(path).value)
    }

    /// Where the key at `path` stands; an array element counts as its own key.
    pub fn key(&self, path: &str) -> Position {
        self.position(self.nearest(path).key)
    }

    fn nearest(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or(""),
                None => return self.places.get("").copied().unwrap_or(Place { key: 0, value: 0 }),
            }
        }
    }

    fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before.get(start..).unwrap_or("").chars().count() + 1,
        }
    }
}

/// Joins a path and a key.
pub fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct Walker<'a> {
    text: &'a str,
    at: usize,
    places: BTreeMap<String, Place>,
    duplicate: Option<String>,
}

impl Walker<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn value(&mut self, path: String, key: usize) {
        self.skip_blanks();
        let place = Place { key, value: self.at };
        match self.peek() {
            Some(b'{') => self.object(&path),
            Some(b'[') => self.array(&path),
            Some(b'"') => drop(self.string()),
            _ => self.scalar(),
        }
        if self.places.insert(path.clone(), place).is_some() {
            self.duplicate.get_or_insert(path);
        }
    }

    fn object(&mut self, path: &str) {
        self.at += 1;
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'"') => {
                    let key = self.at;
                    let name = self.string();
                    self.skip_blanks();
                    self.at += 1;
                    self.value(child(path, &name), key);
                }
                Some(b',') => self.at += 1,
                Some(_) => return self.at += 1,
                None => return,
            }
        }
    }

    fn array(&mut self, path: &str) {
        self.at += 1;
        let mut index = 0;
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.at += 1,
                Some(_) => {
                    self.value(format!("{path}[{index}]"), self.at);
                    index += 1;
                }
                None => return,
            }
        }
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        let quoted = self.text.get(start..self.at).unwrap_or("\"\"");
        serde_json::from_str(quoted).unwrap_or_default()
    }

    fn scalar(&mut self) {
        let start = self.at;
        while self.peek().is_some_and(|byte| !b",]} \t\r\n".contains(&byte)) {
            self.at += 1;
        }
        // Something that is no JSON must not stand still.
        self.at = self.at.max(start + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "{\n  \"a\": {\n    \"b\\n\": [1, \"ü}\", {\"c\": true}], \"d\": null\n  }\n}";

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn keys_and_values_are_found() {
        let positions = Positions::of(TEXT);
        assert_eq!(positions.key("a"), at(2, 3));
        assert_eq!(positions.value("a"), at(2, 8));
        assert_eq!(positions.value("a.b\n[1]"), at(3, 16));
        assert_eq!(positions.key("a.b\n[2].c"), at(3, 23));
        assert_eq!(positions.value("a.d"), at(3, 41));
    }

    #[test]
    fn an_absent_key_is_placed_at_its_object() {
        assert_eq!(Positions::of(TEXT).value("a.x.y"), at(2, 8));
        assert_eq!(Positions::of(TEXT).value("x"), at(1, 1));
    }

    #[test]
    fn a_repeated_key_is_found_in_its_own_object_only() {
        assert_eq!(Positions::of(TEXT).duplicate, None);
        let twice = Positions::of(r#"{"a": {"x": 1}, "b": {"x": 1, "x": 2}}"#);
        assert_eq!(twice.duplicate.as_deref(), Some("b.x"));
        assert_eq!(twice.key("b.x"), at(1, 31));
    }

    #[test]
    fn broken_text_ends_the_walk() {
        for text in ["", "{", "[", "{\"a", "{\"a\":", "[1,", "}", "\"\\"] {
            Positions::of(text);
        }
    }
}
