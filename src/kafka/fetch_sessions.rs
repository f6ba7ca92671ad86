//! Incremental fetch sessions (KIP-227): a consumer names its partitions once, and then both sides
//! only say what changed. What stays and what goes is Kafka's `FetchSessionCache`, but for what it
//! has for followers, which do not fetch here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::limits;

/// The epoch of a request that is whole and wants a session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that is whole and wants none.
pub const FINAL_EPOCH: i32 = -1;
/// A session that was not used for so long may go, and one that is that old may go for a larger one
/// (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_MS: i64 = 120_000;

/// A partition as a client names it: by id, or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    /// The topic's id, nil where names are used.
    pub topic_id: Uuid,
    /// The topic's name, empty where ids are used.
    pub topic: StrBytes,
    /// The partition's number.
    pub partition: i32,
}

/// What a client asks of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The offset to read from.
    pub fetch_offset: i64,
    /// The most bytes.
    pub max_bytes: i32,
    /// The leader epoch that the client believes in, −1 if it does not say.
    pub leader_epoch: i32,
    /// The epoch of the last record that it has, −1 if it does not say.
    pub last_fetched_epoch: i32,
}

/// What a client was told of a partition besides records; −1 for nothing yet, or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start offset.
    pub log_start_offset: i64,
}

impl Told {
    const NOTHING: Told = Told { high_watermark: -1, log_start_offset: -1 };
}

/// One partition of a session.
#[derive(Debug)]
struct Cached {
    key: PartitionKey,
    asked: Asked,
    told: Told,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// The epoch that the next request must have.
    epoch: i32,
    /// In the order in which they are read: those that had records go to the end, so that all get
    /// their turn.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<PartitionKey, u64>,
    next_place: u64,
}

impl Session {
    fn put(&mut self, key: PartitionKey, asked: Asked, told: Told) {
        if let Some(cached) = self.places.get(&key).and_then(|at| self.partitions.get_mut(at)) {
            cached.asked = asked;
            return;
        }
        self.places.insert(key.clone(), self.next_place);
        self.partitions.insert(self.next_place, Cached { key, asked, told });
        self.next_place += 1;
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(place) = self.places.remove(key) {
            self.partitions.remove(&place);
        }
    }

    /// Its partitions, in the order in which they are to be read.
    pub fn partitions(&self) -> impl Iterator<Item = (&PartitionKey, &Asked, &Told)> {
        self.partitions.values().map(|cached| (&cached.key, &cached.asked, &cached.told))
    }

    /// Takes note of what the client is told now.
    pub fn note(&mut self, key: &PartitionKey, told: Told, has_records: bool) {
        let Some(place) = self.places.get_mut(key) else { return };
        if !has_records {
            if let Some(cached) = self.partitions.get_mut(place) {
                cached.told = told;
            }
        } else if let Some(mut cached) = self.partitions.remove(place) {
            cached.told = told;
            *place = self.next_place;
            self.partitions.insert(self.next_place, cached);
            self.next_place += 1;
        }
    }
}

/// A request's place in its session.
#[derive(Debug)]
pub struct Turn {
    /// The session's id.
    pub id: i32,
    session: Arc<Mutex<Session>>,
    /// The session's epoch as this request left it.
    epoch: i32,
}

impl Turn {
    /// The session. Not to be held while waiting.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock()
    }

    /// The session, if no other request came after this one.
    ///
    /// # Errors
    /// `INVALID_FETCH_SESSION_EPOCH`.
    pub fn finish(&self) -> Result<MutexGuard<'_, Session>, ResponseError> {
        let session = self.session.lock();
        if session.epoch == self.epoch {
            Ok(session)
        } else {
            Err(ResponseError::InvalidFetchSessionEpoch)
        }
    }
}

/// What a request is.
#[derive(Debug)]
pub enum Opened {
    /// Whole, and of no session.
    Sessionless,
    /// Whole, and to become a session.
    Full,
    /// One in a session.
    Incremental(Turn),
}

/// The partitions that a request names.
#[derive(Debug, Default)]
pub struct Named {
    /// Those to read, with what is asked of each.
    pub asked: Vec<(PartitionKey, Asked)>,
    /// Those that the session is to forget.
    pub forgotten: Vec<PartitionKey>,
}

