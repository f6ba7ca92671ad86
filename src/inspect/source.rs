//! Where metadata is read from: a Kafka address, or the znodes of a cluster.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::timeout;
use zookeeper_client::Client;

use super::InspectError;
use super::client::Connection;
use super::picture::{self, Coordinator, Picture, Topic};
use crate::cluster::builder::ImageBuilder;
use crate::cluster::client::{Coordinator as Coordinates, session_end};
use crate::cluster::coordinators::{self, Kind};
use crate::cluster::image::NO_LEADER;
use crate::cluster::layout::paths;
use crate::cluster::observer::{FollowAcls, Observer};
use crate::cluster::{ClusterImage, ImageHandle, reader, znodes};

/// The newest `Metadata` that is asked for.
const METADATA_MAX: i16 = 13;
/// The first version in which a request says that it doesn't want missing topics made.
const METADATA_WITHOUT_CREATION: i16 = 4;

/// An address on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Brokers or gateways of one cluster: the first that answers is taken.
    Kafka(Vec<String>),
    /// The servers of a coordinator, and the chroot or an empty text.
    ZooKeeper {
        /// `host:port[,host:port]`.
        servers: String,
        /// `/a/b`, or empty.
        chroot: String,
    },
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text}: not host:port[,host:port...] or zookeeper://host:port[,...][/chroot]")
        };
        let is_address = |address: &&str| {
            let parts = address.rsplit_once(':');
            !parts.is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
            })
        };
        if let Some(rest) = text.strip_prefix("zookeeper://") {
            let (servers, chroot) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if servers.split(',').any(|server| is_address(&server)) {
                return Err(wrong());
            }
            let chroot = chroot.trim_end_matches('/').to_owned();
            return Ok(Source::ZooKeeper { servers: servers.to_owned(), chroot });
        }
        let addresses: Vec<&str> = text.split(',').collect();
        if addresses.iter().any(is_address) {
            return Err(wrong());
        }
        Ok(Source::Kafka(addresses.into_iter().map(str::to_owned).collect()))
    }
}

/// A source that answered once, and is asked on.
#[derive(Debug)]
pub enum Open {
    /// A broker or a gateway.
    Kafka(Connection),
    /// The znodes.
    ZooKeeper(Box<Znodes>),
}

/// The znodes of a cluster, and whose endpoints in them count.
#[derive(Debug)]
pub struct Znodes {
    /// As on the command line.
    name: String,
    listener: Option<String>,
    image: Arc<ClusterImage>,
    followed: Option<(ImageHandle, Observer)>,
}

impl Open {
    /// Reaches a source: of several Kafka addresses the first that answers. Each step takes at most
    /// `patience`. Of znodes, `listener` says whose endpoints count; they are read once, or followed
    /// from then on.
    ///
    /// # Errors
    /// Nobody answers, or not as expected.
    pub async fn reach(
        source: &Source,
        listener: Option<&str>,
        patience: Duration,
        follow: bool,
    ) -> Result<Self, InspectError> {
        match source {
            Source::Kafka(addresses) => open_any(addresses, patience).await.map(Open::Kafka),
            Source::ZooKeeper { servers, chroot } => {
                let name = format!("zookeeper://{servers}{chroot}");
                let read = timeout(patience, znodes(servers, chroot, patience, follow)).await;
                let (image, followed) = read
                    .unwrap_or_else(|_| {
                        Err(format!("no answer within {} ms", patience.as_millis()))
                    })
                    .map_err(|reason| InspectError::unreadable(&name, reason))?;
                let listener = listener.map(str::to_owned);
                Ok(Open::ZooKeeper(Box::new(Znodes { name, listener, image, followed })))
            }
        }
    }

    /// What is there now of these topics, or of all. None is made by being asked for.
    ///
    /// # Errors
    /// The source's.
    pub async fn metadata(&mut self, topics: Option<&[String]>) -> Result<Picture, InspectError> {
        match self {
            Open::Kafka(connection) => metadata(connection, topics).await,
            Open::ZooKeeper(znodes) => znodes.metadata(topics),
        }
    }

    /// Where a coordinator is.
    ///
    /// # Errors
    /// The source's; that there is none now is an answer.
    pub async fn coordinator(
        &mut self,
        kind: Kind,
        key: &str,
    ) -> Result<Coordinator, InspectError> {
        match self {
            Open::Kafka(connection) => coordinator(connection, kind, key).await,
            Open::ZooKeeper(znodes) => znodes.coordinator(kind, key),
        }
    }
}

impl Znodes {
    fn unreadable(&self, reason: &str) -> InspectError {
        InspectError::unreadable(&self.name, reason)
    }

