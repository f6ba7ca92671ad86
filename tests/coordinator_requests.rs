//! Requests over real sockets: order, multi, ACLs, malformed input, limits.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::{Duration, Instant};

use coordinator_support::*;
use doorkeeper::config::Secret;
use doorkeeper::limits;
use doorkeeper::zookeeper::acl::{self, Acl, open_acl_unsafe};
use doorkeeper::zookeeper::jute::{Reader, Writer as _};
use doorkeeper::zookeeper::proto::OpCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_node_from_birth_to_death() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(client.create("/a", 0).await.string(), "/a");
    let created = client.ask(CREATE2, &open("/a/b", 0)).await;
    let mut reader = Reader::new(&created.body);
    assert_eq!(reader.string().unwrap(), Some("/a/b"));
    assert_eq!(reader.remaining(), 68);

    let set = client.ask(SET_DATA, &set_data("/a", b"hello", 0)).await;
    assert_eq!((set.stat().version, set.stat().mzxid), (1, set.zxid));
    let (data, stat) = client.ask(GET_DATA, &watched("/a", false)).await.data_and_stat();
    assert_eq!(data.as_deref(), Some(&b"hello"[..]));
    assert_eq!((stat.num_children, stat.cversion, stat.pzxid), (1, 1, created.zxid));

    let children = client.ask(GET_CHILDREN, &watched("/a", false)).await;
    let mut reader = Reader::new(&children.body);
    assert_eq!((reader.int().unwrap(), reader.string().unwrap()), (1, Some("b")));
    assert_eq!(client.ask(DELETE, &versioned("/a", -1)).await.err, -111, "not empty");
    assert_eq!(client.ask(DELETE, &versioned("/a/b", 0)).await.err, 0);
    assert_eq!(client.ask(DELETE, &versioned("/a", 1)).await.err, 0);
    assert_eq!(client.ask(SYNC, &path("/a")).await.string(), "/a");
}

#[tokio::test]
async fn null_data_comes_back_as_null() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut body = path("/n");
    body.write_buffer(None);
    acl::write_list(&open_acl_unsafe(), &mut body);
    body.write_int(0);
    client.ask(CREATE, &body).await;
    assert_eq!(client.ask(GET_DATA, &watched("/n", false)).await.data_and_stat().0, None);
}

#[tokio::test]
async fn every_write_takes_a_zxid_whether_it_succeeds_or_not() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let first = client.create("/a", 0).await.zxid;
    let failed = client.create("/a", 0).await;
    assert_eq!((failed.err, failed.zxid), (-110, first + 1));
    assert_eq!(client.ask(GET_DATA, &watched("/a", false)).await.zxid, first + 1);
    assert_eq!(client.ask(MULTI, &multi(&[])).await.zxid, first + 2, "an empty multi, too");
    assert_eq!(client.ask(EXISTS, &watched("/x", false)).await.zxid, first + 2, "reads don't");
}

