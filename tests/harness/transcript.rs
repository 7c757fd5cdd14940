//! What was said in one test, in order: printed when the test fails, silent otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How many of the last messages a failure prints.
const PRINTED_MAX: usize = 40;

/// How many octets of one message a failure prints.
const OCTETS_MAX: usize = 1400;

/// A shared, growing log of messages.
#[derive(Clone)]
pub struct Transcript {
    began: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Transcript {
    /// An empty log whose times count from now.
    pub fn new() -> Self {
        Self { began: Instant::now(), lines: Arc::default() }
    }

    /// One line of remark.
    pub fn note(&self, text: &str) {
        let entry = format!("[{:>6} ms] {text}", self.began.elapsed().as_millis());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// A message that left `from` for `to`.
    pub fn message(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(OCTETS_MAX)]);
        let indented = shown.trim_end().replace('\n', "\n    ");
        self.note(&format!("{from} -> {to}, {} octets\n    {indented}", bytes.len()));
    }

    /// The last messages as text.
    pub fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = lines.len().saturating_sub(PRINTED_MAX);
        format!("({skipped} earlier entries)\n{}", lines[skipped..].join("\n"))
    }
}
