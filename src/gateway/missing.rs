//! Topics that the image doesn't show: what can be found out of them, once for all who ask.
//!
//! Before a topic is said to be unknown its znode is read, so that whoever has just made it finds it.
//! Where a request lets the brokers make it, one of them is asked. Questions for one topic are
//! merged, and what was found is good for a second, or until the image shows the topic.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Decodable, StrBytes};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use zookeeper_client::Error;

use super::{Core, exchange, upstream};
use crate::cluster::client::SharedSession;
use crate::cluster::layout::paths;
use crate::kafka::wire::{answer_schema, guard};
use crate::limits;

/// A topic, whether it may be made, and the listener whose brokers are asked.
type Question = (String, bool, usize);

/// What was found of one topic, and until when it is good.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// An error code of Kafka's; 0 where the image shows the topic meanwhile.
    code: i16,
    until: Instant,
}

/// What is being found out, and what was a moment ago.
#[derive(Debug)]
pub(super) struct MissingTopics {
    asked: Mutex<HashMap<Question, Arc<OnceCell<Found>>>>,
    session: SharedSession,
}

/// The version of `Metadata` that brokers are asked in: every one since 0.11 has it.
const VERSION: i16 = 4;

/// The error code of each of these topics; those that the image shows meanwhile are left out.
/// `None` if it can't be found out here.
pub(super) async fn find(
    core: &Arc<Core>,
    listener: usize,
    names: Vec<String>,
    create: bool,
) -> Option<HashMap<String, i16>> {
    if names.len() > limits::GATEWAY_MISSING_NAMES_MAX {
        return None;
    }
    let mut finding = JoinSet::new();
    for name in names {
        let core = core.clone();
        finding.spawn(async move {
            let found = find_one(&core, (name.clone(), create, listener)).await;
            (name, found)
        });
    }
    let mut found = HashMap::new();
    while let Some(done) = finding.join_next().await {
        let (name, code) = done.ok()?;
        match code? {
            0 => {}
            code => _ = found.insert(name, code),
        }
    }
    Some(found)
}

async fn find_one(core: &Arc<Core>, question: Question) -> Option<i16> {
    let cell = core.missing.cell(&question);
    let found = cell.get_or_try_init(|| async {
        let (name, create, listener) = &question;
        core.metrics.looked_up();
        let code = if *create {
            ask_broker(core, *listener, name).await
        } else {
            read_znode(core, name).await
        };
        let until = Instant::now() + limits::GATEWAY_MISSING_FOR;
        code.map(|code| Found { code, until }).ok_or(())
    });
    let code = found.await.ok()?.code;
    let shown = core.views.load().image.topic(&question.0).is_some();
    Some(if shown { 0 } else { code })
}

impl MissingTopics {
    /// Looks topics up through this session, while it is there.
    pub(super) fn new(session: SharedSession) -> Self {
        MissingTopics { asked: Mutex::default(), session }
    }

    /// Where the answer is or will be. One that is too old is asked for anew.
    fn cell(&self, question: &Question) -> Arc<OnceCell<Found>> {
        let mut asked = self.asked.lock();
        let now = Instant::now();
        let fresh = |cell: &OnceCell<Found>| cell.get().is_none_or(|found| found.until > now);
        if let Some(cell) = asked.get(question)
            && fresh(cell)
        {
            return cell.clone();
        }
        if asked.len() >= limits::GATEWAY_MISSING_MAX {
            asked.retain(|_, cell| fresh(cell));
        }
        let cell = Arc::new(OnceCell::new());
        if asked.len() < limits::GATEWAY_MISSING_MAX {
            asked.insert(question.clone(), cell.clone());
        }
        cell
    }
}

/// Reads the state of the topic's first partition: it may be newer than the image.
async fn read_znode(core: &Core, name: &str) -> Option<i16> {
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    // While the coordinator is away the image is all there is, as it is for a broker.
    let Some(client) = core.missing.session.get() else { return Some(unknown) };
    let state = paths::partition_state(name, 0);
    let deletion = format!("{}/{name}", paths::DELETE_TOPICS);
    let read = async {
        // The server of this session may be behind the one that the topic was made at.
        client.sync(&state).await?;
        let (made, goes) =
            tokio::try_join!(client.check_stat(&state), client.check_stat(&deletion))?;
        Ok::<bool, Error>(made.is_some() && goes.is_none())
    };
    match tokio::time::timeout(limits::GATEWAY_EXCHANGE_TIMEOUT, read).await {
        Ok(Ok(true)) => Some(if shown_soon(core, name).await { 0 } else { unknown }),
        _ => Some(unknown),
    }
}

/// Asks a broker, which makes the topic if it sees fit.
async fn ask_broker(core: &Core, listener: usize, name: &str) -> Option<i16> {
    // Where the clients log in, brokers take nothing from the gateway: each client asks its own.
    let wants_login = core.views.load().logins.get(listener).is_none_or(|login| *login);
    if wants_login && core.own_login(listener).is_none() {
        return None;
    }
    let mut stream = upstream::connect(core, listener, None).await.ok()?.stream;
    let topic = MetadataRequestTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true);
    let bounds = (limits::GATEWAY_ASKED_BYTES_MAX, limits::GATEWAY_EXCHANGE_TIMEOUT);
    let asked = exchange::ask(&mut stream, ApiKey::Metadata, VERSION, &request, bounds).await;
    let answer = asked.and_then(|mut body| {
        guard::check(&answer_schema::METADATA, VERSION, &body).map_err(exchange::invalid)?;
        MetadataResponse::decode(&mut body, VERSION).map_err(exchange::invalid)
    });
    match answer {
        Ok(answer) => match answer.topics.first()?.error_code {
            // The broker knows it; the image will in a moment, or the upstream must answer.
            0 => shown_soon(core, name).await.then_some(0),
            code => Some(code),
        },
        Err(error) => {
            tracing::debug!(%error, topic = name, "asked a broker for a missing topic");
            None
        }
    }
}

/// Waits a little for the image to show a topic.
async fn shown_soon(core: &Core, name: &str) -> bool {
    let mut changed = core.views.changed();
    let shown = async {
        while core.views.load().image.topic(name).is_none() {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::time::timeout(limits::GATEWAY_SHOWN_PATIENCE, shown).await.is_ok()
}
