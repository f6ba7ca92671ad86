//! What the live brokers offer, and what is offered for it here.
//!
//! Each broker is asked once for every registration and again now and then; what it said is
//! remembered when it can't be reached. The bootstrap address offers what all live brokers share, a
//! broker's port what that broker has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, SupportedFeatureKey};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable, StrBytes};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answers::ANSWERED;
use super::upstream::{self, Target};
use super::view::View;
use super::{Core, exchange};
use crate::kafka::api::{HandlerResult, Reply, api_versions};
use crate::kafka::wire::{answer_schema, guard};
use crate::limits;

/// The newest version of `ApiVersions` that is spoken here.
pub(super) const NEWEST: i16 = 4;

/// What only brokers say to each other: `LeaderAndIsr`, `StopReplica`, `UpdateMetadata`,
/// `ControlledShutdown`, `WriteTxnMarkers`, `AlterPartition`, `Envelope`, `AllocateProducerIds`.
const BETWEEN_BROKERS: &[i16] = &[4, 5, 6, 7, 27, 56, 58, 67];

/// The last versions whose answers don't name brokers' addresses behind the records (KIP-951).
const RELAYED: &[(ApiKey, i16)] = &[(ApiKey::Produce, 9), (ApiKey::Fetch, 15)];

/// What the gateway is set to let through.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    refused: BTreeSet<i16>,
    relay: bool,
}

impl Rules {
    pub(super) fn new(refused: &BTreeSet<i16>, relay: bool) -> Self {
        Rules { refused: refused.clone(), relay }
    }

    /// Whether a request is let through, the upstream willing.
    pub(super) fn allow(&self, key: i16, version: i16) -> bool {
        let hidden = self.refused.contains(&key) || BETWEEN_BROKERS.contains(&key);
        let capped = self.relay
            && RELAYED.iter().any(|(capped, max)| *capped as i16 == key && version > *max);
        !hidden && !capped && version >= 0
    }

    /// The ranges of an upstream as they are offered here.
    fn offered(&self, mut ranges: BTreeMap<i16, (i16, i16)>) -> BTreeMap<i16, (i16, i16)> {
        if self.relay {
            for (key, max) in RELAYED {
                if let Some(range) = ranges.get_mut(&(*key as i16)) {
                    range.1 = range.1.min(*max);
                }
            }
            for api in ANSWERED {
                let here = (api.served.min, api.served.max);
                let new = api.key == ApiKey::DescribeTopicPartitions;
                if let Some(range) = ranges.get_mut(&(api.key as i16)) {
                    if api.key == ApiKey::Metadata {
                        range.1 = range.1.max(here.1);
                    }
                } else if new {
                    ranges.insert(api.key as i16, here);
                }
            }
        }
        if let Some(range) = ranges.get_mut(&(ApiKey::ApiVersions as i16)) {
            range.1 = range.1.min(NEWEST);
        }
        ranges.retain(|key, range| range.0 <= range.1 && self.allow(*key, range.0));
        ranges
    }
}

/// What one broker said.
#[derive(Debug, Clone)]
struct Said {
    epoch: i64,
    at: Instant,
    response: Arc<ApiVersionsResponse>,
}

/// What is known of all brokers.
#[derive(Debug)]
pub(super) struct Versions {
    said: ArcSwap<BTreeMap<i32, Said>>,
    changed: watch::Sender<()>,
    rules: Rules,
}