/// Pairs of a write and a read that are sent without waiting.
const ROUNDS: i32 = 300;

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_reads_see_the_writes_before_them() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    let mut bytes = Vec::new();
    let mut push = |xid: i32, op: i32, body: &[u8]| {
        let frame = request(xid, op, body);
        bytes.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&frame);
    };
    for round in 0..ROUNDS {
        push(round * 2, SET_DATA, &set_data("/a", round.to_string().as_bytes(), round));
        push(round * 2 + 1, GET_DATA, &watched("/a", false));
    }
    let (mut reading, mut writing) = client.stream.into_split();
    let writer = tokio::spawn(async move {
        writing.write_all(&bytes).await.unwrap();
        writing
    });
    for xid in 0..ROUNDS * 2 {
        let mut length = [0; 4];
        reading.read_exact(&mut length).await.unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        reading.read_exact(&mut frame).await.unwrap();
        let mut reader = Reader::new(&frame);
        assert_eq!(reader.int().unwrap(), xid);
        let (_zxid, err) = (reader.long().unwrap(), reader.int().unwrap());
        assert_eq!(err, 0);
        if xid % 2 == 1 {
            let expected = (xid / 2).to_string();
            assert_eq!(reader.buffer().unwrap(), Some(expected.as_bytes()), "its own write");
        }
    }
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn a_multi_succeeds_or_fails_as_a_whole() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let done = client
        .ask(
            MULTI,
            &multi(&[
                (CREATE, open("/m", 0)),
                (CREATE2, open("/m/c", 0)),
                (SET_DATA, set_data("/m", b"1", 0)),
                (CHECK, versioned("/m", 1)),
                (DELETE, versioned("/m/c", 0)),
            ]),
        )
        .await;
    let mut reader = Reader::new(&done.body);
    let header = |reader: &mut Reader<'_>| {
        (reader.int().unwrap(), reader.bool().unwrap(), reader.int().unwrap())
    };
    assert_eq!(header(&mut reader), (1, false, 0));
    assert_eq!(reader.string().unwrap(), Some("/m"));
    assert_eq!(header(&mut reader), (15, false, 0));
    assert_eq!(reader.string().unwrap(), Some("/m/c"));
    let stat = doorkeeper::zookeeper::stat::Stat::read(&mut reader).unwrap();
    assert_eq!(stat.czxid, done.zxid);
    assert_eq!(header(&mut reader), (5, false, 0));
    let stat = doorkeeper::zookeeper::stat::Stat::read(&mut reader).unwrap();
    assert_eq!((stat.czxid, stat.mzxid, stat.version), (done.zxid, done.zxid, 1));
    assert_eq!(header(&mut reader), (13, false, 0));
    assert_eq!(header(&mut reader), (2, false, 0));
    assert_eq!(header(&mut reader), (-1, true, -1));
    assert!(reader.is_empty());

    let failed = client
        .ask(
            MULTI,
            &multi(&[
                (CREATE, open("/m/s-", 2)),
                (DELETE, versioned("/nobody", -1)),
                (CREATE, open("/x", 0)),
            ]),
        )
        .await;
    assert_eq!((failed.err, failed.zxid), (0, done.zxid + 1));
    let mut reader = Reader::new(&failed.body);
    for code in [0, NO_NODE, -2] {
        assert_eq!(header(&mut reader), (-1, false, code));
        assert_eq!(reader.int().unwrap(), code);
    }
    assert_eq!(header(&mut reader), (-1, true, -1));
    assert!(!client.exists("/x").await);
    assert_eq!(client.create("/m/s-", 2).await.string(), "/m/s-0000000001", "rolled back");
}

#[tokio::test]
async fn a_multi_read_answers_each_part_for_itself() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.create("/a/b", 0).await;
    let parts = [
        (GET_DATA, watched("/a", false)),
        (GET_CHILDREN, watched("/a", false)),
        (GET_DATA, watched("/nobody", false)),
    ];
    let reply = client.ask(MULTI_READ, &multi(&parts)).await;
    let mut reader = Reader::new(&reply.body);
    assert_eq!((reader.int(), reader.bool(), reader.int()), (Ok(4), Ok(false), Ok(0)));
    assert_eq!(reader.buffer().unwrap(), Some(&b"x"[..]));
    reader.bytes(68).unwrap();
    assert_eq!((reader.int(), reader.bool(), reader.int()), (Ok(8), Ok(false), Ok(0)));
    assert_eq!((reader.int(), reader.string()), (Ok(1), Ok(Some("b"))));
    assert_eq!((reader.int(), reader.bool(), reader.int()), (Ok(-1), Ok(false), Ok(NO_NODE)));
    assert_eq!(reader.int(), Ok(NO_NODE));
    assert_eq!((reader.int(), reader.bool(), reader.int()), (Ok(-1), Ok(true), Ok(-1)));

    let mixed = multi(&[(GET_DATA, watched("/a", false)), (DELETE, versioned("/a", -1))]);
    assert_eq!(client.ask(MULTI_READ, &mixed).await.err, -5);
    assert_eq!(client.ask(MULTI, &mixed).await.err, -5);
}

