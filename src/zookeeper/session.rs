//! Sessions: their ids and passwords, and the queue that says which have expired. Pure: the time
//! comes in as milliseconds of a monotonic clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hashbrown::HashMap;

/// ZooKeeper's `ZooKeeperServer.superSecret`: with it, the password of a session is a function of
/// its id. That makes it a checksum and no secret, but one that lets sessions outlive a change of
/// the server, to and from Apache ZooKeeper.
const PASSWORD_SEED: i64 = 0xB341_5C00;

/// The server id of a standalone server, the high byte of each session id that it gives out.
const STANDALONE_SERVER_ID: i64 = 1;

/// The password of session `id`: 16 bytes of `java.util.Random(id ^ 0xB3415C00)`.
pub fn password(id: i64) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((id ^ PASSWORD_SEED).cast_unsigned() ^ MULTIPLIER) & MASK;
    let mut bytes = [0; 16];
    for word in bytes.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        let next = (state >> 16) & 0xffff_ffff;
        for (i, byte) in word.iter_mut().enumerate() {
            *byte = ((next >> (8 * i)) & 0xff) as u8;
        }
    }
    bytes
}

/// The first session id to give out: ZooKeeper's formula (`SessionTrackerImpl`), or one above the
/// highest id of this server that is known from sessions, tree and log, whichever is greater. The
/// formula's clock is the machine's uptime, so that after a reboot it alone would give ids again.
pub fn first_session_id(uptime_ms: u64, known: impl IntoIterator<Item = i64>) -> i64 {
    let by_clock = ((uptime_ms << 24) >> 8).cast_signed() & !(0xff << 56);
    let by_clock = by_clock | (STANDALONE_SERVER_ID << 56);
    known.into_iter().filter(|id| is_standalone_id(*id)).map(|id| id + 1).fold(by_clock, i64::max)
}

/// Whether a standalone server gave out this session id: its high byte says so.
pub fn is_standalone_id(id: i64) -> bool {
    id >> 56 == STANDALONE_SERVER_ID
}

/// One session: shared by its connection, which touches it, and by the tracker and the writer.
#[derive(Debug)]
pub struct Session {
    id: i64,
    timeout_ms: AtomicU32,
    touched_ms: AtomicU64,
    closing: AtomicBool,
}

impl Session {
    /// What stands in a session's place where the server asks itself: it has the id 0.
    pub fn of_server() -> Arc<Session> {
        Arc::new(Session::new(0, 0, 0))
    }

    fn new(id: i64, timeout_ms: u32, now_ms: u64) -> Session {
        Session {
            id,
            timeout_ms: AtomicU32::new(timeout_ms),
            touched_ms: AtomicU64::new(now_ms),
            closing: AtomicBool::new(false),
        }
    }

    /// The session's id.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The timeout that the session's present connection negotiated, in milliseconds.
    pub fn timeout_ms(&self) -> u32 {
        self.timeout_ms.load(Ordering::Relaxed)
    }