impl Versions {
    pub(super) fn new(rules: Rules) -> Self {
        Versions { said: ArcSwap::default(), changed: watch::Sender::new(()), rules }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The highest version of an API that a broker has, as far as is known.
    pub(super) fn highest(&self, broker: i32, key: ApiKey) -> Option<i16> {
        let said = self.said.load();
        let ranges = ranges(&said.get(&broker)?.response);
        ranges.get(&(key as i16)).map(|range| range.1)
    }

    /// The answer to a client of one broker, or of the bootstrap address.
    pub(super) async fn answer(
        &self,
        view: &View,
        broker: Option<i32>,
        version: i16,
        request: Option<&ApiVersionsRequest>,
    ) -> HandlerResult {
        let offer = self.offer(view, broker).await;
        let newest = range(&offer, ApiKey::ApiVersions).map_or(NEWEST, |range| range.1);
        if version > newest || request.is_none() {
            let only = range(&offer, ApiKey::ApiVersions).unwrap_or((0, NEWEST));
            let response = ApiVersionsResponse::default()
                .with_error_code(ResponseError::UnsupportedVersion.code())
                .with_api_keys(vec![api_version(ApiKey::ApiVersions as i16, only)]);
            return Reply::encode(&response, 0);
        }
        if version >= 3
            && let Some(request) = request
            && !(api_versions::is_software_token(&request.client_software_name)
                && api_versions::is_software_token(&request.client_software_version))
        {
            let error = ResponseError::InvalidRequest.code();
            return Reply::encode(&ApiVersionsResponse::default().with_error_code(error), version);
        }
        let mut response = offer;
        if version < 4 {
            // KAFKA-17011: older clients can't read a range that begins with 0.
            response.supported_features.retain(|feature| feature.min_version > 0);
        }
        Reply::encode(&response, version)
    }

    /// Waits a little for the first broker to say something.
    async fn offer(&self, view: &View, broker: Option<i32>) -> ApiVersionsResponse {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(offer) = self.known(view, broker) {
                    return offer;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(limits::GATEWAY_VERSIONS_PATIENCE, wait).await {
            Ok(offer) => offer,
            // No broker was ever reached: only what needs none.
            Err(_) => self.assemble(&ApiVersionsResponse::default(), own()),
        }
    }

    fn known(&self, view: &View, broker: Option<i32>) -> Option<ApiVersionsResponse> {
        let said = self.said.load();
        if let Some(broker) = broker {
            let said = said.get(&broker)?;
            return Some(self.assemble(&said.response, ranges(&said.response)));
        }
        let live = |id: &i32| view.image.is_alive(*id);
        let mut shared: Vec<&Said> =
            said.iter().filter(|(id, _)| live(id)).map(|(_, said)| said).collect();
        if shared.is_empty() {
            shared = said.values().collect();
        }
        let (first, others) = shared.split_first()?;
        let mut common = ranges(&first.response);
        let mut features = ApiVersionsResponse::clone(&first.response);
        for other in others {
            let theirs = ranges(&other.response);
            common.retain(|key, range| {
                let Some((min, max)) = theirs.get(key) else { return false };
                *range = (range.0.max(*min), range.1.min(*max));
                range.0 <= range.1
            });
            features.supported_features =
                shared_features(&features.supported_features, &other.response.supported_features);
            if other.response.finalized_features_epoch > features.finalized_features_epoch {
                features.finalized_features_epoch = other.response.finalized_features_epoch;
                features.finalized_features.clone_from(&other.response.finalized_features);
            }
        }
        Some(self.assemble(&features, common))
    }

    fn assemble(
        &self,
        features: &ApiVersionsResponse,
        ranges: BTreeMap<i16, (i16, i16)>,
    ) -> ApiVersionsResponse {
        let ranges = self.rules.offered(ranges);
        ApiVersionsResponse::default()
            .with_api_keys(ranges.into_iter().map(|(key, range)| api_version(key, range)).collect())
            .with_supported_features(features.supported_features.clone())
            .with_finalized_features_epoch(features.finalized_features_epoch)
            .with_finalized_features(features.finalized_features.clone())
            .with_zk_migration_ready(features.zk_migration_ready)
    }
}

fn api_version(key: i16, (min, max): (i16, i16)) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
}

fn range(response: &ApiVersionsResponse, key: ApiKey) -> Option<(i16, i16)> {
    let api = response.api_keys.iter().find(|api| api.api_key == key as i16)?;
    Some((api.min_version, api.max_version))
}

fn ranges(response: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
    response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
}

/// What a gateway answers without any broker.
fn own() -> BTreeMap<i16, (i16, i16)> {
    let here = ANSWERED.iter().filter(|api| api.key != ApiKey::DescribeTopicPartitions);
    here.map(|api| (api.key as i16, (api.served.min, api.served.max.min(12))))
        .chain([(ApiKey::ApiVersions as i16, (0, NEWEST))])
        .collect()
}

fn shared_features(
    ours: &[SupportedFeatureKey],
    theirs: &[SupportedFeatureKey],
) -> Vec<SupportedFeatureKey> {
    let mut shared = Vec::new();
    for feature in ours {
        let Some(other) = theirs.iter().find(|other| other.name == feature.name) else { continue };
        let min = feature.min_version.max(other.min_version);
        let max = feature.max_version.min(other.max_version);
        if min <= max {
            shared.push(feature.clone().with_min_version(min).with_max_version(max));
        }
    }
    shared
}

/// Asks live brokers what they offer, for as long as the gateway lives.
pub(super) async fn follow(core: Arc<Core>) {
    let mut changed = core.views.changed();
    let mut asked = JoinSet::new();
    let mut asking = BTreeSet::new();
    let mut ticks = tokio::time::interval(limits::GATEWAY_VERSIONS_RETRY);
    loop {
        tokio::select! {
            Some(done) = asked.join_next() => {
                if let Ok((id, epoch, said)) = done {
                    asking.remove(&id);
                    core.versions.learn(id, epoch, said);
                }
                continue;
            }
            change = changed.changed() => if change.is_err() { return },
            _ = ticks.tick() => {}
        }
        let view = core.views.load();
        for (id, epoch, target) in core.versions.stale(&view) {
            if asking.insert(id) {
                let core = core.clone();
                asked.spawn(async move { (id, epoch, ask(&core, &target).await) });
            }
        }
    }
}

impl Versions {
    /// Live brokers that have not said what they offer, or long ago.
    fn stale(&self, view: &View) -> Vec<(i32, i64, Target)> {
        let said = self.said.load();
        let fresh = |id: &i32, epoch: i64| {
            said.get(id).is_some_and(|said| {
                said.epoch == epoch && said.at.elapsed() < limits::GATEWAY_VERSIONS_REFRESH
            })
        };
        let brokers = view.image.brokers.iter().filter(|(id, broker)| !fresh(id, broker.epoch));
        brokers
            .filter_map(|(id, broker)| {
                // Any listener of ours that the broker has an endpoint for.
                let target = (0..view.addresses.len()).find_map(|listener| {
                    upstream::targets(view, listener, Some(*id)).ok()?.into_iter().next()
                })?;
                Some((*id, broker.epoch, target))
            })
            .collect()
    }

