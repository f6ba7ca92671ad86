//! The members of an ensemble that a `zoo.cfg`, or its `dynamicConfigFile`, names: `server.N`.

use std::collections::BTreeMap;
use std::path::Path;

use super::keys::Owner;
use super::settings::{Given, Settings, shown};
use super::{ListenAddress, split_host_port};

/// One `server.N` line (`QuorumPeer.QuorumServer`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// N, which the member's `myid` holds.
    pub id: u64,
    /// Its hosts, with the ports for the quorum and for elections; several with `multiAddress`.
    pub addresses: Vec<MemberAddress>,
    /// Whether it votes: an observer doesn't.
    pub votes: bool,
    /// Where its clients connect, if the line says so.
    pub client_address: Option<ListenAddress>,
}

/// Where the other members reach a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// A name or an address.
    pub host: String,
    /// The port of the quorum.
    pub quorum_port: u16,
    /// The port of elections.
    pub election_port: u16,
}

impl Member {
    /// Reads `host:port:port[:role][|…][;[host:]port]`, an IPv6 host in brackets.
    pub fn parse(id: u64, text: &str) -> Option<Member> {
        let (server, client) = match text.split_once(';') {
            Some((server, client)) => (server, Some(client)),
            None => (text, None),
        };
        let client_address = match client.map(str::trim) {
            None => None,
            Some(port) if !port.contains(':') => {
                Some(ListenAddress { host: "0.0.0.0".to_owned(), port: port.parse().ok()? })
            }
            Some(address) => Some(ListenAddress::parse(address)?),
        };
        let (mut addresses, mut votes) = (Vec::new(), true);
        for address in server.split('|').map(str::trim) {
            let lower = address.to_ascii_lowercase();
            let (address, voting) = if lower.ends_with(":observer") {
                (&address[..address.len() - ":observer".len()], false)
            } else if lower.ends_with(":participant") {
                (&address[..address.len() - ":participant".len()], true)
            } else {
                (address, true)
            };
            votes &= voting;
            let (rest, election_port) = address.rsplit_once(':')?;
            let (host, quorum_port) = split_host_port(rest)?;
            addresses.push(MemberAddress {
                host: host.to_owned(),
                quorum_port,
                election_port: election_port.parse().ok()?,
            });
        }
        Some(Member { id, addresses, votes, client_address })
    }
}

/// What the configuration says of an ensemble.
#[derive(Debug, Clone, Default)]
pub struct Ensemble {
    /// Every `server.N`, by N.
    pub members: Vec<Member>,
    /// What `myid` in `dataDir` holds, if it is there.
    pub own_id: Option<u64>,
}

impl Ensemble {
    /// The line of this server: that of `myid`, or the only one.
    pub fn own(&self) -> Option<&Member> {
        match (self.own_id, self.members.as_slice()) {
            (Some(id), members) => members.iter().find(|member| member.id == id),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// Whether ZooKeeper would run as a member of an ensemble with this configuration.
    pub fn is_distributed(&self, standalone_enabled: bool) -> bool {
        let voters = self.members.iter().filter(|member| member.votes).count();
        voters > 1 || voters == 1 && !standalone_enabled
    }
}

/// Lays the keys of `dynamicConfigFile` over those that are given; `read` reads a file.
pub(super) fn read_dynamic_file(
    settings: &mut Settings,
    read: impl Fn(&Path) -> Result<BTreeMap<String, Given>, String>,
) {
    const KEY: &str = "dynamicConfigFile";
    let Some(given) = settings.given.get(KEY).filter(|given| !given.value.is_empty()) else {
        return;
    };
    let path = given.value.clone();
    let is_member =
        |key: &str| ["server.", "group.", "weight."].iter().any(|prefix| key.starts_with(prefix));
    let misplaced: Vec<String> =
        settings.given.keys().filter(|key| is_member(key)).cloned().collect();
    for key in misplaced {
        settings.problem(&key, "where dynamicConfigFile is set, it must stand in that file");
    }
    match read(Path::new(&path)) {
        Ok(found) => {
            for (key, given) in found {
                if key == "version" {
                    settings.problems.push(format!(
                        "{}: the version of a dynamic file is in its name",
                        shown(&key, &given)
                    ));
                } else if is_member(&key) {
                    settings.given.insert(key, given);
                } else {
                    settings.problems.push(format!(
                        "{}: a dynamic file holds server.N, group.N and weight.N only",
                        shown(&key, &given)
                    ));
                }
            }
        }
        Err(problem) => settings.problem(KEY, &problem),
    }
}

/// The ensemble that the configuration names. Several members are refused unless the operator said
/// that this server takes over one of them: alone, each would serve a part as if it were the whole.
pub(super) fn ensemble(settings: &mut Settings, data_dir: &Path, take_over: bool) -> Ensemble {
    const TAKE_OVER: &str = "doorkeeper.take.over.member";
    let standalone_enabled = settings.flag(Owner::Coordinator, "standaloneEnabled");
    settings.text(Owner::Coordinator, "dynamicConfigFile");
    let mut ensemble = Ensemble::default();
    let lines: Vec<(String, Given)> = settings
        .given
        .iter()
        .filter(|(key, _)| key.starts_with("server."))
        .map(|(key, given)| (key.clone(), given.clone()))
        .collect();
    for (key, given) in &lines {
        // Names such as `server.principal` are other keys.
        let Ok(id) = key["server.".len()..].parse::<u64>() else { continue };
        match Member::parse(id, &given.value) {
            Some(member) => ensemble.members.push(member),
            None => settings.problem(
                key,
                "expected host:port:port[:participant|:observer][;[host:]clientPort]",
            ),
        }
    }
    ensemble.members.sort_by_key(|member| member.id);
    if ensemble.members.is_empty() {
        if !standalone_enabled {
            settings.problem("standaloneEnabled", "false needs a server.N, as in ZooKeeper");
        }
        return ensemble;
    }
    ensemble.own_id = own_id(settings, data_dir);
    let first = lines.iter().find(|(key, _)| key[7..].parse::<u64>().is_ok());
    let first = first.map_or_else(String::new, |(key, given)| shown(key, given));
    if ensemble.is_distributed(standalone_enabled) {
        if take_over {
            if ensemble.own().is_some_and(|own| !own.votes) {
                settings.problems.push(format!(
                    "{TAKE_OVER}: this member is an observer; take over one that votes, the one \
                     with the last zxid"
                ));
            }
            settings.warnings.push(format!(
                "{first}: {} members, and this server takes over the data of one of them: the \
                 others must stay stopped",
                ensemble.members.len()
            ));
        } else {
            settings.problems.push(format!(
                "{first}: {} server.N lines (standaloneEnabled={standalone_enabled}) are an \
                 ensemble, and doorkeeper is one server. To serve the ensemble's data from here, \
                 stop every member, go to the one with the last zxid, and set {TAKE_OVER}=true",
                ensemble.members.len()
            ));
        }
    } else if ensemble.members.iter().any(|member| !member.votes) {
        settings
            .problems
            .push(format!("{first}: an observer without an ensemble, which ZooKeeper refuses too"));
    } else {
        settings.warnings.push(format!(
            "{first}: the only server of its ensemble, so it runs standalone, as ZooKeeper runs it"
        ));
    }
    ensemble
}

/// The number in `dataDir/myid`; `None` without that file.
fn own_id(settings: &mut Settings, data_dir: &Path) -> Option<u64> {
    let path = data_dir.join("myid");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            settings.problems.push(format!("can't read {}: {error}", path.display()));
            return None;
        }
    };
    let id = text.lines().next().unwrap_or_default().trim().parse().ok();
    if id.is_none() {
        settings.problems.push(format!("{}: expected a number", path.display()));
    }
    id
}

