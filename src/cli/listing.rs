//! Listings: a table for people, a JSON array for programs. The array is written row by row, so
//! that a long one costs no memory.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// One listing on its way to standard output.
pub struct Listing {
    form: Form,
    error: Option<io::Error>,
    /// What is said instead of an empty table.
    empty: &'static str,
}

enum Form {
    Table(Box<Table>),
    Json { rows: usize },
}

impl Listing {
    /// A listing with these columns for people; `empty` is said on standard error if none comes.
    pub fn new(json: bool, columns: &[&str], empty: &'static str) -> Self {
        let form = if json {
            Form::Json { rows: 0 }
        } else {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(columns.iter().map(|column| column.to_uppercase()));
            Form::Table(Box::new(table))
        };
        Self { form, error: None, empty }
    }

    /// Adds a row. An error of the output is kept for [`end`](Self::end).
    pub fn row(&mut self, row: &impl Serialize, cells: &[&str]) {
        match &mut self.form {
            Form::Table(table) => drop(table.add_row(cells.iter().map(|cell| shown(cell)))),
            Form::Json { rows } => {
                let lead = if *rows == 0 { "[\n" } else { ",\n" };
                *rows += 1;
                if self.error.is_none() {
                    self.error = write_json(lead, row).err();
                }
            }
        }
    }

    /// Writes what is left.
    pub fn end(self) -> io::Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut out = io::stdout().lock();
        match self.form {
            Form::Table(table) if table.row_count() == 0 => {
                eprintln!("{}", self.empty);
                Ok(())
            }
            Form::Table(table) => {
                for line in table.lines() {
                    writeln!(out, "{}", line.trim_start_matches(' ').trim_end())?;
                }
                Ok(())
            }
            Form::Json { rows: 0 } => writeln!(out, "[]"),
            Form::Json { .. } => writeln!(out, "\n]"),
        }
    }
}

fn write_json(lead: &str, row: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(lead.as_bytes())?;
    Ok(serde_json::to_writer(&mut out, row)?)
}

/// Text as a terminal may see it: what came from the network must not move its cursor.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// One line on standard output.
pub fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{}", shown(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
