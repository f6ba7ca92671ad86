//! Which requests the writer carries out, and when: so many at once, none that nobody waits for any
//! more, none that waited too long (ZooKeeper's `RequestThrottler`).

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::queue::{Job, Task};
use crate::config::RequestThrottleConfig;
use crate::zookeeper::state::State;
use crate::zookeeper::stats::microseconds;

/// The throttle before the writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throttle(RequestThrottleConfig);

impl Throttle {
    pub(super) fn new(config: RequestThrottleConfig) -> Self {
        Throttle(config)
    }

    /// Takes what is not to be carried out from a batch that was taken at `now`. Whoever asked for it
    /// is disconnected, so that none of its later requests is carried out either: they stay in order.
    pub(super) fn sift(&self, batch: &mut Vec<Job>, state: &State, now: Instant) {
        let server = &state.stats.server;
        let held_back = self.0.max_requests.is_some_and(|max| batch.len() >= max);
        if held_back && state.queue.depth() > 0 {
            server.request_throttle_wait_count.fetch_add(1, Ordering::Relaxed);
        }
        server.prep_processor_queue_size.record(batch.len() as u64, 1);
        server.prep_processor_request_queued.fetch_add(batch.len() as u64, Ordering::Relaxed);
        // With a limit, the queue is the throttle's; without one, requests wait for the writer alone.
        let queue_time = match self.0.max_requests {
            Some(_) => &server.request_throttle_queue_time_ms,
            None => &server.prep_processor_queue_time_ms,
        };
        let drops_stale = self.0.max_requests.is_some() && self.0.drop_stale;
        let (mut requests, mut bytes) = (0, 0);
        batch.retain(|job| {
            queue_time.record(microseconds(now.duration_since(job.received)), 1);
            let Some(connection) = &job.connection else { return true };
            let stale = self.is_stale(job, now);
            if connection.is_invalid() || stale && drops_stale {
                connection.invalidate();
                connection.answered();
                server.stale_requests_dropped.fetch_add(u64::from(stale), Ordering::Relaxed);
                (requests, bytes) = (requests + 1, bytes + job.bytes);
                return false;
            }
            server.stale_requests.fetch_add(u64::from(stale), Ordering::Relaxed);
            true
        });
        if requests > 0 {
            state.queue.done(requests, bytes);
        }
    }

    /// Whether nobody waits for a request any more (`Request.isStale`). The end of a session is what
    /// clears it away, so that it is always waited for.
    pub(super) fn is_stale(&self, job: &Job, now: Instant) -> bool {
        let Some(connection) = &job.connection else { return false };
        if matches!(job.task, Task::CloseSession) {
            return false;
        }
        self.0.stale_connection_check && (connection.is_gone() || connection.is_invalid())
            || self.0.stale_latency_check
                && now.duration_since(job.received).as_millis()
                    > u128::from(job.session.timeout_ms())
    }

