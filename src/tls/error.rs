//! Why the TLS settings cannot be used: which key of the config, which file, what to do.

use std::fmt;
use std::path::Path;

/// One sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl TlsError {
    /// About a file that `key` of the config names.
    pub(super) fn of_file(key: &str, file: &Path, what: impl fmt::Display) -> Self {
        Self(format!("{key}: {}: {what}", file.display()))
    }

    /// About `key` of the config.
    pub(super) fn of_key(key: &str, what: impl fmt::Display) -> Self {
        Self(format!("{key}: {what}"))
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}
