//! Requests decoded: every operation, every cut and every changed byte.

use super::*;
use crate::zookeeper::acl::open_acl_unsafe;
use crate::zookeeper::jute::Writer as _;

fn create_body(out: &mut Vec<u8>) {
    out.write_string("/a");
    out.write_buffer(Some(b"data"));
    acl::write_list(&open_acl_unsafe(), out);
    out.write_int(3);
}

fn multi_header(out: &mut Vec<u8>, kind: i32, done: bool) {
    out.write_int(kind);
    out.write_bool(done);
    out.write_int(-1);
}

fn path_and(out: &mut Vec<u8>, number: i32) {
    out.write_string("/a");
    out.write_int(number);
}

fn watched(out: &mut Vec<u8>, lists: usize) {
    out.write_long(7);
    for list in 0..lists {
        out.write_count(list);
        for _ in 0..list {
            out.write_string("/w");
        }
    }
}

/// A valid body of every opcode that has one.
fn bodies() -> Vec<(OpCode, Vec<u8>)> {
    OpCode::ALL
        .into_iter()
        .map(|(op, ..)| {
            let mut out = Vec::new();
            match op {
                OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                    create_body(&mut out);
                }
                OpCode::CreateTtl => {
                    create_body(&mut out);
                    out.write_long(1);
                }
                OpCode::Reconfig => {
                    for members in [Some(&b"server.1=a"[..]), None, None] {
                        out.write_buffer(members);
                    }
                    out.write_long(-1);
                }
                OpCode::Delete => path_and(&mut out, -1),
                OpCode::Exists | OpCode::GetData | OpCode::GetChildren | OpCode::GetChildren2 => {
                    out.write_string("/a");
                    out.write_bool(true);
                }
                OpCode::SetData => {
                    out.write_string("/a");
                    out.write_buffer(None);
                    out.write_int(4);
                }
                OpCode::GetAcl
                | OpCode::Sync
                | OpCode::GetEphemerals
                | OpCode::GetAllChildrenNumber => out.write_string("/a"),
                OpCode::SetAcl => {
                    out.write_string("/a");
                    acl::write_list(&open_acl_unsafe(), &mut out);
                    out.write_int(4);
                }
                OpCode::Multi => {
                    for kind in [1, 15, 19] {
                        multi_header(&mut out, kind, false);
                        create_body(&mut out);
                    }
                    multi_header(&mut out, 21, false);
                    create_body(&mut out);
                    out.write_long(1);
                    for kind in [2, 13] {
                        multi_header(&mut out, kind, false);
                        path_and(&mut out, 1);
                    }
                    multi_header(&mut out, 5, false);
                    out.write_string("/a");
                    out.write_buffer(Some(b""));
                    out.write_int(4);
                    multi_header(&mut out, -1, true);
                }
                OpCode::MultiRead => {
                    for kind in [4, 8] {
                        multi_header(&mut out, kind, false);
                        out.write_string("/a");
                        out.write_bool(false);
                    }
                    multi_header(&mut out, -1, true);
                }
                OpCode::CheckWatches | OpCode::RemoveWatches => path_and(&mut out, 3),
                OpCode::AddWatch => path_and(&mut out, 1),
                OpCode::Auth => {
                    out.write_int(0);
                    out.write_string("digest");
                    out.write_buffer(Some(b"a:b"));
                }
                OpCode::Sasl => out.write_buffer(Some(b"username=\"bob\"")),
                OpCode::SetWatches => watched(&mut out, 3),
                OpCode::SetWatches2 => watched(&mut out, 5),
                OpCode::Ping | OpCode::CloseSession | OpCode::WhoAmI => {}
            }
            (op, out)
        })
        .collect()
}

fn decode(op: OpCode, body: &[u8]) -> Result<(), JuteError> {
    match op {
        OpCode::Auth => AuthPacket::decode(body).map(drop),
        OpCode::Sasl => decode_sasl(body).map(drop),
        OpCode::Sync => decode_sync(body).map(drop),
        OpCode::Ping | OpCode::CloseSession => Ok(()),
        OpCode::Create
        | OpCode::Create2
        | OpCode::Delete
        | OpCode::SetData
        | OpCode::SetAcl
        | OpCode::Multi
        | OpCode::Reconfig
        | OpCode::CreateContainer
        | OpCode::CreateTtl => WriteRequest::decode(op, body).map(drop),
        _ => ReadRequest::decode(op, body).map(drop),
    }
}

#[test]
fn every_valid_body_is_read() {
    for (op, body) in bodies() {
        assert_eq!(decode(op, &body), Ok(()), "{op:?}");
    }
}

#[test]
fn every_prefix_is_refused() {
    for (op, body) in bodies() {
        for length in 0..body.len() {
            assert!(decode(op, &body[..length]).is_err(), "{op:?} cut at {length}");
        }
    }
}

#[test]
fn every_changed_byte_is_read_or_refused() {
    for (op, body) in bodies() {
        for at in 0..body.len() {
            for value in 0..=255 {
                let mut changed = body.clone();
                changed[at] = value;
                let _ = decode(op, &changed);
            }
        }
    }
}

