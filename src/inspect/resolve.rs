//! `doorkeeper resolve`: who leads a partition, who coordinates a group, where a key goes.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};

use super::client::error_name;
use super::compare::{Difference, differences};
use super::partitioner::Partitioner;
use super::picture::{Coordinator, Partition, Picture, Topic};
use super::source::{Open, Source};
use super::{InspectError, exit_code, print, runtime, table};
use crate::calendar::Utc;
use crate::cluster::coordinators::Kind;
use crate::cluster::image::NO_LEADER;

/// What `doorkeeper resolve` takes on its command line.
#[derive(Debug, Clone, Args)]
pub struct ResolveOptions {
    /// Brokers or gateways, host:port[,host:port...], of which the first that answers is asked; or
    /// zookeeper://host:port[,...][/chroot].
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:9092")]
    bootstrap: Source,
    /// The listener whose endpoints are read from ZooKeeper [default: each broker's first]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The topic [default: all of them, if no group and no transactional id is asked for]
    #[arg(short, long, value_name = "NAME")]
    topic: Option<String>,
    /// One partition of it.
    #[arg(short, long, value_name = "NUMBER", requires = "topic")]
    partition: Option<i32>,
    /// The partition that a producer chooses for this key.
    #[arg(short, long, value_name = "KEY", requires = "topic", conflicts_with = "partition")]
    key: Option<String>,
    /// How it chooses: `java` is murmur2, `librdkafka` its `consistent`, CRC32.
    #[arg(long, value_enum, default_value_t)]
    partitioner: Partitioner,
    /// The coordinator of this group.
    #[arg(short, long, value_name = "ID")]
    group: Option<String>,
    /// The coordinator of this transactional id.
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,
    /// Answers as JSON, one object on a line.
    #[arg(long)]
    json: bool,
    /// Goes on asking, and prints each change as it is seen, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// How often it asks then, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// How long an address has to answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

/// Asks, and writes the answer to standard output.
///
/// # Errors
/// Nobody answers.
pub fn run(options: &ResolveOptions) -> Result<ExitCode, InspectError> {
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = resolve(options) => ended,
            _ = tokio::signal::ctrl_c(), if options.watch => Ok(true),
        }
    });
    // A write to a terminal that nobody reads must not keep the process.
    runtime.shutdown_background();
    exit_code(ended)
}

async fn reach(options: &ResolveOptions) -> Result<Open, InspectError> {
    let patience = Duration::from_millis(options.timeout);
    Open::reach(&options.bootstrap, options.listener.as_deref(), patience, options.watch).await
}

