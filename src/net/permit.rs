//! How many connections a listener has, in all and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

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

/// The connections that one listener has now.
#[derive(Debug)]
pub(super) struct Counts {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
}

impl Counts {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let limits =
            ConnectionLimits { total: limits.total.min(limits::CONNECTIONS_MAX), ..limits };
        Arc::new(Counts { limits, open: Mutex::new(Open::default()) })
    }

    /// Counts one more connection, or says which cap is reached.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, Refusal> {
        let mut open = self.open.lock();
        if open.total >= self.limits.total {
            return Err(Refusal::Total(self.limits.total));
        }
        if open.per_ip.get(&ip).is_some_and(|&n| n >= self.limits.per_ip) || self.limits.per_ip == 0
        {
            return Err(Refusal::PerIp(self.limits.per_ip));
        }
        open.total += 1;
        *open.per_ip.entry(ip).or_insert(0) += 1;
        Ok(ConnectionPermit { counts: Arc::clone(self), ip })
    }
}

/// One connection's place under its listener's caps, free again when dropped: keep it as long as
/// the connection's memory.
#[derive(Debug)]
pub struct ConnectionPermit {
    counts: Arc<Counts>,
    ip: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.counts.open.lock();
        open.total -= 1;
        if let Some(n) = open.per_ip.get_mut(&self.ip) {
            *n -= 1;
            if *n == 0 {
                open.per_ip.remove(&self.ip);
            }
        }
    }
}
