//! `doorkeeper resolve` and `doorkeeper diff` against our own servers: answers, changes, exit codes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Server, embedded};

/// A server that has the topics, made straight in its znodes.
struct Cluster {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        Cluster { server: Server::start(&embedded(dir.path())), _dir: dir }
    }

    fn broker(&self) -> String {
        self.server.broker()
    }

    fn zookeeper(&self) -> String {
        format!("zookeeper://{}", self.server.coordinator())
    }

    fn zk(&self, words: &[&str]) {
        let coordinator = self.server.coordinator();
        let (code, _, error) = said(&[&["zk", "--server", &coordinator], words].concat());
        assert_eq!(code, 0, "{words:?}: {error}");
    }

    /// Makes a topic whose partitions are all on broker 0, and waits until the broker answers with it.
    fn make_topic(&self, name: &str, partitions: usize) {
        let replicas: Vec<String> =
            (0..partitions).map(|number| format!("\"{number}\":[0]")).collect();
        // 22 letters of 6 bits each, the last four of which are zero.
        let id = format!("{name:A<21}A");
        let data = format!(
            "{{\"version\":3,\"topic_id\":\"{id}\",\"partitions\":{{{}}},\
             \"adding_replicas\":{{}},\"removing_replicas\":{{}}}}",
            replicas.join(",")
        );
        self.zk(&["create", &format!("/brokers/topics/{name}"), &data]);
        self.wait_until_led(name);
    }

    fn wait_until_led(&self, topic: &str) {
        let broker = self.broker();
        for _ in 0..600 {
            if said(&["resolve", "--bootstrap", &broker, "--topic", topic]).0 == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{topic} has no leaders");
    }
}

