//! What `zoo.cfg` says of authentication: what works, what is warned of, what stops the start.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use doorkeeper::config::{
    AuditConfig, AuthConfig, CertificateId, Configuration, DigestAlgorithm, NameKind, load,
};

const SASL: &str = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n";
const MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";

/// A `zoo.cfg` with these lines, in which JAAS stands for a file with that content.
fn loaded(lines: &str, jaas: &str) -> Result<Configuration, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let (zoo, login) = (dir.path().join("zoo.cfg"), dir.path().join("jaas.conf"));
    std::fs::write(&login, jaas).unwrap();
    let lines = lines.replace("JAAS", &login.display().to_string());
    std::fs::write(&zoo, format!("dataDir=/d\nclientPort=1\n{lines}")).unwrap();
    let shorten = |line: String| line.replace(&format!("{}/", dir.path().display()), "");
    load(&[zoo], &[])
        .map(|mut configuration| {
            for line in &mut configuration.warnings {
                *line = shorten(std::mem::take(line));
            }
            configuration
        })
        .map_err(|error| error.problems.into_iter().map(shorten).collect())
}

fn auth(lines: &str, jaas: &str) -> AuthConfig {
    loaded(lines, jaas).unwrap().coordinator.unwrap().auth
}

fn users(auth: &AuthConfig) -> Vec<(&str, &str)> {
    let users = auth.sasl_users.iter().flatten();
    users.map(|user| (user.name.as_str(), user.password.expose())).collect()
}

#[test]
fn the_defaults_are_zookeepers() {
    let auth = auth("", "");
    assert!(auth.digest_enabled && auth.serves("ip") && auth.serves("digest"));
    assert!(!auth.serves("sasl") && !auth.serves("x509") && !auth.serves("ensemble"));
    assert!(auth.sasl_users.is_none() && auth.enforced_schemes.is_empty());
}

#[test]
fn users_come_from_the_servers_section_of_the_login_file() {
    let jaas = format!(
        "Client {{ {MODULE} required username=\"a\" password=\"b\"; }};\n\
         Server {{ {MODULE} required user_super=\"one\" user_bob=\"two\"; }};\n\
         Other {{ {MODULE} required user_eve=\"three\"; }};\n\
         KafkaServer {{ org.apache.kafka.common.security.plain.PlainLoginModule required; }};\n"
    );
    let login = format!("{SASL}java.security.auth.login.config=JAAS\n");
    let by_default = auth(&login, &jaas);
    assert_eq!(users(&by_default), [("super", "one"), ("bob", "two")]);
    assert!(by_default.serves("sasl"));
    let other = auth(&format!("{login}sasl.serverconfig=Other\n"), &jaas);
    assert_eq!(users(&other), [("eve", "three")]);
    let password = format!("{login}SASLAuthenticationProvider.superPassword=four\n");
    assert_eq!(users(&auth(&password, &jaas)), [("super", "four"), ("bob", "two")]);
    for form in ["file:JAAS", "=JAAS", "=file:JAAS"] {
        let lines = format!("{SASL}java.security.auth.login.config={form}\n");
        assert_eq!(users(&auth(&lines, &jaas)).len(), 2, "{form}");
    }
}

#[test]
fn super_users_and_the_rest_are_read() {
    let lines = "superUser=kafka\nsuperUser.1=root\nsuperUser.x=\nletAnySaslUserDoX=all\n\
                 allowSaslFailedClients=true\nensembleAuthName=east, west\n\
                 authProvider.e=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider\n\
                 authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n\
                 X509AuthenticationProvider.superUser=CN=root\n\
                 DigestAuthenticationProvider.digestAlg=SHA3-256\n";
    let auth = auth(lines, "");
    assert_eq!(auth.sasl_super_users, ["kafka", "root"]);
    assert_eq!(auth.any_sasl_user.as_deref(), Some("all"));
    assert_eq!(auth.ensemble_names.as_deref(), Some(&["east".to_owned(), "west".to_owned()][..]));
    assert!(auth.keep_sasl_failed_clients && auth.serves("ensemble") && auth.serves("x509"));
    assert_eq!(auth.x509_super_user.as_deref(), Some("CN=root"));
    assert_eq!(auth.digest_algorithm, DigestAlgorithm::Sha3Over256);
}

