//! A power cut at any byte behind the last fsync that ended: every acknowledged write is there, and of
//! those in flight a prefix in the order of their zxids.

use std::collections::BTreeSet;

use super::disk::{Fault, Op, TestDisk, write};
use super::*;

const EIO: i32 = 5;

/// A history whose last batch was on its way when the power went.
struct Cut {
    directory: TempDir,
    disk: TestDisk,
    /// The tree after each transaction.
    models: Vec<Model>,
    acknowledged: usize,
    /// The log that was being written, if there was one.
    log: Option<PathBuf>,
}

/// Runs `steps` in batches of the lengths in `batches`; a length that is a multiple of 5 has a snapshot
/// behind it. The last batch never ends.
fn run(steps: &[crate::zookeeper::test_history::Step], batches: &[u8]) -> Cut {
    let (directory, disk) = (folder(), TestDisk::default());
    let (storage, database) =
        Storage::open_on(&config(directory.path()), Arc::new(disk.clone())).unwrap();
    let mut server = Server { storage, database };
    let mut models = vec![Model::new()];
    let mut lengths = batches.iter().copied().cycle();
    let (mut rest, mut acknowledged) = (steps, 0);
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(1);
        let (batch, behind) = rest.split_at(usize::from(length % 8 + 1).min(rest.len()));
        rest = behind;
        if rest.is_empty() {
            disk.fail(Some(Fault { op: Op::Sync, errno: EIO, written: 0 }));
        }
        for step in batch {
            let mut model = models.last().unwrap().clone();
            let (header, txn) = model.transaction(step);
            model.apply(&header, &txn);
            models.push(model);
            apply(&mut server.database, &header, &txn, &mut Vec::new());
            let digest = server.database.tree.digest();
            server.storage.append(&header, &txn, Some(digest)).unwrap();
        }
        if rest.is_empty() {
            assert!(server.storage.commit().is_err(), "its fsync never ends");
        } else {
            server.storage.commit().unwrap();
            acknowledged = models.len() - 1;
            if length.is_multiple_of(5) {
                server.snapshot();
            }
        }
    }
    let log = disk.paths().into_iter().find(|path| !disk.journal(path).pending.is_empty());
    Cut { directory, disk, models, acknowledged, log }
}

impl Cut {
    /// What the power cut leaves, with this content of the log that was being written; none is a name
    /// that was not yet durable.
    fn image(&self, log: Option<&[u8]>) -> TempDir {
        let image = folder();
        fs::create_dir(version_2(image.path())).unwrap();
        for path in self.disk.paths() {
            let journal = self.disk.journal(&path);
            let name = version_2(image.path()).join(path.file_name().unwrap());
            if Some(&path) == self.log.as_ref() {
                if let Some(log) = log {
                    write(&name, log);
                }
            } else if journal.named {
                write(&name, &journal.durable);
            }
        }
        let marker = self.directory.path().join("doorkeeper.last");
        fs::copy(marker, image.path().join("doorkeeper.last")).unwrap();
        image
    }

    /// Starts on what is left, and once more behind another write. Returns how many transactions came
    /// back.
    fn recover(&self, log: Option<&[u8]>, what: &str) -> usize {
        let image = self.image(log);
        let mut server = match Server::start(image.path()) {
            Ok(server) => server,
            Err(error) => panic!("{what}: {error}"),
        };
        let zxid = usize::try_from(server.database.tree.last_zxid()).unwrap();
        assert!(zxid >= self.acknowledged, "{what}: {zxid} of {}", self.acknowledged);
        // An orphan's end is not in any model.
        if server.storage.recovery().orphans == 0 {
            assert_eq!(self.models[zxid].difference(&server.model()), None, "{what}");
        }
        assert_eq!(server.storage.recovery().digest_mismatches, 0, "{what}");
        let noted = self.log.as_ref().is_none_or(|log| !self.disk.journal(log).durable.is_empty());
        if noted {
            assert!(!server.storage.recovery().handed_over, "{what}: nobody else was here");
        }
        server.create("/behind");
        let model = server.model();
        drop(server);
        let server = Server::start(image.path()).unwrap();
        assert_eq!(model.difference(&server.model()), None, "{what}");
        zxid
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn a_power_cut_takes_nothing_that_was_acknowledged(
        steps in steps(1..40),
        batches in proptest::collection::vec(any::<u8>(), 1..8),
        cuts in proptest::collection::vec(any::<u16>(), 12),
        seed in any::<u64>(),
    ) {
        let cut = run(&steps, &batches);
        let log = cut.log.clone().expect("the last batch was on its way");
        let journal = cut.disk.journal(&log);
        let bytes = journal.pending_bytes();
        // In the order in which they were written, cut at any byte: a prefix, the longer the later.
        let mut counts: BTreeSet<usize> =
            cuts.iter().map(|at| usize::from(*at) % (bytes + 1)).collect();
        counts.extend([0, 1, bytes]);
        let mut last = 0;
        for count in counts {
            let zxid = cut.recover(Some(&journal.after(count)), &format!("{count} of {bytes}"));
            prop_assert!(zxid >= last);
            last = zxid;
        }
        prop_assert_eq!(last, cut.models.len() - 1, "all of it arrived");
        // In any order, as a disk with a cache of its own may write them.
        let mut state = seed | 1;
        for round in 0..6 {
            let content = journal.sectors(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % 4 != round % 4
            });
            cut.recover(Some(&content), &format!("sectors of seed {seed}, round {round}"));
        }
        if !journal.named {
            cut.recover(None, "without its name");
        }
    }
}
