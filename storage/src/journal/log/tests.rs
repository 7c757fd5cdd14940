//! What a [`Log`] promises: what was flushed is found again, whatever happened to the tail, the
//! disk, or the file meanwhile.

use std::collections::BTreeMap;

use super::*;

type Names = BTreeMap<String, Vec<u8>>;

fn empty_is_dead(value: &[u8], _: u64) -> bool {
    value.is_empty()
}

fn open(folder: &Path) -> (Log, Names) {
    open_with(folder, COMPACT_MIN)
}

fn open_with(folder: &Path, compact_min: u64) -> (Log, Names) {
    let mut names = Names::new();
    let log = Log::open_with(folder, empty_is_dead, compact_min, &mut |name, value| {
        names.insert(name.to_owned(), value.to_vec());
    });
    names.retain(|_, value| !value.is_empty());
    (log.expect("a log"), names)
}

fn append(log: &Log, name: &str, value: &str) {
    log.append(name, |out| out.extend_from_slice(value.as_bytes()));
}

fn names(pairs: &[(&str, &str)]) -> Names {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn file(folder: &Path) -> PathBuf {
    folder.join("bindings.journal")
}

#[test]
fn the_latest_value_of_each_name_is_found_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, found) = open(folder.path());
    assert!(found.is_empty());
    for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "")] {
        append(&log, name, value);
    }
    drop(log);
    assert_eq!(open(folder.path()).1, names(&[("a", "3"), ("c", "4")]));
}

#[test]
fn what_was_flushed_is_in_the_file_before_any_sync_or_drop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    append(&log, "a", "1");
    log.flush().expect("a flush");
    append(&log, "b", "lost with the process");
    // What kill -9 leaves is the file as it is now.
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::copy(file(folder.path()), file(copy.path())).expect("a copy");
    assert_eq!(open(copy.path()).1, names(&[("a", "1")]));
}

#[test]
fn a_file_cut_at_any_octet_opens_and_takes_new_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    ["1", "22", "333"].iter().for_each(|value| append(&log, value, value));
    drop(log);
    let whole = std::fs::read(file(folder.path())).expect("a file");
    for cut in 0..whole.len() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(file(folder.path()), &whole[..cut]).expect("a write");
        let (log, before) = open(folder.path());
        append(&log, "new", "value");
        drop(log);
        let (_, after) = open(folder.path());
        assert_eq!(after.len(), before.len() + 1, "cut at {cut}");
        assert_eq!(after.get("new"), Some(&b"value".to_vec()), "cut at {cut}");
    }
}

#[test]
fn a_record_damaged_in_the_middle_costs_itself_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    ["one", "two", "three"].iter().for_each(|value| append(&log, value, value));
    drop(log);
    let mut octets = std::fs::read(file(folder.path())).expect("a file");
    let at = octets.windows(3).position(|three| three == b"two").expect("the record");
    octets[at] ^= 1;
    std::fs::write(file(folder.path()), octets).expect("a write");
    assert_eq!(open(folder.path()).1, names(&[("one", "one"), ("three", "three")]));
}

#[test]
fn a_damaged_header_moves_the_file_aside_and_starts_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(file(folder.path()), [7; 100]).expect("a write");
    let (log, found) = open(folder.path());
    assert!(found.is_empty());
    append(&log, "a", "1");
    drop(log);
    assert_eq!(open(folder.path()).1, names(&[("a", "1")]));
    let entries = std::fs::read_dir(folder.path()).expect("a folder").flatten();
    let aside = entries.filter(|it| it.file_name().to_string_lossy().contains(".damaged-"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut header = Marks { marker: 1, seed: 2 }.header();
    header[8] = 2;
    let sum = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(file(folder.path()), header).expect("a write");
    let refused = Log::open(folder.path(), empty_is_dead, &mut |_, _| {}).expect_err("a refusal");
    assert!(matches!(refused, StoreError::NewerFormat { found: 2, .. }), "{refused}");
    assert_eq!(std::fs::read(file(folder.path())).expect("a file"), header);
}

#[test]
fn an_open_log_is_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let _open = open(folder.path());
    let refused = Log::open(folder.path(), empty_is_dead, &mut |_, _| {}).expect_err("a refusal");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
}

