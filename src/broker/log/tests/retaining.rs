//! What retention takes away, and what it never touches.

use super::*;

fn segment_files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory.join(format!("{TOPIC}-0"))).unwrap();
    files
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "log"))
        .count()
}

#[test]
fn size_takes_the_oldest_segments() {
    let (directory, _manager, log) = new_log(&small());
    fill(&log, 40);
    let before = log.segment_count();
    assert!(log.enforce_retention(NOW).unwrap().is_empty(), "no bound, nothing goes");
    log.update_config(LogConfig { retention_bytes: 5_000, ..small() });
    let removed = log.enforce_retention(NOW).unwrap();
    assert!(log.size() >= 5_000 && log.size() < 5_000 + 2_000, "{}", log.size());
    assert!(log.segment_count() < before);
    assert!(log.log_start_offset() > 0);
    assert_eq!(read_all(&log, log.log_start_offset()).last().unwrap().0.next_offset(), 80);
    let read = log.read(log.log_start_offset() - 1, 100, true);
    assert!(matches!(read, Err(LogError::OffsetOutOfRange { .. })), "{read:?}");
    assert!(removed.iter().all(|path| path.extension().unwrap() == "deleted" && path.exists()));
    assert_eq!(segment_files(directory.path()), log.segment_count());
    assert!(log.enforce_retention(NOW).unwrap().is_empty());
}

#[test]
fn age_takes_segments_by_their_largest_timestamp() {
    let (_directory, _manager, log) = new_log(&small());
    fill(&log, 40);
    log.update_config(LogConfig { retention_ms: 20_000, ..small() });
    assert!(log.enforce_retention(NOW + 20_000).unwrap().is_empty());
    // Records are half a second apart: at 60 seconds all before offset 80 are older than 20.
    log.enforce_retention(NOW + 40_000).unwrap();
    let start = log.log_start_offset();
    assert!(start > 20 && start <= 40, "{start}");
    log.enforce_retention(NOW + 1_000_000).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size()), (80, 80, 0));
    assert_eq!(log.segment_count(), 1);
    assert!(log.enforce_retention(NOW + 2_000_000).unwrap().is_empty(), "an empty log stays");
    fill(&log, 1);
    assert_eq!(read_all(&log, 80).len(), 1);
}

#[test]
fn a_log_that_is_only_compacted_is_never_trimmed() {
    let (_directory, _manager, log) = new_log(&small());
    fill(&log, 40);
    let config = LogConfig { retention_ms: 1, retention_bytes: 1, ..small() };
    log.update_config(LogConfig { cleanup_compact: true, cleanup_delete: false, ..config.clone() });
    assert!(log.enforce_retention(NOW + 1_000_000).unwrap().is_empty());
    assert_eq!(read_all(&log, 0).len(), 40);
    log.update_config(LogConfig { cleanup_compact: true, cleanup_delete: true, ..config });
    assert!(!log.enforce_retention(NOW + 1_000_000).unwrap().is_empty());
    assert_eq!(log.log_start_offset(), 80);
}

#[test]
fn deleted_records_can_not_be_read_and_their_segments_go() {
    let (directory, manager, log) = new_log(&small());
    fill(&log, 40);
    for offset in [-2, 81] {
        let refused = log.delete_records(offset);
        assert!(matches!(refused, Err(LogError::OffsetOutOfRange { .. })), "{refused:?}");
    }
    assert_eq!(log.delete_records(33).unwrap(), 33);
    assert_eq!(log.delete_records(20).unwrap(), 33, "it never goes back");
    assert!(log.read(32, 100, true).is_err());
    assert_eq!(read_all(&log, 33)[0].0.base_offset, 32);
    let before = log.segment_count();
    assert!(!log.enforce_retention(NOW).unwrap().is_empty());
    assert!(log.segment_count() < before);
    assert_eq!(log.log_start_offset(), 33);
    assert_eq!(log.delete_records(-1).unwrap(), 80);
    assert!(log.read(80, 100, true).unwrap().bytes.is_empty());
    log.enforce_retention(NOW).unwrap();
    assert_eq!(log.segment_count(), 1);
    drop(log);
    manager.shutdown();
    drop(manager);
    let manager = open(directory.path());
    let log = manager.get(TOPIC, 0).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (80, 80));
}
