//! Four-letter words: a client sends one in place of a handshake and gets a text.

mod date;
mod ensemble;
pub(in crate::zookeeper) mod facts;
mod lists;
pub(in crate::zookeeper) mod metrics;
mod texts;

use std::sync::atomic::Ordering;

use crate::zookeeper::state::State;

/// The release of ZooKeeper that clients are told, with our own version behind it.
pub const VERSION: &str = concat!("3.9.4-doorkeeper-", env!("CARGO_PKG_VERSION"));

/// The words that ZooKeeper knows: any other four bytes are the length of a handshake.
const KNOWN: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
];

/// Whether it is one of the words that ZooKeeper knows.
pub fn is_known(word: [u8; 4]) -> bool {
    KNOWN.iter().any(|known| known.as_bytes() == word)
}

/// The answer to a word, with the bytes behind it: `stmk` takes eight. `None` while they are missing,
/// and for what is no word.
pub fn answer(word: [u8; 4], argument: &[u8], state: &State) -> Option<String> {
    let word = KNOWN.into_iter().find(|known| known.as_bytes() == word)?;
    let whitelist = &state.config.four_letter_whitelist;
    // `zkServer.sh status` depends on srvr, so that ZooKeeper answers it always.
    if word != "srvr" && !whitelist.iter().any(|allowed| allowed == "*" || allowed == word) {
        return Some(format!("{word} is not executed because it is not in the whitelist.\n"));
    }
    Some(match word {
        "conf" => texts::configuration(state),
        "cons" => lists::connections(state),
        "crst" => {
            reset_connections(state);
            "Connection stats reset.\n".to_owned()
        }
        "dirs" => {
            let (data, logs) = facts::directory_sizes(state);
            format!("datadir_size: {data}\nlogdir_size: {logs}\n")
        }
        "dump" => lists::sessions(state),
        "envi" => texts::environment(),
        "gtmk" => state.trace_mask.load(Ordering::Relaxed).to_string(),
        "hash" => lists::digests(state),
        "isro" => "rw".to_owned(),
        "mntr" => texts::monitor(state),
        "ruok" => "imok".to_owned(),
        "srst" => {
            state.stats.reset();
            "Server stats reset.\n".to_owned()
        }
        "srvr" => texts::server(state, false),
        "stat" => texts::server(state, true),
        "stmk" => {
            let mask = i64::from_be_bytes(*argument.first_chunk()?);
            state.trace_mask.store(mask, Ordering::Relaxed);
            mask.to_string()
        }
        "wchc" => lists::watches_by_session(state),
        "wchp" => lists::watches_by_path(state),
        "wchs" => texts::watch_summary(state),
        _ => return None,
    })
}

/// `crst`: every connection counts from zero again.
pub(in crate::zookeeper) fn reset_connections(state: &State) {
    for connection in state.connections.lock().values() {
        connection.reset();
    }
}
