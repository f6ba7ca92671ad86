//! One gateway in front of several clusters: `doorkeeper.gateway.clusters`, and what each of them has
//! of its own, `doorkeeper.gateway.cluster.NAME.*`.

use super::GatewayConfig;
use super::gateway::{GatewayAddresses, GatewayListener};
use super::keys::{self, GATEWAY_CLUSTER, Owner};
use super::settings::Settings;

const OWNER: Owner = Owner::Gateway;
const CLUSTERS: &str = "doorkeeper.gateway.clusters";

/// The gateways of all clusters: at least one. What is wrong goes to `settings`.
pub(super) fn from_settings(settings: &mut Settings) -> Vec<GatewayConfig> {
    let names = settings.list(OWNER, CLUSTERS);
    check_names(settings, &names);
    if names.is_empty() {
        return vec![GatewayConfig::from_settings(settings)];
    }
    let mut gateways: Vec<GatewayConfig> = Vec::new();
    let mut shared = Vec::new();
    for name in &names {
        let mut own = settings.of_cluster(name);
        let mut gateway = GatewayConfig::from_settings(&mut own);
        gateway.cluster = Some(name.as_str().into());
        if !own.is_own("listeners") {
            shared.push(gateways.len());
        }
        if !own.is_own("doorkeeper.gateway.image.dir")
            && let Some(directory) = &mut gateway.image_dir
        {
            // One for all is one below it for each.
            directory.push(name);
        }
        settings.absorb(own);
        gateways.push(gateway);
    }
    if shared.len() > 1 {
        share(settings, &mut gateways, &shared);
    }
    check_apart(settings, &gateways);
    gateways
}

fn check_names(settings: &mut Settings, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !name.chars().all(plain) {
            let reason = format!("expected names of letters, digits, - and _, not {name}");
            settings.problem(CLUSTERS, &reason);
        }
        if names[..index].contains(name) {
            settings.problem(CLUSTERS, &format!("two clusters are called {name}"));
        }
    }
    let given: Vec<String> = settings.given.keys().cloned().collect();
    for key in given {
        if let Some((cluster, Some(_))) = keys::of_cluster(&key)
            && !names.iter().any(|name| name == cluster)
        {
            settings.problem(&key, &format!("{cluster} is not one of {CLUSTERS}"));
        }
    }
}

/// Clusters without listeners of their own share those of all, and are told apart by host names.
fn share(settings: &mut Settings, gateways: &mut [GatewayConfig], shared: &[usize]) {
    for index in shared {
        let gateway = &mut gateways[*index];
        let name = gateway.cluster.clone().unwrap_or_default();
        let prefix = format!("{GATEWAY_CLUSTER}{name}");
        for listener in &mut gateway.listeners {
            listener.shared = true;
            if listener.tls.is_none() && !listener.protocol.has_tls() {
                let reason = format!(
                    "not set, and listener {} has no TLS, by whose host names clusters could share \
                     it",
                    listener.name
                );
                settings.problem(&format!("{prefix}.listeners"), &reason);
            }
        }
        if gateway.sni_host.is_none() {
            let reason = "not set, and the cluster shares its listeners with others: expected the \
                          host name of its bootstrap address";
            settings.problem(&format!("{prefix}.sni.host"), reason);
        }
        let of_listeners = settings.given.keys().filter(|key| {
            key.strip_prefix(&prefix).is_some_and(|rest| {
                rest.starts_with(".ssl.")
                    || rest.starts_with(".listener.name.")
                    || rest.starts_with(".listener.security.")
            })
        });
        for key in of_listeners.cloned().collect::<Vec<_>>() {
            settings.problem(&key, "the cluster shares its listeners with others, whose it is too");
        }
    }
}

