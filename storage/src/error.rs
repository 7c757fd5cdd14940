//! What can go wrong in a store. Every message names the place and what to do about it, because
//! it is what an operator reads when the server does not start.

use std::io;
use std::path::{Path, PathBuf};

use crate::Table;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "{}: in use by another process{}; stop that one, or give the command to it through its \
         control socket (same --config)",
        path.display(), holder(*process)
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, where it is known.
        process: Option<u32>,
    },
    /// What is on disk is not what was written.
    #[error("{}: damaged ({detail}); {remedy}", path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What was found.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// A later release wrote it.
    #[error(
        "{}: written in format {found}, and this release knows formats up to {known}; run the \
         release that wrote it, or one that is newer",
        path.display()
    )]
    NewerFormat {
        /// The store, journal or export.
        path: PathBuf,
        /// Its format number.
        found: u32,
        /// The newest this release reads.
        known: u32,
    },
    /// There is no room on the disk.
    #[error("{}: the disk is full; make room there, nothing was changed", path.display())]
    Full {
        /// Where there is no room.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A row that does not read as what its table holds.
    #[error("row {key:?} of table {table} is unreadable ({detail}); remove it and add it again")]
    BadRow {
        /// The table.
        table: Table,
        /// The key, as text.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An export that cannot be imported; nothing was changed.
    #[error("export, line {line}: {detail}; nothing was imported, use an older export")]
    BadExport {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
}

impl StoreError {
    /// What an error of the operating system means for a store: no room, or the error itself.
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, doing, source },
        }
    }
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" (process {id})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_the_process_and_the_way_out() {
        let error = StoreError::Locked { path: "data/lock".into(), process: Some(7) };
        assert_eq!(
            error.to_string(),
            "data/lock: in use by another process (process 7); stop that one, or give the \
             command to it through its control socket (same --config)"
        );
    }

    #[test]
    fn no_space_left_is_full_and_not_an_io_error() {
        let source = io::Error::from_raw_os_error(libc::ENOSPC);
        let error = StoreError::io(Path::new("data"), "write", source);
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
    }
}