/// CVE-2026-100302: a small request can't ask for an answer of any size, nor for any number of reads.
#[tokio::test]
async fn cve_2026_100302_a_multi_read_is_bounded_in_bytes_and_in_reads() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.ask(SET_DATA, &set_data("/a", &vec![0; 1_000_000], -1)).await;
    for (path, count, err) in [
        ("/a", 15, 0),
        ("/a", 20, -8),
        ("/", limits::MULTI_READ_OPERATIONS_MAX, 0),
        ("/", limits::MULTI_READ_OPERATIONS_MAX + 1, -5),
        ("/nobody", limits::MULTI_READ_OPERATIONS_MAX + 1, -5),
    ] {
        let reads = vec![(GET_DATA, watched(path, false)); count];
        let reply = client.ask(MULTI_READ, &multi(&reads)).await;
        assert_eq!((reply.err, reply.body.is_empty()), (err, err != 0), "{count} of {path}");
        assert!(reply.body.len() <= limits::MULTI_READ_BYTES_MAX);
    }
    for name in 0..200 {
        let long = format!("/a/{name:0>1000}");
        assert_eq!(client.ask(CREATE, &create(&long, b"", 0, &open_acl_unsafe())).await.err, 0);
    }
    let lists = vec![(GET_CHILDREN, watched("/a", false)); 100];
    assert_eq!(client.ask(MULTI_READ, &multi(&lists)).await.err, -8, "of children too");
    client.is_quiet().await;
}

#[tokio::test]
async fn acls_are_enforced_and_hashes_masked() {
    let server = Server::start().await;
    let mut joe = server.connect().await;
    joe.send_as(-4, AUTH, &auth("digest", b"joe:secret")).await;
    let answer = joe.next().await.unwrap();
    assert_eq!((answer.xid, answer.zxid, answer.err), (-4, 0, 0));
    let list = [Acl::new(acl::ALL, "auth", ""), Acl::new(acl::READ, "world", "anyone")];
    assert_eq!(joe.ask(CREATE, &create("/j", b"", 0, &list)).await.err, 0);
    assert_eq!(joe.ask(SET_DATA, &set_data("/j", b"1", -1)).await.err, 0);

    let mut other = server.connect().await;
    assert_eq!(other.ask(GET_DATA, &watched("/j", false)).await.err, 0);
    assert_eq!(other.ask(SET_DATA, &set_data("/j", b"2", -1)).await.err, NO_AUTH);
    assert_eq!(other.ask(CREATE, &open("/j/c", 0)).await.err, NO_AUTH);
    assert_eq!(other.ask(SET_ACL, &set_acl("/j", &open_acl_unsafe(), -1)).await.err, NO_AUTH);
    let shown = other.ask(GET_ACL, &path("/j")).await;
    let masked = acl::read_list(&mut Reader::new(&shown.body)).unwrap().unwrap();
    assert_eq!(masked[0], Acl::new(acl::ALL, "digest", "joe:x"));
    let shown = joe.ask(GET_ACL, &path("/j")).await;
    let whole = acl::read_list(&mut Reader::new(&shown.body)).unwrap().unwrap();
    assert!(whole[0].id.len() > "joe:x".len(), "{whole:?}");

    let nothing = [Acl::new(0, "world", "anyone")];
    let reply = joe.ask(SET_ACL, &set_acl("/j", &nothing, 0)).await;
    assert_eq!(reply.stat().aversion, 1);
    assert_eq!(joe.ask(GET_DATA, &watched("/j", false)).await.err, NO_AUTH);
    assert_eq!(joe.ask(EXISTS, &watched("/j", false)).await.err, NO_AUTH);
    assert_eq!(joe.ask(CREATE, &create("/k", b"", 0, &[])).await.err, -114);
    let foreign = [Acl::new(acl::ALL, "sasl", "joe")];
    assert_eq!(joe.ask(CREATE, &create("/k", b"", 0, &foreign)).await.err, -114);
}

#[tokio::test]
async fn the_super_user_and_skip_acl_pass_every_list() {
    let digest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";
    let nobody = [Acl::new(0, "world", "anyone")];
    let server =
        Server::start_with(|config| config.auth.super_digest = Some(Secret::new(digest))).await;
    let mut root = server.connect().await;
    root.ask(CREATE, &create("/a", b"", 0, &nobody)).await;
    assert_eq!(root.ask(GET_DATA, &watched("/a", false)).await.err, NO_AUTH);
    root.ask(AUTH, &auth("digest", b"super:test")).await;
    assert_eq!(root.ask(GET_DATA, &watched("/a", false)).await.err, 0);

    let server = Server::start_with(|config| config.auth.skip_acl = true).await;
    let mut anybody = server.connect().await;
    anybody.ask(CREATE, &create("/a", b"", 0, &nobody)).await;
    assert_eq!(anybody.ask(SET_DATA, &set_data("/a", b"1", -1)).await.err, 0);
}

