//! Configuration files as people have them: what is read, what is refused, and in which words.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use doorkeeper::config::{Configuration, ListenAddress, SnapshotCompression, load};

/// A directory with the given files, and their paths.
struct Files {
    dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

fn files(contents: &[(&str, &str)]) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, content) in contents {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        paths.push(path);
    }
    Files { dir, paths }
}

fn loaded(contents: &[(&str, &str)], overrides: &[&str]) -> Result<Configuration, Vec<String>> {
    let files = files(contents);
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let dir = format!("{}/", files.dir.path().display());
    load(&files.paths, &overrides)
        .map(|mut configuration| {
            for line in configuration.unknown.iter_mut().chain(&mut configuration.warnings) {
                *line = line.replace(&dir, "");
            }
            configuration
        })
        .map_err(|e| e.problems.into_iter().map(|line| line.replace(&dir, "")).collect())
}

/// The only problem of a configuration.
fn problem(contents: &[(&str, &str)], overrides: &[&str]) -> String {
    let problems = loaded(contents, overrides).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

fn address(host: &str, port: u16) -> ListenAddress {
    ListenAddress { host: host.to_owned(), port }
}

const ZOO: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/var/zk\nclientPort=2181\n";
const SERVER: &str = "broker.id=3\nzookeeper.connect=zk1:2181,zk2/kafka/eu\nlog.dirs=/a, /b\n";

#[test]
fn no_files_are_the_embedded_default() {
    let configuration = loaded(&[], &[]).unwrap();
    let coordinator = configuration.coordinator.unwrap();
    assert_eq!(coordinator.client_address, Some(address("127.0.0.1", 2181)));
    assert_eq!(coordinator.data_dir, PathBuf::from("doorkeeper-data/coordinator"));
    assert_eq!(coordinator.tick_time, Duration::from_secs(2));
    assert_eq!(coordinator.purge_interval, Duration::from_secs(3_600));
    let broker = configuration.broker.unwrap();
    assert_eq!(broker.broker_id, 0);
    assert_eq!(broker.listeners[0].bind, address("127.0.0.1", 9092));
    assert_eq!(broker.log_dirs, [PathBuf::from("doorkeeper-data/broker")]);
    assert!(broker.embedded);
    assert_eq!(configuration.http, Some(address("127.0.0.1", 9404)));
    assert_eq!(configuration.warnings, Vec::<String>::new());
}

#[test]
fn overrides_change_the_embedded_default() {
    let configuration = loaded(
        &[],
        &["clientPort=0", "listeners=PLAINTEXT://127.0.0.1:0", "doorkeeper.data.dir=/d"],
    )
    .unwrap();
    let coordinator = configuration.coordinator.unwrap();
    assert_eq!(coordinator.client_address, Some(address("127.0.0.1", 0)));
    assert_eq!(coordinator.data_log_dir, PathBuf::from("/d/coordinator"));
    let broker = configuration.broker.unwrap();
    assert_eq!(broker.listeners[0].bind, address("127.0.0.1", 0));
    assert_eq!(broker.log_dirs, [PathBuf::from("/d/broker")]);
    assert_eq!(loaded(&[], &["doorkeeper.http.listener="]).unwrap().http, None);
}

#[test]
fn the_files_say_which_roles_start() {
    for (contents, coordinator, broker) in [
        (vec![("zoo.cfg", ZOO)], true, false),
        (vec![("server.properties", SERVER)], false, true),
        (vec![("zoo.cfg", ZOO), ("server.properties", SERVER)], true, true),
        (vec![("anything", "tickTime 2000\ndataDir: /x\nclientPort=1\nbroker.id=1")], true, true),
    ] {
        let configuration = loaded(&contents, &[]).unwrap();
        assert_eq!(configuration.coordinator.is_some(), coordinator, "{contents:?}");
        assert_eq!(configuration.broker.is_some(), broker, "{contents:?}");
        assert_eq!(configuration.http, None, "HTTP is off with files");
    }
}

#[test]
fn process_roles_rules_over_the_files() {
    let both = [("zoo.cfg", ZOO), ("server.properties", SERVER)];
    let configuration = loaded(&both, &["process.roles=coordinator"]).unwrap();
    assert!(configuration.broker.is_none());
    for (roles, expected) in [
        ("gateway,broker", "a gateway runs alone"),
        ("broker,controller", "controller is a role of KRaft"),
        ("brokr", "brokr: expected coordinator, broker or both"),
        ("", "expected coordinator, broker or both"),
    ] {
        let problem = problem(&both, &[&format!("process.roles={roles}")]);
        assert!(problem.contains(expected), "{roles}: {problem}");
    }
}

#[test]
fn a_zoo_cfg_has_zookeepers_own_defaults() {
    let configuration = loaded(&[("zoo.cfg", "dataDir=/var/zk\nclientPort=2181\n")], &[]).unwrap();
    let coordinator = configuration.coordinator.unwrap();
    assert_eq!(coordinator.client_address, Some(address("", 2181)));
    assert_eq!(coordinator.tick_time, Duration::from_secs(3));
    assert_eq!(coordinator.min_session_timeout, Duration::from_secs(6));
    assert_eq!(coordinator.max_session_timeout, Duration::from_secs(60));
    assert_eq!(coordinator.max_client_cnxns, 60);
    assert_eq!(coordinator.jute_max_buffer, 1_048_575);
    assert_eq!(coordinator.pre_alloc_size, 64 << 20);
    assert_eq!(coordinator.purge_interval, Duration::ZERO);
    assert_eq!(coordinator.four_letter_whitelist, ["srvr"]);
    assert!(coordinator.force_sync && coordinator.digest_enabled && !coordinator.auth.skip_acl);
}

#[test]
fn a_zoo_cfg_is_read_as_zookeeper_reads_it() {
    let text = "# comment\n! comment\ndataDir = /var/zk \\\n\nclientPort:2182\nclientPortAddress 127.0.0.1\n\
        dataLogDir=/var/log/zk\ntickTime=1000\nminSessionTimeout=-1\nmaxSessionTimeout=90000\n\
        maxClientCnxns=0\nautopurge.snapRetainCount=5\nautopurge.purgeInterval=30m\nforceSync=no\n\
        4lw.commands.whitelist=ruok, mntr ,\nskipACL=yes\nsnapshot.trust.empty=TRUE\npreAllocSize=1024\n\
        jute.maxbuffer=0x9fffff\nsnapCount=1\nclientPort=2183\n";
    let coordinator = loaded(&[("zoo.cfg", text)], &[]).unwrap().coordinator.unwrap();
    assert_eq!(coordinator.client_address, Some(address("127.0.0.1", 2183)), "the last one counts");
    assert_eq!(coordinator.data_dir, PathBuf::from("/var/zk"));
    assert_eq!(coordinator.data_log_dir, PathBuf::from("/var/log/zk"));
    assert_eq!(coordinator.min_session_timeout, Duration::from_secs(2));
    assert_eq!(coordinator.max_session_timeout, Duration::from_secs(90));
    assert_eq!(coordinator.max_client_cnxns, 0);
    assert_eq!(coordinator.snap_retain_count, 5);
    assert_eq!(coordinator.purge_interval, Duration::from_secs(1_800));
    assert_eq!(coordinator.four_letter_whitelist, ["ruok", "mntr"]);
    assert_eq!(coordinator.jute_max_buffer, 0x9f_ffff);
    assert_eq!(coordinator.pre_alloc_size, 1 << 20);
    assert_eq!(coordinator.snap_count, 2);
    assert!(
        !coordinator.force_sync && coordinator.auth.skip_acl && coordinator.trust_empty_snapshot
    );
}

#[test]
fn a_server_properties_is_read_as_kafka_reads_it() {
    let text = "listeners=INSIDE://:9092,OUTSIDE://[::1]:9093\n\
        listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT\n\
        advertised.listeners=INSIDE://broker.local:9092,outside://example.org:19093\n\
        node.id=7\nbroker.rack=r1\nlog.dir=/one\nmax.connections.per.ip=10\n\
        zookeeper.session.timeout.ms=6000\nlog.retention.hours=1\nlog.retention.minutes=2\n\
        log.roll.hours=3\nmessage.max.bytes=5000\nlog.flush.interval.messages=1\n\
        connections.max.idle.ms=-1\n";
    let overrides = ["zookeeper.connect=zk1,zk2:2182,[::1]:2183/kafka/eu"];
    let broker = loaded(&[("server.properties", text)], &overrides).unwrap().broker.unwrap();
    assert_eq!(broker.broker_id, 7);
    assert_eq!(broker.listeners[1].bind, address("::1", 9093));
    assert_eq!(broker.listeners[1].advertised, Some(address("example.org", 19093)));
    assert_eq!(broker.log_dirs, [PathBuf::from("/one")]);
    assert_eq!(broker.zookeeper_connect, "zk1:2181,zk2:2182,[::1]:2183");
    assert_eq!(broker.zookeeper_chroot, "/kafka/eu");
    assert_eq!(broker.zookeeper_session_timeout, Duration::from_secs(6));
    assert_eq!(broker.zookeeper_connection_timeout, Duration::from_secs(6));
    assert_eq!(broker.max_connections_per_ip, 10);
    assert_eq!(broker.max_connections, usize::MAX);
    assert_eq!(broker.connections_max_idle, Duration::MAX);
    assert!(!broker.embedded);
    let expected = [
        ("flush.messages", "1"),
        ("max.message.bytes", "5000"),
        ("retention.ms", "120000"),
        ("segment.ms", "10800000"),
    ];
    let defaults: Vec<_> =
        broker.topic_defaults.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(defaults, expected);
    assert_eq!(broker.given.get("broker.rack").map(String::as_str), Some("r1"));
    assert!(!broker.given.contains_key("clientPort"));
}

#[test]
fn a_broker_uses_the_coordinator_of_its_own_process_unless_told_otherwise() {
    let own = [("zoo.cfg", ZOO), ("server.properties", "broker.id=1\n")];
    assert!(loaded(&own, &[]).unwrap().broker.unwrap().embedded);
    let named = loaded(&own, &["zookeeper.connect=zk:2181"]).unwrap().broker.unwrap();
    assert!(!named.embedded);
    assert_eq!(named.zookeeper_connect, "zk:2181");
}

#[test]
fn a_bad_value_is_named_with_its_line_and_what_was_expected() {
    for (contents, expected) in [
        (
            [("zoo.cfg", "dataDir=/x\nclientPort=1\n\ntickTime=fast\n")],
            "tickTime=fast (zoo.cfg:4): expected a whole number of at least 1",
        ),
        (
            [("zoo.cfg", "dataDir=/x\nclientPort=99999\n")],
            "clientPort=99999 (zoo.cfg:2): expected a whole number from 0 to 65535",
        ),
        (
            [("zoo.cfg", "tickTime=1\nclientPort=1\n")],
            "dataDir: not set, so the coordinator has no place for its data",
        ),
        (
            [("zoo.cfg", "dataDir=/x\n")],
            "clientPort: not set, and neither is secureClientPort, so the coordinator has no port to serve",
        ),
        (
            [("zoo.cfg", "dataDir=/x\nsecureClientPort=1\nclientPortAddress=127.0.0.1\n")],
            "clientPortAddress=127.0.0.1 (zoo.cfg:3): clientPort is not set",
        ),
        (
            [("zoo.cfg", "dataDir=/x\nclientPort=1\nautopurge.purgeInterval=2x\n")],
            "autopurge.purgeInterval=2x (zoo.cfg:3): expected hours, or a number with a unit: 30m, 12h, 1d",
        ),
        (
            [("zoo.cfg", "dataDir=/x\nclientPort=1\nminSessionTimeout=70000\n")],
            "minSessionTimeout=70000 (zoo.cfg:3): 70000 ms is larger than maxSessionTimeout, 60000 ms",
        ),
        (
            [("s", "zookeeper.connect=zk\nnum.io.threads=many\n")],
            "num.io.threads=many (s:2): expected a whole number of at least 1",
        ),
        (
            [("s", "zookeeper.connect=zk:port\n")],
            "zookeeper.connect=zk:port (s:1): expected host:port[,host:port][/chroot], not zk:port",
        ),
        (
            [("s", "broker.id=1\n")],
            "zookeeper.connect: not set, and no coordinator runs in this process: expected host:port[,host:port][/chroot]",
        ),
        (
            [("s", "zookeeper.connect=zk\nlisteners=PLAINTEXT:9092\n")],
            "listeners=PLAINTEXT:9092 (s:2): expected NAME://host:port, not PLAINTEXT:9092",
        ),
        (
            [("s", "zookeeper.connect=zk\nlog.retention.ms=0\n")],
            "log.retention.ms=0 (s:2): expected -1 (for ever) or at least 1",
        ),
        (
            [("s", "zookeeper.connect=zk\nbroker.id=2000\n")],
            "broker.id=2000 (s:2): expected at most reserved.broker.max.id, 1000, above which ids are generated",
        ),
        (
            [("s", "zookeeper.connect=zk\na=\\u12\n")],
            "can't read s: line 2: \\u must be followed by four hexadecimal digits",
        ),
    ] {
        let problems = loaded(&contents, &[]).map(|_| ()).unwrap_err();
        assert!(problems.iter().any(|problem| problem == expected), "{expected}\n{problems:#?}");
    }
}

#[test]
fn what_would_protect_less_stops_the_start() {
    let zoo = |line: &str| problem(&[("zoo.cfg", &format!("{ZOO}{line}\n"))], &[]);
    for line in [
        "ssl.crl=true",
        "IPAuthenticationProvider.usexforwardedfor=true",
        "requireKerberosConfig=true",
        "peerType=observer",
    ] {
        let problem = zoo(line);
        let key = line.split('=').next().unwrap();
        assert!(problem.starts_with(key) && problem.contains("not built yet"), "{line}: {problem}");
        assert!(problem.contains("(zoo.cfg:6)"), "{problem}");
    }
    let server = |line: &str| problem(&[("s", &format!("{SERVER}{line}\n"))], &[]);
    for line in [
        "ssl.keystore.location=/k",
        "sasl.enabled.mechanisms=PLAIN",
        "authorizer.class.name=kafka.security.authorizer.AclAuthorizer",
        "listener.name.external.ssl.keystore.location=/k",
        "listeners=SSL://:9093",
        "listeners=PLAINTEXT://:9092,SASL_SSL://:9093",
        "security.inter.broker.protocol=SSL",
        "zookeeper.ssl.crl.enable=true",
        "remote.log.storage.system.enable=true",
        "min.insync.replicas=2",
    ] {
        let problem = server(line);
        let key = line.split('=').next().unwrap();
        assert!(problem.starts_with(key), "{line}: {problem}");
        assert!(problem.contains("built"), "{line}: {problem}");
    }
}

#[test]
fn snapshots_are_packed_as_the_file_says() {
    for (value, expected) in [
        ("", SnapshotCompression::None),
        ("gz", SnapshotCompression::Gzip),
        ("snappy", SnapshotCompression::Snappy),
    ] {
        let text = format!("{ZOO}snapshot.compression.method={value}\n");
        let configuration = loaded(&[("zoo.cfg", &text)], &[]).unwrap();
        assert_eq!(configuration.coordinator.unwrap().snapshot_compression, expected);
    }
    let text = format!("{ZOO}snapshot.compression.method=lz4\n");
    let problem = problem(&[("zoo.cfg", &text)], &[]);
    assert!(problem.contains("expected one of"), "{problem}");
}

#[test]
fn the_defaults_of_protecting_keys_change_nothing() {
    for line in ["requireKerberosConfig=false", "sslQuorum=false", "server.1=localhost:2888:3888"] {
        let configuration = loaded(&[("zoo.cfg", &format!("{ZOO}{line}\n"))], &[]).unwrap();
        let key = line.split('=').next().unwrap();
        assert!(configuration.warnings.iter().any(|warning| warning.contains(key)), "{line}");
    }
    let text = format!("{SERVER}authorizer.class.name=\nssl.client.auth=none\n");
    assert!(loaded(&[("s", &text)], &[]).is_ok());
}

#[test]
fn a_secret_is_never_shown() {
    let text = format!("{SERVER}ssl.keystore.password=hunter2\n");
    let problem = problem(&[("s", &text)], &[]);
    assert!(!problem.contains("hunter2") && problem.contains("[hidden]"), "{problem}");
    let text = format!("{ZOO}DigestAuthenticationProvider.superDigest=super:hunter2\n");
    let configuration = loaded(&[("zoo.cfg", &text)], &[]).unwrap();
    assert!(!format!("{:?}", configuration.effective).contains("hunter2"));
    let coordinator = configuration.coordinator.unwrap();
    assert!(!format!("{coordinator:?}").contains("hunter2"));
    assert_eq!(coordinator.auth.super_digest.unwrap().expose(), "super:hunter2");
}

#[test]
fn known_keys_without_effect_are_named_in_one_warning_for_each_reason() {
    let configuration = loaded(
        &[("zoo.cfg", ZOO), ("s", "broker.id=1\nnum.network.threads=3\nhost.name=here\n")],
        &[],
    )
    .unwrap();
    assert_eq!(
        configuration.warnings,
        [
            "known, but not used yet, so they change nothing: \
             host.name (s:3): Kafka 3 reads listeners instead, num.network.threads (s:2)",
            "these change nothing, since they are for the members of an ensemble: \
             initLimit (zoo.cfg:2), syncLimit (zoo.cfg:3)",
        ]
    );
    let idle = loaded(&[("zoo.cfg", &format!("{ZOO}log.retention.ms=5\n"))], &[]).unwrap();
    assert!(
        idle.warnings[0].starts_with("keys of a role that this process doesn't start")
            && idle.warnings[0].ends_with("log.retention.ms (zoo.cfg:6)"),
        "{:?}",
        idle.warnings
    );
}

#[test]
fn an_unknown_key_is_named_in_a_file_and_refused_elsewhere() {
    let configuration =
        loaded(&[("zoo.cfg", &format!("{ZOO}maxClientConns=5\nxyzzy=1\n"))], &[]).unwrap();
    assert_eq!(
        configuration.unknown,
        [
            "maxClientConns=5 (zoo.cfg:6): unknown key (the nearest known key is maxClientCnxns)",
            "xyzzy=1 (zoo.cfg:7): unknown key",
        ]
    );
    assert_eq!(
        problem(&[("zoo.cfg", ZOO)], &["log.retention.hour=5"]),
        "log.retention.hour=5 (--override): unknown key (the nearest known key is log.retention.hours)"
    );
    assert_eq!(
        problem(&[("zoo.cfg", &format!("{ZOO}doorkeeper.http.listner=:1\n"))], &[]),
        "doorkeeper.http.listner=:1 (zoo.cfg:6): unknown key \
         (the nearest known key is doorkeeper.http.listener)"
    );
    assert_eq!(problem(&[], &["tickTime"]), "--override tickTime: expected KEY=VALUE");
}

#[test]
fn listeners_are_checked_as_kafka_checks_them() {
    for (lines, expected) in [
        ("listeners=INSIDE://:9092", "listener.security.protocol.map has no protocol for INSIDE"),
        ("listeners=PLAINTEXT://:1,PLAINTEXT://:2", "two listeners are called PLAINTEXT"),
        ("listeners=", "expected at least one"),
        (
            "listeners=A://:1,B://:1\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
            "two listeners have port 1",
        ),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:1", "clients can't connect to 0.0.0.0"),
        ("advertised.listeners=OTHER://a:1", "OTHER is not one of listeners"),
        ("listener.security.protocol.map=A:TLS", "expected PLAINTEXT, SSL"),
        ("inter.broker.listener.name=REPL", "it is not one of listeners"),
    ] {
        let problems = loaded(&[("s", &format!("zookeeper.connect=zk\n{lines}\n"))], &[])
            .map(|_| ())
            .unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{lines}: {problems:?}");
    }
    let ports = "listeners=A://127.0.0.1:9092,B://[::1]:9092\n\
                 listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\nzookeeper.connect=zk\n";
    assert!(loaded(&[("s", ports)], &[]).is_ok(), "Kafka allows one port on IPv4 and IPv6");
}

/// The keys of the files that Kafka 3.9 and ZooKeeper 3.9 come with.
#[test]
fn the_samples_of_both_ancestors_load() {
    let zoo = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/zookeeper\nclientPort=2181\n\
        #maxClientCnxns=60\n#autopurge.snapRetainCount=3\n";
    let server = "broker.id=0\nnum.network.threads=3\nnum.io.threads=8\n\
        socket.send.buffer.bytes=102400\nsocket.receive.buffer.bytes=102400\n\
        socket.request.max.bytes=104857600\nlog.dirs=/tmp/kafka-logs\nnum.partitions=1\n\
        num.recovery.threads.per.data.dir=1\noffsets.topic.replication.factor=1\n\
        transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
        log.retention.hours=168\nlog.retention.check.interval.ms=300000\n\
        zookeeper.connect=localhost:2181\nzookeeper.connection.timeout.ms=18000\n\
        group.initial.rebalance.delay.ms=0\n";
    let both = loaded(&[("zoo.cfg", zoo), ("server.properties", server)], &[]).unwrap();
    assert_eq!(both.unknown, Vec::<String>::new());
    assert_eq!(both.warnings.len(), 2, "{:?}", both.warnings);
    assert_eq!(both.broker.unwrap().zookeeper_connect, "localhost:2181");
}

#[test]
fn a_missing_file_is_named() {
    let error = load(&[PathBuf::from("/no/such/zoo.cfg")], &[]).unwrap_err().to_string();
    assert!(error.starts_with("can't read /no/such/zoo.cfg: No such file"), "{error}");
}
