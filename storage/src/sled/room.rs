//! How much room a disk has, asked before each commit.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::StoreError;

/// Fails where fewer octets are free for us than wanted. A system that does not say is trusted.
pub(super) fn require(path: &Path, octets: u64) -> Result<(), StoreError> {
    match free(path) {
        Some(free) if free < octets => Err(StoreError::Full { path: path.to_path_buf() }),
        _ => Ok(()),
    }
}

/// Octets that this user may still write to the file system of `path`.
fn free(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with NUL, and the kernel fills the struct where it returns 0.
    let answer = unsafe {
        if libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) != 0 {
            return None;
        }
        answer.assume_init()
    };
    Some(answer.f_bavail.saturating_mul(answer.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_for_an_octet_and_not_for_all_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        require(folder.path(), 1).expect("room");
        let refused = require(folder.path(), u64::MAX);
        assert!(matches!(refused, Err(StoreError::Full { .. })));
    }
}
