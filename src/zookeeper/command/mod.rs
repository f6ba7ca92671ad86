//! Four-letter words: a client sends one in place of a handshake and gets a text.

mod texts;

use crate::zookeeper::state::State;

/// The words that ZooKeeper knows: any other four bytes are the length of a handshake.
const KNOWN: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
];

/// The answer to a word; `None` if it isn't one.
pub fn answer(word: [u8; 4], state: &State) -> Option<String> {
    let word = KNOWN.into_iter().find(|known| known.as_bytes() == word)?;
    let whitelist = &state.config.four_letter_whitelist;
    if !whitelist.iter().any(|allowed| allowed == "*" || allowed == word) {
        return Some(format!("{word} is not executed because it is not in the whitelist.\n"));
    }
    Some(match word {
        "ruok" => "imok".to_owned(),
        "isro" => "rw".to_owned(),
        "srvr" => texts::server(state, false),
        "stat" => texts::server(state, true),
        "mntr" => texts::monitor(state),
        "conf" => texts::configuration(state),
        "envi" => texts::environment(),
        "wchs" => texts::watch_summary(state),
        _ => format!("{word} is not built yet.\n"),
    })
}
