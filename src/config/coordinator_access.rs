//! How brokers and gateways get into their coordinator: TLS and a login, by Kafka's key names and by
//! the system properties that Kafka's operators set.

use std::path::{Path, PathBuf};

use rustls_pki_types::ServerName;

use super::keys::Owner;
use super::settings::Settings;
use super::{BrokerConfig, CoordinatorConfig, ListenAddress, Secret, jaas};
use crate::net::tls::StoreKind;
use crate::net::tls::store::{Password, StoreConfig};

/// The key of the JAAS file, as Java names it.
pub const LOGIN_FILE: &str = "java.security.auth.login.config";

/// What is shown to a coordinator that demands something of its clients.
#[derive(Debug, Clone, Default)]
pub struct CoordinatorAccess {
    /// The login with SASL DIGEST-MD5, if there is one.
    pub login: Option<CoordinatorLogin>,
    /// TLS, if it is spoken.
    pub tls: Option<CoordinatorTls>,
}

/// Where the name and the password of a login are. They are read whenever a session is made, so that
/// a new password needs no new start.
#[derive(Debug, Clone)]
pub struct CoordinatorLogin {
    /// The JAAS file.
    pub file: PathBuf,
    /// Its section: `Client` unless `sasl.clientconfig` names another.
    pub section: String,
}

/// The stores of TLS towards a coordinator. They are read whenever a session is made.
#[derive(Debug, Clone)]
pub struct CoordinatorTls {
    /// The certificate that is shown, if one is.
    pub key_store: Option<StoreConfig>,
    /// Who may have signed the coordinator's.
    pub trust_store: StoreConfig,
}

impl CoordinatorLogin {
    /// The name and the password.
    ///
    /// # Errors
    /// What of the file can't be used: one line, without a value of the file.
    pub fn read(&self) -> Result<(String, Secret), String> {
        let sections = jaas::read(&self.file).map_err(|error| error.to_string())?;
        let Some(section) = sections.into_iter().find(|found| found.name == self.section) else {
            return Err(format!("{} has no section {}", self.file.display(), self.section));
        };
        let name = &self.section;
        let [module] = <[jaas::Module; 1]>::try_from(section.modules)
            .map_err(|_| format!("expected one login module in section {name}"))?;
        if module.class != "org.apache.zookeeper.server.auth.DigestLoginModule" {
            return Err(format!(
                "section {name} logs in with {}, which doorkeeper doesn't have; it has \
                 org.apache.zookeeper.server.auth.DigestLoginModule (no Kerberos)",
                module.class
            ));
        }
        let value = |key: &str| module.options.iter().rfind(|option| option.key == key);
        match (value("username"), value("password")) {
            (Some(user), Some(password)) => {
                Ok((user.value.expose().to_owned(), password.value.clone()))
            }
            _ => Err(format!("section {name} needs username=\"…\" and password=\"…\"")),
        }
    }
}

impl CoordinatorAccess {
    /// What the keys of `owner` and of the process say; what is wrong goes to `settings`. `connect`
    /// is `zookeeper.connect` without its chroot.
    pub(super) fn from_settings(settings: &mut Settings, owner: Owner, connect: &str) -> Self {
        CoordinatorAccess { login: login(settings), tls: tls(settings, owner, connect) }
    }

    /// Whether the coordinator knows who comes, so that ACLs can be given to them.
    pub fn is_known(&self) -> bool {
        self.login.is_some() || self.tls.as_ref().is_some_and(|tls| tls.key_store.is_some())
    }
}

/// The JAAS file's section for clients, if it has one (`JaasUtils.isZkSaslEnabled`).
fn login(settings: &mut Settings) -> Option<CoordinatorLogin> {
    let owner = Owner::Process;
    let file = settings.text(owner, LOGIN_FILE).filter(|file| !file.is_empty());
    let section = settings.text(owner, "sasl.clientconfig").unwrap_or_default();
    let file = file.filter(|_| settings.flag(owner, "sasl.client"))?;
    let file = PathBuf::from(jaas::path_of(&file));
    match jaas::read(&file) {
        Ok(sections) if !sections.iter().any(|found| found.name == section) => return None,
        Ok(_) => {}
        Err(error) => {
            // Where a coordinator starts, it has said so.
            if !settings.problems.iter().any(|problem| problem.starts_with(LOGIN_FILE)) {
                settings.problem(LOGIN_FILE, &error.to_string());
            }
            return None;
        }
    }
    let login = CoordinatorLogin { file, section };
    if let Err(reason) = login.read() {
        settings.problem(LOGIN_FILE, &reason);
    }
    Some(login)
}

fn tls(settings: &mut Settings, owner: Owner, connect: &str) -> Option<CoordinatorTls> {
    const ENABLE: &str = "zookeeper.ssl.client.enable";
    const PROPERTY: &str = "client.secure";
    let by_key = settings.flag(owner, ENABLE);
    let by_property = settings.flag(Owner::Process, PROPERTY);
    settings.text(owner, "zookeeper.clientCnxnSocket");
    let [key_store, trust_store] =
        [&KEY_STORE, &TRUST_STORE].map(|keys| store(settings, owner, keys));
    protocols(settings, owner);
    names_of_servers(settings, owner);
    if !by_key && !by_property {
        return None;
    }
    if !settings.is_filled(TRUST_STORE.location) {
        let by = if by_key { ENABLE } else { PROPERTY };
        let reason = format!("not set, and {by} needs it: there are no authorities built in");
        settings.problem(TRUST_STORE.location, &reason);
    }
    for server in connect.split(',').filter(|server| !server.is_empty()) {
        let host = ListenAddress::parse(server).map_or_else(String::new, |address| address.host);
        if ServerName::try_from(host.as_str()).is_err() {
            let reason = format!("{host} is no name that a certificate can be for");
            settings.problem("zookeeper.connect", &reason);
        }
    }
    Some(CoordinatorTls { key_store, trust_store: trust_store? })
}

