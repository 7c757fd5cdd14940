//! Files that are looked at again and again: renewed certificates come into force by themselves.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What shows that a file is another than before, whichever tool put it there.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Some files as they were at the last look.
pub(super) struct Watch {
    files: Vec<(PathBuf, Option<Stamp>)>,
    /// Something changed at the last look.
    moving: bool,
}

impl Watch {
    /// Looks at the files for the first time.
    pub(super) fn over(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamped = |file: PathBuf| {
            let stamp = stamp(&file);
            (file, stamp)
        };
        Self { files: files.into_iter().map(stamped).collect(), moving: false }
    }

    /// Whether the files are others than when they were last in force. A change is told when
    /// nothing moved for one look: a certificate and its key are written one after the other.
    pub(super) fn settled(&mut self) -> bool {
        let mut changed = false;
        for (file, old) in &mut self.files {
            let now = stamp(file);
            changed |= now != *old;
            *old = now;
        }
        std::mem::replace(&mut self.moving, changed) && !changed
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    let (written, changed) = (found.mtime(), found.ctime());
    let parts = (written, found.mtime_nsec(), changed, found.ctime_nsec());
    Some((found.dev(), found.ino(), found.len(), parts.0, parts.1, parts.2, parts.3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_it_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, "1").expect("written");
        let mut watch = Watch::over([one.clone(), two.clone()]);
        assert!(!watch.settled());
        std::fs::write(&one, "12").expect("written");
        assert!(!watch.settled(), "it may go on");
        std::fs::write(&two, "1").expect("written");
        assert!(!watch.settled(), "it went on");
        assert!(watch.settled());
        assert!(!watch.settled());
        std::fs::remove_file(&two).expect("removed");
        assert!(!watch.settled());
        assert!(watch.settled());
    }
}