/// Session id, session epoch and the way of naming topics of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRequest {
    /// The session's id, 0 for none.
    pub id: i32,
    /// The session's epoch.
    pub epoch: i32,
    /// Whether topics are named by id (version 13).
    pub uses_topic_ids: bool,
}

/// A session and what its place in the cache depends on.
#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    uses_topic_ids: bool,
    created_ms: i64,
    used_ms: i64,
    size: usize,
}

#[derive(Debug, Default)]
struct Cache {
    slots: HashMap<i32, Slot>,
    /// By last use.
    used: BTreeSet<(i64, i32)>,
    /// Those that may go for a larger one, by size.
    evictable: BTreeSet<(usize, i32)>,
    /// Partitions of all sessions.
    partitions: usize,
}

impl Cache {
    fn remove(&mut self, id: i32) -> bool {
        let Some(slot) = self.slots.remove(&id) else { return false };
        self.used.remove(&(slot.used_ms, id));
        self.evictable.remove(&(slot.size, id));
        self.partitions -= slot.size;
        true
    }

    fn touch(&mut self, id: i32, size: usize, now_ms: i64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        self.used.remove(&(slot.used_ms, id));
        self.evictable.remove(&(slot.size, id));
        self.partitions = self.partitions - slot.size + size;
        (slot.used_ms, slot.size) = (now_ms, size);
        self.used.insert((now_ms, id));
        if now_ms - slot.created_ms > EVICTION_MS {
            self.evictable.insert((size, id));
        }
    }

    /// Makes room for a session of this size; `false` if others are worth more.
    fn evict(&mut self, size: usize, now_ms: i64) -> bool {
        let Some(&(used_ms, oldest)) = self.used.first() else { return false };
        if now_ms - used_ms > EVICTION_MS {
            return self.remove(oldest);
        }
        match self.evictable.first() {
            Some(&(smallest, id)) if smallest < size => self.remove(id),
            _ => false,
        }
    }
}

/// Every session of this broker.
#[derive(Debug)]
pub struct FetchSessions {
    /// `max.incremental.fetch.session.cache.slots`.
    most: usize,
    cache: Mutex<Cache>,
}

impl FetchSessions {
    /// For `most` sessions; 0 is none at all.
    pub fn new(most: usize) -> FetchSessions {
        FetchSessions { most, cache: Mutex::default() }
    }

