//! Which roles of the process are ready, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// What each role says of itself. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    roles: Arc<RwLock<BTreeMap<String, Role>>>,
}

/// Asked at each look at `/readyz`: whether a role that serves is ready, and a remark.
type Check = Box<dyn Fn() -> (bool, Option<String>) + Send + Sync>;

#[derive(Default)]
struct Role {
    /// Why it doesn't serve; `None` when it does.
    not_ready: Option<&'static str>,
    check: Option<Check>,
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ready, state) = self.report();
        f.debug_struct("Role").field("ready", &ready).field("state", &state).finish()
    }
}

impl Role {
    fn report(&self) -> (bool, String) {
        if let Some(state) = self.not_ready {
            return (false, state.to_owned());
        }
        match self.check.as_ref().map(|check| check()) {
            None | Some((true, None)) => (true, "ready".to_owned()),
            Some((true, Some(remark))) => (true, format!("ready ({remark})")),
            Some((false, remark)) => (false, format!("not ready: {}", remark.unwrap_or_default())),
        }
    }
}

impl Health {
    /// Names a role that is going to serve, or why it doesn't serve now.
    pub fn not_ready(&self, role: &str, state: &'static str) {
        self.roles.write().entry(role.to_owned()).or_default().not_ready = Some(state);
    }

    /// The role serves.
    pub fn ready(&self, role: &str) {
        self.roles.write().entry(role.to_owned()).or_default().not_ready = None;
    }

    /// The role serves, and is ready as long as `check` says so. What `check` adds is shown.
    pub fn ready_while(
        &self,
        role: &str,
        check: impl Fn() -> (bool, Option<String>) + Send + Sync + 'static,
    ) {
        let check = Some(Box::new(check) as Check);
        self.roles.write().insert(role.to_owned(), Role { not_ready: None, check });
    }

    /// Forgets a role, whose parts speak for themselves from now on.
    pub fn forget(&self, role: &str) {
        self.roles.write().remove(role);
    }

    /// Whether one role is ready, and its line; `None` if there is no such role.
    pub fn report_of(&self, role: &str) -> Option<(bool, String)> {
        self.roles.read().get(role).map(Role::report)
    }

    /// The process stops: no role takes new work.
    pub fn stopping(&self) {
        for role in self.roles.write().values_mut() {
            role.not_ready = Some("stopping");
        }
    }

    /// Whether every role is ready, and a line for each.
    pub fn report(&self) -> (bool, String) {
        let mut all = true;
        let mut lines = Vec::new();
        for (name, role) in &*self.roles.read() {
            let (ready, state) = role.report();
            all &= ready;
            lines.push(format!("{name}: {state}\n"));
        }
        (all, lines.concat())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

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

    #[test]
    fn a_role_that_serves_is_asked_how_it_is() {
        let health = Health::default();
        let age = Arc::new(AtomicU32::new(0));
        health.not_ready("gateway", "starting");
        let asked = age.clone();
        health.ready_while("gateway", move || match asked.load(Ordering::Relaxed) {
            0 => (true, None),
            age => (age < 10, Some(format!("{age} s old"))),
        });
        assert_eq!(health.report(), (true, "gateway: ready\n".to_owned()));
        age.store(9, Ordering::Relaxed);
        assert_eq!(health.report(), (true, "gateway: ready (9 s old)\n".to_owned()));
        age.store(10, Ordering::Relaxed);
        assert_eq!(health.report(), (false, "gateway: not ready: 10 s old\n".to_owned()));
        health.stopping();
        assert_eq!(health.report(), (false, "gateway: stopping\n".to_owned()));
    }
}
