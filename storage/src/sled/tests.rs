//! What a [`SledStore`] promises beyond the suite: reopening, locks, formats, damage, room.

use std::fs;

use super::*;

crate::store_suite!(suite, || {
    let folder = tempfile::tempdir().expect("a folder");
    (SledStore::open(folder.path()).expect("a store"), folder)
});

fn put(store: &impl Store, key: &str) {
    let mut batch = Batch::new();
    batch.put(Table::Subscribers, key, "row");
    store.commit(batch).expect("a commit");
}

fn has(store: &impl Store, key: &str) -> bool {
    store.get(Table::Subscribers, key.as_bytes()).expect("a read").is_some()
}

/// Overwrites the database so that it cannot open.
fn destroy(folder: &Path) {
    fs::write(folder.join("sled").join("conf"), "not a configuration").expect("a write");
    let length = fs::metadata(folder.join("sled").join("db")).expect("a file").len();
    fs::write(folder.join("sled").join("db"), vec![0x5a; length as usize]).expect("a write");
}

#[test]
fn rows_are_there_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    put(&SledStore::open(folder.path()).expect("a store"), "101@example.org");
    for _ in 0..3 {
        assert!(has(&SledStore::open(folder.path()).expect("a store"), "101@example.org"));
    }
}

#[test]
fn a_store_that_is_open_is_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let _open = SledStore::open(folder.path()).expect("a store");
    let refused = SledStore::open(folder.path()).expect_err("a refusal");
    assert!(matches!(refused, StoreError::Locked { process: Some(_), .. }), "{refused}");
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("a store");
    let mut batch = Batch::new();
    batch.put(Table::Meta, format::KEY, (crate::FORMAT + 1).to_string());
    store.commit(batch).expect("a commit");
    drop(store);
    let refused = SledStore::open(folder.path()).expect_err("a refusal");
    assert!(matches!(refused, StoreError::NewerFormat { .. }), "{refused}");
}

#[test]
fn an_older_format_is_exported_and_migrated() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("a store");
    put(&store, "101@example.org");
    let mut batch = Batch::new();
    batch.delete(Table::Meta, format::KEY);
    store.commit(batch).expect("a commit");
    drop(store);
    let store = SledStore::open(folder.path()).expect("a store");
    assert_eq!(format::of(&store, folder.path()).expect("a number"), Some(crate::FORMAT));
    assert!(has(&store, "101@example.org"));
    let kept = fs::read_dir(folder.path().join("exports")).expect("exports").flatten();
    let kept = kept.filter(|file| file.file_name().to_string_lossy().starts_with("before-"));
    assert_eq!(kept.count(), 1);
}

#[test]
fn a_damaged_database_is_replaced_by_the_newest_export() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("a store");
    put(&store, "exported@example.org");
    store.export_now().expect("an export");
    put(&store, "later@example.org");
    drop(store);
    destroy(folder.path());
    let store = SledStore::open(folder.path()).expect("a store");
    assert!(has(&store, "exported@example.org"));
    assert!(!has(&store, "later@example.org"));
    let names = fs::read_dir(folder.path()).expect("a folder").flatten();
    let aside = names.filter(|it| it.file_name().to_string_lossy().starts_with("sled.damaged-"));
    assert_eq!(aside.count(), 1);
    drop(store);
    assert!(has(&SledStore::open(folder.path()).expect("a store"), "exported@example.org"));
}

#[test]
fn a_database_moved_aside_is_replaced_by_the_newest_export() {
    let folder = tempfile::tempdir().expect("a folder");
    put(&SledStore::open(folder.path()).expect("a store"), "101@example.org");
    fs::rename(folder.path().join("sled"), folder.path().join("aside")).expect("a rename");
    assert!(has(&SledStore::open(folder.path()).expect("a store"), "101@example.org"));
}

#[test]
fn a_damaged_database_without_export_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(SledStore::open(folder.path()).expect("a store"));
    fs::remove_dir_all(folder.path().join("exports")).expect("a removal");
    destroy(folder.path());
    let refused = SledStore::open(folder.path()).expect_err("a refusal").to_string();
    assert!(refused.contains("no good export") && refused.contains("import"), "{refused}");
}

#[test]
fn a_restore_that_was_interrupted_is_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    put(&SledStore::open(folder.path()).expect("a store"), "101@example.org");
    let (path, fresh) = (folder.path().join("sled"), folder.path().join("sled.restoring"));
    fs::rename(&path, &fresh).expect("a rename");
    assert!(has(&SledStore::open(folder.path()).expect("a store"), "101@example.org"));
    fs::create_dir(&fresh).expect("a folder");
    assert!(has(&SledStore::open(folder.path()).expect("a store"), "101@example.org"));
    assert!(!fresh.exists());
}

#[test]
fn a_changed_store_is_exported_when_it_closes_and_not_again_soon() {
    let folder = tempfile::tempdir().expect("a folder");
    let exports = Exports::new(folder.path(), 3);
    put(&SledStore::open(folder.path()).expect("a store"), "101@example.org");
    let first = exports.newest_good().map(|(path, _)| path);
    assert!(first.is_some());
    put(&SledStore::open(folder.path()).expect("a store"), "102@example.org");
    assert_eq!(exports.newest_good().map(|(path, _)| path), first);
}

#[test]
fn a_commit_without_room_is_refused_and_the_store_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    lock::create_folder(folder.path()).expect("a folder");
    let exports = Exports::new(folder.path(), 3);
    let path = folder.path().join("sled");
    let mut store = Shared::open(folder.path(), &path, exports).expect("a store");
    store.room_min = u64::MAX;
    let mut batch = Batch::new();
    batch.put(Table::Bans, "192.0.2.1/32", "{}");
    let refused = store.commit(batch.clone()).expect_err("a refusal");
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert_eq!(store.get(Table::Bans, b"192.0.2.1/32").expect("a read"), None);
    store.room_min = 0;
    store.commit(batch).expect("a commit");
}
