//! Which roles of the process are ready, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// What each role says of itself. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    roles: Arc<RwLock<BTreeMap<&'static str, &'static str>>>,
}

/// What a role says when it serves.
const READY: &str = "ready";

impl Health {
    /// Names a role that is going to serve, or why it doesn't serve now.
    pub fn not_ready(&self, role: &'static str, state: &'static str) {
        self.roles.write().insert(role, state);
    }

    /// The role serves.
    pub fn ready(&self, role: &'static str) {
        self.roles.write().insert(role, READY);
    }

    /// The process stops: no role takes new work.
    pub fn stopping(&self) {
        for state in self.roles.write().values_mut() {
            *state = "stopping";
        }
    }

    /// Whether every role is ready, and a line for each.
    pub fn report(&self) -> (bool, String) {
        let roles = self.roles.read();
        let lines: Vec<String> =
            roles.iter().map(|(role, state)| format!("{role}: {state}\n")).collect();
        (roles.values().all(|&state| state == READY), lines.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_role_that_is_not_ready_makes_the_process_not_ready() {
        let health = Health::default();
        health.not_ready("coordinator", "starting");
        health.not_ready("broker", "starting");
        health.ready("coordinator");
        assert_eq!(health.report(), (false, "broker: starting\ncoordinator: ready\n".to_owned()));
        health.ready("broker");
        assert_eq!(health.report(), (true, "broker: ready\ncoordinator: ready\n".to_owned()));
        health.stopping();
        assert!(!health.report().0);
    }
}