    /// Finds what a request belongs to, and brings its session up to date. What a whole request names
    /// is its own affair.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, and
    /// `FETCH_SESSION_TOPIC_ID_ERROR` for a session that names topics in the other way.
    pub fn open(
        &self,
        request: SessionRequest,
        named: &Named,
        now_ms: i64,
    ) -> Result<Opened, ResponseError> {
        let SessionRequest { id, epoch, uses_topic_ids } = request;
        let mut cache = self.cache.lock();
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            cache.remove(id);
            return Ok(if epoch == FINAL_EPOCH { Opened::Sessionless } else { Opened::Full });
        }
        let slot = cache.slots.get(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        let shared = Arc::clone(&slot.session);
        let mut session = shared.lock();
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if slot.uses_topic_ids != uses_topic_ids {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        for (key, asked) in &named.asked {
            session.put(key.clone(), *asked, Told::NOTHING);
        }
        for key in &named.forgotten {
            session.forget(key);
        }
        let size = session.partitions.len();
        if size == 0 {
            cache.remove(id);
            return Ok(Opened::Sessionless);
        }
        let others = cache.partitions.saturating_sub(cache.slots.get(&id).map_or(0, |s| s.size));
        if others + size > limits::FETCH_SESSION_PARTITIONS_MAX {
            // The client asks for all anew, and gets no session for it.
            cache.remove(id);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        cache.touch(id, size, now_ms);
        session.epoch = next_epoch(epoch);
        let epoch = session.epoch;
        drop(session);
        Ok(Opened::Incremental(Turn { id, session: shared, epoch }))
    }

    /// Makes a session of a whole request that was answered; answers its id, 0 if there is no room.
    /// `random` gives numbers of which one that is not taken becomes the id.
    pub fn create(
        &self,
        partitions: impl ExactSizeIterator<Item = (PartitionKey, Asked, Told)>,
        uses_topic_ids: bool,
        now_ms: i64,
        mut random: impl FnMut() -> i32,
    ) -> i32 {
        let mut cache = self.cache.lock();
        let size = partitions.len();
        let room = self.most > 0
            && (cache.slots.len() < self.most || cache.evict(size, now_ms))
            && cache.partitions + size <= limits::FETCH_SESSION_PARTITIONS_MAX;
        if !room {
            return 0;
        }
        let mut id = random();
        while id <= 0 || cache.slots.contains_key(&id) {
            id = random();
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            partitions: BTreeMap::new(),
            places: HashMap::with_capacity(size),
            next_place: 0,
        };
        for (key, asked, told) in partitions {
            session.put(key, asked, told);
        }
        let size = session.partitions.len();
        let session = Arc::new(Mutex::new(session));
        let slot = Slot { session, uses_topic_ids, created_ms: now_ms, used_ms: now_ms, size: 0 };
        cache.slots.insert(id, slot);
        cache.touch(id, size, now_ms);
        id
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: Asked =
        Asked { fetch_offset: 0, max_bytes: 1, leader_epoch: -1, last_fetched_epoch: -1 };

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic_id: Uuid::nil(), topic: StrBytes::from_static_str("t"), partition }
    }

    fn create(sessions: &FetchSessions, count: i32, now_ms: i64) -> i32 {
        let partitions = (0..count).map(|at| (key(at), ASKED, Told::NOTHING));
        let mut last = 0;
        sessions.create(partitions.collect::<Vec<_>>().into_iter(), false, now_ms, || {
            last += 1;
            last
        })
    }

    fn open(
        sessions: &FetchSessions,
        id: i32,
        epoch: i32,
        named: (&[i32], &[i32]),
    ) -> Result<Opened, ResponseError> {
        let named = Named {
            asked: named.0.iter().map(|at| (key(*at), ASKED)).collect(),
            forgotten: named.1.iter().map(|at| key(*at)).collect(),
        };
        let request = SessionRequest { id, epoch, uses_topic_ids: false };
        sessions.open(request, &named, 0)
    }

    fn order(turn: &Turn) -> Vec<i32> {
        turn.session().partitions().map(|(key, ..)| key.partition).collect()
    }

    #[test]
    fn partitions_are_added_forgotten_and_take_turns() {
        let sessions = FetchSessions::new(10);
        let id = create(&sessions, 3, 0);
        let Ok(Opened::Incremental(turn)) = open(&sessions, id, 1, (&[7, 1], &[0, 9])) else {
            panic!("it is one of its session");
        };
        assert_eq!(order(&turn), [1, 2, 7]);
        let told = Told { high_watermark: 5, log_start_offset: 0 };
        turn.finish().unwrap().note(&key(1), told, true);
        turn.finish().unwrap().note(&key(2), told, false);
        assert_eq!(order(&turn), [2, 7, 1]);
        let known: Vec<_> = turn.session().partitions().map(|(_, _, told)| *told).collect();
        assert_eq!(known, [told, Told::NOTHING, told]);
        // The last one that is forgotten ends the session.
        assert!(matches!(open(&sessions, id, 2, (&[], &[1, 2, 7])), Ok(Opened::Sessionless)));
        let gone = open(&sessions, id, 3, (&[], &[]));
        assert_eq!(gone.unwrap_err(), ResponseError::FetchSessionIdNotFound);
    }

    #[test]
    fn epochs_and_ids_must_be_right() {
        let sessions = FetchSessions::new(10);
        let id = create(&sessions, 3, 0);
        let wrong = open(&sessions, id + 1, 1, (&[], &[]));
        assert_eq!(wrong.unwrap_err(), ResponseError::FetchSessionIdNotFound);
        let wrong = open(&sessions, id, 2, (&[], &[]));
        assert_eq!(wrong.unwrap_err(), ResponseError::InvalidFetchSessionEpoch);
        let request = SessionRequest { id, epoch: 1, uses_topic_ids: true };
        let wrong = sessions.open(request, &Named::default(), 0);
        assert_eq!(wrong.unwrap_err(), ResponseError::FetchSessionTopicIdError);
        let Ok(Opened::Incremental(first)) = open(&sessions, id, 1, (&[], &[])) else {
            panic!("it is one of its session");
        };
        assert!(first.finish().is_ok());
        let Ok(Opened::Incremental(second)) = open(&sessions, id, 2, (&[], &[])) else {
            panic!("it is one of its session");
        };
        assert_eq!(first.finish().unwrap_err(), ResponseError::InvalidFetchSessionEpoch);
        assert!(second.finish().is_ok());
        // A whole request ends it.
        assert!(matches!(open(&sessions, id, 0, (&[], &[])), Ok(Opened::Full)));
        assert!(open(&sessions, id, 3, (&[], &[])).is_err());
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn a_larger_session_takes_the_place_of_an_old_one() {
        let sessions = FetchSessions::new(2);
        let (small, large) = (create(&sessions, 2, 0), create(&sessions, 5, 0));
        assert_eq!(create(&sessions, 9, EVICTION_MS), 0, "both are new and used");
        let touch = |id, epoch, now_ms| {
            let request = SessionRequest { id, epoch, uses_topic_ids: false };
            sessions.open(request, &Named::default(), now_ms).map(|_| ())
        };
        touch(small, 1, EVICTION_MS + 1).unwrap();
        touch(large, 1, EVICTION_MS + 1).unwrap();
        assert_eq!(create(&sessions, 2, EVICTION_MS + 2), 0, "it is not larger");
        assert_ne!(create(&sessions, 3, EVICTION_MS + 2), 0);
        assert!(touch(small, 2, EVICTION_MS + 3).is_err(), "the smallest went");
        touch(large, 2, EVICTION_MS + 3).unwrap();
        // One that nobody uses goes for any.
        assert_ne!(create(&sessions, 1, 2 * EVICTION_MS + 3), 0);
        touch(large, 3, 2 * EVICTION_MS + 3).unwrap();
        assert_eq!(FetchSessions::new(0).most, 0);
        assert_eq!(create(&FetchSessions::new(0), 1, 0), 0);
    }

    proptest! {
        #[test]
        fn the_books_of_the_cache_are_right(
            steps in proptest::collection::vec((0u8..4, 1i32..12, 0i32..6, 0i64..90_000), 1..120),
        ) {
            let sessions = FetchSessions::new(4);
            let mut epochs: HashMap<i32, i32> = HashMap::new();
            let mut now = 0;
            for (kind, id, count, later) in steps {
                now += later;
                match kind {
                    0 => {
                        let id = create(&sessions, count, now);
                        if id != 0 {
                            epochs.insert(id, 1);
                        }
                    }
                    1 => {
                        let request = SessionRequest { id, epoch: 0, uses_topic_ids: false };
                        let _ = sessions.open(request, &Named::default(), now);
                    }
                    _ => {
                        let epoch = epochs.get(&id).copied().unwrap_or(1);
                        let mut named = Named::default();
                        if kind == 2 {
                            named.asked = (0..count).map(|at| (key(at), ASKED)).collect();
                        } else {
                            named.forgotten = (0..count).map(key).collect();
                        }
                        let request = SessionRequest { id, epoch, uses_topic_ids: false };
                        if let Ok(Opened::Incremental(turn)) =
                            sessions.open(request, &named, now)
                        {
                            epochs.insert(id, epoch + 1);
                            prop_assert!(turn.session().partitions().count() > 0);
                        }
                    }
                }
                let cache = sessions.cache.lock();
                prop_assert!(cache.slots.len() <= 4);
                prop_assert_eq!(cache.used.len(), cache.slots.len());
                let sizes = cache.slots.values().map(|slot| slot.session.lock().places.len());
                prop_assert_eq!(cache.partitions, sizes.sum::<usize>());
                for (size, id) in &cache.evictable {
                    prop_assert_eq!(cache.slots[id].size, *size);
                }
            }
        }
    }
}