#[test]
fn a_multi_holds_what_zookeeper_takes_in_one() {
    let bodies = bodies();
    let (_, body) = bodies.iter().find(|(op, _)| *op == OpCode::Multi).unwrap();
    let Ok(WriteRequest::Multi(operations)) = WriteRequest::decode(OpCode::Multi, body) else {
        panic!("not a multi");
    };
    assert_eq!(operations.len(), 7);
    assert!(matches!(&operations[1], Operation::Create(create) if create.with_stat));
    assert_eq!(operations[5], Operation::Check { path: "/a".into(), version: 1 });
    for foreign in [0, 3, 4, 7, 8, 11, 14, 20, 22, -11] {
        let mut out = Vec::new();
        multi_header(&mut out, foreign, false);
        path_and(&mut out, 0);
        multi_header(&mut out, -1, true);
        assert!(WriteRequest::decode(OpCode::Multi, &out).is_err(), "{foreign}");
    }
}

#[test]
fn what_a_create_makes_is_in_its_opcode_and_its_flags() {
    let (plain, container, ttl) = (CreateKind::Plain, CreateKind::Container, CreateKind::Ttl(9));
    let persistent = CreateMode::Persistent { sequential: false };
    let a_container = CreateMode::Container { sequential: false };
    assert_eq!(CreateMode::of_request(plain, 0), Some(persistent));
    assert_eq!(CreateMode::of_request(plain, 3), Some(CreateMode::Ephemeral { sequential: true }));
    assert_eq!(
        CreateMode::of_request(plain, 4),
        Some(persistent),
        "an ordinary node, as in ZooKeeper"
    );
    assert_eq!(
        CreateMode::of_request(plain, 5),
        Some(CreateMode::Ttl { sequential: false, ttl: -1 })
    );
    assert_eq!(CreateMode::of_request(container, 4), Some(a_container));
    assert_eq!(CreateMode::of_request(container, 1), Some(a_container));
    assert_eq!(
        CreateMode::of_request(container, 2),
        Some(CreateMode::Container { sequential: true })
    );
    assert_eq!(CreateMode::of_request(ttl, 5), Some(CreateMode::Ttl { sequential: false, ttl: 9 }));
    assert_eq!(CreateMode::of_request(ttl, 6), Some(CreateMode::Ttl { sequential: true, ttl: 9 }));
    assert_eq!(CreateMode::of_request(ttl, 0), None);
    for kind in [plain, container, ttl] {
        for flags in [-1, 7, i32::MAX] {
            assert_eq!(CreateMode::of_request(kind, flags), None);
            assert_eq!(CreateMode::of_operation(kind, flags), None);
        }
    }
    // In a multi the flags alone make a container.
    assert_eq!(CreateMode::of_operation(plain, 4), Some(a_container));
    assert_eq!(CreateMode::of_operation(container, 0), Some(a_container));
    assert_eq!(CreateMode::of_operation(ttl, 0), Some(persistent));
    assert_eq!(CreateMode::of_operation(ttl, 4), Some(a_container));
}

#[test]
fn a_multi_read_is_bounded_in_its_operations() {
    let mut out = Vec::new();
    for _ in 0..limits::MULTI_READ_OPERATIONS_MAX {
        multi_header(&mut out, 4, false);
        out.write_string("");
        out.write_bool(false);
    }
    let mut one_more = out.clone();
    multi_header(&mut out, -1, true);
    assert!(ReadRequest::decode(OpCode::MultiRead, &out).is_ok());
    multi_header(&mut one_more, 4, false);
    one_more.write_string("");
    one_more.write_bool(false);
    multi_header(&mut one_more, -1, true);
    assert!(ReadRequest::decode(OpCode::MultiRead, &one_more).is_err());
}

#[test]
fn a_null_path_is_invalid_or_malformed_as_in_zookeeper() {
    let mut out = Vec::new();
    out.write_buffer(None);
    out.write_buffer(None);
    out.write_int(0);
    assert!(matches!(
        WriteRequest::decode(OpCode::SetData, &out),
        Ok(WriteRequest::Single(Operation::SetData { path, .. })) if path.is_empty()
    ));
    assert_eq!(
        WriteRequest::decode(OpCode::Delete, &out),
        Ok(WriteRequest::Single(Operation::Refused(ErrorCode::MarshallingError)))
    );
    let mut multi = Vec::new();
    multi_header(&mut multi, 2, false);
    multi.extend_from_slice(&out);
    multi_header(&mut multi, -1, true);
    assert!(WriteRequest::decode(OpCode::Multi, &multi).is_err());
    assert!(ReadRequest::decode(OpCode::GetData, &out).is_err());
}

#[test]
fn credentials_are_not_shown() {
    let packet = AuthPacket { scheme: "digest".into(), credentials: Some(b"joe:secret") };
    assert!(!format!("{packet:?}").contains("secret"));
}
