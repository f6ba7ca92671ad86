//! The marker file: up to where we wrote a data directory, so that a start can tell whether ZooKeeper
//! wrote to it since.
//!
//! It stands in `dataDir`, beside `version-2`, where ZooKeeper doesn't look. ZooKeeper begins a log with
//! its first write, and never writes to one that holds a record. So it has written nothing if the newest
//! log with a record is still the one that we began last. That is noted once the first batch of a log
//! is durable: a note made earlier could be followed by a log of that name that ZooKeeper made.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::epochs::Epochs;
use super::error::StorageError;
use super::recovery::Recovery;
use crate::durable_file;

const NAME: &str = "doorkeeper.last";

/// What a start finds, and what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last transaction.
    pub(crate) last_zxid: i64,
    /// The last one that a log holds; `None` if no log that was read holds any.
    pub(crate) last_logged: Option<i64>,
    /// The zxid in the name of the newest log that holds a record.
    pub(crate) log: Option<i64>,
    /// The epoch files.
    pub(crate) epochs: Option<Epochs>,
}

impl Position {
    pub(crate) fn of(recovery: &Recovery, epochs: Option<Epochs>) -> Position {
        Position {
            last_zxid: recovery.last_zxid,
            last_logged: recovery.last_logged,
            log: recovery.newest_log,
            epochs,
        }
    }
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The last transaction when it was written.
    pub(crate) last_zxid: i64,
    /// The newest log with a record.
    pub(crate) log: Option<i64>,
    /// The epoch files as we left them.
    pub(crate) epochs: Option<Epochs>,
    /// The highest session id that this server gave out, as far as it stands in logs before this one; 0 if
    /// none. A start reads no log that its snapshot makes unnecessary, and a session that ended there
    /// must not come again all the same.
    pub(crate) highest_session: i64,
    /// Whether nothing was written after it.
    pub(crate) stopped: bool,
}

impl Marker {
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(NAME)
    }

    /// The marker in `data_dir`. One that can't be understood is none.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Marker>, StorageError> {
        let path = Marker::path(data_dir);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Marker::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(StorageError::io(&path, "read")(error)),
        }
    }

    fn parse(text: &str) -> Option<Marker> {
        let lines: HashMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once('=')).collect();
        let hex = |key: &str| i64::from_str_radix(lines.get(key)?.strip_prefix("0x")?, 16).ok();
        let log = match *lines.get("log")? {
            "none" => None,
            _ => Some(hex("log")?),
        };
        let number = |key: &str| lines.get(key)?.parse().ok();
        let epochs = match lines.get("currentEpoch") {
            None => None,
            Some(_) => Some(Epochs {
                accepted: number("acceptedEpoch")?,
                current: number("currentEpoch")?,
            }),
        };
        let stopped = *lines.get("stopped")? == "true";
        let highest_session = hex("session").unwrap_or(0);
        Some(Marker { last_zxid: hex("zxid")?, log, epochs, highest_session, stopped })
    }

    pub(super) fn write(&self, data_dir: &Path) -> Result<(), StorageError> {
        let mut text = String::from(
            "# Up to here doorkeeper wrote this directory. If ZooKeeper writes to it, this doesn't match \
             any more, and the next start of doorkeeper keeps the files as they are then.\n",
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "zxid=0x{:x}", self.last_zxid);
        let _ = match self.log {
            Some(log) => writeln!(text, "log=0x{log:x}"),
            None => writeln!(text, "log=none"),
        };
        if let Some(Epochs { accepted, current }) = self.epochs {
            let _ = writeln!(text, "acceptedEpoch={accepted}\ncurrentEpoch={current}");
        }
        let _ = writeln!(text, "session=0x{:x}\nstopped={}", self.highest_session, self.stopped);
        let path = Marker::path(data_dir);
        durable_file::write(&path, text.as_bytes()).map_err(StorageError::io(&path, "write"))
    }

    /// Whether nobody but us has written since.
    pub(crate) fn matches(&self, found: &Position) -> bool {
        // In the epoch of a member that we raised, the zxid begins where the epoch does, though nothing
        // in the files says so before the first write.
        let first = found.epochs.map_or(0, Epochs::first_zxid);
        let begun = Position { last_zxid: found.last_zxid.max(first), ..*found };
        self.fits(found) || self.fits(&begun)
    }

    fn fits(&self, found: &Position) -> bool {
        self.log == found.log
            && self.epochs == found.epochs
            && if self.stopped {
                self.last_zxid == found.last_zxid
            } else {
                found.last_zxid == self.last_zxid
                    || (found.last_zxid > self.last_zxid
                        && found.last_logged == Some(found.last_zxid))
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCHS: Option<Epochs> = Some(Epochs { accepted: 8, current: 7 });

    #[test]
    fn a_marker_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(folder.path()).unwrap(), None);
        for (log, epochs) in [(Some(0x7_0000_0001), EPOCHS), (Some(1), None), (None, None)] {
            for stopped in [true, false] {
                let (last_zxid, highest_session) = (0x7_0000_0009, 0x100_0000_0000_0003);
                let marker = Marker { last_zxid, log, epochs, highest_session, stopped };
                marker.write(folder.path()).unwrap();
                assert_eq!(Marker::read(folder.path()).unwrap(), Some(marker));
            }
        }
        let whole = fs::read_to_string(Marker::path(folder.path())).unwrap();
        for spoilt in ["", "zxid=0x1\nlog=none\n", "zxid=1\nlog=none\nstopped=true\n", "\u{fffd}"] {
            fs::write(Marker::path(folder.path()), spoilt).unwrap();
            assert_eq!(Marker::read(folder.path()).unwrap(), None, "{spoilt}");
        }
        fs::write(Marker::path(folder.path()), [0xff, 0xfe]).unwrap();
        assert_eq!(Marker::read(folder.path()).unwrap(), None);
        assert!(whole.contains("zxid=0x700000009"), "{whole}");
    }

    #[test]
    fn it_matches_what_we_left_and_nothing_else() {
        let position = |last_zxid, last_logged, log, epochs| Position {
            last_zxid,
            last_logged: Some(last_logged),
            log: Some(log),
            epochs,
        };
        let stopped = Marker {
            last_zxid: 20,
            log: Some(11),
            epochs: None,
            highest_session: 0,
            stopped: true,
        };
        assert!(stopped.matches(&position(20, 20, 11, None)));
        assert!(!stopped.matches(&position(21, 21, 21, None)), "a log that is newer");
        assert!(!stopped.matches(&position(21, 21, 11, None)), "more than we wrote");
        assert!(!stopped.matches(&position(15, 15, 11, None)), "less than we wrote");
        assert!(!stopped.matches(&position(20, 20, 11, EPOCHS)), "it became a member's");
        let killed = Marker { stopped: false, ..stopped };
        assert!(killed.matches(&position(20, 20, 11, None)));
        assert!(killed.matches(&position(90, 90, 11, None)), "the same log went on");
        assert!(!killed.matches(&position(90, 90, 91, None)), "another was begun");
        assert!(!killed.matches(&position(90, 40, 11, None)), "a snapshot came from elsewhere");
        assert!(!killed.matches(&position(15, 15, 11, None)));
        let member = Marker { epochs: EPOCHS, ..killed };
        assert!(member.matches(&position(20, 20, 11, EPOCHS)));
        let later = Some(Epochs { accepted: 9, current: 9 });
        assert!(!member.matches(&position(20, 20, 11, later)), "the ensemble was there");
    }
}
