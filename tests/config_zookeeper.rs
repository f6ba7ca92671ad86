//! What ZooKeeper's operators set beside plain keys: members, system properties, the AdminServer and
//! the metrics page.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use doorkeeper::config::{
    Configuration, ListenAddress, RequestThrottleConfig, SystemProperties, load_with,
};
use doorkeeper::net::tls::{ClientAuth, StoreKind};

const ZOO: &str = "tickTime=2000\ndataDir=/var/zk\nclientPort=2181\n";

/// A directory with a `zoo.cfg` that has these lines beside `dataDir`.
struct Zoo {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Zoo {
    fn new(text: &str) -> Zoo {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        std::fs::write(&path, text.replace("DIR", &dir.path().to_string_lossy())).unwrap();
        Zoo { dir, path }
    }

    fn with(self, name: &str, text: &str) -> Zoo {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn load(&self, flags: &str) -> Result<Configuration, Vec<String>> {
        let properties = SystemProperties::new(
            |name| (name == "SERVER_JVMFLAGS").then(|| flags.to_owned()),
            &[],
        );
        let dir = format!("{}/", self.dir.path().display());
        load_with(std::slice::from_ref(&self.path), &[], &properties)
            .map_err(|e| e.problems.into_iter().map(|line| line.replace(&dir, "")).collect())
    }

    fn problems(&self) -> String {
        self.load("").unwrap_err().join("\n")
    }
}

#[test]
fn a_file_rules_over_a_prefixed_property_and_under_a_plain_one() {
    let zoo = Zoo::new(&format!("{ZOO}snapCount=7000\njute.maxbuffer=2048\n"));
    let flags = "-Xmx1g -Dzookeeper.snapCount=1 -Dzookeeper.skipACL=yes -Djute.maxbuffer=4096 \
                 -Dreadonlymode.enabled=true";
    let coordinator = zoo.load(flags).unwrap().coordinator.unwrap();
    assert_eq!(coordinator.snap_count, 7_000);
    assert!(coordinator.auth.skip_acl);
    assert_eq!(coordinator.jute_max_buffer, 4096);
    assert_eq!(coordinator.four_letter_whitelist, ["srvr", "isro"]);
    let shown = [
        ("jute.maxbuffer".to_owned(), "4096".to_owned()),
        ("readonlymode.enabled".to_owned(), "true".to_owned()),
        ("zookeeper.skipACL".to_owned(), "yes".to_owned()),
        ("zookeeper.snapCount".to_owned(), "7000".to_owned()),
    ];
    assert_eq!(coordinator.system_properties, shown);
}

#[test]
fn a_bad_property_is_named_with_its_origin() {
    let problems = Zoo::new(ZOO).load("-Dzookeeper.snapCount=many").unwrap_err();
    assert_eq!(
        problems,
        [
            "snapCount=many (SERVER_JVMFLAGS): expected a whole number from -2147483648 to 2147483647"
        ]
    );
    let configuration = Zoo::new(ZOO).load("-Dzookeeper.snapCuont=5").unwrap();
    assert_eq!(configuration.unknown.len(), 1, "{:?}", configuration.unknown);
}

#[test]
fn an_ensemble_is_refused_with_what_to_do() {
    let lines = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888:observer\n";
    let problems = Zoo::new(&format!("{ZOO}{lines}")).problems();
    assert!(
        problems.starts_with("server.1=a:2888:3888 (zoo.cfg:4): 3 server.N lines")
            && problems.contains("stop every member")
            && problems.contains("doorkeeper.take.over.member=true"),
        "{problems}"
    );
    let alone = format!("{ZOO}server.1=a:2888:3888\nstandaloneEnabled=false\n");
    assert!(Zoo::new(&alone).problems().contains("are an ensemble"));
    let observer = Zoo::new(&format!("{ZOO}server.1=a:2888:3888:observer\n")).problems();
    assert!(observer.contains("an observer without an ensemble"), "{observer}");
    let none = Zoo::new(&format!("{ZOO}standaloneEnabled=false\n")).problems();
    assert!(none.contains("needs a server.N"), "{none}");
}

#[test]
fn a_member_is_taken_over_when_that_is_asked_for() {
    let text = "tickTime=2000\ndataDir=DIR\ndoorkeeper.take.over.member=true\n\
        server.1=a:2888:3888;2181\nserver.2=b:2888:3888;127.0.0.1:2182\n";
    let coordinator = Zoo::new(text).with("myid", "2\n").load("").unwrap().coordinator.unwrap();
    assert!(coordinator.take_over_member);
    assert_eq!(coordinator.ensemble.own_id, Some(2));
    assert_eq!(coordinator.ensemble.members.len(), 2);
    assert_eq!(coordinator.ensemble.members[1].addresses[0].host, "b");
    let expected = ListenAddress { host: "127.0.0.1".to_owned(), port: 2182 };
    assert_eq!(coordinator.client_address, Some(expected), "that of its own line");
    let broken = Zoo::new(text).with("myid", "two\n").problems();
    assert!(broken.starts_with("myid: expected a number"), "{broken}");
}

#[test]
fn a_single_server_line_is_a_standalone_server() {
    let text = "dataDir=DIR\nserver.1=localhost:2888:3888:participant;2185\n";
    let configuration = Zoo::new(text).load("-Dzookeeper.admin.enableServer=false").unwrap();
    assert!(configuration.warnings[0].contains("runs standalone"), "{:?}", configuration.warnings);
    assert_eq!(configuration.coordinator.unwrap().client_address.unwrap().port, 2185);
    let other = format!("{ZOO}server.1=localhost:2888:3888;2185\n");
    let problems = Zoo::new(&other).problems();
    assert!(problems.contains("differs from the client address 0.0.0.0:2185"), "{problems}");
}

#[test]
fn the_dynamic_file_is_read() {
    let text = "dataDir=DIR\ndynamicConfigFile=DIR/zoo.cfg.dynamic\n";
    let zoo = || Zoo::new(text);
    let one = zoo().with("zoo.cfg.dynamic", "server.1=localhost:2888:3888;2185\n").load("");
    assert_eq!(one.unwrap().coordinator.unwrap().client_address.unwrap().port, 2185);
    let several = zoo().with("zoo.cfg.dynamic", "server.1=a:1:2;5\nserver.2=b:1:2;5\n").problems();
    assert!(several.contains("server.1=a:1:2;5 (zoo.cfg.dynamic:1): 2 server.N"), "{several}");
    assert!(zoo().problems().contains("can't read zoo.cfg.dynamic: No such file"));
    for (dynamic, expected) in [
        ("version=100000000\nserver.1=a:1:2;5\n", "is in its name"),
        ("clientPort=2181\nserver.1=a:1:2;5\n", "server.N, group.N and weight.N only"),
        ("server.1=a\n", "server.1=a (zoo.cfg.dynamic:1): expected host:port:port"),
    ] {
        let problems = zoo().with("zoo.cfg.dynamic", dynamic).problems();
        assert!(problems.contains(expected), "{dynamic}: {problems}");
    }
    let both = Zoo::new(&format!("{text}server.1=a:1:2\n")).with("zoo.cfg.dynamic", "");
    assert!(both.problems().contains("it must stand in that file"));
}

#[test]
fn the_admin_server_is_on_loopback_and_off_in_the_embedded_default() {
    let admin = |lines: &str| {
        let configuration = Zoo::new(&format!("{ZOO}{lines}")).load("").unwrap();
        configuration.coordinator.unwrap().admin
    };
    let default = admin("").unwrap();
    assert_eq!(default.address, ListenAddress { host: "127.0.0.1".to_owned(), port: 8080 });
    assert!(!default.address_given && default.snapshot_enabled && default.restore_enabled);
    assert_eq!(default.command_url, "/commands");
    assert_eq!(default.rate_limit_interval, Duration::from_secs(300));
    let set = admin(
        "admin.serverAddress=0.0.0.0\nadmin.serverPort=0\nadmin.commandURL=/zk/\n\
         admin.rateLimiterIntervalInMS=0\nadmin.restore.enabled=false\nadmin.idleTimeout=10\n",
    )
    .unwrap();
    assert_eq!(set.address, ListenAddress { host: "0.0.0.0".to_owned(), port: 0 });
    assert!(set.address_given && !set.restore_enabled);
    assert_eq!((set.command_url.as_str(), set.idle_timeout), ("/zk", Duration::from_millis(10)));
    assert!(admin("admin.enableServer=false\n").is_none());
    let embedded = load_with(&[], &[], &SystemProperties::default()).unwrap();
    assert!(embedded.coordinator.unwrap().admin.is_none());
    let bad = Zoo::new(&format!("{ZOO}admin.commandURL=commands\n")).problems();
    assert!(bad.contains("expected a path"), "{bad}");
}

#[test]
fn the_admin_server_speaks_tls_where_the_file_says_so() {
    const STORES: &str = "ssl.quorum.keyStore.location=DIR/key.pem\n\
        ssl.quorum.trustStore.location=DIR/trust.p12\nssl.quorum.trustStore.password=secret\n";
    let zoo = |lines: &str| Zoo::new(&format!("{ZOO}{lines}"));
    let admin = |lines: &str| {
        let coordinator = zoo(&format!("{STORES}{lines}")).load("").unwrap().coordinator;
        let admin = coordinator.unwrap().admin.unwrap();
        (admin.tls.map(|tls| (tls.client_auth, tls.trust_store.is_some())), admin.plain_too)
    };
    assert_eq!(admin(""), (None, false));
    assert_eq!(admin("admin.forceHttps=true\n"), (Some((ClientAuth::None, true)), false));
    let unified = "admin.portUnification=true\nadmin.needClientAuth=true\n";
    assert_eq!(admin(unified), (Some((ClientAuth::Need, true)), true));
    let both = "admin.portUnification=true\nadmin.forceHttps=true\n";
    assert_eq!(admin(both), (Some((ClientAuth::None, true)), false));

    for (lines, expected) in [
        ("admin.forceHttps=true\n", "keyStore.location: not set, and admin.forceHttps needs"),
        (unified, "keyStore.location: not set, and admin.portUnification needs"),
        (unified, "trustStore.location: not set, and admin.needClientAuth asks"),
        ("admin.needClientAuth=true\n", "admin.needClientAuth=true"),
    ] {
        let problems = zoo(lines).problems();
        assert!(problems.contains(expected), "{lines}: {problems}");
    }
    let idle = zoo(STORES).load("").unwrap().warnings.join("\n");
    for store in ["keyStore", "trustStore"] {
        let expected = format!("ssl.quorum.{store}.location changes nothing");
        assert!(idle.contains(&expected), "{idle}");
    }
    assert!(zoo("admin.enableServer=false\nadmin.forceHttps=true\n").load("").is_ok());
}

#[test]
fn the_metrics_page_is_there_when_its_provider_is_named() {
    const CLASS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
    let page = |lines: &str| {
        let configuration = Zoo::new(&format!("{ZOO}{lines}")).load("").unwrap();
        configuration.coordinator.unwrap().metrics_page
    };
    assert_eq!(page(""), None);
    let set = page(&format!(
        "metricsProvider.className={CLASS}\nmetricsProvider.httpHost=127.0.0.1\n\
         metricsProvider.httpPort=7001\nmetricsProvider.exportJvmInfo=true\n"
    ));
    let expected = ListenAddress { host: "127.0.0.1".to_owned(), port: 7001 };
    assert_eq!(set.unwrap().address, expected);
    let other = Zoo::new(&format!("{ZOO}metricsProvider.className=com.example.Mine\n")).problems();
    assert!(other.contains("doorkeeper runs no Java classes"), "{other}");
}

#[test]
fn what_is_shown_of_the_files_has_no_secrets() {
    let text =
        format!("{ZOO}DigestAuthenticationProvider.superDigest=super:hunter2\nsnapCount=9\n");
    let coordinator = Zoo::new(&text).load("").unwrap().coordinator.unwrap();
    let expected = format!("{ZOO}DigestAuthenticationProvider.superDigest=[hidden]\nsnapCount=9\n");
    assert_eq!(coordinator.initial_configuration, expected);
    assert!(!format!("{:?}", coordinator.system_properties).contains("hunter2"));
}

#[test]
fn storage_keys_have_their_units() {
    let text = format!(
        "{ZOO}txnLogSizeLimitInKb=3\nfsync.warningthresholdms=20\n\
         datadir.autocreate=false\nserializeLastProcessedZxid.enabled=false\n\
         clientPortListenBacklog=50\nclientTcpKeepAlive=true\n"
    );
    let coordinator = Zoo::new(&text).load("").unwrap().coordinator.unwrap();
    assert_eq!(coordinator.txn_log_size_limit, 3 << 10);
    assert_eq!(coordinator.fsync_warning_threshold, Duration::from_millis(20));
    assert!(!coordinator.data_dir_autocreate && !coordinator.serialize_last_zxid);
    assert_eq!(coordinator.client_port_listen_backlog, Some(50));
    assert!(coordinator.client_tcp_keep_alive);
}

#[test]
fn requests_are_throttled_as_the_file_says() {
    let throttle = |lines: &str| {
        let zoo = Zoo::new(&format!("{ZOO}{lines}"));
        zoo.load("").unwrap().coordinator.unwrap().request_throttle
    };
    assert_eq!(throttle(""), RequestThrottleConfig::DEFAULT);
    let all = "request_throttle_max_requests=20\nrequest_throttle_drop_stale=false\n\
        request_stale_connection_check=false\nrequest_stale_latency_check=true\n\
        throttled_op_wait_time=30\n";
    let expected = RequestThrottleConfig {
        max_requests: Some(20),
        drop_stale: false,
        stale_connection_check: false,
        stale_latency_check: true,
        op_wait: Some(Duration::from_millis(30)),
    };
    assert_eq!(throttle(all), expected);
    let none = "request_throttle_max_requests=-1\nthrottled_op_wait_time=-1\n";
    assert_eq!(throttle(none), RequestThrottleConfig::DEFAULT);
}

/// What `server.properties` with these lines comes to, with these flags of a JVM.
fn with_flags(dir: &Path, lines: &str, flags: &str) -> Result<Configuration, String> {
    let server = dir.join("server.properties");
    std::fs::write(&server, format!("broker.id=1\nzookeeper.connect=zk\n{lines}")).unwrap();
    let flags = flags.replace("JAAS", &dir.join("jaas.conf").display().to_string());
    let properties =
        SystemProperties::new(|name| (name == "KAFKA_OPTS").then(|| flags.clone()), &[]);
    load_with(std::slice::from_ref(&server), &[], &properties)
        .map_err(|error| error.problems.join("\n"))
}

const JAAS_FLAG: &str = "-Djava.security.auth.login.config=JAAS";

#[test]
fn a_login_at_the_coordinator_is_taken_from_the_jaas_file() {
    let dir = tempfile::tempdir().unwrap();
    let jaas = dir.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    let login = format!("Client {{ {module} username=\"a\" password=\"hunter2\"; }};\n");
    let other = format!("Other {{ {module} username=\"b\"; }};\n");
    let kafka = "KafkaServer { a.B required; };\n";
    std::fs::write(&jaas, format!("{login}{other}{kafka}")).unwrap();
    let load = |flags: &str| with_flags(dir.path(), "", flags);
    for (flags, expected) in [
        (format!("{JAAS_FLAG} -Dzookeeper.sasl.clientconfig=KafkaServer"), "logs in with a.B"),
        (format!("{JAAS_FLAG} -Dzookeeper.sasl.clientconfig=Other"), "needs username="),
        (format!("{JAAS_FLAG}.nosuch"), "can't read it: No such file"),
    ] {
        let problems = load(&flags).map(|_| ()).unwrap_err();
        assert_eq!(problems.lines().count(), 1, "{problems}");
        assert!(problems.contains(expected) && problems.contains("(KAFKA_OPTS)"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    let access = load(JAAS_FLAG).unwrap().broker.unwrap().access;
    let (user, password) = access.login.unwrap().read().unwrap();
    assert_eq!((user.as_str(), password.expose()), ("a", "hunter2"));
    for flags in [
        String::new(),
        format!("-Dzookeeper.sasl.client=false {JAAS_FLAG}"),
        format!("{JAAS_FLAG} -Dzookeeper.sasl.clientconfig=Nobody"),
    ] {
        assert!(load(&flags).unwrap().broker.unwrap().access.login.is_none(), "{flags}");
    }
    // A key of the file does what the property does, for a gateway too.
    let lines =
        format!("process.roles=gateway\njava.security.auth.login.config={}\n", jaas.display());
    let gateway = with_flags(dir.path(), &lines, "").unwrap().gateway.unwrap();
    assert!(gateway.access.login.is_some());
}

#[test]
fn tls_to_the_coordinator_is_taken_from_kafkas_keys() {
    let dir = tempfile::tempdir().unwrap();
    let load = |lines: &str| with_flags(dir.path(), lines, "");
    let stores = "zookeeper.ssl.client.enable=true\nzookeeper.ssl.truststore.location=/t.p12\n\
                  zookeeper.ssl.truststore.password=hunter2\n";
    let both =
        format!("{stores}zookeeper.ssl.keystore.location=/k\nzookeeper.ssl.keystore.type=PEM\n");
    for role in ["", "process.roles=gateway\n"] {
        let loaded = load(&format!("{role}{both}")).unwrap();
        let access = match role {
            "" => loaded.broker.unwrap().access,
            _ => loaded.gateway.unwrap().access,
        };
        let tls = access.tls.unwrap();
        assert_eq!(tls.trust_store.kind, StoreKind::Java);
        assert_eq!(tls.key_store.unwrap().kind, StoreKind::Pem);
        for (line, expected) in [
            ("zookeeper.ssl.truststore.location=", "zookeeper.ssl.client.enable needs it"),
            ("zookeeper.ssl.truststore.type=BCFKS", "expected JKS, PKCS12 or PEM"),
            ("zookeeper.ssl.endpoint.identification.algorithm=", "another server's name"),
            ("zookeeper.ssl.enabled.protocols=TLSv1.3", "switching TLSv1.2 off"),
            ("zookeeper.ssl.enabled.protocols=TLSv1.2,TLSv1.1", "expected TLSv1.2, or"),
            ("zookeeper.ssl.cipher.suites=TLS_AES_128_GCM_SHA256", "a choice of cipher suites"),
            ("zookeeper.ssl.crl.enable=true", "checking revocation lists is not built yet"),
            ("zookeeper.ssl.ocsp.enable=true", "asking OCSP servers is not built yet"),
            ("zookeeper.clientCnxnSocket=a.B", "expected one of"),
        ] {
            let problems = load(&format!("{role}{stores}{line}\n")).map(|_| ()).unwrap_err();
            assert_eq!(problems.lines().count(), 1, "{role}{line}: {problems}");
            assert!(problems.contains(expected), "{role}{line}: {problems}");
            assert!(!problems.contains("hunter2"), "{problems}");
        }
    }
    let secure = with_flags(dir.path(), "", "-Dzookeeper.client.secure=true").map(|_| ());
    assert!(secure.unwrap_err().contains("client.secure needs it"));
    let lines = "zookeeper.ssl.truststore.location=/t.p12\n";
    let access = with_flags(dir.path(), lines, "-Dzookeeper.client.secure=true").unwrap();
    assert!(access.broker.unwrap().access.tls.is_some());
    assert!(load(lines).unwrap().broker.unwrap().access.tls.is_none(), "nobody asks for it");
}

#[test]
fn owned_znodes_need_an_owner() {
    let dir = tempfile::tempdir().unwrap();
    let problems = with_flags(dir.path(), "zookeeper.set.acl=true\n", "").map(|_| ()).unwrap_err();
    assert!(problems.starts_with("zookeeper.set.acl=true") && problems.contains("an owner"));
    let jaas = dir.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    std::fs::write(&jaas, format!("Client {{ {module} username=\"a\" password=\"b\"; }};\n"))
        .unwrap();
    assert!(
        with_flags(dir.path(), "zookeeper.set.acl=true\n", JAAS_FLAG)
            .unwrap()
            .broker
            .unwrap()
            .set_acl
    );
}
