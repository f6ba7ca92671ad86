//! How many connections a listener has, in all and from each address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

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
pub enum Refusal {
    /// That of the listener, or of the listeners that share one.
    Total(usize),
    /// That of an address.
    PerIp(usize),
    /// That of the process.
    Process(usize),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Total(cap) => write!(f, "the listener already has {cap} connections"),
            Refusal::PerIp(cap) => write!(f, "this address already has {cap} connections"),
            Refusal::Process(cap) => {
                write!(f, "there are {cap} connections, as many as open files allow")
            }
        }
    }
}

/// How many connections there are in all: of one listener, or of several that share their cap.
#[derive(Debug, Clone, Default)]
pub struct ListenerTotal(Arc<AtomicUsize>);

impl ListenerTotal {
    /// Counts one more, if that is below the cap.
    fn enter(&self, cap: usize) -> bool {
        let free = |total: usize| (total < cap).then_some(total + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A cap of all connections of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct ProcessCap {
    total: ListenerTotal,
    cap: usize,
}

impl ProcessCap {
    /// So many at most.
    pub fn new(cap: usize) -> ProcessCap {
        ProcessCap { total: ListenerTotal::default(), cap }
    }

    /// How many at most.
    pub fn cap(&self) -> usize {
        self.cap
    }
}

/// The connections that one listener has now, or several that share their caps.
#[derive(Debug)]
pub struct ConnectionCounts {
    limits: RwLock<(ConnectionLimits, BTreeMap<IpAddr, usize>)>,
    total: ListenerTotal,
    process: Option<ProcessCap>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionCounts {
    /// No connections yet, under these caps.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        ConnectionCounts::within(limits, ListenerTotal::default())
    }

    pub(super) fn within(limits: ConnectionLimits, total: ListenerTotal) -> Arc<Self> {
        let limits = RwLock::new((bounded(limits), BTreeMap::new()));
        Arc::new(ConnectionCounts { limits, total, process: None, per_ip: Mutex::default() })
    }

    /// The same below a cap of the process, with caps of their own for some addresses.
    pub fn of_process(
        limits: ConnectionLimits,
        overrides: BTreeMap<IpAddr, usize>,
        process: ProcessCap,
    ) -> Arc<Self> {
        let limits = RwLock::new((bounded(limits), overrides));
        let (total, per_ip) = (ListenerTotal::default(), Mutex::default());
        Arc::new(ConnectionCounts { limits, total, process: Some(process), per_ip })
    }

    /// Other caps from now on; connections above them stay.
    pub fn set_limits(&self, limits: ConnectionLimits, overrides: BTreeMap<IpAddr, usize>) {
        *self.limits.write() = (bounded(limits), overrides);
    }

    /// The most connections that there may be at once.
    pub fn cap(&self) -> usize {
        let cap = self.limits.read().0.total;
        self.process.as_ref().map_or(cap, |process| cap.min(process.cap))
    }

    /// Counts one more connection, or says which cap is reached.
    ///
    /// # Errors
    /// The cap that is reached.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, Refusal> {
        self.admit_unnamed()?.name(ip)
    }

    /// The same for one whose address is not known yet: [`ConnectionPermit::name`] counts that.
    ///
    /// # Errors
    /// The cap that is reached.
    pub fn admit_unnamed(self: &Arc<Self>) -> Result<ConnectionPermit, Refusal> {
        let cap = self.limits.read().0.total;
        if !self.total.enter(cap) {
            return Err(Refusal::Total(cap));
        }
        if let Some(process) = &self.process
            && !process.total.enter(process.cap)
        {
            self.total.leave();
            return Err(Refusal::Process(process.cap));
        }
        Ok(ConnectionPermit { counts: Arc::clone(self), ip: None })
    }
}

fn bounded(limits: ConnectionLimits) -> ConnectionLimits {
    ConnectionLimits { total: limits.total.min(limits::CONNECTIONS_MAX), ..limits }
}

/// One connection's place under its listener's caps, free again when dropped: keep it as long as
/// the connection's memory.
#[derive(Debug)]
pub struct ConnectionPermit {
    counts: Arc<ConnectionCounts>,
    ip: Option<IpAddr>,
}

impl ConnectionPermit {
    /// Counts it for an address too.
    ///
    /// # Errors
    /// That address has as many as it may have.
    pub fn name(mut self, ip: IpAddr) -> Result<ConnectionPermit, Refusal> {
        let cap = {
            let limits = self.counts.limits.read();
            limits.1.get(&ip).copied().unwrap_or(limits.0.per_ip)
        };
        let mut per_ip = self.counts.per_ip.lock();
        let present = per_ip.get(&ip).copied().unwrap_or(0);
        if present >= cap {
            drop(per_ip);
            return Err(Refusal::PerIp(cap));
        }
        per_ip.insert(ip, present + 1);
        drop(per_ip);
        self.ip = Some(ip);
        Ok(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counts.total.leave();
        if let Some(process) = &self.counts.process {
            process.total.leave();
        }
        let Some(ip) = self.ip else { return };
        let mut per_ip = self.counts.per_ip.lock();
        if let Some(n) = per_ip.get_mut(&ip) {
            *n -= 1;
            if *n == 0 {
                per_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ConnectionLimits = ConnectionLimits { total: usize::MAX, per_ip: usize::MAX };

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn some_addresses_have_caps_of_their_own_and_caps_change() {
        let limits = ConnectionLimits { per_ip: 1, ..NONE };
        let overrides = BTreeMap::from([(ip(1), 2), (ip(2), 0)]);
        let counts = ConnectionCounts::of_process(limits, overrides, ProcessCap::new(10));
        let _one = counts.admit(ip(1)).unwrap();
        let two = counts.admit(ip(1)).unwrap();
        assert_eq!(counts.admit(ip(1)).unwrap_err(), Refusal::PerIp(2));
        assert_eq!(counts.admit(ip(2)).unwrap_err(), Refusal::PerIp(0));
        let _other = counts.admit(ip(3)).unwrap();
        assert_eq!(counts.admit(ip(3)).unwrap_err(), Refusal::PerIp(1));
        drop(two);
        counts.set_limits(NONE, BTreeMap::from([(ip(1), 1)]));
        assert_eq!(counts.admit(ip(1)).unwrap_err(), Refusal::PerIp(1));
        assert!(counts.admit(ip(3)).is_ok());
        assert_eq!(counts.total.0.load(Ordering::Relaxed), 2, "who is refused is not counted");
    }

    #[test]
    fn an_address_may_come_later_and_the_process_has_a_cap_too() {
        let process = ProcessCap::new(2);
        let one = ConnectionCounts::of_process(NONE, BTreeMap::new(), process.clone());
        let other = ConnectionCounts::of_process(NONE, BTreeMap::new(), process);
        let first = one.admit_unnamed().unwrap().name(ip(1)).unwrap();
        let _second = other.admit_unnamed().unwrap();
        assert_eq!(one.admit(ip(1)).unwrap_err(), Refusal::Process(2));
        assert_eq!(one.total.0.load(Ordering::Relaxed), 1);
        drop(first);
        assert!(one.per_ip.lock().is_empty());
        assert!(other.admit(ip(1)).is_ok());
    }
}