#[test]
fn what_of_a_certificate_is_its_id_is_read() {
    let id = |lines: &str| auth(lines, "").certificate_id;
    assert!(matches!(id(""), CertificateId::Subject));
    assert!(matches!(id("ssl.x509.clientCertIdType=sdn\n"), CertificateId::Subject));
    let CertificateId::AlternativeName(name) = id("ssl.x509.clientCertIdType=SAN\n\
         ssl.x509.clientCertIdSanMatchType=6\n\
         ssl.x509.clientCertIdSanMatchRegex=^spiffe:\n\
         ssl.x509.clientCertIdSanExtractRegex=/sa/(\\\\w+)$\n\
         ssl.x509.clientCertIdSanExtractMatcherGroupIndex=1\n")
    else {
        panic!("a subject");
    };
    assert_eq!(name.kind, NameKind::UniformResourceIdentifier);
    assert_eq!((name.matching.as_str(), name.extracting.as_str()), ("^spiffe:", r"/sa/(\w+)$"));
    assert_eq!(name.group, 1);
}

#[test]
fn enforced_schemes_are_those_of_either_key() {
    let enforced = |lines: &str| auth(&format!("{SASL}{lines}"), "").enforced_schemes;
    assert_eq!(
        enforced("enforce.auth.enabled=true\nenforce.auth.schemes=sasl, digest\n"),
        ["sasl", "digest"]
    );
    assert_eq!(enforced("enforce.auth.schemes=sasl\n"), [""; 0], "not enabled");
    let both = "enforce.auth.enabled=true\nenforce.auth.schemes=digest\nsessionRequireClientSASLAuth=true\n";
    assert_eq!(enforced(both), ["sasl"], "the shorthand rules");
}

#[test]
fn what_would_protect_less_stops_the_start() {
    let login = "java.security.auth.login.config=JAAS\n";
    for (lines, jaas, expected) in [
        (
            "authProvider.1=com.example.Mine\n",
            "",
            "authProvider.1=com.example.Mine (zoo.cfg:3): doorkeeper has no such provider",
        ),
        (
            "authProvider.key=org.apache.zookeeper.server.auth.KeyAuthenticationProvider\n",
            "",
            "doorkeeper has no such provider",
        ),
        ("ssl.x509.clientCertIdType=CN\n", "", "expected SAN or SDN"),
        ("ssl.x509.clientCertIdType=SAN\n", "", "expected the kind of the alternative name"),
        (
            "ssl.x509.clientCertIdType=SAN\nssl.x509.clientCertIdSanMatchType=0\n",
            "",
            "ssl.x509.clientCertIdSanMatchType=0 (zoo.cfg:4): expected the kind",
        ),
        ("ssl.x509.clientCertIdSanMatchRegex=(a\n", "", "not a regular expression: unclosed group"),
        (
            "ssl.x509.clientCertIdType=SAN\nssl.x509.clientCertIdSanMatchType=2\n\
             ssl.x509.clientCertIdSanExtractMatcherGroupIndex=1\n",
            "",
            "ssl.x509.clientCertIdSanExtractRegex has 0 groups",
        ),
        ("authProvider.1=\n", "", "doorkeeper has no such provider"),
        ("DigestAuthenticationProvider.digestAlg=RipeMD160\n", "", "expected MD5, SHA1, SHA-224"),
        ("requireKerberosConfig=true\n", "", "Kerberos"),
        ("enforce.auth.enabled=true\n", "", "enforce.auth.schemes names no scheme"),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=x509\n",
            "",
            "the scheme x509 is not served",
        ),
        ("sessionRequireClientSASLAuth=true\n", "", "the scheme sasl is not served"),
        (
            "DigestAuthenticationProvider.enabled=false\nenforce.auth.enabled=true\nenforce.auth.schemes=digest\n",
            "",
            "the scheme digest is not served",
        ),
        ("sasl.serverconfig=Server\n", "", "doesn't say in which file it is"),
        ("java.security.auth.login.config=/nowhere/jaas.conf\n", "", "can't read it: No such file"),
        (login, "Server { a.B", "line 1: expected required, requisite"),
        (login, "Server { };", "section Server has no login module"),
        (
            login,
            "Server { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };",
            "section Server logs in with com.sun.security.auth.module.Krb5LoginModule, which doorkeeper doesn't have",
        ),
        (
            "java.security.auth.login.config=JAAS\nsasl.serverconfig=Other\n",
            "Server { };",
            "jaas.conf has no such section",
        ),
        (
            "audit.impl.class=com.example.Audit\naudit.enable=true\n",
            "",
            "audit.impl.class=com.example.Audit (zoo.cfg:3): doorkeeper has no such logger",
        ),
    ] {
        let problems = loaded(lines, jaas).map(|_| ()).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{lines}: {problems:?}");
    }
    let realm = format!("Server {{ {MODULE} required \"user_bob@A\"=\"x\"; }};");
    let rules = format!("{login}kerberos.removeRealmFromPrincipal=true\n");
    let problems = loaded(&rules, &realm).map(|_| ()).unwrap_err();
    assert!(problems[0].contains("the user bob@A has a realm"), "{problems:?}");
    assert!(loaded(login, &realm).is_ok());
}

