//! All rows as lines of JSON, for backup and migration: a first line with the format number, one
//! line for each row, and a last line with their count and the SHA-256 of everything before it.
//! An export that was cut off or altered is therefore refused as a whole.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Batch, FORMAT, MemoryStore, Store, StoreError, Table, format, hex, now_unix};

/// Stands for the export in errors, since the caller opened it and knows its name.
const PLACE: &str = "export";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The version of these lines, apart from that of the rows in them.
    rempart_export: u32,
    format: u32,
    /// Unix seconds.
    at: u64,
}

/// Text stands as it is, anything else as hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    table: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Foot {
    rows: u64,
    sha256: String,
}

/// Writes every row, except the store's own format number, and returns how many. Commits may go
/// on meanwhile: each row is as it was at some moment between start and end.
pub fn export(store: &dyn Store, out: &mut impl Write) -> Result<u64, StoreError> {
    let mut lines = Lines { out, sum: Sha256::new(), rows: 0 };
    lines.write(&Head { rempart_export: 1, format: FORMAT, at: now_unix() }).map_err(failed)?;
    for table in Table::ALL {
        let mut written = Ok(());
        store.scan(table, b"", &mut |key, value| {
            written = lines.row(table, key, value);
            written.is_ok()
        })?;
        written.map_err(failed)?;
    }
    lines.finish().map_err(failed)
}

/// Puts every row of an export into the store, beside what it holds, in one commit, and returns
/// how many. The whole is checked before anything changes; older formats are migrated.
pub fn import(store: &dyn Store, input: &mut impl BufRead) -> Result<u64, StoreError> {
    let (staged, rows) = read(input)?;
    let mut batch = Batch::new();
    for table in Table::ALL {
        staged.scan(table, b"", &mut |key, value| {
            batch.put(table, key, value);
            true
        })?;
    }
    store.commit(batch)?;
    Ok(rows)
}

/// Reads and checks an export into a store of its own, migrated to [`FORMAT`].
pub(crate) fn read(input: &mut impl BufRead) -> Result<(MemoryStore, u64), StoreError> {
    let mut reader = Reader { input, sum: Sha256::new(), line: String::new(), number: 0 };
    reader.advance()?;
    let head: Head = reader.parse("it is no export of this program")?;
    let format = format::known(head.format, Path::new(PLACE))?;
    let (mut batch, mut rows) = (Batch::new(), 0);
    loop {
        let sum = hex::encode(&reader.sum.clone().finalize());
        reader.advance()?;
        if reader.line.starts_with("{\"rows\":") {
            reader.check_foot(rows, &sum)?;
            break;
        }
        reader.row(&mut batch)?;
        rows += 1;
    }
    let staged = MemoryStore::new();
    staged.commit(batch)?;
    format::migrate(&staged, format)?;
    let mut number = Batch::new();
    format::stamp(&mut number);
    staged.commit(number)?;
    Ok((staged, rows))
}

fn failed(error: io::Error) -> StoreError {
    StoreError::io(Path::new(PLACE), "write the export", error)
}

struct Lines<'a, W> {
    out: &'a mut W,
    sum: Sha256,
    rows: u64,
}

impl<W: Write> Lines<'_, W> {
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sum.update(&text);
        self.out.write_all(&text)
    }

    fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> io::Result<()> {
        if (table, key) == (Table::Meta, format::KEY) {
            return Ok(());
        }
        let (key, key_hex) = as_text(key);
        let (value, value_hex) = as_text(value);
        self.rows += 1;
        self.write(&Line { table: table.name().into(), key, key_hex, value, value_hex })
    }

    fn finish(mut self) -> io::Result<u64> {
        let sha256 = hex::encode(&self.sum.clone().finalize());
        self.write(&Foot { rows: self.rows, sha256 })?;
        self.out.flush()?;
        Ok(self.rows)
    }
}