/// Exit code, standard output and standard error of a command.
fn said(words: &[&str]) -> (i32, String, String) {
    let output = support::output(words);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// An address at which nobody listens: a port for which one must be root.
const NOWHERE: &str = "127.0.0.1:1";

fn json(words: &[&str], expected_code: i32) -> Value {
    let (code, output, error) = said(words);
    assert_eq!(code, expected_code, "{words:?}: {output}{error}");
    assert_eq!(error, "");
    serde_json::from_str(&output).unwrap()
}

#[test]
fn leaders_keys_and_coordinators_are_resolved() {
    let cluster = Cluster::start();
    cluster.make_topic("orders", 3);
    let broker = cluster.broker();
    let resolve = ["resolve", "--bootstrap", &broker, "--json"];

    let all = json(&resolve, 0);
    assert_eq!(all["controller"], 0);
    assert_eq!(format!("127.0.0.1:{}", all["brokers"][0]["port"]), broker);
    let topic = &all["topics"][0];
    assert_eq!(topic["name"], "orders");
    assert_eq!(topic["partitions"].as_array().unwrap().len(), 3);
    let partition = &topic["partitions"][2];
    assert_eq!(partition["leader"], 0);
    assert_eq!(partition["leader_epoch"], 0);
    for replicas in ["replicas", "isr", "alive"] {
        assert_eq!(partition[replicas], serde_json::json!([0]), "{replicas}");
    }

    let one = json(&[&resolve[..], &["--topic", "orders", "--partition", "1"]].concat(), 0);
    assert_eq!(one["topics"][0]["partitions"].as_array().unwrap().len(), 1);
    assert_eq!(one["topics"][0]["partitions"][0]["partition"], 1);

    // murmur2 of "foobar" is -790332482, without its sign 1357151166.
    let key = json(&[&resolve[..], &["--topic", "orders", "--key", "foobar"]].concat(), 0);
    assert_eq!(key["key"]["partition"], 1_357_151_166 % 3);
    let words = ["--topic", "orders", "--key", "123456789", "--partitioner", "librdkafka"];
    let key = json(&[&resolve[..], &words].concat(), 0);
    assert_eq!(key["key"]["partition"], 0xcbf4_3926_u32 % 3);
    assert_eq!(key["topics"][0]["partitions"].as_array().unwrap().len(), 1);

    // What is not there ends with 1 and is said; nothing is made by asking.
    let missing = json(&[&resolve[..], &["--topic", "nobody-made-it"]].concat(), 1);
    assert_eq!(missing["topics"][0]["error"], "UNKNOWN_TOPIC_OR_PARTITION");
    json(&[&resolve[..], &["--topic", "orders", "--partition", "9"]].concat(), 1);
    let group = json(&[&resolve[..], &["--group", "some"]].concat(), 1);
    assert_eq!(group["coordinators"][0]["of"], "group some");
    assert_eq!(group["coordinators"][0]["error"], "COORDINATOR_NOT_AVAILABLE");
    assert_eq!(group["topics"].as_array().unwrap().len(), 0);
    assert_eq!(json(&resolve, 0)["topics"].as_array().unwrap().len(), 1);

    let (code, table, _) = said(&["resolve", "--bootstrap", &broker, "--topic", "orders"]);
    assert_eq!(code, 0);
    assert!(
        table.contains("\nTOPIC   PARTITION  LEADER  EPOCH  REPLICAS  ISR  ALIVE  ERROR\n"),
        "{table}"
    );
    assert!(table.contains("\norders  0          0       0      0         0    0\n"), "{table}");

    // The first address that answers is asked.
    let second = format!("{NOWHERE},{broker}");
    assert_eq!(said(&["resolve", "--bootstrap", &second]).0, 0);
}

#[test]
fn what_can_not_be_read_is_one_line_and_code_2() {
    let cluster = Cluster::start();
    let broker = cluster.broker();
    let zookeeper = cluster.zookeeper();
    let elsewhere = format!("{zookeeper}/nothing/here");
    let http = cluster.server.ready()["http"].as_str().unwrap().to_owned();
    let coordinator = cluster.server.coordinator();
    let at = |address: &str| format!("doorkeeper: {address}: ");
    let cases: [(&[&str], String); 6] = [
        (&["resolve", "--bootstrap", NOWHERE], at(NOWHERE)),
        (&["diff", &broker, NOWHERE], at(NOWHERE)),
        (&["diff", &broker, &elsewhere], at(&elsewhere)),
        (&["diff", &http, &broker], at(&http)),
        (&["diff", &coordinator, &broker, "--timeout", "3000"], at(&coordinator)),
        (&["resolve", "--bootstrap", &elsewhere], at(&elsewhere)),
    ];
    for (words, expected) in cases {
        let (code, output, error) = said(words);
        assert_eq!((code, output.as_str()), (2, ""), "{words:?}: {error}");
        assert!(error.starts_with(&expected), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{words:?}: {error}");
    }
    let away = format!("zookeeper://{NOWHERE}");
    let (code, _, error) = said(&["resolve", "--bootstrap", &away, "--timeout", "3000"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.starts_with(&at(&away)), "{error}");
    // Options that make no sense, too.
    assert_eq!(said(&["diff", "here", &broker]).0, 2);
    assert_eq!(said(&["resolve", "--key", "without a topic"]).0, 2);
}

#[test]
fn a_broker_and_its_znodes_do_not_differ_and_two_clusters_do() {
    let (cluster, other) = (Cluster::start(), Cluster::start());
    cluster.make_topic("orders", 3);
    let (broker, zookeeper) = (cluster.broker(), cluster.zookeeper());
    let equal =
        ["diff", &broker, &zookeeper, "--addresses", "--listener", "PLAINTEXT", "--wait", "30"];
    assert_eq!(said(&equal), (0, String::new(), String::new()));
    let same = json(&["diff", &broker, &broker, "--json"], 0);
    assert_eq!(same, serde_json::json!({"equal": true, "differences": []}));

    let (code, output, _) = said(&["diff", &broker, &other.broker()]);
    assert_eq!(code, 1);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].starts_with("cluster id: "), "{output}");
    assert_eq!(lines[1], "topic orders: 3 partitions -> absent");
    let found = json(&["diff", &broker, &other.broker(), "--addresses", "--json"], 1);
    assert_eq!(found["equal"], false);
    let fields: Vec<&Value> =
        found["differences"].as_array().unwrap().iter().map(|each| &each["field"]).collect();
    assert_eq!(fields, ["cluster id", "broker 0 port", "topic orders"]);
}

#[test]
fn znodes_are_resolved_as_the_broker_resolves() {
    let cluster = Cluster::start();
    cluster.make_topic("orders", 3);
    let resolve = |address: &str, words: &[&str], code| {
        let listener = ["resolve", "--bootstrap", address, "--listener", "PLAINTEXT", "--json"];
        json(&[&listener[..], words].concat(), code)
    };
    let (broker, zookeeper) = (cluster.broker(), cluster.zookeeper());
    let cases: [(&[&str], i32); 6] = [
        (&[], 0),
        (&["--topic", "orders", "--partition", "1"], 0),
        (&["--topic", "orders", "--key", "foobar"], 0),
        (&["--topic", "nobody-made-it"], 1),
        (&["--topic", "orders", "--partition", "9"], 1),
        (&["--transactional-id", "other"], 1),
    ];
    for (words, code) in cases {
        let mut told = resolve(&broker, words, code);
        let mut read = resolve(&zookeeper, words, code);
        for answer in [&mut told, &mut read] {
            for topic in answer["topics"].as_array_mut().unwrap() {
                if topic["error"] != Value::Null {
                    // A topic that is not there has an id and a kind in answers.
                    topic.as_object_mut().unwrap().retain(|key, _| key == "name" || key == "error");
                }
            }
        }
        assert_eq!(told, read, "{words:?}");
    }
}

/// `resolve --watch`, and the JSON lines that it prints.
struct Watch {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(address: &str, words: &[&str]) -> Watch {
        let mut child = Command::new(env!("CARGO_BIN_EXE_doorkeeper"))
            .args(["resolve", "--bootstrap", address, "--json", "--watch", "--interval", "50"])
            .args(words)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().map(BufReader::new);
        Watch { child, output }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The next event of this name.
    fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let next = self.next();
            if next["event"] == event {
                return next;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_change_is_printed_while_watching_and_ctrl_c_ends_it() {
    let cluster = Cluster::start();
    cluster.make_topic("first", 1);
    for (address, topic) in [(cluster.broker(), "second"), (cluster.zookeeper(), "third")] {
        let mut watch = Watch::start(&address, &[]);
        assert_eq!(watch.next()["topics"][0]["name"], "first");
        cluster.make_topic(topic, 1);
        let change = watch.wait_for("change");
        assert_eq!(change["field"], format!("topic {topic}"));
        assert_eq!(change["to"], "1 partitions");
        assert!(change["time"].as_str().unwrap().ends_with('Z'));
        kill_process(Pid::from_child(&watch.child), Signal::INT).unwrap();
        assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_watch_says_when_nobody_answers_and_ends_when_nobody_reads() {
    let cluster = Cluster::start();
    cluster.make_topic("first", 1);
    let mut watch = Watch::start(&cluster.broker(), &["--timeout", "4000"]);
    assert_eq!(watch.next()["topics"][0]["name"], "first");
    cluster.server.signal(Signal::STOP);
    let event = watch.wait_for("unreachable");
    assert!(event["reason"].as_str().unwrap().starts_with(&cluster.broker()), "{event}");
    cluster.server.signal(Signal::CONT);
    watch.wait_for("reachable");
    drop(watch.output.take());
    cluster.make_topic("second", 1);
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
}