/// The keys of one store.
struct StoreKeys {
    location: &'static str,
    password: &'static str,
    kind: &'static str,
}

const KEY_STORE: StoreKeys = StoreKeys {
    location: "zookeeper.ssl.keystore.location",
    password: "zookeeper.ssl.keystore.password",
    kind: "zookeeper.ssl.keystore.type",
};

const TRUST_STORE: StoreKeys = StoreKeys {
    location: "zookeeper.ssl.truststore.location",
    password: "zookeeper.ssl.truststore.password",
    kind: "zookeeper.ssl.truststore.type",
};

fn store(settings: &mut Settings, owner: Owner, keys: &StoreKeys) -> Option<StoreConfig> {
    let password = settings.secret(owner, keys.password).unwrap_or_default();
    let kind = settings.text(owner, keys.kind).filter(|kind| !kind.is_empty());
    let path = settings.text(owner, keys.location).filter(|path| !path.is_empty());
    let path = PathBuf::from(path?);
    let kind = match &kind {
        Some(name) => StoreKind::by_name(name).or_else(|| {
            settings.problem(keys.kind, "expected JKS, PKCS12 or PEM");
            None
        }),
        None => StoreKind::by_file_name(&path).or_else(|| {
            let reason = format!("expected a name ending in .jks, .p12 or .pem, or {}", keys.kind);
            settings.problem(keys.location, &reason);
            None
        }),
    };
    Some(StoreConfig::file(path, kind?, Password::Text(password)))
}

/// Both versions of TLS are spoken, the newer one with a server that has it. A file that allows no
/// TLSv1.2 would be protected less than it asks for.
fn protocols(settings: &mut Settings, owner: Owner) {
    const ENABLED: &str = "zookeeper.ssl.enabled.protocols";
    const PROTOCOL: &str = "zookeeper.ssl.protocol";
    let enabled = settings.list(owner, ENABLED);
    let single = settings.text(owner, PROTOCOL).unwrap_or_default();
    let (key, names) =
        if enabled.is_empty() { (PROTOCOL, vec![single]) } else { (ENABLED, enabled) };
    if !names.iter().all(|name| matches!(name.as_str(), "TLS" | "TLSv1.2" | "TLSv1.3")) {
        settings.problem(key, "expected TLSv1.2, or TLSv1.2 and TLSv1.3");
    } else if names.iter().all(|name| name == "TLSv1.3") {
        let reason = "switching TLSv1.2 off towards ZooKeeper is not built yet (a server that has \
                      TLSv1.3 gets it)";
        settings.problem(key, reason);
    }
}

fn names_of_servers(settings: &mut Settings, owner: Owner) {
    const KEY: &str = "zookeeper.ssl.endpoint.identification.algorithm";
    let algorithm = settings.text(owner, KEY).unwrap_or_default();
    if !algorithm.eq_ignore_ascii_case("https") {
        let reason = "taking a certificate that is for another server's name is not built: expected \
                      HTTPS";
        settings.problem(KEY, reason);
    }
}

/// Says to `settings` why the broker could not get into the coordinator of its own process, which it
/// reaches by `clientPort`, without TLS.
pub(super) fn check_embedded(
    settings: &mut Settings,
    coordinator: Option<&CoordinatorConfig>,
    broker: &BrokerConfig,
) {
    let Some(coordinator) = coordinator.filter(|_| broker.embedded) else { return };
    if broker.access.tls.is_some() {
        let reason = "the broker of this process reaches its coordinator by clientPort, without TLS: \
                      zookeeper.connect would name another";
        settings.problem("zookeeper.ssl.client.enable", reason);
    }
    if coordinator.client_address.is_none() && settings.is_given("secureClientPort") {
        settings.problem(
            "secureClientPort",
            "the broker of this process can't reach the coordinator by it: give it a clientPort, on \
             127.0.0.1 for one, or name it in zookeeper.connect with zookeeper.ssl.client.enable",
        );
    }
    let schemes = &coordinator.auth.enforced_schemes;
    let comes_with = |scheme: &String| match scheme.as_str() {
        "ip" => true,
        "sasl" => broker.access.login.is_some(),
        _ => false,
    };
    if !schemes.is_empty() && !schemes.iter().any(comes_with) {
        let by_sasl = "sessionRequireClientSASLAuth";
        let is_on = |key: &str| {
            settings.given.get(key).is_some_and(|given| given.value.eq_ignore_ascii_case("true"))
        };
        let key = if is_on(by_sasl) { by_sasl } else { "enforce.auth.schemes" };
        let reason = format!(
            "the broker of this process can't log in to its coordinator: its every request would be \
             refused ({LOGIN_FILE} names no section Client)"
        );
        settings.problem(key, &reason);
    }
}

/// `zookeeper.set.acl`: refused where the coordinator could not tell the owner from anybody else, as
/// Kafka refuses it.
pub(super) fn set_acl(settings: &mut Settings, access: &CoordinatorAccess) -> bool {
    const KEY: &str = "zookeeper.set.acl";
    let on = settings.flag(Owner::Broker, KEY);
    if on && !access.is_known() {
        let reason = format!(
            "the znodes need an owner: expected a login ({LOGIN_FILE} with a section Client) or a \
             certificate (zookeeper.ssl.keystore.location)"
        );
        settings.problem(KEY, &reason);
    }
    on
}

/// Where a login's file is, for messages.
impl std::fmt::Display for CoordinatorLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (section {})", Path::display(&self.file), self.section)
    }
}
