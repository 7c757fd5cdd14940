//! `rempart subscriber import`: a file of users, read as it comes, loaded in batches. A refused
//! line is named on standard error and the rest is loaded; the command fails only if nothing was.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::admin::{Account, AdminReply, AdminRequest, ImportRow, RefusedRow, Secret};
use crate::cli::listing::{say, shown};
use crate::cli::{Desk, Failure};
use crate::config::Config;

/// Users made durable together.
const BATCH_ROWS: usize = 2_000;
/// Bytes of one batch at most, well within a line of the control socket.
const BATCH_BYTES: usize = 256 * 1_024;
/// Longest line read, in bytes.
const LINE_MAX: usize = 4_096;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The file; `-` is standard input. Empty lines and lines that start with # are passed over
    #[arg(value_name = "FILE.tsv")]
    file: PathBuf,
}

impl Import {
    /// Loads the file.
    pub fn load(&self, config: Config) -> Result<(), Failure> {
        let (input, size) = open(&self.file)?;
        let bar = bar(size);
        let mut load = Load {
            desk: Desk::open(config)?,
            file: &self.file,
            bar: &bar,
            rows: Vec::new(),
            refused: Vec::new(),
            bytes: 0,
            loaded: 0,
            refusals: 0,
        };
        load.read(BufReader::new(bar.wrap_read(input)))?;
        bar.finish_and_clear();
        let (loaded, refused) = (load.loaded, load.refusals);
        if loaded == 0 && refused > 0 {
            let file = self.file.display();
            return Err(Failure::Message(format!("{file}: nothing loaded, {refused} refused")));
        }
        Ok(say(&format!("loaded {loaded}, refused {refused}"))?)
    }
}

fn open(file: &Path) -> Result<(Box<dyn Read>, u64), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let failed =
        |error: io::Error| Failure::Message(format!("{}: cannot read it: {error}", file.display()));
    let input = File::open(file).map_err(failed)?;
    let size = input.metadata().map_err(failed)?.len();
    Ok((Box::new(input), size))
}

/// Progress on a terminal, nothing in a pipe.
fn bar(size: u64) -> ProgressBar {
    if size == 0 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent}%  {msg}  {eta} left");
    let bar = ProgressBar::new(size);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

struct Load<'a> {
    desk: Desk,
    file: &'a Path,
    bar: &'a ProgressBar,
    rows: Vec<ImportRow>,
    refused: Vec<RefusedRow>,
    bytes: usize,
    loaded: u64,
    refusals: u64,
}

impl Load<'_> {
    fn read(&mut self, mut input: impl BufRead) -> Result<(), Failure> {
        let file = self.file.display().to_string();
        let mut line = Vec::new();
        for number in 1.. {
            let complete = read_line(&mut input, &mut line)
                .map_err(|error| Failure::Message(format!("{file}:{number}: {error}")))?;
            let Some(complete) = complete else { break };
            match if complete { parse(&line) } else { Err("is too long".to_owned()) } {
                Ok(None) => {}
                Ok(Some(account)) => self.rows.push(ImportRow { line: number, account }),
                Err(reason) => self.refused.push(RefusedRow { line: number, reason }),
            }
            self.bytes += line.len();
            if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            let request = AdminRequest::SubscriberImport { rows: std::mem::take(&mut self.rows) };
            let refused = &mut self.refused;
            let done = self.desk.ask(&request, &mut |row| {
                if let AdminReply::Refused(row) = row {
                    refused.push(row);
                }
            })?;
            self.loaded += done.count;
        }
        self.refused.sort_by_key(|row| row.line);
        for RefusedRow { line, reason } in self.refused.drain(..) {
            let text = format!("{}:{line}: {}", self.file.display(), shown(&reason));
            self.refusals += 1;
            self.bar.suspend(|| eprintln!("{text}"));
        }
        self.bytes = 0;
        self.bar.set_message(format!("{} loaded", self.loaded));
        Ok(())
    }
}

/// Reads one line without its end. `None` at the end of the input; false if it was cut because it
/// is too long, and then all of it is passed over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    if input.take(LINE_MAX as u64 + 1).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    let complete = line.len() <= LINE_MAX || line.ends_with(b"\n");
    if !complete {
        while !line.ends_with(b"\n") {
            line.clear();
            if input.take(LINE_MAX as u64).read_until(b'\n', line)? == 0 {
                break;
            }
        }
    }
    Ok(Some(complete))
}

/// One line: user TAB domain TAB secret. `None` for a line without a user.
fn parse(line: &[u8]) -> Result<Option<Account>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let columns: Vec<&str> = text.split('\t').collect();
    match columns.as_slice() {
        ["", ..] => Err("the user is empty".to_owned()),
        [_, "", _] => Err("the domain is empty".to_owned()),
        [user, domain, secret] => {
            let secret = Secret::read(secret);
            Ok(Some(Account { user: format!("{user}@{domain}"), secret }))
        }
        columns => Err(format!(
            "has {} columns instead of 3: user TAB domain TAB password or ha1:HEX",
            columns.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_user_domain_and_secret() {
        let account = parse(b"alice\ta.example\ts3 cret\r\n").expect("a line").expect("a user");
        assert_eq!(account.user, "alice@a.example");
        assert_eq!(account.secret, Secret::Password("s3 cret".to_owned()));
        let account = parse(b"alice\ta.example\tha1:00").expect("a line").expect("a user");
        assert_eq!(account.secret, Secret::Ha1("00".to_owned()));
    }

    #[test]
    fn lines_without_a_user_are_passed_over() {
        for line in ["", "\n", "\r\n", "# user\tdomain\tpassword\n"] {
            assert_eq!(parse(line.as_bytes()), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["alice", "alice\ta", "alice\ta\tb\tc", "\ta\tb", "a\t\tb"] {
            assert!(parse(line.as_bytes()).is_err(), "{line:?}");
        }
        assert_eq!(parse(b"\xff\ta\tb"), Err("is not UTF-8".to_owned()));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_whole() {
        let mut text = vec![b'x'; 3 * LINE_MAX];
        text.extend_from_slice(b"\nnext\nlast");
        let (mut input, mut line) = (text.as_slice(), Vec::new());
        assert_eq!(read_line(&mut input, &mut line).ok(), Some(Some(false)));
        assert_eq!(read_line(&mut input, &mut line).ok(), Some(Some(true)));
        assert_eq!(line, b"next\n");
        assert_eq!(read_line(&mut input, &mut line).ok(), Some(Some(true)));
        assert_eq!(line, b"last");
        assert_eq!(read_line(&mut input, &mut line).ok(), Some(None));
    }
}
