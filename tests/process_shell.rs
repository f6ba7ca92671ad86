//! `doorkeeper zk` as a person and a script use it: commands, answers, errors, exit codes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Server, embedded};

struct Shell<'a>(&'a Server);

impl Shell<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorkeeper"));
        command.args(["zk", "--server", &self.0.coordinator()]).env_remove("RUST_LOG");
        command
    }

    /// What a command prints, which must succeed.
    fn says(&self, words: &[&str]) -> String {
        let output = self.command().args(words).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words:?}: {error}");
        assert_eq!(error, "", "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let words = [&["--json"], words].concat();
        serde_json::from_str(&self.says(&words)).unwrap()
    }

    /// Why a command fails, with exit code 1 and nothing on standard output.
    fn refuses(&self, words: &[&str]) -> String {
        let output = self.command().args(words).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What lines of a script print, and whether all of them succeed.
    fn script(&self, lines: &str) -> (String, bool) {
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }
}

#[test]
fn znodes_are_made_read_changed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let shell = Shell(&server);

    assert_eq!(shell.says(&["create", "/a", "two words"]), "/a\n");
    assert_eq!(shell.says(&["get", "/a"]), "two words\n");
    assert_eq!(shell.says(&["create", "-s", "/a/n-"]), "/a/n-0000000000\n");
    assert_eq!(shell.says(&["create", "-p", "/a/b/c/d", "-7"]), "/a/b/c/d\n");
    assert_eq!(shell.says(&["ls", "/a"]), "b\nn-0000000000\n");
    let below = "/a\n/a/b\n/a/b/c\n/a/b/c/d\n/a/n-0000000000\n";
    assert_eq!(shell.says(&["ls", "-R", "/a"]), below);
    assert_eq!(shell.says(&["set", "-v", "0", "/a", "new"]), "");
    let refused = shell.refuses(&["set", "-v", "0", "/a", "newer"]);
    assert_eq!(refused, "doorkeeper: /a: mismatch version\n");
    assert_eq!(shell.json(&["get", "-s", "/a"])["data"], "new");
    assert_eq!(shell.json(&["stat", "/a"])["stat"]["version"], 1);
    assert!(shell.says(&["stat", "/a"]).contains("\ndataVersion = 1\n"));
    assert_eq!(shell.refuses(&["delete", "/a"]), "doorkeeper: /a: node has not empty children\n");
    assert_eq!(shell.says(&["deleteall", "/a"]), "5 deleted\n");
    assert_eq!(shell.refuses(&["stat", "/a"]), "doorkeeper: /a: node not exists\n");
    // An ephemeral znode goes with the session of its command.
    assert_eq!(shell.says(&["create", "-e", "/e"]), "/e\n");
    assert_eq!(shell.refuses(&["get", "/e"]), "doorkeeper: /e: node not exists\n");
}

#[test]
fn a_tree_of_more_znodes_than_a_transaction_takes_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let shell = Shell(&server);
    let line = |i| format!("create -p /wide/{}/{i}\n", i % 7);
    let lines = (0..1_100).map(line).collect::<Vec<String>>().concat();
    assert!(shell.script(&lines).1);
    assert_eq!(shell.json(&["deleteall", "/wide"])["deleted"], 1_108);
}

#[test]
fn access_is_asked_for_and_given() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let shell = Shell(&server);
    shell.says(&["--auth", "digest:me:secret", "create", "/mine", "x", "auth::cdrwa"]);
    assert_eq!(shell.refuses(&["get", "/mine"]), "doorkeeper: /mine: not authorized\n");
    let lines =
        "# who am I\nwhoami\naddauth digest me:secret\nget /mine\nsetAcl /mine world:anyone:r\n";
    let (said, succeeded) = shell.script(lines);
    assert!(succeeded);
    assert_eq!(said.lines().last(), Some("x"));
    assert_eq!(shell.says(&["getAcl", "/mine"]), "world:anyone:r\n");
    let acl = &shell.json(&["getAcl", "/mine"])["acl"][0];
    assert_eq!((&acl["scheme"], &acl["permissions"]), (&"world".into(), &"r".into()));
    let wrong = shell.refuses(&["setAcl", "/mine", "world:anyone:x"]);
    assert!(wrong.contains("world:anyone:x is not scheme:id:permissions"), "{wrong}");
}

#[test]
fn kafkas_znodes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let said = Shell(&server).says(&["get", "/brokers/ids/0"]);
    let (data, meaning) = said.split_once('\n').unwrap();
    assert!(serde_json::from_str::<Value>(data).is_ok(), "{data}");
    assert!(meaning.starts_with("# broker 0, registered 20"), "{meaning}");
    let address = server.broker();
    let (host, port) = address.rsplit_once(':').unwrap();
    assert!(
        meaning.contains(&format!("\n# PLAINTEXT (PLAINTEXT) at {host}:{port}\n")),
        "{meaning}"
    );
    let said = Shell(&server).json(&["get", "/controller_epoch"]);
    assert_eq!(said["meaning"], "the controller's epoch is 1");
}

#[test]
fn a_watch_prints_what_happens() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let shell = Shell(&server);
    shell.says(&["create", "/w"]);
    let mut watching = shell
        .command()
        .args(["watch", "-n", "3", "/w"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The watch is there once its first event comes; until then there may be none to see it.
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let (send, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines {
            send.send(line.unwrap()).unwrap();
        }
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let first = loop {
        shell.says(&["set", "/w", "x"]);
        if let Ok(line) = seen.recv_timeout(std::time::Duration::from_millis(200)) {
            break line;
        }
        assert!(std::time::Instant::now() < deadline, "no event");
    };
    assert!(first.starts_with("NodeDataChanged /w (zxid 0x"), "{first}");
    shell.says(&["create", "/w/a"]);
    shell.says(&["delete", "/w/a"]);
    assert!(watching.wait().unwrap().success());
    reader.join().unwrap();
    let rest: Vec<String> = seen.iter().collect();
    assert!(rest.len() == 2, "{rest:?}");
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let shell = Shell(&server);
    assert!(shell.refuses(&["list", "/"]).contains("unrecognized subcommand 'list'"));
    assert!(shell.says(&["help"]).contains("Deletes a znode and everything below it"));
    let (said, succeeded) = shell.script("create /s 1\nget /nowhere\ncreate /t 1\n");
    assert_eq!((said.as_str(), succeeded), ("/s\n", false), "a script ends with its first failure");
    assert_eq!(shell.script("quit\nget /nowhere\n"), (String::new(), true));
    let nobody = Command::new(env!("CARGO_BIN_EXE_doorkeeper"))
        .args(["zk", "--server", "127.0.0.1:1", "--timeout", "1000", "ls", "/"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(said.starts_with("doorkeeper: no session with 127.0.0.1:1: "), "{said}");
    assert_eq!(said.lines().count(), 1);
    let secret = shell.refuses(&["--auth", "secret", "ls", "/"]);
    assert!(!secret.contains("secret"), "{secret}");
}