#[tokio::test]
async fn a_bad_scheme_is_answered_and_the_connection_closed() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send_as(-4, AUTH, &auth("kerberos", b"joe")).await;
    let answer = client.next().await.unwrap();
    assert_eq!((answer.xid, answer.zxid, answer.err), (-4, 0, -115));
    client.is_closed().await;
}

#[tokio::test]
async fn what_is_not_served_is_answered_and_the_connection_closed() {
    let server = Server::start().await;
    // Opcodes of the server's own, of other issues, and of nobody.
    for op in [-10, -1, 0, 10, 13, 20, 108, 1_000, i32::MAX, i32::MIN] {
        let mut client = server.connect().await;
        let xid = client.send(op, &versioned("/zookeeper", 0)).await;
        let answer = client.next().await.unwrap();
        assert_eq!((answer.xid, answer.zxid, answer.err), (xid, -1, -6), "{op}");
        client.is_closed().await;
    }
}

#[tokio::test]
async fn bad_lengths_close_the_connection_and_nothing_else() {
    let server = Server::start_with(|config| config.jute_max_buffer = 10_000).await;
    let mut bystander = server.connect().await;
    for length in [-1, i32::MIN, 10_001, i32::MAX] {
        let mut client = server.connect().await;
        client.stream.write_all(&length.to_be_bytes()).await.unwrap();
        client.is_closed().await;
        let mut stranger = TcpStream::connect(server.address()).await.unwrap();
        stranger.write_all(&length.to_be_bytes()).await.unwrap();
        assert_eq!(stranger.read(&mut [0; 64]).await.unwrap_or(0), 0);
    }
    // The longest request that fits: 8 bytes of header, 4 + 2 of path, 4 of data's length, 4 of version.
    let longest = vec![1; 10_000 - 22];
    bystander.create("/a", 0).await;
    assert_eq!(bystander.ask(SET_DATA, &set_data("/a", &longest, -1)).await.err, 0);
    let (data, _) = bystander.ask(GET_DATA, &watched("/a", false)).await.data_and_stat();
    assert_eq!(data, Some(longest));
}

/// A valid request of every opcode that has a body.
fn requests() -> Vec<(i32, Vec<u8>)> {
    vec![
        (CREATE, open("/f", 3)),
        (CREATE2, open("/f", 2)),
        (CREATE_CONTAINER, open("/f", 4)),
        (CREATE_TTL, create_ttl("/f", 5, 1_000)),
        (RECONFIG, reconfig()),
        (GET_EPHEMERALS, path("/f")),
        (GET_ALL_CHILDREN_NUMBER, path("/f")),
        (DELETE, versioned("/f", 0)),
        (EXISTS, watched("/f", true)),
        (GET_DATA, watched("/f", true)),
        (SET_DATA, set_data("/f", b"abc", 0)),
        (GET_ACL, path("/f")),
        (SET_ACL, set_acl("/f", &open_acl_unsafe(), 0)),
        (GET_CHILDREN, watched("/f", true)),
        (SYNC, path("/f")),
        (12, watched("/f", true)),
        (MULTI, multi(&[(CREATE, open("/f", 0)), (CHECK, versioned("/f", 0))])),
        (17, versioned("/f", 3)),
        (REMOVE_WATCHES, versioned("/f", 3)),
        (MULTI_READ, multi(&[(GET_DATA, watched("/f", false))])),
        (AUTH, auth("digest", b"a:b")),
        (SASL, token(Some(b"abc"))),
        (SET_WATCHES, set_watches(0, &[&["/f"], &["/f"], &["/f"]])),
        (105, set_watches(0, &[&["/f"], &[], &[], &["/f"], &["/f"]])),
        (ADD_WATCH, versioned("/f", 1)),
    ]
}