/// The client address: that of `clientPort`, and what the line of this server adds to it.
pub(super) fn client_address(
    settings: &mut Settings,
    from_keys: Option<ListenAddress>,
    ensemble: &Ensemble,
) -> Option<ListenAddress> {
    let from_line = ensemble.own().and_then(|own| own.client_address.clone());
    match (from_keys, from_line) {
        (keys, None) => keys,
        (None, Some(line)) => {
            settings.comes_to("clientPort", &line.port);
            settings.comes_to("clientPortAddress", &line.host);
            Some(line)
        }
        (Some(keys), Some(line)) => {
            let any = keys.host.is_empty() || keys.host == "0.0.0.0";
            if keys.port != line.port || !any && keys.host != line.host {
                settings.problem(
                    "clientPort",
                    &format!("{keys} differs from the client address {line} of its server line"),
                );
            }
            Some(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, quorum_port: u16, election_port: u16) -> MemberAddress {
        MemberAddress { host: host.to_owned(), quorum_port, election_port }
    }

    #[test]
    fn lines_are_read_as_zookeeper_reads_them() {
        let zk1 = vec![address("zk1", 2888, 3888)];
        let client = |host: &str, port| Some(ListenAddress { host: host.to_owned(), port });
        for (line, addresses, votes, client_address) in [
            ("zk1:2888:3888", zk1.clone(), true, None),
            ("zk1:2888:3888:Participant;2181", zk1.clone(), true, client("0.0.0.0", 2181)),
            ("zk1:2888:3888:observer;zk1:2182", zk1.clone(), false, client("zk1", 2182)),
            (
                "[::1]:2888:3888;[::]:2181",
                vec![address("::1", 2888, 3888)],
                true,
                client("::", 2181),
            ),
            (
                "a:1:2:observer|b:3:4:observer",
                vec![address("a", 1, 2), address("b", 3, 4)],
                false,
                None,
            ),
        ] {
            let expected = Member { id: 3, addresses, votes, client_address };
            assert_eq!(Member::parse(3, line), Some(expected), "{line}");
        }
        for line in ["", "zk1", "zk1:2888", "zk1:2888:x", "zk1:2888:3888:leader", "zk1:1:2;x"] {
            assert_eq!(Member::parse(1, line), None, "{line}");
        }
    }

    #[test]
    fn one_voter_is_standalone_unless_that_is_turned_off() {
        let ensemble = |lines: &[&str]| Ensemble {
            members: lines.iter().filter_map(|line| Member::parse(1, line)).collect(),
            ..Ensemble::default()
        };
        assert!(!ensemble(&["a:1:2"]).is_distributed(true));
        assert!(ensemble(&["a:1:2"]).is_distributed(false));
        assert!(ensemble(&["a:1:2", "b:1:2"]).is_distributed(true));
        assert!(!ensemble(&["a:1:2", "b:1:2:observer"]).is_distributed(true));
    }
}
