//! Deterministic simulation: storage, sessions, watches and the writer as they are, on a disk that loses
//! and tears what was not fsynced, with clients that vanish and come back. Acknowledged writes survive, a
//! prefix of the others does, ephemerals die with their sessions, and each client is sent exactly the
//! answers and events that it must be, in their order.
//!
//! Everything is drawn from a seed. `DOORKEEPER_SIMULATION=17` replays one, `=1-100000` runs many.

mod client;
mod disk;
mod life;
mod requests;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use self::world::World;

/// The seeds of an ordinary run.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=100;

fn seeds() -> std::ops::RangeInclusive<u64> {
    let Ok(wanted) = std::env::var("DOORKEEPER_SIMULATION") else { return SEEDS };
    let (first, last) = wanted.split_once('-').unwrap_or((&wanted, &wanted));
    first.parse().unwrap()..=last.parse().unwrap()
}

/// In memory where the system has that: nothing here is about the machine's own disk.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

#[test]
fn what_was_acknowledged_survives_and_everybody_is_told() {
    for seed in seeds() {
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let mut world = World::new(seed, folder.path().to_owned(), false);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
            let end = world.story.len().saturating_sub(12);
            let story = world.story[end..].join("\n");
            tracing_of_failure(seed, &story);
            resume_unwind(panic);
        }
    }
}

/// What is checked can fail: a server whose fsync does nothing loses what it acknowledged.
#[test]
fn a_disk_that_lies_is_found_out() {
    let found = (1..=50).any(|seed| {
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        catch_unwind(|| World::new(seed, folder.path().to_owned(), true).run()).is_err()
    });
    assert!(found, "nobody has noticed");
}

/// Printed beside the panic's own message.
#[allow(clippy::print_stderr, reason = "only where the test fails")]
fn tracing_of_failure(seed: u64, story: &str) {
    eprintln!("seed {seed} fails; DOORKEEPER_SIMULATION={seed} replays it\n{story}");
}