    /// Whether a request waited longer than `throttled_op_wait_time` and is refused for it; sessions
    /// begin and end however long they wait.
    pub(super) fn refuses(&self, job: &Job, now: Instant) -> bool {
        self.0.op_wait.is_some_and(|longest| {
            job.op.is_some()
                && !matches!(job.task, Task::CloseSession)
                && now.duration_since(job.received) > longest
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use metrics::Counter;

    use super::*;
    use crate::config::CoordinatorConfig;
    use crate::limits;
    use crate::zookeeper::connection::handle::ConnectionHandle;
    use crate::zookeeper::connection::output::OutputTotal;
    use crate::zookeeper::proto::OpCode;
    use crate::zookeeper::session::SessionTracker;
    use crate::zookeeper::storage::{Storage, StorageConfig};

    const OFF: RequestThrottleConfig = RequestThrottleConfig::DEFAULT;

    fn connection(id: u64) -> Arc<ConnectionHandle> {
        let output = OutputTotal::new(limits::OUTPUT_BYTES_TOTAL_MAX, Counter::noop());
        let peer = "127.0.0.1:1".parse().unwrap();
        Arc::new(ConnectionHandle::new(id, peer, None, output))
    }

    /// A request of a session with a timeout of one second.
    fn job(task: Task, connection: &Arc<ConnectionHandle>) -> Job {
        connection.add_pending(1);
        Job {
            task,
            op: Some(OpCode::Sync),
            xid: 1,
            session: SessionTracker::new(1, 1).create(1_000, 0),
            connection: Some(Arc::clone(connection)),
            identities: Arc::from([]),
            received: Instant::now(),
            sampled: false,
            bytes: 10,
            room: None,
        }
    }

    #[test]
    fn what_is_stale_is_what_the_keys_say() {
        let (here, gone) = (connection(1), connection(2));
        gone.set_gone();
        let by_connection = Throttle::new(OFF);
        let by_nothing =
            Throttle::new(RequestThrottleConfig { stale_connection_check: false, ..OFF });
        let by_latency = Throttle::new(RequestThrottleConfig {
            stale_connection_check: false,
            stale_latency_check: true,
            ..OFF
        });
        let asked = job(Task::Sync(None), &gone);
        let now = asked.received;
        assert!(by_connection.is_stale(&asked, now));
        assert!(!by_nothing.is_stale(&asked, now));
        assert!(!by_connection.is_stale(&job(Task::CloseSession, &gone), now));
        let asked = job(Task::Sync(None), &here);
        assert!(!by_connection.is_stale(&asked, now));
        let later = |ms| asked.received + Duration::from_millis(ms);
        assert!(!by_latency.is_stale(&asked, later(1_000)));
        assert!(by_latency.is_stale(&asked, later(1_001)));
        assert!(!by_connection.is_stale(&asked, later(1_001)));
    }

    /// What of a batch is carried out, by connection and task, and the state that counts it.
    fn sifted(config: RequestThrottleConfig) -> (Vec<u64>, State) {
        let directory = tempfile::tempdir().unwrap();
        let config = CoordinatorConfig {
            data_dir: directory.path().to_owned(),
            data_log_dir: directory.path().to_owned(),
            request_throttle: config,
            ..CoordinatorConfig::default()
        };
        let (storage, database) = Storage::open(&StorageConfig::from(&config)).unwrap();
        let tracker = SessionTracker::new(1, 1);
        let state = State::new(config, database, tracker, storage.snapshot_writer());
        let (here, gone) = (connection(1), connection(2));
        gone.set_gone();
        state.queue.submit(&mut vec![
            job(Task::Sync(None), &here),
            job(Task::Sync(None), &gone),
            job(Task::Sync(None), &here),
            job(Task::CloseSession, &gone),
        ]);
        let mut batch = Vec::new();
        assert!(state.queue.take(&mut batch));
        let throttle = Throttle::new(state.config.request_throttle);
        throttle.sift(&mut batch, &state, Instant::now());
        assert_eq!(state.queue.outstanding() - state.queue.depth(), batch.len());
        (batch.iter().map(|job| job.connection.as_ref().unwrap().id()).collect(), state)
    }

    #[test]
    fn stale_requests_and_all_behind_them_are_dropped_where_there_is_a_limit() {
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let limited = RequestThrottleConfig { max_requests: Some(10), ..OFF };
        let (left, state) = sifted(limited);
        let server = &state.stats.server;
        assert_eq!(left, [1, 1], "the end of the session is behind what was dropped");
        assert_eq!((count(&server.stale_requests), count(&server.stale_requests_dropped)), (0, 1));
        assert_eq!(server.request_throttle_queue_time_ms.figures().count, 4);
        for keeps in [OFF, RequestThrottleConfig { drop_stale: false, ..limited }] {
            let (left, state) = sifted(keeps);
            let server = &state.stats.server;
            assert_eq!(left, [1, 2, 1, 2]);
            assert_eq!(
                (count(&server.stale_requests), count(&server.stale_requests_dropped)),
                (1, 0)
            );
        }
    }

    #[test]
    fn what_waits_behind_the_limit_is_counted() {
        let (left, state) = sifted(RequestThrottleConfig { max_requests: Some(3), ..OFF });
        assert_eq!(left, [1, 1]);
        assert_eq!(state.queue.depth(), 1);
        let server = &state.stats.server;
        assert_eq!(server.request_throttle_wait_count.load(Ordering::Relaxed), 1);
        let (_, state) = sifted(RequestThrottleConfig { max_requests: Some(4), ..OFF });
        let server = &state.stats.server;
        assert_eq!(server.request_throttle_wait_count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_operation_that_waited_too_long_is_refused_but_for_ends_of_sessions() {
        let here = connection(1);
        let throttle = Throttle::new(RequestThrottleConfig {
            op_wait: Some(Duration::from_millis(10)),
            ..OFF
        });
        for (task, op, expected) in [
            (Task::Sync(None), Some(OpCode::Sync), true),
            (Task::CloseSession, Some(OpCode::CloseSession), false),
            (Task::CreateSession { with_read_only: true }, None, false),
        ] {
            let asked = Job { op, ..job(task, &here) };
            let at = |ms| asked.received + Duration::from_millis(ms);
            assert!(!throttle.refuses(&asked, at(10)));
            assert_eq!(throttle.refuses(&asked, at(11)), expected, "{:?}", asked.task);
            assert!(!Throttle::new(OFF).refuses(&asked, at(60_000)));
        }
    }
}