/// No two clusters may want the same.
fn check_apart(settings: &mut Settings, gateways: &[GatewayConfig]) {
    let name = |gateway: &GatewayConfig| gateway.cluster.clone().unwrap_or_default();
    for (index, gateway) in gateways.iter().enumerate() {
        for other in &gateways[..index] {
            let (one, two) = (name(other), name(gateway));
            let prefix = format!("{GATEWAY_CLUSTER}{two}");
            let mut clash = |key: &str, what: &str| {
                let reason = format!("clusters {one} and {two} have the same {what}");
                settings.problem(&format!("{prefix}.{key}"), &reason);
            };
            let fixed = |listener: &&GatewayListener| !listener.shared && listener.bind.port != 0;
            let ports = |of: &GatewayConfig| -> Vec<u16> {
                of.listeners.iter().filter(fixed).map(|listener| listener.bind.port).collect()
            };
            let binds = |of: &GatewayConfig, port: u16| -> Vec<String> {
                let with = of.listeners.iter().filter(fixed).filter(|own| own.bind.port == port);
                with.map(|listener| listener.bind.host.clone()).collect()
            };
            let same = ports(gateway).into_iter().any(|port| {
                let (these, those) = (binds(gateway, port), binds(other, port));
                let any = |hosts: &[String]| hosts.iter().any(|host| crate::net::is_wildcard(host));
                !those.is_empty()
                    && (any(&these) || any(&those) || these.iter().any(|host| those.contains(host)))
            });
            if same {
                clash("listeners", "address");
            }
            if gateway.sni_host.is_some() && gateway.sni_host == other.sni_host {
                clash("sni.host", "host name");
            }
            if gateway.image_dir.is_some() && gateway.image_dir == other.image_dir {
                clash("image.dir", "directory");
            }
            match (&gateway.addresses, &other.addresses) {
                (GatewayAddresses::Gateway(these), GatewayAddresses::Gateway(those))
                    if these.port_base != 0 && these.port_base == those.port_base =>
                {
                    clash("port.base", "ports for their brokers");
                }
                (GatewayAddresses::Names(these), GatewayAddresses::Names(those))
                    if these.pattern == those.pattern =>
                {
                    clash("sni.pattern", "names for their brokers");
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::gateway::GatewayAddresses;
    use crate::config::{GatewayConfig, load};

    const TWO: [&str; 4] = [
        "process.roles=gateway",
        "doorkeeper.gateway.clusters=a,b",
        "doorkeeper.gateway.cluster.a.zookeeper.connect=za/chroot",
        "doorkeeper.gateway.cluster.b.zookeeper.connect=zb",
    ];

    const APART: [&str; 2] = [
        "doorkeeper.gateway.cluster.a.listeners=PLAINTEXT://:9001",
        "doorkeeper.gateway.cluster.b.listeners=PLAINTEXT://:9002",
    ];

    const SHARED: [&str; 5] = [
        "listeners=SSL://:9000",
        "ssl.keystore.type=PEM",
        "ssl.keystore.location=/k.pem",
        "doorkeeper.gateway.cluster.a.sni.host=a.example.com",
        "doorkeeper.gateway.cluster.b.sni.host=b.example.com",
    ];

    fn loaded(lines: &[&[&str]]) -> Result<Vec<GatewayConfig>, Vec<String>> {
        let overrides: Vec<String> = lines.concat().into_iter().map(str::to_owned).collect();
        let configuration = load(&[], &overrides).map_err(|error| error.problems)?;
        Ok(configuration.gateway.into_iter().chain(configuration.more_gateways).collect())
    }

    #[test]
    fn each_cluster_has_its_own_values_or_those_of_all() {
        let gateways = loaded(&[
            &TWO,
            &APART,
            &[
                "max.connections=7",
                "doorkeeper.gateway.cluster.b.max.connections=8",
                "doorkeeper.gateway.image.dir=/images",
                "doorkeeper.gateway.cluster.b.addresses=gateway",
                "doorkeeper.gateway.cluster.b.port.base=0",
                "doorkeeper.gateway.cluster.b.listener.plaintext.brokers=INSIDE",
            ],
        ])
        .unwrap();
        let [a, b] = gateways.as_slice() else { panic!("{gateways:?}") };
        assert_eq!((a.cluster.as_deref(), b.cluster.as_deref()), (Some("a"), Some("b")));
        assert_eq!(
            (a.zookeeper_connect.as_str(), a.zookeeper_chroot.as_str()),
            ("za:2181", "/chroot")
        );
        assert_eq!(b.zookeeper_connect, "zb:2181");
        assert_eq!((a.max_connections, b.max_connections), (7, 8));
        assert_eq!(a.image_dir.as_deref(), Some(Path::new("/images/a")));
        assert_eq!((a.listeners[0].bind.port, b.listeners[0].bind.port), (9_001, 9_002));
        assert_eq!(a.addresses, GatewayAddresses::Brokers);
        assert!(matches!(b.addresses, GatewayAddresses::Gateway(_)));
        assert_eq!(
            (a.listeners[0].brokers.as_str(), b.listeners[0].brokers.as_str()),
            ("PLAINTEXT", "INSIDE")
        );
        assert!(!a.listeners[0].shared && !b.listeners[0].shared);
    }

    #[test]
    fn clusters_without_listeners_share_those_of_all() {
        let gateways = loaded(&[&TWO, &SHARED]).unwrap();
        assert!(gateways.iter().all(|gateway| gateway.listeners[0].shared));
        assert_eq!(gateways[1].sni_host.as_deref(), Some("b.example.com"));
        // One alone shares with nobody.
        let alone = "doorkeeper.gateway.cluster.a.listeners=PLAINTEXT://:9001";
        let gateways = loaded(&[&TWO, &SHARED, &[alone]]).unwrap();
        assert!(!gateways[1].listeners[0].shared);
    }

    #[test]
    fn what_is_wrong_is_named_as_it_is_given() {
        for (lines, expected) in [
            (&[&TWO[..2], &APART][..], "cluster a: zookeeper.connect: not set"),
            (
                &[&TWO, &APART, &["doorkeeper.gateway.cluster.a.max.connections=x"]],
                "doorkeeper.gateway.cluster.a.max.connections=x (--override): expected a whole number",
            ),
            (
                &[&TWO, &APART, &["doorkeeper.gateway.cluster.a.prt.base=0"]],
                "the nearest known key is doorkeeper.gateway.cluster.a.port.base",
            ),
            (&[&TWO, &APART, &["doorkeeper.gateway.cluster.c.port.base=0"]], "c is not one of"),
            (&[&TWO, &["listeners=PLAINTEXT://:9000"]], "has no TLS"),
            (&[&TWO, &SHARED[..4]], "doorkeeper.gateway.cluster.b.sni.host: not set"),
            (
                &[&TWO, &SHARED, &["doorkeeper.gateway.cluster.b.sni.host=A.example.com"]],
                "the same host name",
            ),
            (
                &[&TWO, &SHARED, &["doorkeeper.gateway.cluster.b.ssl.client.auth=none"]],
                "shares its listeners",
            ),
            (
                &[
                    &TWO,
                    &SHARED,
                    &["doorkeeper.gateway.addresses=gateway", "doorkeeper.gateway.port.base=1"],
                ],
                "the same ports",
            ),
            (
                &[
                    &TWO,
                    &SHARED,
                    &[
                        "doorkeeper.gateway.addresses=gateway",
                        "doorkeeper.gateway.sni.pattern=b-{id}.x.y",
                    ],
                ],
                "the same names",
            ),
            (
                &[
                    &TWO,
                    &APART,
                    &[
                        "doorkeeper.gateway.cluster.b.listeners=OTHER://h:9001,PLAINTEXT://:1",
                        "listener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                    ],
                ],
                "the same address",
            ),
            (
                &[&["process.roles=gateway", "doorkeeper.gateway.clusters=a,a.b,a"]],
                "two clusters are called a",
            ),
            (
                &[&[
                    "process.roles=gateway",
                    "zookeeper.connect=z",
                    "doorkeeper.gateway.cluster.a.port.base=0",
                ]],
                "a is not one of doorkeeper.gateway.clusters",
            ),
        ] {
            let problems = loaded(lines).map(|_| ()).unwrap_err();
            assert!(
                problems.iter().any(|line| line.contains(expected)),
                "{expected}: {problems:#?}"
            );
        }
    }

    #[test]
    fn the_report_is_a_configuration_file() {
        let overrides: Vec<String> =
            TWO.iter().chain(&APART).map(|&line| line.to_owned()).collect();
        let report = load(&[], &overrides).unwrap().report();
        let line = report
            .lines()
            .find(|line| line.starts_with("doorkeeper.gateway.cluster.b.zookeeper.connect"));
        assert!(line.is_some_and(|line| line.contains("= zb")), "{report}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("again.properties");
        let text: String = report
            .lines()
            .map(|line| line.split("  #").next().unwrap_or_default())
            .flat_map(|line| [line, "\n"])
            .collect();
        std::fs::write(&file, format!("process.roles=gateway\n{text}")).unwrap();
        assert_eq!(load(&[file], &[]).unwrap().more_gateways.len(), 1);
    }
}