async fn resolve(options: &ResolveOptions) -> Result<bool, InspectError> {
    let mut open = reach(options).await?;
    let mut last = ask(&mut open, options).await?;
    let answer = Answer::of(options, &last);
    let is_read = answer.print(options.json)?;
    if !options.watch {
        return Ok(answer.whole);
    }
    let mut open = Some(open);
    let mut complained = false;
    let mut is_read = is_read;
    while is_read {
        tokio::time::sleep(Duration::from_millis(options.interval)).await;
        let reached = match open.take() {
            Some(same) => Ok(same),
            None => reach(options).await,
        };
        let now = match reached {
            Ok(mut source) => ask(&mut source, options).await.inspect(|_| open = Some(source)),
            Err(error) => Err(error),
        };
        match now {
            Ok(now) => {
                if std::mem::take(&mut complained) {
                    is_read &= event(options.json, "answers again", json!({"event": "reachable"}))?;
                }
                for change in changes(options, &last, &now) {
                    let value = json!({
                        "event": "change", "field": change.field, "from": change.a, "to": change.b,
                    });
                    is_read &= event(options.json, &change.to_string(), value)?;
                }
                last = now;
            }
            // The connection may have been the last one's fault: the next round makes another.
            Err(error @ InspectError::Unreadable { .. }) => {
                if !std::mem::replace(&mut complained, true) {
                    let reason = error.to_string();
                    let value = json!({"event": "unreachable", "reason": reason});
                    is_read &= event(options.json, &reason, value)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What changed from one picture to the next, the partition of the key included.
fn changes(options: &ResolveOptions, last: &Picture, now: &Picture) -> Vec<Difference> {
    let mut changes = differences(last, now, true);
    if let Some(key) = &options.key {
        let (a, b) = (choose(options, last, key), choose(options, now, key));
        if a != b {
            changes.push(Difference {
                field: format!("partition of key {key}"),
                a: json!(a),
                b: json!(b),
            });
        }
    }
    changes
}

/// Writes one thing that happened, with the time; says whether anybody reads it.
fn event(as_json: bool, text: &str, mut value: Value) -> std::io::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Utc::of(i64::try_from(now.as_millis()).unwrap_or(i64::MAX)).to_string();
    let line = if as_json {
        value["time"] = Value::String(now);
        format!("{value}\n")
    } else {
        format!("{now} {text}\n")
    };
    print(line.as_bytes())
}

/// Asks for all that the options want to know.
async fn ask(open: &mut Open, options: &ResolveOptions) -> Result<Picture, InspectError> {
    let only_coordinators =
        options.topic.is_none() && (options.group.is_some() || options.transactional_id.is_some());
    let named: Option<Vec<String>> = match &options.topic {
        Some(name) => Some(vec![name.clone()]),
        None => only_coordinators.then(Vec::new),
    };
    let mut picture = open.metadata(named.as_deref()).await?;
    if let Some(number) = options.partition {
        for topic in picture.topics.values_mut() {
            topic.partitions.retain(|partition, _| *partition == number);
        }
    }
    let wanted = [
        ("group", Kind::Group, &options.group),
        ("transactional id", Kind::Transaction, &options.transactional_id),
    ];
    for (name, kind, key) in wanted {
        if let Some(key) = key {
            let found = open.coordinator(kind, key).await?;
            picture.coordinators.insert(format!("{name} {key}"), found);
        }
    }
    Ok(picture)
}

/// What is said, in both forms.
#[derive(Debug)]
struct Answer {
    /// Whether everything that was asked for is there, and has a leader or a coordinator.
    whole: bool,
    text: Vec<u8>,
    json: Value,
}

impl Answer {
    fn of(options: &ResolveOptions, picture: &Picture) -> Answer {
        let mut answer = Answer { whole: true, text: Vec::new(), json: json!({}) };
        answer.json["cluster_id"] = json!(picture.cluster_id);
        answer.json["controller"] = json!(picture.controller);
        let brokers = picture.brokers.iter().map(|(id, broker)| {
            json!({"id": id, "host": broker.host, "port": broker.port, "rack": broker.rack})
        });
        answer.json["brokers"] = brokers.collect();
        let chosen = options.key.as_ref().and_then(|key| choose(options, picture, key));
        answer.topics(picture, chosen);
        if let Some(key) = &options.key {
            answer.whole &= chosen.is_some();
            answer.json["key"] =
                json!({"key": key, "partitioner": options.partitioner, "partition": chosen});
        }
        answer.coordinators(picture);
        if is_missing(options, picture) {
            answer.whole = false;
        }
        // Writing to memory can't fail.
        let _ = answer.people(options, picture, chosen);
        answer
    }

    fn topics(&mut self, picture: &Picture, chosen: Option<i32>) {
        let topics = picture.topics.iter().map(|(name, topic)| {
            let partitions = topic.partitions.iter().filter(|(number, _)| {
                chosen.is_none_or(|chosen| chosen == **number)
            });
            let partitions = partitions.map(|(number, partition)| {
                let mut value = json!({
                    "partition": number, "leader": partition.leader, "leader_epoch": partition.leader_epoch,
                    "replicas": partition.replicas, "isr": partition.isr, "alive": alive(picture, partition),
                    "offline": partition.offline,
                });
                if let Some(error) = error_name(partition.error) {
                    self.whole = false;
                    value["error"] = json!(error);
                }
                value
            });
            let partitions: Vec<Value> = partitions.collect();
            let mut value = json!({
                "name": name, "id": topic.id.map(|id| id.to_string()), "internal": topic.internal,
                "partitions": partitions,
            });
            if let Some(error) = error_name(topic.error) {
                self.whole = false;
                value["error"] = json!(error);
            }
            value
        });
        let topics: Vec<Value> = topics.collect();
        self.json["topics"] = Value::Array(topics);
    }

    fn coordinators(&mut self, picture: &Picture) {
        let found = picture.coordinators.iter().map(|(key, coordinator)| {
            let mut value = json!(coordinator);
            value["of"] = json!(key);
            if let Some(error) = error_name(coordinator.error) {
                self.whole = false;
                value["error"] = json!(error);
            }
            value
        });
        let found: Vec<Value> = found.collect();
        self.json["coordinators"] = Value::Array(found);
    }

    fn people(
        &mut self,
        options: &ResolveOptions,
        picture: &Picture,
        chosen: Option<i32>,
    ) -> std::io::Result<()> {
        let to = &mut self.text;
        let controller = match picture.controller {
            None => "not told".to_owned(),
            Some(NO_LEADER) => "none".to_owned(),
            Some(id) => id.to_string(),
        };
        let id = picture.cluster_id.as_deref().unwrap_or("without an id");
        writeln!(to, "cluster {id}, controller {controller}")?;
        let rows: Vec<Vec<String>> = picture
            .brokers
            .iter()
            .map(|(id, broker)| {
                let rack = broker.rack.clone().unwrap_or_else(|| "-".to_owned());
                vec![id.to_string(), format!("{}:{}", broker.host, broker.port), rack]
            })
            .collect();
        writeln!(to)?;
        table::write(to, &["BROKER", "ADDRESS", "RACK"], &rows)?;
        let rows: Vec<Vec<String>> = picture
            .topics
            .iter()
            .flat_map(|(name, topic)| topic_rows(picture, name, topic, chosen))
            .collect();
        if !rows.is_empty() {
            writeln!(to)?;
            let head =
                ["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "ALIVE", "ERROR"];
            table::write(to, &head, &rows)?;
        }
        if let Some(key) = &options.key {
            match chosen {
                Some(partition) => writeln!(to, "\nkey {key:?} goes to partition {partition}")?,
                None => writeln!(to, "\nkey {key:?} goes nowhere: the topic has no partitions")?,
            }
        }
        if !picture.coordinators.is_empty() {
            let rows: Vec<Vec<String>> = picture
                .coordinators
                .iter()
                .map(|(key, found)| coordinator_row(key, found))
                .collect();
            writeln!(to)?;
            table::write(to, &["COORDINATOR OF", "BROKER", "ADDRESS", "ERROR"], &rows)?;
        }
        Ok(())
    }

    /// Says whether anybody reads it.
    fn print(&self, as_json: bool) -> std::io::Result<bool> {
        if as_json { print(format!("{}\n", self.json).as_bytes()) } else { print(&self.text) }
    }
}

/// The partition of a key; `None` if the topic has none.
fn choose(options: &ResolveOptions, picture: &Picture, key: &str) -> Option<i32> {
    let topic = picture.topics.get(options.topic.as_ref()?)?;
    let count = u32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
    i32::try_from(options.partitioner.partition(key.as_bytes(), count)).ok()
}

/// Replicas on brokers that are alive: as the source says, or those whose brokers it names.
fn alive(picture: &Picture, partition: &Partition) -> Vec<i32> {
    let is_alive = |id: &i32| match &partition.offline {
        Some(offline) => !offline.contains(id),
        None => picture.brokers.contains_key(id),
    };
    partition.replicas.iter().copied().filter(is_alive).collect()
}

fn topic_rows(
    picture: &Picture,
    name: &str,
    topic: &Topic,
    chosen: Option<i32>,
) -> Vec<Vec<String>> {
    let dash = || "-".to_owned();
    if topic.partitions.is_empty() {
        let error = error_name(topic.error).unwrap_or_else(|| "no such partition".to_owned());
        return vec![vec![name.to_owned(), dash(), dash(), dash(), dash(), dash(), dash(), error]];
    }
    let rows = topic.partitions.iter().filter(|(number, _)| chosen.is_none_or(|c| c == **number));
    rows.map(|(number, partition)| {
        vec![
            name.to_owned(),
            number.to_string(),
            if partition.leader == NO_LEADER {
                "none".to_owned()
            } else {
                partition.leader.to_string()
            },
            partition.leader_epoch.map_or_else(dash, |epoch| epoch.to_string()),
            ids(&partition.replicas),
            ids(&partition.isr),
            ids(&alive(picture, partition)),
            error_name(partition.error).unwrap_or_default(),
        ]
    })
    .collect()
}

fn coordinator_row(key: &str, found: &Coordinator) -> Vec<String> {
    let error = error_name(found.error).unwrap_or_default();
    if found.broker == NO_LEADER {
        return vec![key.to_owned(), "none".to_owned(), "-".to_owned(), error];
    }
    let address = format!("{}:{}", found.host, found.port);
    vec![key.to_owned(), found.broker.to_string(), address, error]
}

fn ids(brokers: &[i32]) -> String {
    let ids: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    if ids.is_empty() { "-".to_owned() } else { ids.join(",") }
}

/// Whether a topic, or a partition of it, was named that is not there.
fn is_missing(options: &ResolveOptions, picture: &Picture) -> bool {
    let Some(name) = &options.topic else { return false };
    let Some(topic) = picture.topics.get(name) else { return true };
    options.partition.is_some_and(|number| !topic.partitions.contains_key(&number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        options: ResolveOptions,
    }

    fn options(words: &[&str]) -> ResolveOptions {
        Words::parse_from([&["resolve"], words].concat()).options
    }

    /// A topic of so many partitions, led by broker 1.
    fn picture(count: i32) -> Picture {
        let partition = Partition { leader: 1, replicas: vec![1, 2], ..Partition::default() };
        let partitions = (0..count).map(|number| (number, partition.clone())).collect();
        let topic = Topic { partitions, ..Topic::default() };
        Picture { topics: BTreeMap::from([("orders".to_owned(), topic)]), ..Picture::default() }
    }

    #[test]
    fn a_key_that_goes_elsewhere_is_a_change() {
        // murmur2 of "foobar" is -790332482, without its sign 1357151166.
        let options = options(&["--topic", "orders", "--key", "foobar"]);
        let lines = |last, now| {
            let found = changes(&options, &picture(last), &picture(now));
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lines(5, 5), [""; 0]);
        assert_eq!(
            lines(4, 5),
            ["topic orders partition 4: absent -> 1", "partition of key foobar: 2 -> 1"]
        );
    }

    #[test]
    fn what_is_missing_or_without_a_leader_is_not_whole() {
        let whole = |words: &[&str], picture: &Picture| Answer::of(&options(words), picture).whole;
        assert!(whole(&[], &picture(2)));
        assert!(whole(&["--topic", "orders", "--partition", "1"], &picture(2)));
        assert!(!whole(&["--topic", "orders", "--partition", "2"], &picture(2)));
        assert!(!whole(&["--topic", "others"], &picture(2)));
        assert!(!whole(&["--topic", "orders", "--key", "x"], &picture(0)));
        let mut leaderless = picture(2);
        let topic = leaderless.topics.get_mut("orders").unwrap();
        topic.partitions.get_mut(&1).unwrap().error = 5;
        assert!(!whole(&["--topic", "orders"], &leaderless));
        let none = Coordinator { error: 15, broker: NO_LEADER, host: String::new(), port: -1 };
        let mut uncoordinated = picture(1);
        uncoordinated.coordinators.insert("group g".to_owned(), none);
        assert!(!whole(&["--group", "g"], &uncoordinated));
    }
}
