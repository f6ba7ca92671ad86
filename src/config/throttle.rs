//! `connection_throttle_*`: how many connections may open a session.

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
