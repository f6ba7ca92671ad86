//! How transactions and times look.

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::zookeeper::acl::AclList;
use crate::zookeeper::txn::record::{CreateTxn, Txn};

/// The longest data that a line shows.
const DATA_SHOWN: usize = 80;

/// What `ZooKeeper` calls a transaction's type.
pub(super) fn kind(txn: &Txn) -> &'static str {
    match txn {
        Txn::Create { with_stat: false, .. } => "create",
        Txn::Create { with_stat: true, .. } => "create2",
        Txn::CreateContainer(_) => "createContainer",
        Txn::CreateTtl { .. } => "createTTL",
        Txn::Delete { .. } => "delete",
        Txn::DeleteContainer { .. } => "deleteContainer",
        Txn::SetData { .. } => "setData",
        Txn::Reconfig { .. } => "reconfig",
        Txn::SetAcl { .. } => "setACL",
        Txn::CreateSession { .. } => "createSession",
        Txn::CloseSession { .. } => "closeSession",
        Txn::Check { .. } => "check",
        Txn::Multi(_) => "multi",
        Txn::Error { .. } => "error",
    }
}

/// A transaction in one line.
pub(super) fn line(txn: &Txn) -> String {
    let kind = kind(txn);
    match txn {
        Txn::Create { create, ephemeral, .. } => {
            let ephemeral = if *ephemeral { " ephemeral" } else { "" };
            format!("{kind} {}{ephemeral}", create_line(create))
        }
        Txn::CreateContainer(create) => format!("{kind} {}", create_line(create)),
        Txn::CreateTtl { create, ttl } => format!("{kind} {} ttl={ttl}", create_line(create)),
        Txn::Delete { path } | Txn::DeleteContainer { path } => format!("{kind} {path:?}"),
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            format!("{kind} {path:?} {} version={version}", data_line(data.as_ref()))
        }
        Txn::SetAcl { path, acl, version } => {
            format!("{kind} {path:?} {} version={version}", acl_line(acl))
        }
        Txn::CreateSession { timeout } => format!("{kind} timeout={timeout}"),
        Txn::CloseSession { paths: None } => kind.to_owned(),
        Txn::CloseSession { paths: Some(paths) } => format!("{kind} {paths:?}"),
        Txn::Check { path, version } => format!("{kind} {path:?} version={version}"),
        Txn::Multi(txns) => {
            let txns: Vec<String> = txns.iter().map(line).collect();
            format!("{kind} [{}]", txns.join("; "))
        }
        Txn::Error { error } => format!("{kind} {error}"),
    }
}

fn create_line(create: &CreateTxn) -> String {
    let CreateTxn { path, data, acl, parent_cversion } = create;
    let (data, acl) = (data_line(data.as_ref()), acl_line(acl));
    format!("{path:?} {data} {acl} parentCVersion={parent_cversion}")
}

fn data_line(data: Option<&Bytes>) -> String {
    match data {
        None => "data=null".to_owned(),
        Some(data) => match std::str::from_utf8(data) {
            Ok(text) if text.len() <= DATA_SHOWN => format!("data={text:?}"),
            _ => format!("data=({} bytes)", data.len()),
        },
    }
}

fn acl_line(acl: &AclList) -> String {
    // Digests are hashes of passwords, which a dump must show to be of use: they are in the files.
    let entries: Vec<String> = acl
        .iter()
        .map(|acl| format!("{}:{}:{}", acl.scheme.escape_debug(), acl.id.escape_debug(), acl.perms))
        .collect();
    format!("acl={}", entries.join(","))
}

/// A transaction as JSON, whole.
pub(super) fn json(txn: &Txn) -> Value {
    let mut fields = match txn {
        Txn::Create { create, ephemeral, .. } => {
            let mut fields = create_json(create);
            fields.insert("ephemeral".to_owned(), json!(ephemeral));
            fields
        }
        Txn::CreateContainer(create) => create_json(create),
        Txn::CreateTtl { create, ttl } => {
            let mut fields = create_json(create);
            fields.insert("ttl".to_owned(), json!(ttl));
            fields
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => object(json!({"path": path})),
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            object(json!({"path": path, "data": base64(data.as_ref()), "version": version}))
        }
        Txn::SetAcl { path, acl, version } => {
            object(json!({"path": path, "acl": acl_json(acl), "version": version}))
        }
        Txn::CreateSession { timeout } => object(json!({"timeout": timeout})),
        Txn::CloseSession { paths } => object(json!({"paths": paths})),
        Txn::Check { path, version } => object(json!({"path": path, "version": version})),
        Txn::Multi(txns) => {
            object(json!({"operations": txns.iter().map(json).collect::<Vec<_>>()}))
        }
        Txn::Error { error } => object(json!({"error": error})),
    };
    fields.insert("type".to_owned(), json!(kind(txn)));
    Value::Object(fields)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn create_json(create: &CreateTxn) -> Map<String, Value> {
    object(json!({
        "path": create.path,
        "data": base64(create.data.as_ref()),
        "acl": acl_json(&create.acl),
        "parentCVersion": create.parent_cversion,
    }))
}

fn base64(data: Option<&Bytes>) -> Option<String> {
    data.map(|data| BASE64_STANDARD.encode(data))
}

fn acl_json(acl: &AclList) -> Value {
    acl.iter().map(|acl| json!({"perms": acl.perms, "scheme": acl.scheme, "id": acl.id})).collect()
}
