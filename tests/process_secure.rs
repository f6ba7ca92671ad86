//! The built binary with TLS alone, and beside a broker that can't speak it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;
mod support;
mod tls_support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use coordinator_support::{Client, EXISTS, Hello, watched};
use support::{Server, output, start_error};
use tls_support::{Authority, client, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A `zoo.cfg` that serves TLS alone, with these lines too.
fn secure_only(dir: &Path, authority: &Authority, lines: &str) -> PathBuf {
    let stores = tls_support::config(dir, &authority.sign("server"), &authority.pem);
    let file = dir.join("zoo.cfg");
    let text = format!(
        "dataDir={}\nsecureClientPort=0\nsecureClientPortAddress=127.0.0.1\n\
         ssl.keyStore.location={}\nssl.trustStore.location={}\n\
         4lw.commands.whitelist=*\nadmin.enableServer=false\n{lines}",
        dir.join("data").display(),
        stores.key_store.source,
        stores.trust_store.unwrap().source,
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// The answer to a four-letter word over TLS.
async fn word(
    address: SocketAddr,
    config: &std::sync::Arc<rustls::ClientConfig>,
    word: &str,
) -> String {
    let mut stream = connect(address, config).await.unwrap();
    stream.write_all(word.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_secure_port_alone_is_served_and_told_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca");
    let zoo_cfg = secure_only(dir.path(), &authority, "");

    let checked = output(&["check-config", zoo_cfg.to_str().unwrap()]);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(text.contains("secureClientPort = 0") && text.contains("# clientPort is not set"));

    let server = Server::start(&[&zoo_cfg]);
    let ready = server.ready();
    assert_eq!(ready["coordinator"], serde_json::Value::Null);
    let address: SocketAddr = ready["coordinatorSecure"].as_str().unwrap().parse().unwrap();
    let config = client(&authority, Some(&authority.sign("joe")));
    assert!(word(address, &config, "srvr").await.starts_with("Zookeeper version: 3.9."));
    let told = word(address, &config, "conf").await;
    let expected = format!("clientPort=-1\nsecureClientPort={}\n", address.port());
    assert!(told.starts_with(&expected), "{told}");
    let stream = connect(address, &config).await.unwrap();
    let mut session = Client::over(stream, Hello::default()).await.expect("no session");
    assert_eq!(session.ask(EXISTS, &watched("/zookeeper", false)).await.err, 0);

    server.signal(rustix::process::Signal::TERM);
    let (status, stdout, stderr) = server.end();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains(&format!("coordinator  {address} (TLS), data in ")), "{stdout}");
}

#[test]
fn a_broker_that_could_not_reach_its_coordinator_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca");
    let login = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
                 sessionRequireClientSASLAuth=true\nclientPort=0\njava.security.auth.login.config=";
    let jaas = dir.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    std::fs::write(&jaas, format!("Server {{ {module} user_bob=\"x\"; }};\n")).unwrap();
    let login = format!("{login}{}\n", jaas.display());
    for (lines, key) in
        [("", "secureClientPort=0 ("), (login.as_str(), "sessionRequireClientSASLAuth=true (")]
    {
        let zoo_cfg = secure_only(dir.path(), &authority, lines);
        let server = dir.path().join("server.properties");
        let logs = dir.path().join("logs");
        let text = format!("listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\n", logs.display());
        std::fs::write(&server, text).unwrap();
        let stderr = start_error(&["run", zoo_cfg.to_str().unwrap(), server.to_str().unwrap()]);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with(&format!("doorkeeper: {key}")), "{stderr}");
        assert!(stderr.contains("the broker of this process can't"), "{stderr}");
        assert!(!dir.path().join("data").exists(), "nothing was touched");
    }
}