    fn metadata(&mut self, topics: Option<&[String]>) -> Result<Picture, InspectError> {
        if let Some((images, _)) = &self.followed {
            if !images.connected() {
                return Err(self.unreadable("no connection"));
            }
            self.image = images.load();
        }
        if self.image.is_owned_by_kraft() {
            return Err(self.unreadable(
                "a KRaft controller owns the cluster, whose brokers the znodes don't tell: ask one of them",
            ));
        }
        let mut picture = Picture::of_image(&self.image, self.listener.as_deref());
        if let Some(names) = topics {
            picture.topics.retain(|name, _| names.contains(name));
            for name in names {
                picture.topics.entry(name.clone()).or_insert_with(|| Topic {
                    error: ResponseError::UnknownTopicOrPartition.code(),
                    ..Topic::default()
                });
            }
        }
        Ok(picture)
    }

    fn coordinator(&self, kind: Kind, key: &str) -> Result<Coordinator, InspectError> {
        let none = Coordinator {
            error: ResponseError::CoordinatorNotAvailable.code(),
            broker: NO_LEADER,
            host: String::new(),
            port: -1,
        };
        let Some(topic) = self.image.topic(kind.topic()) else { return Ok(none) };
        if !coordinators::is_counted_alike(&self.image, topic) {
            return Err(self.unreadable(&format!(
                "the coordinators are not certain: brokers count the partitions of {} when they start; ask one of them",
                kind.topic()
            )));
        }
        let partition = coordinators::partition_of(key, topic.assignment.len());
        let leader = topic.partitions.get(&partition).map_or(NO_LEADER, |found| found.leader);
        let endpoint = picture::endpoint(&self.image, leader, self.listener.as_deref());
        Ok(endpoint.map_or(none, |endpoint| Coordinator {
            error: 0,
            broker: leader,
            host: endpoint.host.clone(),
            port: endpoint.port,
        }))
    }
}

