//! A `zoo.cfg` or `server.properties`: read or refused, with no password in what is shown of it.

use std::path::Path;

use doorkeeper::config::{keys, load, properties};

/// What stands in for every password; it is in no input.
const PASSWORD: &str = "unshowable-4f1d";

/// One input.
pub(crate) fn run(data: &[u8]) {
    let Ok(found) = properties::parse(data) else { return };
    let lines = data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let mut given = Vec::new();
    for property in &found {
        assert!((1..=lines).contains(&property.line));
        // What is on this machine's disk is no part of the input.
        if Path::new(&property.value).exists() {
            continue;
        }
        let secret = keys::known(&property.key)
            .iter()
            .any(|known| known.key.is_some_and(keys::Key::is_secret));
        let value = if secret { PASSWORD } else { &property.value };
        given.push(format!("{}={value}", property.key));
    }
    let shown = match load(&[], &given) {
        Ok(configuration) => {
            format!("{}\n{:?}", configuration.report(), configuration)
        }
        Err(error) => {
            assert!(!error.problems.is_empty(), "it must say why");
            error.to_string()
        }
    };
    assert!(!shown.contains(PASSWORD), "{shown}");
}