    /// Notes that the session's client was heard of.
    pub fn touch(&self, now_ms: u64) {
        self.touched_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether its end is decided: nothing more is done for it.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Decides its end.
    pub fn set_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn expires_ms(&self, tick_ms: u64) -> u64 {
        let end = self.touched_ms.load(Ordering::Relaxed) + u64::from(self.timeout_ms());
        (end / tick_ms + 1) * tick_ms
    }
}

#[derive(Debug)]
struct Tracked {
    session: Arc<Session>,
    /// The key of the bucket that decides on it.
    bucket: u64,
}

/// Every session of this server, in buckets of one tick by the time they expire at, as
/// ZooKeeper's `ExpiryQueue`: a session lives up to one tick longer than its timeout.
///
/// A touch is one store in the [`Session`]; only when its bucket is due is a session that was
/// touched meanwhile moved to a later one.
#[derive(Debug)]
pub struct SessionTracker {
    tick_ms: u64,
    next_id: i64,
    by_id: HashMap<i64, Tracked>,
    buckets: BTreeMap<u64, Vec<i64>>,
}

impl SessionTracker {
    /// An empty tracker that gives out ids from `first_id` on. `tick_ms` is at least 1.
    pub fn new(tick_ms: u64, first_id: i64) -> Self {
        SessionTracker {
            tick_ms: tick_ms.max(1),
            next_id: first_id,
            by_id: HashMap::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// Gives out a new session.
    pub fn create(&mut self, timeout_ms: u32, now_ms: u64) -> Arc<Session> {
        let mut id = self.next_id;
        while self.by_id.contains_key(&id) {
            id += 1;
        }
        self.next_id = id + 1;
        self.track(id, timeout_ms, now_ms)
    }

    /// Takes up a session that exists (after a restart), with its full timeout before it.
    pub fn track(&mut self, id: i64, timeout_ms: u32, now_ms: u64) -> Arc<Session> {
        let session = Arc::new(Session::new(id, timeout_ms, now_ms));
        self.schedule(&session);
        session
    }

    /// The session, unless it is unknown or its end is decided; from now on it has this timeout.
    pub fn reattach(&mut self, id: i64, timeout_ms: u32, now_ms: u64) -> Option<Arc<Session>> {
        let session = self.get(id)?;
        if session.is_closing() {
            return None;
        }
        session.timeout_ms.store(timeout_ms, Ordering::Relaxed);
        session.touch(now_ms);
        self.schedule(&session);
        Some(session)
    }

    /// The session with this id.
    pub fn get(&self, id: i64) -> Option<Arc<Session>> {
        self.by_id.get(&id).map(|tracked| Arc::clone(&tracked.session))
    }

    /// Forgets a session.
    pub fn remove(&mut self, id: i64) {
        self.by_id.remove(&id);
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// When [`SessionTracker::expire`] has something to look at next: the next multiple of the tick.
    pub fn next_check_ms(&self, now_ms: u64) -> u64 {
        (now_ms / self.tick_ms + 1) * self.tick_ms
    }

    /// Whether the time of any session has passed.
    pub fn is_any_expired(&self, now_ms: u64) -> bool {
        self.buckets.range(..=now_ms).any(|(due, ids)| {
            ids.iter().filter_map(|id| self.by_id.get(id)).any(|tracked| {
                tracked.bucket == *due
                    && !tracked.session.is_closing()
                    && tracked.session.expires_ms(self.tick_ms) <= now_ms
            })
        })
    }

    /// The sessions whose time has passed. Their end is decided with this call.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Arc<Session>> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry().filter(|b| *b.key() <= now_ms) {
            let (due, ids) = bucket.remove_entry();
            for id in ids {
                let Some(tracked) = self.by_id.get(&id).filter(|t| t.bucket == due) else {
                    continue;
                };
                let session = Arc::clone(&tracked.session);
                if session.is_closing() {
                    continue;
                }
                if session.expires_ms(self.tick_ms) <= now_ms {
                    session.set_closing();
                    expired.push(session);
                } else {
                    self.schedule(&session);
                }
            }
        }
        expired
    }

    /// The sessions by the time at which they expire unless they are touched before, in milliseconds.
    pub fn by_expiry(&self) -> BTreeMap<u64, Vec<i64>> {
        let mut by_expiry: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (&id, tracked) in &self.by_id {
            by_expiry.entry(tracked.session.expires_ms(self.tick_ms)).or_default().push(id);
        }
        by_expiry
    }

    /// The id that the next new session gets.
    pub fn next_id(&self) -> i64 {
        self.next_id
    }

    /// Every session.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.by_id.values().map(|tracked| &tracked.session)
    }

