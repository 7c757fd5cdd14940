//! A server under test, run through its adapter: one executable that knows how to start, stop
//! and provision it (bench/adapter, the contract is in bench/README.md).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::{SERVER_CPU, tree};
use crate::work::{password, user_name};

/// What a row asks of the server before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Wants {
    /// Users u0000000 upward.
    pub users: u64,
    /// The flood rule: 16 requests in 2 s, then a ban of 300 s; or none, and no guard.
    pub antiflood: bool,
}

/// An adapter and the place where its server listens.
#[derive(Clone, Debug)]
pub struct Adapter {
    program: PathBuf,
    port: u16,
    domain: String,
}

/// A running server; dropping it stops it.
pub struct Running {
    adapter: Adapter,
    folder: PathBuf,
    /// The pids of all its processes.
    pub pids: Vec<u32>,
}

impl Adapter {
    /// The adapter of this name in the folder.
    pub fn new(folder: &Path, name: &str, port: u16, domain: &str) -> Self {
        Self { program: folder.join(name), port, domain: domain.into() }
    }

    /// Its file name: the server's name in the table.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Name and version of the server.
    pub fn describe(&self) -> io::Result<String> {
        self.call(&["describe"], "", false)
    }

    /// Starts the server with an empty store but for the users, in a new folder.
    pub fn start(&self, folder: &Path, wants: Wants) -> io::Result<Running> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let place = folder.to_string_lossy();
        let users = (0..wants.users).map(|number| {
            format!("{}\t{}\t{}\n", user_name(number), self.domain, password(number))
        });
        self.call(&["add-user", &place], &users.collect::<String>(), wants.antiflood)?;
        let file = self.call(&["start", &place], "", wants.antiflood)?;
        let mut running =
            Running { adapter: self.clone(), folder: folder.into(), pids: Vec::new() };
        let listed = fs::read_to_string(file.lines().last().unwrap_or_default())?;
        let roots = listed.split_whitespace().filter_map(|pid| pid.parse().ok());
        running.pids = roots.flat_map(tree).collect();
        Ok(running)
    }

    fn call(&self, words: &[&str], input: &str, antiflood: bool) -> io::Result<String> {
        let mut child = Command::new(&self.program)
            .args(words)
            .env("LAB_PORT", self.port.to_string())
            .env("LAB_DOMAIN", &self.domain)
            .env("LAB_SERVER_CPUS", SERVER_CPU.to_string())
            .env("LAB_ANTIFLOOD", if antiflood { "1" } else { "0" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| self.error(words, &error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // An adapter that reads nothing may have closed it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(self.error(words, &output.status.to_string()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    }

    fn error(&self, words: &[&str], what: &str) -> io::Error {
        io::Error::other(format!("{} {}: {what}", self.program.display(), words.join(" ")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let place = self.folder.to_string_lossy().into_owned();
        if let Err(error) = self.adapter.call(&["stop", &place], "", false) {
            eprintln!("{error}");
        }
    }
}
