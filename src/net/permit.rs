//! How many connections a listener has, in all and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::limits;

/// The caps of one listener. `usize::MAX` is no cap but [`limits::CONNECTIONS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub total: usize,
    /// Connections from one IP address.
    pub per_ip: usize,
}

impl ConnectionLimits {
    /// Caps given as ZooKeeper gives them (`maxCnxns`, `maxClientCnxns`): 0 is no cap.
    pub fn zero_is_unlimited(total: usize, per_ip: usize) -> Self {
        let cap = |n: usize| if n == 0 { usize::MAX } else { n };
        ConnectionLimits { total: cap(total), per_ip: cap(per_ip) }
    }
}

/// Which cap refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Total(usize),
    PerIp(usize),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Total(cap) => write!(f, "the listener already has {cap} connections"),
            Refusal::PerIp(cap) => write!(f, "this address already has {cap} connections"),
        }
    }
}

/// How many connections there are in all: of one listener, or of several that share their cap.
#[derive(Debug, Clone, Default)]
pub struct ListenerTotal(Arc<AtomicUsize>);

/// The connections that one listener has now, or several that share their caps.
#[derive(Debug)]
pub struct ConnectionCounts {
    limits: ConnectionLimits,
    total: ListenerTotal,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionCounts {
    /// No connections yet, under these caps.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        ConnectionCounts::within(limits, ListenerTotal::default())
    }

    pub(super) fn within(limits: ConnectionLimits, total: ListenerTotal) -> Arc<Self> {
        let limits =
            ConnectionLimits { total: limits.total.min(limits::CONNECTIONS_MAX), ..limits };
        Arc::new(ConnectionCounts { limits, total, per_ip: Mutex::new(HashMap::new()) })
    }

    /// The most connections that there may be at once.
    pub fn cap(&self) -> usize {
        self.limits.total
    }

    /// Counts one more connection, or says which cap is reached.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, Refusal> {
        let mut per_ip = self.per_ip.lock();
        let present = per_ip.get(&ip).copied().unwrap_or(0);
        if present >= self.limits.per_ip {
            return Err(Refusal::PerIp(self.limits.per_ip));
        }
        let free = |total: usize| (total < self.limits.total).then_some(total + 1);
        if self.total.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_err() {
            return Err(Refusal::Total(self.limits.total));
        }
        per_ip.insert(ip, present + 1);
        Ok(ConnectionPermit { counts: Arc::clone(self), ip })
    }
}

/// One connection's place under its listener's caps, free again when dropped: keep it as long as
/// the connection's memory.
#[derive(Debug)]
pub struct ConnectionPermit {
    counts: Arc<ConnectionCounts>,
    ip: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counts.total.0.fetch_sub(1, Ordering::Relaxed);
        let mut per_ip = self.counts.per_ip.lock();
        if let Some(n) = per_ip.get_mut(&self.ip) {
            *n -= 1;
            if *n == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}
