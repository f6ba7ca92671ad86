//! ZooKeeper's metrics that are 0 on every standalone server: what they count happens between the
//! members of an ensemble, or in caches and cleaners that doorkeeper doesn't have. Dashboards expect
//! them to be there.

/// Counters.
pub(super) const COUNTERS: [&str; 25] = [
    "add_dead_watcher_stall_time",
    "cnxn_closed_without_zk_server_running",
    "commit_count",
    "connection_revalidate_count",
    "dead_watchers_cleared",
    "dead_watchers_queued",
    "diff_count",
    "ensemble_auth_fail",
    "ensemble_auth_skip",
    "ensemble_auth_success",
    "learner_commit_received_count",
    "learner_proposal_received_count",
    "looking_count",
    "proposal_count",
    "quit_leading_due_to_disloyal_voter",
    "request_commit_queued",
    "requests_not_forwarded_to_commit_processor",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    "revalidate_count",
    "skip_learner_request_to_next_processor_count",
    "snap_count",
    "unrecoverable_error_count",
];

/// Summaries without quantiles in `mntr`.
pub(super) const SUMMARIES: [&str; 24] = [
    "commit_commit_proc_req_queued",
    "commit_process_time",
    "concurrent_request_processing_in_commit_processor",
    "election_time",
    "follower_sync_time",
    "inflight_diff_count",
    "inflight_snap_count",
    "leader_unavailable_time",
    "learner_request_processor_queue_size",
    "netty_queued_buffer_capacity",
    "observer_sync_time",
    "pending_session_queue_size",
    "read_commit_proc_issued",
    "read_commit_proc_req_queued",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "requests_in_session_queue",
    "session_queues_drained",
    "socket_closing_time",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "unavailable_time",
    "write_batch_time_in_commit_processor",
    "write_commit_proc_issued",
    "write_commit_proc_req_queued",
];

/// Summaries with quantiles.
pub(super) const DISTRIBUTIONS: [&str; 13] = [
    "commit_propagation_latency",
    "dead_watchers_cleaner_latency",
    "local_write_committed_time_ms",
    "om_commit_process_time_ms",
    "om_proposal_process_time_ms",
    "proposal_ack_creation_latency",
    "proposal_latency",
    "quorum_ack_latency",
    "read_commitproc_time_ms",
    "read_final_proc_time_ms",
    "server_write_committed_time_ms",
    "write_commitproc_time_ms",
    "write_final_proc_time_ms",
];

/// Summaries with a key, which have no key here.
pub(super) const SETS: [&str; 3] =
    ["ack_latency", "learner_handler_qp_size", "learner_handler_qp_time_ms"];
