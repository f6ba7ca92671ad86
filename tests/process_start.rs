//! The built binary: what a start prints and writes, how it stops, and how a start fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Server, embedded, output, start_error};

fn coordinator_only(dir: &std::path::Path) -> Vec<String> {
    let mut arguments = embedded(dir);
    arguments.extend(["--override".to_owned(), "process.roles=coordinator".to_owned()]);
    arguments
}

#[test]
fn version_names_version_and_commit() {
    let output = output(&["--version"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("doorkeeper {} ({})\n", doorkeeper::VERSION, doorkeeper::COMMIT));
}

#[test]
fn the_embedded_default_serves_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    assert!(server.banner.starts_with(&format!("doorkeeper {} serves", doorkeeper::VERSION)));
    let ready = server.ready();
    let keys: Vec<&String> = ready.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["brokers", "coordinator", "coordinatorSecure", "gateways", "http", "pid"]);
    assert_eq!(ready["pid"], server.pid().as_raw_nonzero().get());
    assert_eq!(ready["gateways"], serde_json::json!([]));
    assert_eq!(ready["brokers"][0]["id"], 0);
    for address in [server.coordinator(), server.broker(), ready["http"].as_str().unwrap().into()] {
        assert!(std::net::TcpStream::connect(&address).is_ok(), "{address}");
    }
    assert_eq!(server.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(server.get("/readyz"), (200, "broker: ready\ncoordinator: ready\n".to_owned()));
    assert_eq!(server.get("/nothing").0, 404);
    for part in ["coordinator/version-2", "broker"] {
        assert!(dir.path().join(part).is_dir(), "{part}");
    }

    let (ready_file, broker) = (server.ready_file(), server.broker());
    let begun = Instant::now();
    server.signal(Signal::TERM);
    let (status, stdout, stderr) = server.end();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "a clean run logs nothing at WARN");
    assert!(stdout.contains(&format!("--bootstrap-server {broker} --topic hello")), "{stdout}");
    assert!(begun.elapsed() < doorkeeper::limits::DRAIN_GRACE, "an idle process stops at once");
    assert!(!ready_file.exists());
}

#[test]
fn a_zoo_cfg_alone_starts_a_coordinator_without_http() {
    let dir = tempfile::tempdir().unwrap();
    let zoo_cfg = dir.path().join("zoo.cfg");
    let data = dir.path().join("data");
    std::fs::write(&zoo_cfg, format!("dataDir={}\nclientPort=0\n", data.display())).unwrap();
    let server = Server::start(&[zoo_cfg]);
    let ready = server.ready();
    assert_eq!((&ready["brokers"], &ready["http"]), (&serde_json::json!([]), &().into()));
    server.signal(Signal::INT);
    assert_eq!(server.end().0.code(), Some(0), "Ctrl-C is a clean stop too");
}

#[test]
fn a_ready_file_of_an_earlier_run_is_removed_first_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    std::fs::write(&ready, "old").unwrap();
    let ready_text = ready.display().to_string();
    start_error(&["run", "/no/such/file", "--ready-file", &ready_text]);
    assert!(!ready.exists());
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&coordinator_only(dir.path()));
    // A process that is stopped (SIGSTOP) receives both signals together when it goes on.
    server.signal(Signal::STOP);
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    server.signal(Signal::CONT);
    let (status, _, stderr) = server.end();
    assert!(matches!(status.code(), Some(130 | 143)), "{status:?} {stderr}");
}

#[test]
fn a_busy_port_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (key, value) in [
        ("clientPort", address.port().to_string()),
        ("listeners", format!("PLAINTEXT://{address}")),
        ("doorkeeper.http.listener", address.to_string()),
    ] {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(embedded(dir.path()));
        arguments.extend(["--override".to_owned(), format!("{key}={value}")]);
        let stderr = start_error(&arguments);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.ends_with(&format!(
                "can't listen on {address}: the port is in use by another process\n"
            )),
            "{key}: {stderr}"
        );
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let below_a_file = dir.path().join("file/data");
    for key in ["dataDir", "log.dirs"] {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(embedded(&dir.path().join("data")));
        arguments.extend(["--override".to_owned(), format!("{key}={}", below_a_file.display())]);
        let stderr = start_error(&arguments);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(&below_a_file.display().to_string()), "{key}: {stderr}");
    }
}

#[test]
fn a_directory_that_another_process_uses_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    for (own, used) in [("log.dirs", "coordinator"), ("dataDir", "broker")] {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(embedded(dir.path()));
        let other = dir.path().join("other").join(own);
        arguments.extend(["--override".to_owned(), format!("{own}={}", other.display())]);
        let stderr = start_error(&arguments);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let used = dir.path().join(used).display().to_string();
        assert!(stderr.contains(&used), "{used}: {stderr}");
        assert!(stderr.contains("another process"), "{stderr}");
    }
    server.stop();
}

#[test]
fn a_cluster_id_of_another_cluster_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(&embedded(dir.path())).stop();
    let path = dir.path().join("broker/meta.properties");
    let text = std::fs::read_to_string(&path).unwrap();
    let cluster_id = text.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
    std::fs::write(&path, text.replace(cluster_id, "AAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    let mut arguments = vec!["run".to_owned()];
    arguments.extend(embedded(dir.path()));
    let stderr = start_error(&arguments);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in ["AAAAAAAAAAAAAAAAAAAAAA", cluster_id, "meta.properties"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn a_killed_process_starts_again_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = embedded(dir.path());
    let server = Server::start(&arguments);
    // The same ports, as after a crash of a real server.
    let (coordinator, broker) = (server.coordinator(), server.broker());
    let port = coordinator.rsplit(':').next().unwrap();
    for setting in [format!("clientPort={port}"), format!("listeners=PLAINTEXT://{broker}")] {
        arguments.extend(["--override".to_owned(), setting]);
    }
    server.kill();
    // A machine that is busy with other tests may delay some of them.
    let mut starts = Vec::new();
    while starts.len() < 3 || starts.iter().all(|took| *took >= Duration::from_secs(1)) {
        assert!(starts.len() < 20, "none is quick: {starts:?}");
        let begun = Instant::now();
        let server = Server::start(&arguments);
        starts.push(begun.elapsed());
        assert_eq!((server.coordinator(), server.broker()), (coordinator.clone(), broker.clone()));
        server.kill();
    }
    Server::start(&arguments).stop();
}