/// A connection to the first of these addresses that answers.
async fn open_any(addresses: &[String], patience: Duration) -> Result<Connection, InspectError> {
    let mut last = InspectError::Usage("no address".to_owned());
    for address in addresses {
        match Connection::open(address, patience).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn metadata(
    connection: &mut Connection,
    topics: Option<&[String]>,
) -> Result<Picture, InspectError> {
    let version = connection.version_of::<MetadataRequest>(METADATA_MAX)?;
    // Where a named topic could be made by asking, all are asked for.
    let named = topics.filter(|_| version >= METADATA_WITHOUT_CREATION);
    let wanted = match named {
        Some(names) => {
            let topic = |name: &String| {
                let name = TopicName(StrBytes::from_string(name.clone()));
                MetadataRequestTopic::default().with_name(Some(name))
            };
            Some(names.iter().map(topic).collect())
        }
        // Version 0 has no null, and takes no topics for all of them.
        None => (version == 0).then(Vec::new),
    };
    let request = MetadataRequest::default()
        .with_topics(wanted)
        .with_allow_auto_topic_creation(version < METADATA_WITHOUT_CREATION);
    let answer = connection.ask(version, &request).await?;
    connection.check("Metadata", answer.error_code)?;
    let mut picture = Picture::of_metadata(&answer, version);
    if let Some(names) = topics {
        picture.topics.retain(|name, _| names.contains(name));
    }
    Ok(picture)
}

async fn coordinator(
    connection: &mut Connection,
    kind: Kind,
    key: &str,
) -> Result<Coordinator, InspectError> {
    // Version 4 asks for many at once, which nobody needs here.
    let version = connection.version_of::<FindCoordinatorRequest>(3)?;
    let request = FindCoordinatorRequest::default()
        .with_key(StrBytes::from_string(key.to_owned()))
        .with_key_type(i8::from(kind == Kind::Transaction));
    let answer = connection.ask(version, &request).await?;
    Ok(Coordinator {
        error: answer.error_code,
        broker: answer.node_id.0,
        host: answer.host.to_string(),
        port: answer.port,
    })
}

/// Reads the znodes of a cluster, once; goes on from there if they are to be followed.
async fn znodes(
    servers: &str,
    chroot: &str,
    patience: Duration,
    follow: bool,
) -> Result<(Arc<ClusterImage>, Option<(ImageHandle, Observer)>), String> {
    let connector = Client::connector().with_session_timeout(patience).with_fail_eagerly();
    let mut client = connector.connect(servers).await.map_err(|error| error.to_string())?;
    if !chroot.is_empty() {
        client =
            client.chroot(chroot.to_owned()).map_err(|_| "the chroot is no path".to_owned())?;
    }
    let states = client.state_watcher();
    let image = read_image(&client).await;
    if let (true, Ok(image)) = (follow, &image) {
        let coordinator = Coordinates {
            connect: servers.to_owned(),
            chroot: chroot.to_owned(),
            session_timeout: patience,
            connection_timeout: patience,
            ..Coordinates::default()
        };
        let images = ImageHandle::new();
        images.publish(image.clone());
        images.set_connected(true);
        let observer = Observer::start(coordinator, Some(client), images.clone(), FollowAcls::No);
        return Ok((images.load(), Some((images, observer))));
    }
    drop(client);
    // One that the server does not confirm expires by itself.
    let _ = session_end(states).await;
    image.map(|image| (Arc::new(image), None))
}

async fn read_image(client: &Client) -> Result<ClusterImage, String> {
    let brokers = client.check_stat(paths::BROKER_IDS).await.map_err(|error| error.to_string())?;
    if brokers.is_none() {
        return Err(format!("no Kafka cluster: {} is not there", paths::BROKER_IDS));
    }
    let mut builder = ImageBuilder::new(&ClusterImage::default());
    let znodes = znodes::Znodes::multi(client.clone());
    reader::read_everything(&znodes, &mut builder).await.map_err(|error| error.to_string())?;
    builder.finish().0.ok_or_else(|| "no image".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::builder::Znode;
    use crate::inspect::picture::tests::{cluster, topic};

    #[test]
    fn addresses_are_told_apart() {
        let kafka = |addresses: &[&str]| {
            Ok(Source::Kafka(addresses.iter().map(|&address| address.to_owned()).collect()))
        };
        assert_eq!("here:9092".parse(), kafka(&["here:9092"]));
        assert_eq!("a:1,[::1]:2".parse(), kafka(&["a:1", "[::1]:2"]));
        let zookeeper = |servers: &str, chroot: &str| {
            Ok(Source::ZooKeeper { servers: servers.to_owned(), chroot: chroot.to_owned() })
        };
        assert_eq!("zookeeper://a:1,b:2".parse(), zookeeper("a:1,b:2", ""));
        assert_eq!("zookeeper://a:1/".parse(), zookeeper("a:1", ""));
        assert_eq!("zookeeper://a:1/x/y".parse(), zookeeper("a:1", "/x/y"));
        for wrong in [
            "",
            "here",
            "here:",
            ":1",
            "here:70000",
            "a:1,",
            "http://a:1/b",
            "zookeeper://",
            "zookeeper:///x",
        ] {
            let error = wrong.parse::<Source>().unwrap_err();
            assert!(error.starts_with(&format!("{wrong}: not host:port")), "{error}");
        }
    }

    fn znodes_of(image: Arc<ClusterImage>) -> Znodes {
        let listener = Some("INSIDE".to_owned());
        Znodes { name: "zookeeper://a:1".to_owned(), listener, image, followed: None }
    }

    #[test]
    fn coordinators_are_found_in_the_znodes() {
        // "a" has the hash 97, "b" 98, "c" 99.
        let znodes = znodes_of(cluster(|builder| {
            topic(builder, "__consumer_offsets", 8, 100, &[1, 2, 3]);
        }));
        let found = |key| znodes.coordinator(Kind::Group, key).unwrap();
        let at = |broker, port| Coordinator { error: 0, broker, host: "in".to_owned(), port };
        assert_eq!(found("a"), at(2, 9_002));
        assert_eq!(found("c"), at(1, 9_001));
        // Its broker is dead.
        assert_eq!((found("b").broker, found("b").error), (-1, 15));
        // Nobody made this topic yet.
        let none = znodes.coordinator(Kind::Transaction, "a").unwrap();
        assert_eq!((none.broker, none.error), (-1, 15));
    }

    #[test]
    fn coordinators_that_the_znodes_do_not_tell_are_an_error() {
        // Made after the brokers registered: they may count by another configuration.
        let znodes = znodes_of(cluster(|builder| {
            topic(builder, "__consumer_offsets", 8, 5_000, &[1, 2, 3]);
        }));
        let error = znodes.coordinator(Kind::Group, "a").unwrap_err().to_string();
        assert!(error.starts_with("zookeeper://a:1: the coordinators are not certain"), "{error}");
    }

    #[test]
    fn missing_topics_are_named_and_a_kraft_controller_is_an_error() {
        let mut znodes = znodes_of(cluster(|_| ()));
        let names = ["missing".to_owned(), "orders".to_owned()];
        let picture = znodes.metadata(Some(&names)).unwrap();
        let errors: Vec<i16> = picture.topics.values().map(|topic| topic.error).collect();
        assert_eq!(errors, [3, 0]);
        let mut znodes = znodes_of(cluster(|builder| {
            let node = r#"{"version":2,"brokerid":9,"timestamp":"1","kraftControllerEpoch":5}"#;
            let node = Znode { data: node.into(), ..Znode::default() };
            let epoch = Znode { data: "8".into(), ..Znode::default() };
            builder.controller(Some(&node), Some(&epoch));
        }));
        let error = znodes.metadata(None).unwrap_err().to_string();
        assert!(error.starts_with("zookeeper://a:1: a KRaft controller"), "{error}");
    }
}
