//! The command line of the real binary, as an operator types it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where cargo put the binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_rempart");

/// A finished command.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code, -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Fails the test unless the command exited with 0.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "the command succeeds: {}{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        let read = serde_json::from_str(&self.stdout);
        read.unwrap_or_else(|error| panic!("JSON expected ({error}): {}", self.stdout))
    }
}

/// Runs `rempart --config FILE ARGS` with this standard input.
pub fn run(config: &Path, args: &[&str], input: &str) -> Finished {
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(config).args(args);
    if let Some(folder) = config.parent() {
        command.current_dir(folder);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A command that reads nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("the command ends");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
