//! What a coordinator may demand of a broker that connects to it, and what a broker can't give yet: TLS,
//! and a login. Neglecting it would make znodes that everybody may change, or a start that waits for
//! what never comes; so it stops the start.

use std::path::Path;

use super::settings::Settings;
use super::{BrokerConfig, CoordinatorConfig, jaas};

/// Says to `settings` why the broker could not get in.
pub(super) fn check(
    settings: &mut Settings,
    coordinator: Option<&CoordinatorConfig>,
    broker: &BrokerConfig,
) {
    asked_for(settings);
    if broker.embedded
        && let Some(coordinator) = coordinator
    {
        demanded_by(settings, coordinator);
    }
}

/// A login and TLS that Kafka takes from system properties (`JaasUtils.isZkSaslEnabled`,
/// `ZKClientConfig`).
fn asked_for(settings: &mut Settings) {
    const FILE: &str = "java.security.auth.login.config";
    let value =
        |settings: &Settings, key: &str| settings.given.get(key).map(|given| given.value.clone());
    if value(settings, "client.secure").is_some_and(|on| on.eq_ignore_ascii_case("true")) {
        settings.problem("client.secure", "a broker's TLS to its coordinator is not built yet");
    }
    let switched_off =
        value(settings, "sasl.client").is_some_and(|on| on.eq_ignore_ascii_case("false"));
    let file = value(settings, FILE).filter(|file| !file.is_empty() && !switched_off);
    let Some(file) = file else { return };
    let section = value(settings, "sasl.clientconfig").unwrap_or_else(|| "Client".to_owned());
    match jaas::read(Path::new(jaas::path_of(&file))) {
        Ok(sections) if sections.iter().any(|found| found.name == section) => settings.problem(
            FILE,
            &format!(
                "its section {section} is a broker's login to its coordinator, which is not built \
                 yet (-Dzookeeper.sasl.client=false connects without)"
            ),
        ),
        Ok(_) => {}
        // Where a coordinator starts, it has said so.
        Err(_) if settings.problems.iter().any(|problem| problem.starts_with(FILE)) => {}
        Err(error) => settings.problem(FILE, &error.to_string()),
    }
}

/// What the coordinator of the same process lets in: its broker comes without TLS, and as nobody.
fn demanded_by(settings: &mut Settings, coordinator: &CoordinatorConfig) {
    if coordinator.client_address.is_none() && settings.is_given("secureClientPort") {
        settings.problem(
            "secureClientPort",
            "the broker of this process can't reach the coordinator by it, since a broker's TLS to \
             its coordinator is not built yet: give it a clientPort, on 127.0.0.1 for one",
        );
    }
    let schemes = &coordinator.auth.enforced_schemes;
    if !schemes.is_empty() && !schemes.iter().any(|scheme| scheme == "ip") {
        let by_sasl = "sessionRequireClientSASLAuth";
        let is_on = |key: &str| {
            settings.given.get(key).is_some_and(|given| given.value.eq_ignore_ascii_case("true"))
        };
        let key = if is_on(by_sasl) { by_sasl } else { "enforce.auth.schemes" };
        settings.problem(
            key,
            "the broker of this process can't log in to its coordinator, since a broker's login is \
             not built yet: its every request would be refused",
        );
    }
}