    fn learn(&self, id: i32, epoch: i64, said: std::io::Result<ApiVersionsResponse>) {
        match said {
            Ok(response) => {
                let mut all = BTreeMap::clone(&self.said.load());
                let response = Arc::new(response);
                all.insert(id, Said { epoch, at: Instant::now(), response });
                self.said.store(Arc::new(all));
                self.changed.send_replace(());
            }
            Err(error) => tracing::debug!(broker = id, %error, "it does not say what it offers"),
        }
    }
}

async fn ask(core: &Core, target: &Target) -> std::io::Result<ApiVersionsResponse> {
    let patience = limits::GATEWAY_EXCHANGE_TIMEOUT;
    let mut stream =
        upstream::reach(core, target, patience).await.map_err(std::io::Error::other)?;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("doorkeeper-gateway"))
        .with_client_software_version(StrBytes::from_static_str(crate::VERSION));
    let bounds = (limits::GATEWAY_VERSIONS_BYTES_MAX, patience);
    let mut version = NEWEST;
    for _ in 0..2 {
        let body =
            exchange::ask(&mut stream, ApiKey::ApiVersions, version, &request, bounds).await?;
        if version > 0 && body.starts_with(&ResponseError::UnsupportedVersion.code().to_be_bytes())
        {
            version = decode(body, 0)
                .ok()
                .and_then(|answer| range(&answer, ApiKey::ApiVersions))
                .map_or(0, |(_, max)| max.clamp(0, NEWEST));
            continue;
        }
        let answer = decode(body, version)?;
        return match answer.error_code {
            0 => Ok(answer),
            code => Err(exchange::invalid(format!("error code {code}"))),
        };
    }
    Err(exchange::invalid("no version of ApiVersions is spoken by both"))
}

fn decode(mut body: Bytes, version: i16) -> std::io::Result<ApiVersionsResponse> {
    guard::check(&answer_schema::API_VERSIONS, version, &body).map_err(exchange::invalid)?;
    ApiVersionsResponse::decode(&mut body, version).map_err(exchange::invalid)
}
