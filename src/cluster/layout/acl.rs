//! `/kafka-acl/<type>/<name>` and `/kafka-acl-extended/prefixed/<type>/<name>`: who may do what with
//! the resources of a name, or of all names that begin with it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{LayoutError, decode};

/// The name of a literal pattern that stands for every resource of its type.
pub const WILDCARD: &str = "*";

/// The principal of an entry that is about everybody.
pub const EVERYBODY: &str = "User:*";

/// The name of the only resource of the type [`ResourceType::Cluster`].
pub const CLUSTER_NAME: &str = "kafka-cluster";

/// What there are ACLs for (`org.apache.kafka.common.resource.ResourceType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// A topic.
    Topic,
    /// A group.
    Group,
    /// The cluster.
    Cluster,
    /// A transactional id.
    TransactionalId,
    /// A delegation token.
    DelegationToken,
    /// A user, as the owner of delegation tokens.
    User,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [ResourceType; 6] = [
        ResourceType::Topic,
        ResourceType::Group,
        ResourceType::Cluster,
        ResourceType::TransactionalId,
        ResourceType::DelegationToken,
        ResourceType::User,
    ];

    /// The name of its znode.
    pub fn name(self) -> &'static str {
        match self {
            ResourceType::Topic => "Topic",
            ResourceType::Group => "Group",
            ResourceType::Cluster => "Cluster",
            ResourceType::TransactionalId => "TransactionalId",
            ResourceType::DelegationToken => "DelegationToken",
            ResourceType::User => "User",
        }
    }

    /// The type whose znode has this name. Kafka reads those alone that are spelled as it writes them.
    pub fn named(name: &str) -> Option<ResourceType> {
        ResourceType::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How a name is meant (`org.apache.kafka.common.resource.PatternType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatternType {
    /// The resource of this name; of [`WILDCARD`], every resource of the type.
    Literal,
    /// Every resource whose name begins so.
    Prefixed,
}

impl PatternType {
    /// Both of them.
    pub const ALL: [PatternType; 2] = [PatternType::Literal, PatternType::Prefixed];
}

/// What a znode with ACLs is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePattern {
    /// How the name is meant.
    pub pattern: PatternType,
    /// Of what type the resources are.
    pub kind: ResourceType,
    /// The name: any text without a slash.
    pub name: String,
}

/// What is done with a resource (`org.apache.kafka.common.acl.AclOperation`); its number is Kafka's
/// code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are Kafka's")]
pub enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
    CreateTokens = 13,
    DescribeTokens = 14,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 13] = [
        Operation::All,
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Delete,
        Operation::Alter,
        Operation::Describe,
        Operation::ClusterAction,
        Operation::DescribeConfigs,
        Operation::AlterConfigs,
        Operation::IdempotentWrite,
        Operation::CreateTokens,
        Operation::DescribeTokens,
    ];

    /// Its bit in a set of operations, such as `authorized_operations` of an answer (KIP-430).
    pub const fn bit(self) -> i32 {
        1 << self as u8
    }

    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::All => "All",
            Operation::Read => "Read",
            Operation::Write => "Write",
            Operation::Create => "Create",
            Operation::Delete => "Delete",
            Operation::Alter => "Alter",
            Operation::Describe => "Describe",
            Operation::ClusterAction => "ClusterAction",
            Operation::DescribeConfigs => "DescribeConfigs",
            Operation::AlterConfigs => "AlterConfigs",
            Operation::IdempotentWrite => "IdempotentWrite",
            Operation::CreateTokens => "CreateTokens",
            Operation::DescribeTokens => "DescribeTokens",
        }
    }

    /// The operation of Kafka's code.
    pub fn of_code(code: u8) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| *operation as u8 == code)
    }
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// It forbids.
    Deny,
    /// It allows.
    Allow,
}

/// One ACL of a resource.
///
/// An operation or permission that is not known fits nothing, as for Kafka; but a resource that has
/// such an entry is one that has ACLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclEntry {
    /// Whom it is about, `User:alice`, or [`EVERYBODY`].
    pub principal: String,
    /// From where: an address as Java writes it, or `*`.
    pub host: String,
    /// What is done; `None` if it is not known.
    pub operation: Option<Operation>,
    /// Whether that is forbidden or allowed; `None` if it is not known.
    pub permission: Option<Permission>,
}

/// Reads the ACLs of one resource, each once; no data is none (`AclEntry.fromBytes`).
///
/// # Errors
/// What Kafka can't read either: a version that is not 1, an entry without one of its four fields, a
/// principal without a colon, an operation or permission `Any`. And JSON that is broken, which Kafka
/// takes for no ACLs.
pub fn decode_acls(data: &[u8]) -> Result<Vec<AclEntry>, LayoutError> {
    #[derive(Deserialize)]
    struct Json {
        version: i32,
        acls: Vec<EntryJson>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct EntryJson {
        principal: String,
        permission_type: String,
        operation: String,
        host: String,
    }
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let json: Json = decode(data)?;
    if json.version != 1 {
        return Err(LayoutError(format!("unsupported version {}", json.version)));
    }
    let mut entries = BTreeSet::new();
    for entry in json.acls {
        if !entry.principal.contains(':') {
            return Err(LayoutError(format!("{:?} is no principal", entry.principal)));
        }
        entries.insert(AclEntry {
            operation: operation(&entry.operation)?,
            permission: permission(&entry.permission_type)?,
            principal: entry.principal,
            host: entry.host,
        });
    }
    Ok(entries.into_iter().collect())
}

/// Kafka reads names in any case, and takes those that it doesn't know for unknown.
fn operation(name: &str) -> Result<Option<Operation>, LayoutError> {
    let upper = name.to_uppercase();
    if upper == "ANY" {
        return Err(LayoutError("the operation Any is for filters".to_owned()));
    }
    Ok(Operation::ALL.into_iter().find(|known| known.name().to_uppercase() == upper))
}

fn permission(name: &str) -> Result<Option<Permission>, LayoutError> {
    match name.to_uppercase().as_str() {
        "ANY" => Err(LayoutError("the permission Any is for filters".to_owned())),
        "ALLOW" => Ok(Some(Permission::Allow)),
        "DENY" => Ok(Some(Permission::Deny)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(permission: &str, operation: &str) -> String {
        format!(
            r#"{{"version":1,"acls":[{{"principal":"User:alice","permissionType":"{permission}",
            "operation":"{operation}","host":"*","more":1}}],"more":[]}}"#
        )
    }

    fn one(permission: &str, operation: &str) -> (Option<Permission>, Option<Operation>) {
        let entries = decode_acls(entry(permission, operation).as_bytes()).unwrap();
        assert_eq!((entries[0].principal.as_str(), entries[0].host.as_str()), ("User:alice", "*"));
        (entries[0].permission, entries[0].operation)
    }

    #[test]
    fn entries_are_read_as_kafka_reads_them() {
        for operation in Operation::ALL {
            let name = operation.name();
            assert_eq!(one("Allow", name), (Some(Permission::Allow), Some(operation)));
            assert_eq!(one("DENY", &name.to_uppercase()).1, Some(operation));
            assert_eq!(one("deny", &name.to_lowercase()).0, Some(Permission::Deny));
            assert_eq!(Operation::of_code(operation as u8), Some(operation));
        }
        assert_eq!(one("Perhaps", "Fly"), (None, None));
        assert_eq!(one("Unknown", "DESCRIBE_CONFIGS"), (None, None), "no underscores");
        assert_eq!(decode_acls(b""), Ok(Vec::new()));
        assert_eq!(decode_acls(br#"{"version":1,"acls":[]}"#), Ok(Vec::new()));
        assert_eq!(Operation::of_code(0), None);
    }

    #[test]
    fn an_entry_counts_once() {
        let data = br#"{"version":1,"acls":[
            {"principal":"User:b","permissionType":"Allow","operation":"Read","host":"h"},
            {"principal":"User:a:c","permissionType":"Deny","operation":"All","host":"*"},
            {"principal":"User:b","permissionType":"ALLOW","operation":"READ","host":"h"}]}"#;
        let entries = decode_acls(data).unwrap();
        let principals: Vec<&str> = entries.iter().map(|entry| entry.principal.as_str()).collect();
        assert_eq!(principals, ["User:a:c", "User:b"]);
    }

    #[test]
    fn what_can_not_be_read_is_an_error() {
        let good = entry("Allow", "Read");
        assert!(decode_acls(good.as_bytes()).is_ok());
        for bad in [
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"version\":1", "\"version\":\"1\""),
            good.replace("\"version\":1,", ""),
            good.replace("User:alice", "alice"),
            good.replace("\"User:alice\"", "null"),
            good.replace("\"host\":\"*\",", ""),
            good.replace("\"Read\"", "\"any\""),
            good.replace("\"Allow\"", "\"Any\""),
            good.replace("\"acls\"", "\"entries\""),
            "null".to_owned(),
            "{".to_owned(),
        ] {
            assert!(decode_acls(bad.as_bytes()).is_err(), "{bad}");
        }
        for end in 1..good.len() {
            assert!(decode_acls(&good.as_bytes()[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn types_are_found_by_their_names() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::named(kind.name()), Some(kind));
        }
        assert_eq!(ResourceType::named("topic"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data: Vec<u8>) {
            let _ = decode_acls(&data);
        }

        #[test]
        fn a_changed_byte_does_not_panic(at in 0usize..100, byte: u8) {
            let mut data = entry("Allow", "Read").into_bytes();
            data[at] = byte;
            let _ = decode_acls(&data);
        }
    }
}
