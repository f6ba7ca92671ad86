//! Many logs, their directories, and who owns them.

use std::fs;
use std::time::Instant;

use super::*;

#[test]
fn a_directory_belongs_to_one_process_one_cluster_and_one_broker() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let mut first = LogDirectories::open(std::slice::from_ref(&path)).unwrap();
    assert_eq!(first.meta().cluster_id, None);
    let locked = LogDirectories::open(std::slice::from_ref(&path)).unwrap_err().to_string();
    assert!(locked.contains("is locked by another process"), "{locked}");
    first.write_meta("cluster-one", 3).unwrap();
    drop(first);
    let text = fs::read_to_string(path.join("meta.properties")).unwrap();
    assert_eq!(text, "#\nbroker.id=3\ncluster.id=cluster-one\nversion=0\n");
    let mut again = LogDirectories::open(std::slice::from_ref(&path)).unwrap();
    assert_eq!(again.meta().broker_id, Some(3));
    assert_eq!(again.meta().cluster_id.as_deref(), Some("cluster-one"));
    again.write_meta("cluster-one", 3).unwrap();
    let other = again.write_meta("cluster-two", 3).unwrap_err().to_string();
    assert!(other.contains("cluster-one") && other.contains("cluster-two"), "{other}");
    let other = again.write_meta("cluster-one", 4).unwrap_err().to_string();
    assert!(other.starts_with("broker.id: 4"), "{other}");
    drop(again);
    fs::write(path.join("meta.properties"), "version=1\nnode.id=3\n").unwrap();
    let kraft = LogDirectories::open(&[path]).unwrap_err().to_string();
    assert!(kraft.contains("KRaft"), "{kraft}");
}

#[test]
fn what_others_wrote_into_meta_properties_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meta.properties");
    fs::write(&file, "#\n#Mon\nversion=0\nbroker.id=1\ndirectory.id=abc\n").unwrap();
    let mut directories = LogDirectories::open(&[directory.path().to_owned()]).unwrap();
    directories.write_meta("c", 1).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, "#\nbroker.id=1\ncluster.id=c\ndirectory.id=abc\nversion=0\n");
}

#[test]
fn a_deleted_topic_is_gone_and_its_files_follow() {
    let directory = tempfile::tempdir().unwrap();
    let manager = open(directory.path());
    let config = LogConfig { file_delete_delay_ms: 0, ..LogConfig::default() };
    for partition in 0..3 {
        manager.get_or_create(TOPIC, TOPIC_ID, partition, &config).unwrap();
    }
    fill(&manager.get(TOPIC, 1).unwrap(), 2);
    let reader = manager.get(TOPIC, 1).unwrap();
    assert_eq!(manager.delete_topic(TOPIC, Uuid::from_u128(9)).unwrap(), 0, "another topic's id");
    assert_eq!(manager.delete_topic(TOPIC, TOPIC_ID).unwrap(), 3);
    assert_eq!(manager.delete_topic(TOPIC, TOPIC_ID).unwrap(), 0);
    assert!(manager.get(TOPIC, 0).is_none() && manager.logs().is_empty());
    assert!(matches!(append(&reader, &TestBatch::of(NOW, &[b"x"])), Err(LogError::Deleted)));
    let left = || {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    let until = Instant::now() + Duration::from_secs(10);
    while left() > 0 {
        assert!(Instant::now() < until, "the directories are still there");
        std::thread::yield_now();
    }
    // The name is free again.
    assert_eq!(manager.get_or_create(TOPIC, Uuid::from_u128(9), 0, &config).unwrap().size(), 0);
}

#[test]
fn what_was_deleted_before_a_kill_is_removed_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let manager = open(directory.path());
    log(&manager, &LogConfig::default());
    manager.delete_topic(TOPIC, TOPIC_ID).unwrap();
    drop(manager);
    let until = Instant::now() + Duration::from_secs(10);
    let manager = loop {
        match LogDirectories::open(&[directory.path().to_owned()]) {
            Ok(directories) => break LogManager::open(directories, LogManagerOptions::default()),
            Err(_) => assert!(Instant::now() < until, "the lock is not freed"),
        }
    };
    let manager = manager.unwrap();
    assert!(manager.logs().is_empty());
    let is_gone = || {
        let entries = fs::read_dir(directory.path()).unwrap();
        !entries.into_iter().any(|entry| entry.unwrap().path().is_dir())
    };
    while !is_gone() {
        assert!(Instant::now() < until, "the directory is still there");
        std::thread::yield_now();
    }
}

