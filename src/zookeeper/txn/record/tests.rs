//! Every type there and back, every prefix and every changed byte of each.

use super::*;
use crate::zookeeper::acl::Acl;

fn create(path: &str, data: Option<&[u8]>) -> CreateTxn {
    CreateTxn {
        path: path.to_owned(),
        data: data.map(Bytes::copy_from_slice),
        acl: AclList::from([Acl::new(31, "world", "anyone"), Acl::new(1, "digest", "u:h")]),
        parent_cversion: 7,
    }
}

pub(crate) fn samples() -> Vec<Txn> {
    let path = || "/a/b".to_owned();
    let data = || Some(Bytes::from_static(b"data"));
    let plain =
        || Txn::Create { create: create("/a", Some(b"x")), ephemeral: false, with_stat: false };
    vec![
        plain(),
        Txn::Create { create: create("/a", None), ephemeral: true, with_stat: true },
        Txn::CreateContainer(create("/c", Some(b""))),
        Txn::CreateTtl { create: create("/t", None), ttl: 5_000 },
        Txn::Delete { path: path() },
        Txn::DeleteContainer { path: path() },
        Txn::SetData { path: path(), data: data(), version: 3 },
        Txn::SetData { path: "/".to_owned(), data: None, version: -1 },
        Txn::Reconfig { path: "/zookeeper/config".to_owned(), data: data(), version: -1 },
        Txn::SetAcl { path: path(), acl: open_acl_unsafe(), version: 1 },
        Txn::CreateSession { timeout: 30_000 },
        Txn::CloseSession { paths: None },
        Txn::CloseSession { paths: Some(vec![]) },
        Txn::CloseSession { paths: Some(vec![path(), "/e".to_owned()]) },
        Txn::Multi(vec![]),
        Txn::Multi(vec![
            plain(),
            Txn::Check { path: path(), version: 2 },
            Txn::SetData { path: path(), data: None, version: 1 },
            Txn::Delete { path: path() },
        ]),
        Txn::Multi(vec![Txn::Error { error: 0 }, Txn::Error { error: -110 }]),
        Txn::Error { error: -101 },
    ]
}

const HEADER: TxnHeader =
    TxnHeader { client_id: 0x0100_0000_0000_0001, cxid: 4, zxid: 9, time: 1_700_000_000_000 };
const DIGEST: TxnDigest = TxnDigest { version: DIGEST_VERSION, tree_digest: 0x1234_5678 };

fn entry(txn: &Txn, digest: Option<TxnDigest>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_entry(&HEADER, txn, digest, &mut bytes);
    bytes
}

#[test]
fn every_type_comes_back() {
    for txn in samples() {
        for digest in [None, Some(DIGEST)] {
            let bytes = entry(&txn, digest);
            let (header, read, read_digest) = read_entry(&bytes).unwrap();
            assert_eq!((header, &read), (HEADER, &txn));
            let bodyless = matches!(txn, Txn::CloseSession { paths: None });
            assert_eq!(read_digest, if bodyless { None } else { digest });
            let digest_len = if read_digest.is_some() { DIGEST_LEN } else { 0 };
            assert_eq!(bytes.len(), HEADER_LEN + txn.encoded_len() + digest_len);
        }
    }
}

#[test]
fn no_prefix_and_no_changed_byte_panics() {
    for txn in samples() {
        let bytes = entry(&txn, Some(DIGEST));
        for length in 0..bytes.len() {
            let _ = read_entry(&bytes[..length]);
        }
        for position in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[position] = value;
                let _ = read_entry(&changed);
            }
        }
    }
}

#[test]
fn a_create_of_before_3_4_has_no_cversion() {
    let txn = Txn::Create { create: create("/a", None), ephemeral: true, with_stat: false };
    let mut bytes = entry(&txn, None);
    bytes.truncate(bytes.len() - 4);
    let (_, read, _) = read_entry(&bytes).unwrap();
    let Txn::Create { create, ephemeral: true, with_stat: false } = read else {
        panic!("{read:?}")
    };
    assert_eq!(create.parent_cversion, -1);
}

#[test]
fn unknown_types_are_errors() {
    let mut bytes = entry(&Txn::CreateSession { timeout: 1 }, None);
    bytes[28..32].copy_from_slice(&99_i32.to_be_bytes());
    assert_eq!(read_entry(&bytes), Err(TxnError::UnknownKind(99)));
    let nested = Txn::Multi(vec![Txn::Multi(vec![])]);
    assert_eq!(read_entry(&entry(&nested, None)), Err(TxnError::UnknownKind(kind::MULTI)));
}

#[test]
fn a_long_close_session_is_written_without_paths() {
    let paths = (0..30_000).map(|i| format!("/some/path/that/is/rather/long/{i:010}")).collect();
    let txn = Txn::CloseSession { paths: Some(paths) };
    assert!(txn.fits());
    let bytes = entry(&txn, Some(DIGEST));
    assert_eq!(bytes.len(), HEADER_LEN);
    assert_eq!(read_entry(&bytes).unwrap().1, Txn::CloseSession { paths: None });
}

#[test]
fn what_zookeeper_could_not_read_does_not_fit() {
    let set = |length: usize| Txn::SetData {
        path: "/a".to_owned(),
        data: Some(Bytes::from(vec![0; length])),
        version: 1,
    };
    let overhead = HEADER_LEN + set(0).encoded_len() + DIGEST_LEN;
    assert!(set(RECORD_MAX - overhead).fits());
    assert!(!set(RECORD_MAX - overhead + 1).fits());
}
