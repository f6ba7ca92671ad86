//! The audit log of a coordinator: which lines each change leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use coordinator_support::*;
use doorkeeper::config::AuditConfig;
use doorkeeper::zookeeper::acl::{self, Acl, open_acl_unsafe};

/// What a line says after its time, with the session's number left out.
fn told(line: &str) -> String {
    let (_, told) = line.split_once("audit.Slf4jAuditLogger: ").unwrap();
    told.split('\t').filter(|field| !field.starts_with("session=")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn each_change_is_a_line_with_who_what_and_how_it_came_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let config = AuditConfig { file: Some(file.clone()) };
    let server = Server::start_with(|all| all.audit = Some(config)).await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.ask(AUTH, &auth("digest", b"bob:x")).await;
    client.create("/a", 0).await;
    client.create("/a/s-", 3).await;
    client.ask(SET_DATA, &set_data("/a", b"1", 0)).await;
    client.ask(SET_DATA, &set_data("/a", b"1", 0)).await;
    let list =
        [Acl::new(acl::ALL, "auth", ""), Acl::new(acl::READ | acl::WRITE, "digest", "eve:hash")];
    client.ask(SET_ACL, &set_acl("/a", &list, -1)).await;
    client.ask(GET_DATA, &watched("/a", false)).await;
    let good = multi(&[
        (CREATE, open("/m", 0)),
        (CHECK, versioned("/m", 0)),
        (SET_DATA, set_data("/m", b"", -1)),
        (DELETE, versioned("/m", -1)),
    ]);
    client.ask(MULTI, &good).await;
    client.ask(MULTI, &multi(&[(CREATE, open("/m", 0)), (DELETE, versioned("/x", -1))])).await;
    client.ask(DELETE, &versioned("/nowhere", -1)).await;
    client.ask(CLOSE_SESSION, &[]).await;
    client.is_closed().await;
    server.stop().await;

    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = text.lines().map(told).collect();
    let me = "user=127.0.0.1 ip=127.0.0.1";
    let bob = "user=127.0.0.1,bob ip=127.0.0.1";
    let expected = [
        format!("{me} operation=create znode=/a znode_type=persistent result=success"),
        format!("{bob} operation=create znode=/a znode_type=persistent result=failure"),
        format!(
            "{bob} operation=create znode=/a/s-0000000000 znode_type=ephemeral_sequential result=success"
        ),
        format!("{bob} operation=setData znode=/a result=success"),
        format!("{bob} operation=setData znode=/a result=failure"),
        format!("{bob} operation=setAcl znode=/a acl=auth::cdrwa,digest:eve:x:rw result=success"),
        format!("{bob} operation=create znode=/m znode_type=persistent result=success"),
        format!("{bob} operation=setData znode=/m result=success"),
        format!("{bob} operation=delete znode=/m result=success"),
        format!("{bob} operation=multiOperation result=failure"),
        format!("{bob} operation=delete znode=/nowhere result=failure"),
    ];
    assert_eq!(lines[1..=expected.len()], expected, "{text}");
    let (first, rest) = (&lines[0], &lines[expected.len() + 1..]);
    let user = first.strip_suffix(" operation=serverStart result=success").unwrap();
    assert!(user.starts_with("user="), "{first}");
    let deletion = "operation=ephemeralZNodeDeletionOnSessionCloseOrExpire znode=/a/s-0000000000";
    assert_eq!(
        rest,
        [
            format!("{user} {deletion} result=success"),
            format!("{user} operation=serverStop result=invoked"),
        ]
    );
    assert!(!text.contains("hash"), "no hashes");
}

#[tokio::test]
async fn cve_2026_84439_no_name_or_path_makes_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let config = AuditConfig { file: Some(file.clone()) };
    let server = Server::start_with(|all| all.audit = Some(config)).await;
    let mut client = server.connect().await;
    client.ask(AUTH, &auth("digest", b"eve\nuser=root\tresult=success\n,bob:x")).await;
    let evil = "/a\nsession=0x1\tuser=root\toperation=delete\tznode=/b\tresult=success\n";
    client.ask(CREATE, &create(evil, b"", 0, &open_acl_unsafe())).await;
    let list = [Acl::new(acl::ALL, "digest", "a\nb:c")];
    client.ask(CREATE, &create("/ok", b"", 0, &list)).await;
    client.ask(SET_ACL, &set_acl("/ok", &[Acl::new(1, "ip\n", "\r\n")], -1)).await;
    server.stop().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "start, three requests, stop: {text}");
    for line in &lines[1..4] {
        assert_eq!(line.matches("result=").count() - line.matches("\\tresult=").count(), 1);
        assert_eq!(line.matches("\tuser=").count(), 1, "{line}");
        assert!(line.contains("eve\\nuser=root\\tresult=success\\n\\\\,bob"), "{line}");
    }
}
