//! The effective configuration as text, for `check-config`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Configuration;
use super::keys::Owner;

impl Configuration {
    /// One line for each key that takes effect, `key = value  # origin`, by role. Keys without a
    /// value are comments, so that the text is itself a configuration file.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (owner, title) in [
            (Owner::Process, "process"),
            (Owner::Coordinator, "coordinator"),
            (Owner::Broker, "broker"),
            (Owner::Gateway, "gateway"),
        ] {
            let mut seen = BTreeSet::new();
            for line in self.effective.iter().filter(|line| line.owner == owner) {
                if !seen.insert(line.key.clone()) {
                    continue;
                }
                if seen.len() == 1 {
                    let gap = if text.is_empty() { "" } else { "\n" };
                    let _ = writeln!(text, "{gap}# {title}");
                }
                let setting = match &line.value {
                    Some(value) => format!("{} = {value}", line.key),
                    None => format!("# {} is not set", line.key),
                };
                let _ = writeln!(text, "{setting:<60}  # {}", line.origin);
            }
        }
        text
    }
}
