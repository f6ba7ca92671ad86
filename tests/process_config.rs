//! Configuration through the command line: `check-config`, overrides that are refused, log formats.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Server, embedded, output, start_error};

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// `doorkeeper check-config` on files of these contents.
fn check_config(contents: &[(&str, &str)]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = vec!["check-config".to_owned()];
    for (name, content) in contents {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        arguments.push(path.display().to_string());
    }
    let output = output(&arguments);
    let text = |bytes| {
        String::from_utf8(bytes).unwrap().replace(&format!("{}/", dir.path().display()), "")
    };
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The line of a key in the effective configuration, its white space made single.
fn line(run: &Run, key: &str) -> String {
    let line = run.stdout.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_config_shows_each_value_with_its_origin() {
    let run = check_config(&[
        ("zoo.cfg", "tickTime=2000\ndataDir=/var/zk\nclientPort=2181\ninitLimit=5\n"),
        ("server.properties", "broker.id=4\nlog.retention.minutes=10\n"),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for (key, expected) in [
        ("tickTime", "tickTime = 2000 # zoo.cfg:1"),
        ("maxSessionTimeout", "maxSessionTimeout = 40000 # default"),
        ("dataLogDir", "dataLogDir = /var/zk # default"),
        ("broker.id ", "broker.id = 4 # server.properties:1"),
        ("log.retention.minutes", "log.retention.minutes = 10 # server.properties:2"),
        ("zookeeper.connect ", "zookeeper.connect = (the coordinator of this process) # default"),
        ("socket.request.max.bytes", "socket.request.max.bytes = 104857600 # default"),
    ] {
        assert_eq!(line(&run, key), expected);
    }
    assert!(run.stderr.contains("initLimit (zoo.cfg:4)"), "{}", run.stderr);
}

#[test]
fn check_config_fails_on_errors_and_on_unknown_keys() {
    let run = check_config(&[("zoo.cfg", "dataDir=/x\nclientPort=high\ntickTime=-5\n")]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        run.stderr,
        "doorkeeper: clientPort=high (zoo.cfg:2): expected a whole number from 0 to 65535\n\
         doorkeeper: tickTime=-5 (zoo.cfg:3): expected a whole number of at least 1\n"
    );
    let run = check_config(&[("zoo.cfg", "dataDir=/x\nclientPort=1\ntickTme=5\n")]);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("clientPort = 1"), "{}", run.stdout);
    assert_eq!(
        run.stderr,
        "doorkeeper: tickTme=5 (zoo.cfg:3): unknown key (the nearest known key is tickTime)\n"
    );
}

#[test]
fn overrides_that_cannot_be_are_refused() {
    for (setting, expected) in [
        (
            "clientprot=1",
            "clientprot=1 (--override): unknown key (the nearest known key is clientPort)",
        ),
        ("doorkeeper.colour=red", "doorkeeper.colour=red (--override): unknown key"),
        ("clientPort=one", "clientPort=one (--override): expected a whole number from 0 to 65535"),
        (
            "process.roles=gateway,broker",
            "process.roles=gateway,broker (--override): a gateway runs alone, in front of a cluster",
        ),
        ("clientPort", "--override clientPort: expected KEY=VALUE"),
    ] {
        let stderr = start_error(&["run", "--override", setting]);
        assert!(stderr.starts_with(&format!("doorkeeper: {expected}")), "{setting}: {stderr}");
    }
}

#[test]
fn unknown_and_unused_keys_of_a_file_are_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let zoo_cfg = dir.path().join("zoo.cfg");
    let data = dir.path().join("data");
    let text =
        format!("dataDir={}\nclientPort=0\ninitLimit=10\nmaxClientConns=3\n", data.display());
    std::fs::write(&zoo_cfg, text).unwrap();
    for format in ["text", "json"] {
        let zoo_cfg = zoo_cfg.display().to_string();
        let server = Server::start(&[zoo_cfg.as_str(), "--log-format", format]);
        server.signal(rustix::process::Signal::TERM);
        let (status, _, stderr) = server.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        for key in ["initLimit", "maxClientCnxns"] {
            let lines: Vec<&str> = stderr.lines().filter(|line| line.contains(key)).collect();
            assert_eq!(lines.len(), 1, "{key}: {stderr}");
            assert!(lines[0].contains("WARN"), "{stderr}");
        }
        if format == "json" {
            for line in stderr.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["level"], "WARN");
            }
        }
    }
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let stderr = start_error(&["run", "--log-level", "doorkeeper=loud"]);
    assert!(stderr.starts_with("doorkeeper: the log level is not a filter"), "{stderr}");
}

#[test]
fn start_and_stop_are_visible_at_info() {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = embedded(dir.path());
    arguments.extend(["--log-level".to_owned(), "info".to_owned()]);
    let server = Server::start(&arguments);
    server.signal(rustix::process::Signal::TERM);
    let (_, _, stderr) = server.end();
    for part in ["coordinator serves", "broker serves", "stopping"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}
