//! `connection_throttle_*`: how many connections may open a session; `request_throttle_*`: how many
//! requests the writer takes at once.

use std::time::Duration;

use super::keys::Owner;
use super::settings::Settings;

/// A bucket of tokens, as ZooKeeper's `BlueThrottle` has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThrottleConfig {
    /// What the bucket holds.
    pub tokens: u64,
    /// In so many milliseconds …
    pub fill_time_ms: u64,
    /// … so many tokens come.
    pub fill_count: u64,
    /// How often the probability of random refusals is adjusted; `None` refuses none at random.
    pub freeze_time_ms: Option<u64>,
    /// What an empty bucket adds to it.
    pub drop_increase: f64,
    /// What a full one takes from it.
    pub drop_decrease: f64,
    /// The share of tokens that a full one may lack.
    pub decrease_ratio: f64,
    /// What a new session costs, and one that is taken up again; without it both cost one.
    pub weights: Option<(u64, u64)>,
}

impl ThrottleConfig {
    /// `None` where nothing is throttled.
    pub(super) fn from_settings(settings: &mut Settings) -> Option<Self> {
        const OWNER: Owner = Owner::Coordinator;
        let number =
            |settings: &mut Settings, key| u64::try_from(settings.number(OWNER, key)).unwrap_or(0);
        let tokens = number(settings, "connection_throttle_tokens");
        let fill_time_ms = number(settings, "connection_throttle_fill_time");
        let fill_count = number(settings, "connection_throttle_fill_count");
        let freeze_time_ms =
            u64::try_from(settings.number(OWNER, "connection_throttle_freeze_time")).ok();
        let drop_increase = settings.decimal(OWNER, "connection_throttle_drop_increase");
        let drop_decrease = settings.decimal(OWNER, "connection_throttle_drop_decrease");
        let decrease_ratio = settings.decimal(OWNER, "connection_throttle_decrease_ratio");
        let weighted = settings.flag(OWNER, "connection_throttle_weight_enabled");
        let local = number(settings, "connection_throttle_local_session_weight").max(1);
        let global = number(settings, "connection_throttle_global_session_weight");
        let renew = number(settings, "connection_throttle_renew_session_weight");
        // As ZooKeeper corrects them: never below the weight of a local session.
        let global = if global == 0 { 3 } else { global.max(local) };
        let renew = if renew == 0 { 2 } else { renew.max(local) };
        // The key's tokens are those of new sessions.
        let scale = if weighted { global } else { 1 };
        (tokens > 0).then_some(ThrottleConfig {
            tokens: tokens.saturating_mul(scale),
            fill_time_ms,
            fill_count: fill_count.saturating_mul(scale),
            freeze_time_ms,
            drop_increase,
            drop_decrease,
            decrease_ratio,
            weights: weighted.then_some((global, renew)),
        })
    }
}

/// `request_throttle_*`, `request_stale_*` and `throttled_op_wait_time`, as ZooKeeper's
/// `RequestThrottler` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestThrottleConfig {
    /// `request_throttle_max_requests`: requests that are carried out at once; `None` is no limit.
    pub max_requests: Option<usize>,
    /// `request_throttle_drop_stale`: where there is a limit, stale requests are not carried out.
    pub drop_stale: bool,
    /// `request_stale_connection_check`: a request is stale when its connection is gone.
    pub stale_connection_check: bool,
    /// `request_stale_latency_check`: it is stale when it is older than its session's timeout.
    pub stale_latency_check: bool,
    /// `throttled_op_wait_time`: an operation that waited longer is refused; `None` refuses none.
    pub op_wait: Option<Duration>,
}

impl RequestThrottleConfig {
    /// ZooKeeper's defaults.
    pub const DEFAULT: RequestThrottleConfig = RequestThrottleConfig {
        max_requests: None,
        drop_stale: true,
        stale_connection_check: true,
        stale_latency_check: false,
        op_wait: None,
    };

    /// The typed values. As in ZooKeeper, a number that isn't above 0 switches its part off.
    pub(super) fn from_settings(settings: &mut Settings) -> Self {
        const OWNER: Owner = Owner::Coordinator;
        let max_requests = settings.number(OWNER, "request_throttle_max_requests");
        let op_wait = settings.number(OWNER, "throttled_op_wait_time");
        RequestThrottleConfig {
            max_requests: usize::try_from(max_requests).ok().filter(|max| *max > 0),
            drop_stale: settings.flag(OWNER, "request_throttle_drop_stale"),
            stale_connection_check: settings.flag(OWNER, "request_stale_connection_check"),
            stale_latency_check: settings.flag(OWNER, "request_stale_latency_check"),
            op_wait: u64::try_from(op_wait).ok().filter(|ms| *ms > 0).map(Duration::from_millis),
        }
    }
}