#[tokio::test]
async fn every_prefix_of_every_request_is_answered_and_nobody_else_notices() {
    let server = Server::start().await;
    let mut bystander = server.connect().await;
    for (op, body) in requests() {
        let mut client = server.connect().await;
        for length in 0..body.len() {
            let xid = client.send(op, &body[..length]).await;
            match client.next().await {
                Some(reply) => assert_eq!((reply.xid, reply.err), (xid, -5), "{op} at {length}"),
                None => assert!(matches!(op, AUTH | SASL), "{op}: closed at {length}"),
            }
            if matches!(op, AUTH | SASL) {
                client = server.connect().await;
            }
        }
    }
    assert!(bystander.exists("/").await);
}

#[tokio::test]
async fn every_changed_byte_of_every_request_is_answered_or_closes_only_its_own_connection() {
    let server = Server::start_with(|config| config.force_sync = false).await;
    let mut bystander = server.connect().await;
    let mut client = server.connect().await;
    for (op, body) in requests() {
        let frame = request(1, op, &body);
        for at in 4..frame.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff, frame[at] ^ 0x01, frame[at] ^ 0x40] {
                let mut changed = frame.clone();
                changed[at] = value;
                let mut bytes = u32::try_from(changed.len()).unwrap().to_be_bytes().to_vec();
                bytes.extend_from_slice(&changed);
                let alive = client.stream.write_all(&bytes).await.is_ok()
                    && loop {
                        match client.next().await {
                            Some(reply) if reply.xid == -1 && reply.err == 0 => {}
                            Some(reply) => break !matches!(reply.err, -6 | -115),
                            None => break false,
                        }
                    };
                if !alive {
                    client = server.connect().await;
                }
            }
        }
    }
    assert!(bystander.exists("/").await);
    assert_eq!(bystander.ask(SYNC, &path("/")).await.err, 0);
    assert_eq!(OpCode::ALL.len(), requests().len() + 3, "all but those without a body");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_others_go_on() {
    let server = Server::start().await;
    let mut deaf = server.connect().await;
    let mut other = server.connect().await;
    let large = vec![7; 1_000_000];
    other.ask(CREATE, &create("/large", &large, 0, &open_acl_unsafe())).await;
    // Replies wait for the reader: the requests behind them are not even taken.
    let ask = request(1, GET_DATA, &watched("/large", false));
    let mut bytes = u32::try_from(ask.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&ask);
    let flood = async {
        loop {
            deaf.stream.write_all(&bytes).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), flood).await.is_err());
    let started = Instant::now();
    assert!(other.exists("/large").await);
    assert!(started.elapsed() < Duration::from_secs(20));
    let reply = deaf.next().await.unwrap();
    assert_eq!(reply.data_and_stat().0.unwrap().len(), large.len(), "it may read on");
}

#[tokio::test]
async fn four_letter_words_answer_and_close() {
    let server = Server::start_with(|config| {
        config.four_letter_whitelist =
            ["ruok", "srvr", "stat", "mntr", "conf", "isro"].map(str::to_owned).to_vec();
    })
    .await;
    let client = server.connect().await;
    let ask = async |word: &str| {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    assert_eq!(ask("ruok").await, "imok");
    assert_eq!(ask("ruok\n").await, "imok");
    assert_eq!(ask("isro").await, "rw");
    assert_eq!(ask("cons").await, "cons is not executed because it is not in the whitelist.\n");
    let text = ask("srvr").await;
    assert!(text.starts_with("Zookeeper version: 3.9.4-doorkeeper-"), "{text}");
    assert!(text.contains("\nZxid: 0x1\nMode: standalone\nNode count: 5\n"), "{text}");
    // An answer is counted when it has been sent, which its reader may be quicker than.
    let peer = client.stream.local_addr().unwrap();
    let line = format!("\nClients:\n /{peer}[1](queued=0,recved=1,sent=1)\n");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = ask("stat").await;
        if text.contains(&line) {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let text = ask("mntr").await;
    for line in ["zk_server_state\tstandalone", "zk_znode_count\t5", "zk_watch_count\t0"] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let text = ask("conf").await;
    let port = server.address().port();
    assert!(text.starts_with(&format!("clientPort={port}\nsecureClientPort=-1\n")), "{text}");
    assert!(text.contains("\ntickTime=50\n"), "{text}");
}
