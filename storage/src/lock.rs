//! One process at a time: an advisory lock on a file that is never renamed or removed, so that
//! it holds while the database or the journal beside it is replaced.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::StoreError;

/// Creates the folder where needed, for its owner's eyes only: it holds digest secrets.
pub(crate) fn create_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| StoreError::io(folder, "create the folder", error))
}

/// Takes the lock, which the returned file holds until it is dropped or the process ends.
pub(crate) fn hold(path: &Path) -> Result<File, StoreError> {
    let failed = |error| StoreError::io(path, "open the lock file", error);
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            // The number is a courtesy to whoever is refused; the lock does not depend on it.
            drop(sign(&mut file));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Locked { path: path.to_path_buf(), process: signature(&mut file) })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn signature(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes a rename or a new file in the folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_refuses_and_names_its_holder_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let held = hold(&path).expect("a free lock");
        let refused = hold(&path).expect_err("a held lock");
        let id = std::process::id();
        assert!(
            matches!(refused, StoreError::Locked { process: Some(found), .. } if found == id),
            "{refused}"
        );
        drop(held);
        hold(&path).expect("a free lock");
    }
}