#[test]
fn the_log_of_another_topic_of_the_name_is_set_aside() {
    let (directory, manager, first) = new_log(&LogConfig::default());
    fill(&first, 2);
    let second =
        manager.get_or_create(TOPIC, Uuid::from_u128(77), 0, &LogConfig::default()).unwrap();
    assert_eq!((second.log_end_offset(), second.topic_id()), (0, Uuid::from_u128(77)));
    assert!(first.is_closed());
    let aside = fs::read_dir(directory.path()).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.to_str().unwrap().ends_with("-stray").then_some(path)
    });
    assert!(fs::metadata(aside.unwrap().join("00000000000000000000.log")).unwrap().len() > 0);
}

#[test]
fn a_log_without_a_topic_id_takes_its_topics() {
    let (directory, manager, first) = new_log(&LogConfig::default());
    fill(&first, 2);
    drop(first);
    manager.shutdown();
    drop(manager);
    fs::remove_file(file(directory.path(), "partition.metadata")).unwrap();
    let manager = open(directory.path());
    assert!(manager.get(TOPIC, 0).unwrap().topic_id().is_nil());
    assert_eq!(log(&manager, &LogConfig::default()).log_end_offset(), 4);
    let text = fs::read_to_string(file(directory.path(), "partition.metadata")).unwrap();
    assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAESIzRA");
}

#[test]
fn long_names_are_cut_when_they_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let manager = open(directory.path());
    let name = "x".repeat(249);
    manager.get_or_create(&name, TOPIC_ID, 0, &LogConfig::default()).unwrap();
    assert_eq!(manager.delete_topic(&name, TOPIC_ID).unwrap(), 1);
}

#[test]
fn logs_spread_over_the_directories_and_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [directory.path().join("one"), directory.path().join("two")];
    let manager =
        LogManager::open(LogDirectories::open(&paths).unwrap(), LogManagerOptions::default());
    let manager = manager.unwrap();
    for partition in 0..10 {
        fill(&manager.get_or_create("t", TOPIC_ID, partition, &small()).unwrap(), 3);
    }
    let in_first = |manager: &LogManager| {
        let first = paths[0].canonicalize().unwrap();
        manager.logs().iter().filter(|log| log.parent_directory() == first).count()
    };
    assert_eq!(in_first(&manager), 5);
    manager.shutdown();
    drop(manager);
    let manager =
        LogManager::open(LogDirectories::open(&paths).unwrap(), LogManagerOptions::default());
    let manager = manager.unwrap();
    assert_eq!((manager.logs().len(), in_first(&manager)), (10, 5));
    assert!(manager.logs().iter().all(|log| log.log_end_offset() == 6));
    assert!(manager.directories().iter().all(|info| !info.offline && info.total_bytes > 0));
}

/// Open files of this process below a directory.
fn open_files(directory: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(directory)).count()
}

#[test]
fn logs_that_nobody_uses_hold_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let manager = open(&path);
    for partition in 0..50 {
        manager.get_or_create(TOPIC, TOPIC_ID, partition, &LogConfig::default()).unwrap();
    }
    assert_eq!(open_files(&path), 1, "the lock alone");
    for partition in 0..50 {
        fill(&manager.get(TOPIC, partition).unwrap(), 1);
    }
    assert_eq!(open_files(&path), 51, "one each");
    for in_order in [false, true] {
        if in_order {
            manager.shutdown();
        }
        let copy = tempfile::tempdir().unwrap();
        let copy_path = copy.path().canonicalize().unwrap();
        recovering::copy(&path, &copy_path);
        let manager = open(&copy_path);
        assert_eq!(manager.logs().len(), 50);
        assert_eq!(open_files(&copy_path), 1, "the lock alone");
        assert_eq!(read_all(&manager.get(TOPIC, 7).unwrap(), 0).len(), 1);
    }
}

#[test]
fn strange_directories_and_files_do_not_disturb() {
    let (directory, manager, log) = new_log(&LogConfig::default());
    fill(&log, 2);
    drop(log);
    manager.shutdown();
    drop(manager);
    for name in ["lost+found", "noname", "x-y", "-3", "old-1.ab12-stray", "t-0.ab-future"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("recovery-point-offset-checkpoint"), "rubbish").unwrap();
    fs::write(file(directory.path(), "00000000000000000077.index"), "orphan").unwrap();
    fs::write(file(directory.path(), "notes.txt"), "mine").unwrap();
    fs::write(file(directory.path(), "00000000000000000000.log.deleted"), "old").unwrap();
    let manager = open(directory.path());
    assert_eq!(manager.logs().len(), 1);
    assert_eq!(read_all(&manager.get(TOPIC, 0).unwrap(), 0).len(), 2);
    assert!(!file(directory.path(), "00000000000000000077.index").exists());
    assert!(!file(directory.path(), "00000000000000000000.log.deleted").exists());
    assert!(file(directory.path(), "notes.txt").exists());
}