    fn schedule(&mut self, session: &Arc<Session>) {
        let bucket = session.expires_ms(self.tick_ms);
        let tracked = Tracked { session: Arc::clone(session), bucket };
        if self.by_id.insert(session.id, tracked).is_none_or(|before| before.bucket != bucket) {
            self.buckets.entry(bucket).or_default().push(session.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(expired: &[Arc<Session>]) -> Vec<i64> {
        expired.iter().map(|s| s.id()).collect()
    }

    #[test]
    fn passwords_are_those_of_java_util_random() {
        // new java.util.Random(id ^ 0xB3415C00L).nextBytes(new byte[16])
        for (id, password_of_id) in [
            (0x0100_0000_0000_0000, 0xf22a_cd4a_97e6_9d6d_20a4_9bb6_38ea_db38_u128),
            (1, 0x054c_c74a_3732_7db2_15e7_02e2_0c73_f005),
            (i64::MAX, 0x20f6_2cb5_648d_c2d7_7147_1c8a_2486_a9ee),
        ] {
            assert_eq!(password(id), password_of_id.to_be_bytes());
        }
    }

    #[test]
    fn ids_are_those_of_the_formula_or_above_every_known_one() {
        assert_eq!(first_session_id(0x12_3456, []), 0x0100_0012_3456_0000);
        assert_eq!(first_session_id(0, [0x01ff_0000_0000_0007]), 0x01ff_0000_0000_0008);
        assert_eq!(first_session_id(0, [0x02ff_0000_0000_0007, i64::MIN, -1]), 1 << 56);
    }

    #[test]
    fn a_new_session_has_no_id_of_one_that_is_there() {
        let mut tracker = SessionTracker::new(1_000, 5);
        tracker.track(6, 1_000, 0);
        tracker.track(7, 1_000, 0);
        let given: Vec<i64> = (0..3).map(|_| tracker.create(1_000, 0).id()).collect();
        assert_eq!(given, [5, 8, 9]);
    }

    #[test]
    fn a_session_expires_at_the_first_tick_after_its_timeout() {
        let mut tracker = SessionTracker::new(1_000, 1);
        tracker.create(4_000, 500);
        assert!(tracker.expire(4_999).is_empty());
        assert_eq!(ids(&tracker.expire(5_000)), [1]);
        assert!(tracker.expire(9_000).is_empty(), "only once");
        assert!(tracker.reattach(1, 4_000, 9_000).is_none(), "its end is decided");
    }

    #[test]
    fn a_touch_postpones_the_end() {
        let mut tracker = SessionTracker::new(1_000, 1);
        let session = tracker.create(4_000, 0);
        assert!(tracker.is_any_expired(5_000));
        session.touch(3_000);
        assert!(!tracker.is_any_expired(5_000));
        assert!(tracker.expire(5_000).is_empty());
        assert!(tracker.expire(7_999).is_empty());
        assert!(!tracker.is_any_expired(7_999));
        assert!(tracker.is_any_expired(8_000));
        assert_eq!(ids(&tracker.expire(8_000)), [1]);
        assert!(!tracker.is_any_expired(8_000), "its end is decided");
    }

    #[test]
    fn a_reattach_with_a_shorter_timeout_counts_from_then() {
        let mut tracker = SessionTracker::new(1_000, 1);
        tracker.create(40_000, 0);
        assert!(tracker.reattach(1, 4_000, 1_000).is_some());
        assert_eq!(ids(&tracker.expire(6_000)), [1]);
        tracker.remove(1);
        assert!(tracker.is_empty());
        assert!(tracker.expire(50_000).is_empty());
    }

    #[test]
    fn a_late_check_expires_every_bucket_that_is_due() {
        let mut tracker = SessionTracker::new(1_000, 1);
        for _ in 0..3 {
            tracker.create(2_000, 0);
        }
        tracker.create(9_000, 0);
        assert_eq!(ids(&tracker.expire(5_500)), [1, 2, 3]);
        assert_eq!(ids(&tracker.expire(10_000)), [4]);
    }
}
