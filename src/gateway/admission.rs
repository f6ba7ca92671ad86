//! Who may come in, and how much they may ask: caps and rates.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::GatewayConfig;
use crate::limits;
use crate::net::bucket::{Bucket, Rate};
use crate::net::{ConnectionCounts, ConnectionLimits, ProcessCap, Refusal, RefusalLog};

/// The caps and rates of one cluster's clients.
#[derive(Debug)]
pub(super) struct Admission {
    /// `max.connections`, `max.connections.per.ip` and its overrides.
    pub counts: Arc<ConnectionCounts>,
    /// `max.connection.creation.rate` of all listeners.
    pub connection_rate: Rate,
    /// Requests by address.
    pub requests: RequestRates,
    refusals: Mutex<RefusalLog>,
}

fn caps(config: &GatewayConfig) -> ConnectionLimits {
    ConnectionLimits { total: config.max_connections, per_ip: config.max_connections_per_ip }
}

impl Admission {
    pub(super) fn new(config: &GatewayConfig, process: ProcessCap) -> Admission {
        let overrides = config.limits.per_ip_overrides.clone();
        Admission {
            counts: ConnectionCounts::of_process(caps(config), overrides, process),
            connection_rate: Rate::new(config.limits.connection_rate),
            requests: RequestRates::new(config.limits.requests_per_ip),
            refusals: Mutex::default(),
        }
    }

    /// Other caps and rates from now on.
    pub(super) fn set(&self, config: &GatewayConfig) {
        self.counts.set_limits(caps(config), config.limits.per_ip_overrides.clone());
        self.connection_rate.set(config.limits.connection_rate);
        self.requests.set(config.limits.requests_per_ip);
    }

    /// The most connections that there may be at once.
    pub(super) fn cap(&self) -> usize {
        self.counts.cap()
    }

    /// Notes that a client is refused after its connection was taken.
    pub(super) fn refused(&self, ip: IpAddr, refusal: Refusal) {
        self.refusals.lock().refused(ip, &refusal);
    }
}

/// How many connections a process may have that has so many files (`None`: any number): each may need
/// another to a broker, and some files are for the rest.
pub(super) fn connections_of(files: Option<u64>) -> usize {
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let reserved = limits::GATEWAY_FILES_RESERVED.min(files / 4);
    let all = (files - reserved) / 2;
    all.clamp(1, limits::CONNECTIONS_MAX)
}

/// How many requests each address makes: `doorkeeper.gateway.requests.per.second.per.ip`.
#[derive(Debug)]
pub(super) struct RequestRates {
    /// 0 is no limit.
    rate: AtomicU32,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<IpAddr, Bucket>,
    /// Those that there is no room for, together.
    others: Option<Bucket>,
}

impl RequestRates {
    fn new(rate: Option<u32>) -> RequestRates {
        RequestRates { rate: AtomicU32::new(rate.unwrap_or(0)), table: Mutex::default() }
    }

    fn set(&self, rate: Option<u32>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    fn rate(&self) -> u32 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Whether there is a limit.
    pub(super) fn limited(&self) -> bool {
        self.rate() > 0
    }

    /// Notes a request.
    pub(super) fn charge(&self, ip: IpAddr, now: Instant) {
        let rate = self.rate();
        if rate > 0 {
            self.table.lock().charge(ip, rate, now, limits::GATEWAY_RATED_ADDRESSES_MAX);
        }
    }

    /// How long no request of this address is read; zero where it may be at once.
    pub(super) fn wait(&self, ip: IpAddr, now: Instant) -> Duration {
        let rate = self.rate();
        if rate == 0 {
            return Duration::ZERO;
        }
        let table = self.table.lock();
        let bucket = table.addresses.get(&ip).or(table.others.as_ref());
        bucket.map_or(Duration::ZERO, |bucket| bucket.wait(rate, now))
    }
}

impl Table {
    fn charge(&mut self, ip: IpAddr, rate: u32, now: Instant, room: usize) {
        if let Some(bucket) = self.addresses.get_mut(&ip) {
            bucket.take(rate, now);
            return;
        }
        if self.addresses.len() >= room {
            // Whoever has asked for nothing lately is as good as new.
            self.addresses.retain(|_, bucket| !bucket.is_full(rate, now));
        }
        let bucket = if self.addresses.len() < room {
            self.addresses.entry(ip).or_insert_with(|| Bucket::new(rate, now))
        } else {
            self.others.get_or_insert_with(|| Bucket::new(rate, now))
        };
        bucket.take(rate, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_address_has_its_own_rate() {
        let (rates, now) = (RequestRates::new(Some(5)), Instant::now());
        for _ in 0..6 {
            rates.charge(ip(1), now);
        }
        assert_eq!(rates.wait(ip(1), now), Duration::from_millis(200));
        assert_eq!(rates.wait(ip(2), now), Duration::ZERO);
        let unlimited = RequestRates::new(None);
        unlimited.charge(ip(1), now);
        assert!(!unlimited.limited());
        assert_eq!(unlimited.wait(ip(1), now), Duration::ZERO);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_nobody_who_owes() {
        let (mut table, now) = (Table::default(), Instant::now());
        for last in 0..3 {
            table.charge(ip(last), 1, now, 2);
        }
        assert_eq!(table.addresses.len(), 2);
        assert!(table.others.is_some(), "there was no room");
        let later = now + Duration::from_secs(2);
        table.charge(ip(9), 1, later, 2);
        assert_eq!(table.addresses.keys().collect::<Vec<_>>(), [&ip(9)], "the others were even");
    }

    #[test]
    fn files_are_left_for_brokers_and_the_rest() {
        assert_eq!(connections_of(Some(20_000)), (20_000 - 1_024) / 2);
        assert_eq!(connections_of(Some(1_024)), 384);
        assert_eq!(connections_of(Some(1)), 1);
        assert_eq!(connections_of(None), limits::CONNECTIONS_MAX);
    }
}