#[test]
fn a_full_disk_is_told_by_each_flush_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a file");
    let real = std::mem::replace(&mut log.shared.disk.lock().file, Arc::new(full));
    for name in ["a", "b"] {
        append(&log, name, "1");
        let error = log.flush().expect_err("a refusal");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    log.shared.disk.lock().file = real;
    append(&log, "c", "1");
    log.flush().expect("a flush");
    drop(log);
    assert_eq!(open(folder.path()).1, names(&[("a", "1"), ("b", "1"), ("c", "1")]));
}

#[test]
fn compaction_keeps_the_latest_of_the_living() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    for value in 0..100 {
        append(&log, "a", &value.to_string());
        append(&log, "b", &value.to_string());
        append(&log, "gone", &value.to_string());
    }
    append(&log, "gone", "");
    log.flush().expect("a flush");
    let before = log.size();
    log.shared.compact().expect("a compaction");
    assert!(log.size() < before / 50, "{} of {before} octets are left", log.size());
    append(&log, "c", "1");
    drop(log);
    assert_eq!(open(folder.path()).1, names(&[("a", "99"), ("b", "99"), ("c", "1")]));
}

#[test]
fn a_compaction_that_was_interrupted_leaves_the_old_file_in_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    append(&log, "a", "1");
    drop(log);
    let half = unfinished(&file(folder.path()));
    std::fs::write(&half, "half").expect("a write");
    assert_eq!(open(folder.path()).1, names(&[("a", "1")]));
    assert!(!half.exists());
}

#[test]
fn compaction_under_concurrent_appends_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..5_000 {
                    let name = format!("{thread}-{}", number % 100);
                    append(log, &name, &format!("{number:0200}"));
                    if number % 10 == 9 {
                        log.flush().expect("a flush");
                    }
                }
            });
        }
        for _ in 0..20 {
            log.shared.compact().expect("a compaction");
        }
    });
    log.shared.compact().expect("a compaction");
    drop(log);
    let found = open(folder.path()).1;
    assert_eq!(found.len(), 400);
    for (name, value) in found {
        let slot: u32 = name.rsplit('-').next().and_then(|slot| slot.parse().ok()).expect("a slot");
        assert_eq!(value, format!("{:0200}", 4_900 + slot).into_bytes(), "{name}");
    }
}

#[test]
fn a_file_of_mostly_old_values_is_due_and_a_small_or_live_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open_with(folder.path(), 1_000);
    let filler = "x".repeat(200);
    let due = |log: &Log| {
        let disk = log.shared.disk.lock();
        disk.end > 1_000 && disk.end > 2 * disk.live
    };
    append(&log, "a", &filler);
    log.flush().expect("a flush");
    assert!(!due(&log));
    drop(log);
    let (log, _) = open(folder.path());
    (0..10).for_each(|name| append(&log, &name.to_string(), &filler));
    log.flush().expect("a flush");
    assert!(due(&log));
    log.shared.compact().expect("a compaction");
    assert!(!due(&log));
    drop(log);
    assert!(!due(&open(folder.path()).0));
}

#[test]
fn a_file_to_be_rewritten_is_compacted_beside_and_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    (0..100).for_each(|value| append(&log, "a", &value.to_string()));
    log.flush().expect("a flush");
    let before = log.size();
    log.shared.disk.lock().rewrite = true;
    let mut compaction = compaction::Compaction::default();
    compaction.start_if_due(&log.shared);
    compaction.finish();
    assert!(log.size() < before / 20, "{} of {before} octets are left", log.size());
    assert!(!log.shared.disk.lock().rewrite);
}