fn as_text(octets: &[u8]) -> (Option<Cow<'_, str>>, Option<String>) {
    match std::str::from_utf8(octets) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(hex::encode(octets))),
    }
}

fn as_octets(text: Option<Cow<'_, str>>, digits: Option<String>) -> Option<Vec<u8>> {
    match (text, digits) {
        (Some(text), None) => Some(text.into_owned().into_bytes()),
        (None, Some(digits)) => hex::decode(&digits),
        _ => None,
    }
}

struct Reader<'a, R> {
    input: &'a mut R,
    sum: Sha256,
    line: String,
    number: u64,
}

impl<R: BufRead> Reader<'_, R> {
    /// Reads the next line; its sum is taken before, so that the foot can be compared.
    fn advance(&mut self) -> Result<(), StoreError> {
        self.line.clear();
        self.number += 1;
        let read = self.input.read_line(&mut self.line);
        let read =
            read.map_err(|error| StoreError::io(Path::new(PLACE), "read the export", error))?;
        if read == 0 || !self.line.ends_with('\n') {
            return Err(self.bad("it was cut off here"));
        }
        self.sum.update(&self.line);
        Ok(())
    }

    fn row(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let line: Line = self.parse("this is no row")?;
        let table = Table::named(&line.table).ok_or_else(|| self.bad("there is no such table"))?;
        let key = as_octets(line.key, line.key_hex).ok_or_else(|| self.bad("bad key"))?;
        let value = as_octets(line.value, line.value_hex).ok_or_else(|| self.bad("bad value"))?;
        batch.put(table, key, value);
        Ok(())
    }

    fn check_foot(&self, rows: u64, sum: &str) -> Result<(), StoreError> {
        let foot: Foot = self.parse("this is no last line")?;
        if foot.rows != rows {
            return Err(self.bad(format!("{} rows are announced and {rows} are there", foot.rows)));
        }
        if foot.sha256 != sum {
            return Err(self.bad("its checksum does not fit what stands before it"));
        }
        Ok(())
    }

    fn parse<'b, T: Deserialize<'b>>(&'b self, otherwise: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.line).map_err(|error| self.bad(format!("{otherwise} ({error})")))
    }

    fn bad(&self, detail: impl Into<String>) -> StoreError {
        StoreError::BadExport { line: self.number, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(Table::Subscribers, "101@example.org", r#"{"v":1,"md5":"00"}"#);
        batch.put(Table::Keys, [0xffu8], [0u8, 0xfe]);
        store.commit(batch).expect("a commit");
        store
    }

    fn exported() -> Vec<u8> {
        let mut text = Vec::new();
        assert_eq!(export(&filled(), &mut text).expect("an export"), 2);
        text
    }

    fn refusal(text: &[u8]) -> String {
        let store = MemoryStore::new();
        let error = import(&store, &mut &text[..]).expect_err("a refusal");
        assert_eq!(store.get(Table::Subscribers, b"101@example.org").expect("a read"), None);
        error.to_string()
    }

    #[test]
    fn an_import_brings_the_format_number_of_this_release() {
        let store = MemoryStore::new();
        import(&store, &mut exported().as_slice()).expect("an import");
        let number = format::of(&store, Path::new(PLACE)).expect("a number");
        assert_eq!(number, Some(FORMAT));
    }

    #[test]
    fn an_export_cut_anywhere_is_refused() {
        let text = exported();
        for end in 0..text.len() {
            refusal(&text[..end]);
        }
    }

    #[test]
    fn a_changed_octet_anywhere_is_refused() {
        let text = exported();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            refusal(&changed);
        }
    }

    #[test]
    fn an_export_of_a_newer_format_is_refused_by_its_number() {
        let text = String::from_utf8(exported()).expect("text");
        let newer = text.replace("\"format\":1", "\"format\":99");
        assert!(refusal(newer.as_bytes()).contains("written in format 99"));
    }

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a file");
        let error = export(&filled(), &mut full).expect_err("a refusal");
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
    }
}
