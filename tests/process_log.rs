//! The log of the built binary holds what clients say, and no line of theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;
mod support;

use coordinator_support::*;
use doorkeeper::zookeeper::jute::Reader;
use rustix::process::Signal;

/// A line of its own wherever it is not escaped.
const FORGED: &str = "x\nERROR forged\r\nERROR forged \u{2028}\u{1b}[2K\u{85}";

/// A name in quotes as DIGEST-MD5 writes it, with all that a right response has but the proof.
fn response(nonce: &str, authzid: &str) -> Vec<u8> {
    format!(
        "charset=utf-8,username=\"{FORGED}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,\
         cnonce=\"c\",digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,response=0,qop=auth{authzid}"
    )
    .into_bytes()
}

/// Everything that a client can name before anybody knows it, and some of what it can name later.
async fn say(address: std::net::SocketAddr) {
    for authzid in ["", ",authzid=\"another\nERROR forged\""] {
        let mut client = Client::open(address, Hello::default()).await.unwrap();
        let challenge = client.ask(SASL, &token(Some(b""))).await;
        let challenge = Reader::new(&challenge.body).buffer().unwrap().unwrap().to_vec();
        let challenge = String::from_utf8(challenge).unwrap();
        let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        client.send(SASL, &token(Some(&response(nonce, authzid)))).await;
        assert_ne!(client.next().await.unwrap().err, 0);
        client.is_closed().await;
    }
    for (scheme, credentials) in [(FORGED, "a:b"), ("digest", FORGED)] {
        let mut client = Client::open(address, Hello::default()).await.unwrap();
        client.send_as(-4, AUTH, &auth(scheme, credentials.as_bytes())).await;
        client.next().await.unwrap();
    }
    let mut client = Client::open(address, Hello::default()).await.unwrap();
    let forged = format!("/{FORGED}");
    assert_eq!(client.ask(CREATE, &open(&forged, 0)).await.err, -8);
    assert_eq!(client.ask(GET_DATA, &watched(&forged, true)).await.err, NO_NODE);
    client.ask(ADD_WATCH, &versioned(&forged, 0)).await;
    client.ask(DELETE, &versioned(&forged, -1)).await;
    client.send_as(-8, SET_WATCHES, &set_watches(0, &[&[&forged], &[], &[]])).await;
    assert_eq!(client.event().await.1, forged, "it is gone");
    assert_eq!(client.next().await.unwrap().xid, -8);
}

/// CVE-2026-84501: line ends in names and paths don't make lines of the log.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_84501_no_client_writes_a_line_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let login = dir.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
    std::fs::write(&login, format!("Server {{ {module} required user_bob=\"bobsecret\"; }};"))
        .unwrap();
    let zoo_cfg = dir.path().join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
         authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
         java.security.auth.login.config={}\n",
        dir.path().join("data").display(),
        login.display()
    );
    std::fs::write(&zoo_cfg, text).unwrap();
    for format in ["text", "json"] {
        let zoo_cfg = zoo_cfg.display().to_string();
        let arguments = [zoo_cfg.as_str(), "--log-level", "trace", "--log-format", format];
        let server = support::Server::start(&arguments);
        say(server.coordinator().parse().unwrap()).await;
        server.signal(Signal::TERM);
        let (status, _, stderr) = server.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("forged"), "what they said is there: {stderr}");
        for line in stderr.split(['\n', '\r', '\u{2028}', '\u{85}']).filter(|line| !line.is_empty())
        {
            let own = match format {
                "json" => serde_json::from_str::<serde_json::Value>(line).is_ok(),
                _ => line.starts_with("20"),
            };
            assert!(own && !line.contains('\u{1b}'), "{line:?} in\n{stderr}");
        }
    }
}
