//! What `cons` tells of a connection: its last request, and how long its requests took.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::calendar;
use crate::zookeeper::proto::OpCode;
use crate::zookeeper::stats::{Summary, microseconds};

/// No request yet, or none since `crst`.
const NONE: u8 = u8::MAX;
/// The session was created or taken up: that is no request.
const SESSION: u8 = u8::MAX - 1;

/// One connection's last request and latencies.
#[derive(Debug)]
pub struct Activity {
    /// Milliseconds since 1970.
    established: u64,
    operation: AtomicU8,
    cxid: AtomicI64,
    zxid: AtomicI64,
    answered_ms: AtomicU64,
    latency_ms: AtomicU64,
    latency: Summary,
}

/// The same at one moment.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the names are those of ZooKeeper's ServerCnxn")]
pub struct Seen {
    pub established: u64,
    pub last_operation: &'static str,
    pub last_cxid: i64,
    pub last_zxid: i64,
    pub last_response_time: u64,
    pub last_latency: u64,
    pub min_latency: u64,
    pub avg_latency: u64,
    pub max_latency: u64,
}

impl Activity {
    /// A connection that was opened at `now`, in milliseconds since 1970.
    pub(super) fn new(now: i64) -> Self {
        Activity {
            established: u64::try_from(now).unwrap_or(0),
            operation: AtomicU8::new(NONE),
            cxid: AtomicI64::new(-1),
            zxid: AtomicI64::new(-1),
            answered_ms: AtomicU64::new(0),
            latency_ms: AtomicU64::new(0),
            latency: Summary::default(),
        }
    }

    /// `count` requests were answered at `now_ms`, the last of them this one (`None` is the session's
    /// begin), each after `took`.
    pub fn answered(
        &self,
        op: Option<OpCode>,
        cxid: i32,
        zxid: i64,
        now_ms: u64,
        took: Duration,
        count: u64,
    ) {
        let operation = op.map_or(SESSION, |op| u8::try_from(op as usize).unwrap_or(NONE));
        self.operation.store(operation, Ordering::Relaxed);
        if cxid >= 0 {
            self.cxid.store(i64::from(cxid), Ordering::Relaxed);
        }
        self.zxid.store(zxid, Ordering::Relaxed);
        self.answered_ms.store(now_ms, Ordering::Relaxed);
        self.latency_ms.store(calendar::milliseconds(took), Ordering::Relaxed);
        self.latency.record(microseconds(took), count);
    }

    /// `crst`.
    pub(super) fn reset(&self) {
        self.operation.store(NONE, Ordering::Relaxed);
        self.cxid.store(-1, Ordering::Relaxed);
        self.zxid.store(-1, Ordering::Relaxed);
        self.answered_ms.store(0, Ordering::Relaxed);
        self.latency_ms.store(0, Ordering::Relaxed);
        self.latency.reset();
    }

    /// What is known now.
    pub fn seen(&self) -> Seen {
        let (min_latency, mean, max_latency) = self.latency.figures().min_mean_max_ms();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of whole milliseconds, as ZooKeeper shows it"
        )]
        let avg_latency = mean as u64;
        Seen {
            established: self.established,
            last_operation: name_of(self.operation.load(Ordering::Relaxed)),
            last_cxid: self.cxid.load(Ordering::Relaxed),
            last_zxid: self.zxid.load(Ordering::Relaxed),
            last_response_time: self.answered_ms.load(Ordering::Relaxed),
            last_latency: self.latency_ms.load(Ordering::Relaxed),
            min_latency,
            avg_latency,
            max_latency,
        }
    }
}

/// ZooKeeper's short name of an operation (`FinalRequestProcessor`).
fn name_of(operation: u8) -> &'static str {
    if operation == SESSION {
        return "SESS";
    }
    let Some((op, ..)) = OpCode::ALL.get(usize::from(operation)) else { return "NA" };
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => "CREA",
        OpCode::Delete => "DELE",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetData => "SETD",
        OpCode::GetAcl => "GETA",
        OpCode::SetAcl => "SETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::Sync => "SYNC",
        OpCode::Ping => "PING",
        OpCode::Multi => "MULT",
        OpCode::Reconfig => "RECO",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::MultiRead => "MLTR",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::AddWatch => "ADDW",
        OpCode::GetEphemerals => "GETE",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::WhoAmI => "HOMI",
        OpCode::CloseSession => "CLOS",
        _ => "NA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_is_told_until_it_is_reset() {
        let activity = Activity::new(7);
        assert_eq!((activity.seen().established, activity.seen().last_operation), (7, "NA"));
        activity.answered(None, 0, 3, 10, Duration::from_millis(9), 1);
        assert_eq!(activity.seen().last_operation, "SESS");
        activity.answered(Some(OpCode::GetData), 4, 5, 20, Duration::from_millis(3), 2);
        activity.answered(Some(OpCode::Ping), -2, 5, 21, Duration::from_millis(3), 1);
        let seen = activity.seen();
        assert_eq!((seen.last_operation, seen.last_cxid, seen.last_zxid), ("PING", 4, 5));
        assert_eq!((seen.last_latency, seen.min_latency, seen.max_latency), (3, 3, 9));
        assert_eq!((seen.avg_latency, seen.last_response_time), (4, 21));
        activity.reset();
        assert_eq!((activity.seen().last_operation, activity.seen().last_cxid), ("NA", -1));
    }
}
