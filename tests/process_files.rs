//! Roles in processes of their own, from the files that people have.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use support::{Server, start_error};

fn zoo_cfg(dir: &Path) -> PathBuf {
    let path = dir.join("zoo.cfg");
    let data = dir.join("zookeeper");
    let text = format!(
        "# The sample that ZooKeeper comes with, on another port.\n\
         tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\n",
        data.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// The lines of Kafka's own sample that differ from the defaults, or that we don't use.
fn server_properties(dir: &Path, id: i32, connect: &str) -> PathBuf {
    let path = dir.join(format!("server-{id}.properties"));
    let logs = dir.join(format!("kafka-logs-{id}"));
    let text = format!(
        "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:0\nnum.network.threads=3\n\
         log.dirs={}\noffsets.topic.replication.factor=1\nzookeeper.connect={connect}\n\
         zookeeper.connection.timeout.ms=18000\ngroup.initial.rebalance.delay.ms=0\n",
        logs.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn brokers_of_their_own_processes_share_a_coordinator_below_a_chroot() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Server::start(&[zoo_cfg(dir.path())]);
    let connect = format!("{}/kafka/eu", coordinator.coordinator());
    let first = Server::start(&[server_properties(dir.path(), 1, &connect)]);
    let second = Server::start(&[server_properties(dir.path(), 2, &connect)]);
    for (server, id) in [(&first, 1), (&second, 2)] {
        let ready = server.ready();
        assert_eq!((&ready["coordinator"], &ready["brokers"][0]["id"]), (&().into(), &id.into()));
        assert!(std::net::TcpStream::connect(server.broker()).is_ok());
    }
    // Brokers first: their sessions are closed, so that none of them has to expire.
    first.stop();
    second.stop();
    coordinator.stop();
}

#[test]
fn both_files_start_both_roles_in_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let properties = server_properties(dir.path(), 5, "");
    let text = std::fs::read_to_string(&properties).unwrap().replace("zookeeper.connect=\n", "");
    std::fs::write(&properties, text).unwrap();
    let server = Server::start(&[zoo_cfg(dir.path()), properties]);
    assert_eq!(server.ready()["brokers"][0]["id"], 5);
    assert!(dir.path().join("zookeeper/version-2").is_dir());
    assert!(dir.path().join("kafka-logs-5/meta.properties").is_file());
    server.stop();
}

#[test]
fn a_broker_without_its_coordinator_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    // A port that nobody listens on any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let properties = server_properties(dir.path(), 1, &format!("127.0.0.1:{port}"));
    let properties = properties.display().to_string();
    let quick = ["--override", "zookeeper.connection.timeout.ms=300", "--log-level", "error"];
    let stderr = start_error(&["run", &properties, quick[0], quick[1], quick[2], quick[3]]);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&format!("127.0.0.1:{port}")), "{stderr}");
}

#[test]
fn a_broker_id_that_lives_elsewhere_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Server::start(&[zoo_cfg(dir.path())]);
    let connect = coordinator.coordinator();
    let first = Server::start(&[server_properties(dir.path(), 1, &connect)]);
    let elsewhere = tempfile::tempdir().unwrap();
    let second = server_properties(elsewhere.path(), 1, &connect).display().to_string();
    // The other one's session would have to expire within this, and it does not.
    let quick = ["--override", "zookeeper.session.timeout.ms=4000", "--log-level", "error"];
    let stderr = start_error(&["run", &second, quick[0], quick[1], quick[2], quick[3]]);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("broker") && stderr.contains('1'), "{stderr}");
    first.stop();
    coordinator.stop();
}