#[test]
fn what_leaves_the_door_open_or_locked_is_warned_of() {
    let login = "java.security.auth.login.config=JAAS\n";
    for (lines, jaas, expected) in [
        (
            "skipACL=yes\n".to_owned(),
            String::new(),
            "skipACL=yes: no access control list is checked",
        ),
        (SASL.to_owned(), String::new(), "nobody can authenticate with it"),
        (
            login.to_owned(),
            "Client { };".to_owned(),
            "jaas.conf has no section Server: clients can't authenticate with SASL",
        ),
        (
            login.to_owned(),
            format!("Server {{ {MODULE} required; }};"),
            "has no user_NAME=\"password\"",
        ),
        (
            format!("{SASL}sessionRequireClientSASLAuth=true\n"),
            String::new(),
            "nobody can do anything",
        ),
        (
            "doorkeeper.audit.file=/a\n".to_owned(),
            String::new(),
            "without audit.enable=true nothing is written",
        ),
    ] {
        let warnings = loaded(&lines, &jaas).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{lines}: {warnings:?}");
    }
}

#[test]
fn the_audit_log_is_off_unless_asked_for() {
    let audit = |lines: &str| loaded(lines, "").unwrap().coordinator.unwrap().audit;
    assert_eq!(audit(""), None);
    assert_eq!(audit("audit.enable=true\n"), Some(AuditConfig { file: None }));
    let file = audit("audit.enable=true\ndoorkeeper.audit.file=/var/log/audit.log\n");
    assert_eq!(file, Some(AuditConfig { file: Some("/var/log/audit.log".into()) }));
}

#[test]
fn cve_2026_24308_no_password_is_shown() {
    let jaas = format!("Server {{ {MODULE} required user_bob=\"hunter2\"; }};");
    let lines = format!(
        "{SASL}java.security.auth.login.config=JAAS\nSASLAuthenticationProvider.superPassword=hunter2\n\
         DigestAuthenticationProvider.superDigest=super:hunter2\n"
    );
    let configuration = loaded(&lines, &jaas).unwrap();
    let shown = format!("{configuration:?}\n{}", configuration.report());
    assert!(shown.contains("bob") && !shown.contains("hunter2"), "{shown}");
    for broken in ["user_bob=\"hunter2", "user_bob=\"hunter2\" x", "user_bob=\"hunter2\"; hunter2"]
    {
        let jaas = format!("Server {{ {MODULE} required {broken} }};");
        let problems = loaded(&lines, &jaas).map(|_| ()).unwrap_err();
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    }
}
