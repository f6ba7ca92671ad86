//! Keys and system properties through the built binary, by what they do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use coordinator_support::{CREATE, Client, Hello, create};
use doorkeeper::zookeeper::acl::open_acl_unsafe;
use rustix::process::Signal;
use support::Server;

/// A `zoo.cfg` with these lines.
fn zoo_cfg(dir: &Path, lines: &str) -> PathBuf {
    let file = dir.join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n{lines}",
        dir.join("data").display(),
    );
    std::fs::write(&file, text).unwrap();
    file
}

async fn connect(server: &Server) -> Client {
    let address: SocketAddr = server.coordinator().parse().unwrap();
    Client::open(address, Hello::default()).await.expect("no session")
}

/// Writes ten znodes of 1 KiB, and says how many logs there are then, and what was warned of.
async fn logs_and_warnings(lines: &str) -> (usize, String) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[zoo_cfg(dir.path(), lines)]);
    let mut client = connect(&server).await;
    for name in 0..10 {
        let body = create(&format!("/{name}"), &[7; 1024], 0, &open_acl_unsafe());
        assert_eq!(client.ask(CREATE, &body).await.err, 0);
    }
    server.signal(Signal::TERM);
    let (status, _, stderr) = server.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let names = std::fs::read_dir(dir.path().join("data/version-2")).unwrap();
    let is_log = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("log.");
    (names.filter(|entry| is_log(&entry.as_ref().unwrap().file_name())).count(), stderr)
}

#[tokio::test]
async fn txn_log_size_limit_in_kb_ends_a_log_that_is_longer() {
    assert_eq!(logs_and_warnings("").await.0, 1);
    let (logs, _) = logs_and_warnings("txnLogSizeLimitInKb=3\n").await;
    assert!(
        (3..=6).contains(&logs),
        "ten times more than 1 KiB, in logs of little more than 3: {logs}"
    );
}

#[tokio::test]
async fn fsync_warningthresholdms_says_from_when_on_a_disk_is_slow() {
    const SLOW: &str = "the disk is slow: fsync of the transaction log";
    // Every fsync takes longer than no time, and none an hour.
    for (ms, expected) in [("0", true), ("3600000", false)] {
        let (_, stderr) = logs_and_warnings(&format!("fsync.warningthresholdms={ms}\n")).await;
        assert_eq!(stderr.contains(SLOW), expected, "{ms}: {stderr}");
    }
}

#[tokio::test]
async fn a_system_property_counts_on_the_command_line_and_in_the_variables() {
    let flag = "-Djute.maxbuffer=4096";
    for (arguments, variables, is_taken) in [
        (&[][..], &[][..], true),
        (&[flag], &[], false),
        (&[], &[("SERVER_JVMFLAGS", "-Xmx1g -Djute.maxbuffer=4096")], false),
        (&[], &[("JVMFLAGS", flag)], false),
        // The command line rules over the variables.
        (&["-Djute.maxbuffer=90000"], &[("SERVER_JVMFLAGS", flag)], true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = zoo_cfg(dir.path(), "").display().to_string();
        let mut all = vec![file.as_str()];
        all.extend_from_slice(arguments);
        let server = Server::start_with_variables(&all, variables);
        let mut client = connect(&server).await;
        client.send(CREATE, &create("/large", &[7; 5_000], 0, &open_acl_unsafe())).await;
        let reply = client.next().await;
        let err = reply.map(|reply| reply.err);
        let expected = is_taken.then_some(0);
        assert_eq!(
            err, expected,
            "{arguments:?} {variables:?}: a request that is too long ends it"
        );
        server.stop();
    }
}
