//! The ACLs of the znodes that a broker makes (`ZkData.defaultAcls`).

use zookeeper_client::{Acl, Acls, CreateMode, CreateOptions, Permission};

/// Below these only the owner reads: passwords may be there (`ZkData.SensitiveRootPaths`).
const SENSITIVE: [&str; 3] = ["/config/users", "/config/brokers", "/delegation_token/tokens"];

/// Where consumers of old keep their offsets: open to all, whatever the rest is.
const CONSUMERS: &str = "/consumers";

/// Everything for whoever makes the znode, reading for the rest.
static OWNED: [Acl; 2] = [
    Acl::new_const(Permission::ALL, "auth", ""),
    Acl::new_const(Permission::READ, "world", "anyone"),
];

/// Whether the znodes of a cluster have an owner (`zookeeper.set.acl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZnodeAcls {
    /// They are open to all.
    #[default]
    Open,
    /// They are their maker's, and all may read those that hold no secrets.
    Owned,
}

impl ZnodeAcls {
    /// The options of a lasting znode.
    pub fn persistent(self, path: &str) -> CreateOptions<'static> {
        CreateMode::Persistent.with_acls(self.of(path))
    }

    /// The options of a znode that ends with its session.
    pub fn ephemeral(self, path: &str) -> CreateOptions<'static> {
        CreateMode::Ephemeral.with_acls(self.of(path))
    }

    /// The options of a lasting znode whose name gets a number.
    pub fn sequential(self, path: &str) -> CreateOptions<'static> {
        CreateMode::PersistentSequential.with_acls(self.of(path))
    }

    fn of(self, path: &str) -> Acls<'static> {
        match self {
            ZnodeAcls::Open => Acls::anyone_all(),
            ZnodeAcls::Owned if path.starts_with(CONSUMERS) => Acls::anyone_all(),
            ZnodeAcls::Owned if SENSITIVE.iter().any(|root| path.starts_with(root)) => {
                Acls::creator_all()
            }
            ZnodeAcls::Owned => Acls::new(&OWNED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_znodes_are_world_readable_unless_they_hold_secrets() {
        for path in ["/config/users/a", "/config/brokers", "/delegation_token/tokens/x"] {
            assert_eq!(*ZnodeAcls::Owned.of(path), *Acls::creator_all(), "{path}");
        }
        assert_eq!(*ZnodeAcls::Owned.of("/consumers"), *Acls::anyone_all());
        for path in ["/brokers/ids/1", "/config/topics/a", "/controller", "/"] {
            assert_eq!(*ZnodeAcls::Owned.of(path), OWNED, "{path}");
            assert_eq!(*ZnodeAcls::Open.of(path), *Acls::anyone_all(), "{path}");
        }
    }
}
