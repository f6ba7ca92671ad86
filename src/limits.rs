//! Every limit that no configuration key sets, with what relates them checked at compile time.

use std::time::Duration;

/// Connections of one listener, however high the configuration sets its own cap.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Connections that wait in the kernel for an accept: room for a storm of clients. Linux lowers it to
/// `net.core.somaxconn`, 4,096 unless it is set.
pub const LISTEN_BACKLOG: i32 = 16_384;

/// Connections that an accept loop takes before others have their turn.
pub const ACCEPTS_PER_TURN: u64 = 4_096;

/// The first pause of an accept loop that ran out of file descriptors or memory.
pub const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(5);

/// The longest pause of an accept loop that ran out of file descriptors or memory.
pub const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How often one listener says that it refuses connections.
pub const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long a stop waits for what is in flight.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// The part of it that is kept for the coordinator when a broker of the same process stops first.
pub const COORDINATOR_DRAIN_RESERVE: Duration = Duration::from_secs(1);

/// With fewer files that may be open, a start says so.
pub const OPEN_FILES_ENOUGH: u64 = 4_096;

/// Connections of the HTTP endpoint.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// How long an HTTP connection lives without an answer being sent on it.
pub const HTTP_IDLE_MAX: Duration = Duration::from_secs(90);

/// The longest configuration file, in bytes.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// How often histograms are folded into their buckets when nobody scrapes.
pub const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Bytes of nodes that a snapshot in progress keeps because writes changed them before it came to
/// them. Beyond it the snapshot is given up.
pub const SNAPSHOT_BUFFER_MAX: usize = 256 << 20;

/// How long after a snapshot that could not be written, as on a full disk, the next one is tried.
pub const SNAPSHOT_RETRY: Duration = Duration::from_secs(60);

/// Bytes of transactions that may wait for one fsync: the most that a power cut can tear at the end
/// of the log, so that a tear with whole records further behind it is damage.
pub const LOG_BATCH_BYTES: usize = 4 << 20;

/// Elements of all arrays of one Kafka request together. A decoded element takes some hundred bytes,
/// its shortest form on the wire two.
pub const KAFKA_REQUEST_ELEMENTS_MAX: usize = 1_000_000;

/// Elements of all arrays of one Kafka answer that is read here: half a million partitions with three
/// replicas each.
pub const KAFKA_ANSWER_ELEMENTS_MAX: usize = 4_000_000;

/// The longest Kafka answer that is read whole, in bytes.
pub const KAFKA_ANSWER_BYTES_MAX: usize = 128 << 20;

/// Tagged fields that this version does not know, in one Kafka request.
pub const KAFKA_UNKNOWN_TAGS_MAX: usize = 1_000;

/// Bytes that a Kafka connection reads ahead while an earlier request is being answered.
pub const KAFKA_READ_AHEAD_BYTES: usize = 64 << 10;

/// Bytes of answers to pipelined requests that are collected for one write.
pub const KAFKA_WRITE_BURST_BYTES: usize = 64 << 10;

/// A Kafka response body from this length on is written from where it is, not copied first.
pub const KAFKA_COPY_MAX: usize = 16 << 10;

/// Bytes of a log that are sent by one system call, while other connections wait for their thread.
pub const KAFKA_SEND_FILE_BYTES: usize = 1 << 20;

/// Bytes that the records of one batch may decompress to while they are checked.
pub const DECOMPRESSED_BATCH_BYTES_MAX: u64 = 512 << 20;

/// Compressed batches above this size are checked outside of the connections' workers.
pub const INLINE_DECOMPRESSION_BYTES_MAX: usize = 64 << 10;

/// Bytes of records in one Fetch answer, however much the client would take: what a slow consumer
/// holds in memory. A first batch that is larger comes whole.
pub const FETCH_RESPONSE_BYTES_MAX: usize = 8 << 20;

/// Partitions of all fetch sessions together; beyond it consumers name theirs each time.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 1_000_000;

/// Idempotent producers that one log remembers; beyond it those with the oldest batches are
/// forgotten.
pub const PRODUCERS_PER_LOG_MAX: usize = 100_000;

/// Files of removed segments and topics that wait to be deleted; what is above it is deleted at
/// the next start.
pub const PENDING_REMOVALS_MAX: usize = 1_000_000;

/// Paths of one multi read: a hundred read ten times as fast as one by one, and their answer stays
/// far below what a frame may be.
pub const MULTI_READ_PATHS: usize = 100;

/// Paths of the first multi reads, before it shows how big the znodes are.
pub const MULTI_READ_PATHS_FIRST: usize = 25;

/// Bytes of data that the answer to one multi read is expected to have at most.
pub const MULTI_READ_BYTES: usize = 1 << 20;

/// Multi reads of one full read that are under way at the same time.
pub const MULTI_READS_IN_FLIGHT: usize = 16;

/// Single reads of a server without multi reads that are sent together.
pub const SINGLE_READS_IN_BATCH: usize = 50;

/// Such batches that are under way at the same time: ZooKeeper queues a thousand requests.
pub const SINGLE_READ_BATCHES: usize = 16;

/// One-shot watches for znodes that are gone, such as the states of deleted topics, above those of
/// the first read: beyond, the session is made anew.
pub const WATCHES_OF_ABSENT_MAX: usize = 10_000;

/// How often a session's probe may end with its connection before the server is taken for one that
/// answers so because it is old.
pub const PROBES_CUT_MAX: u32 = 3;

/// Topics whose znodes are in memory as they were read, before they become part of an image.
pub const TOPICS_READ_AT_ONCE: usize = 1_000;

/// Changes of one image that make it a burst: what follows is gathered before it is read.
pub const BURST_CHANGES: usize = 64;

/// Changes of a burst come so close after each other.
pub const BURST_QUIET: Duration = Duration::from_millis(10);

/// How long the changes of a burst are gathered at most: a controller tells its brokers, too, only
/// when it has written them all.
pub const BURST_GATHER_MAX: Duration = Duration::from_millis(250);

/// Znodes that an observer remembers to have named in the log as not understood.
pub const ZNODES_NAMED_MAX: usize = 10_000;

/// How often the image is written to disk at most.
pub const IMAGE_SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// How often an image on disk that did not change is marked as current.
pub const IMAGE_MARK_INTERVAL: Duration = Duration::from_secs(30);

/// Bytes of an image on disk: more is not read.
pub const IMAGE_FILE_BYTES_MAX: u64 = 4 << 30;

/// Operations of one multi that the controller writes: a path of 250 characters and a state each
/// stay below half of the coordinator's default `jute.maxbuffer`.
pub const MULTI_WRITE_OPERATIONS: usize = 500;

/// How many entries the coordinator client's list of servers has at least. Within one turn through
/// it the client tries every 50 ms × place, at most 0.75 s apart.
pub const COORDINATOR_TRIES: usize = 16;

/// The first pause before a session that ended is made anew.
pub const SESSION_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest pause before a session that ended is made anew.
pub const SESSION_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A coordinator's `tickTime`, which clients are not told: ZooKeeper's default. A session is
/// expired at most one tick late, and one more is for the way.
pub const COORDINATOR_TICK: Duration = Duration::from_secs(3);

/// The longest that a write to the coordinator is tried, reconnects included.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that a client waits for a producer id: below the 30 s of its request timeout.
pub const PRODUCER_ID_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest that a stopping broker waits for its session to be closed.
pub const SESSION_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often log start offsets and recovery points are written, as Kafka's
/// `log.flush.offset.checkpoint.interval.ms`.
pub const LOG_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Partitions that a topic can have: its assignment, some 12 to 20 bytes for each, must fit into
/// one znode of the default `jute.maxbuffer` of a megabyte.
pub const TOPIC_PARTITIONS_MAX: i32 = 50_000;

/// How long notifications of changed configuration stay below `/config/changes`, as Kafka's
/// (`ZkNodeChangeNotificationListener`, 15 minutes).
pub const CONFIG_CHANGE_RETENTION: Duration = Duration::from_secs(15 * 60);

/// How long the controller waits for its own writes to show in its image before it plans anew.
pub const CONTROLLER_SETTLE: Duration = Duration::from_secs(2);

/// How often the controller looks at what no watch tells it.
pub const CONTROLLER_TICK: Duration = Duration::from_secs(30);

const _: () = assert!(SESSION_BACKOFF_MIN.as_millis() < SESSION_BACKOFF_MAX.as_millis());

/// The coordinator's input buffer of a connection that sends small requests, in bytes.
pub const INPUT_BYTES_MIN: usize = 8 << 10;

/// The longest input buffer that a thread of the coordinator's connections keeps for the next one that
/// something comes for, in bytes.
pub const INPUT_BYTES_KEPT: usize = 64 << 10;

/// Bytes of replies after which they are sent before more requests are answered.
pub const OUTPUT_BYTES_FLUSH: usize = 256 << 10;

/// The longest output buffer that such a thread keeps, in bytes.
pub const OUTPUT_BYTES_KEPT: usize = 64 << 10;

/// Bytes that may wait for a coordinator's client before something more is put behind them: a client
/// that reads too slowly for its watches is cut off beyond it.
pub const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Requests that a connection hands to the coordinator's writer at once.
pub const JOBS_PER_SUBMIT: usize = 32;

/// Threads of the coordinator's connections at most, however many cores there are.
pub const IO_THREADS_MAX: usize = 16;

/// A batch that answers so many connections or fewer is sent by the coordinator's writer itself,
/// which is quicker than to wake the threads of the connections.
pub const DIRECT_SENDS_MAX: usize = 4;

/// Connections that one of these threads sends answers to before it looks at its sockets again.
pub const DELIVERIES_PER_TURN: usize = 128;

/// Reads of one connection that wait with the writer behind a write of the same session.
pub const DEFERRED_READS_MAX: usize = 16;

/// Requests of one connection that the coordinator's writer takes although it has as many as
/// `globalOutstandingLimit` allows.
pub const OUTSTANDING_OF_ONE: usize = 16;

/// Bytes of requests that are with the coordinator's writer before sockets are left unread.
pub const OUTSTANDING_BYTES_MAX: usize = 64 << 20;

/// Identities that one connection may prove.
pub const IDENTITIES_MAX: usize = 100;

/// Bytes of audit lines that wait for their file; what comes on top is counted and dropped.
pub const AUDIT_BYTES_MAX: usize = 4 << 20;

/// How often an audit log says that it can't be written.
pub const AUDIT_COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes of one token of a SASL exchange, as the JDK's DIGEST-MD5 has it.
pub const SASL_TOKEN_BYTES_MAX: usize = 4_096;

/// Bytes of the answer to a four-letter word, and of the lists in an answer of the AdminServer: what
/// is beyond is left out, and said to be.
pub const COMMAND_OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Top-level znodes that ZooKeeper's per-namespace metrics tell apart.
pub const NAMESPACES_MAX: usize = 100;

/// Watches that one connection may have; beyond it the connection is closed.
pub const WATCHES_PER_CONNECTION_MAX: usize = 1 << 20;

/// Bytes of the paths that they are on.
pub const WATCH_BYTES_PER_CONNECTION_MAX: usize = 128 << 20;

/// Reads in one `multiRead`.
pub const MULTI_READ_OPERATIONS_MAX: usize = 10_000;

/// Bytes of names and data in the answer to one `multiRead`.
pub const MULTI_READ_BYTES_MAX: usize = 16 << 20;

/// How long a coordinator waits for the handshake of a new connection.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest handshake of a client, in bytes.
pub const HANDSHAKE_BYTES_MAX: usize = 4 << 10;

/// How long a large request may take to arrive, its wait for memory included: a megabyte at 35 kB/s.
pub const LARGE_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that may wait for coordinator's clients that don't read, all together; beyond it those
/// that have read nothing for the longest time are cut off.
pub const OUTPUT_BYTES_TOTAL_MAX: usize = 512 << 20;

/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often files of certificates are looked at for a change.
pub const TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The longest key or trust store, in bytes: some thousand certificates.
pub const STORE_FILE_BYTES_MAX: u64 = 16 << 20;

/// How long a connection that the coordinator closes is read on, so that its last replies arrive.
pub const LINGER: Duration = Duration::from_millis(250);

/// How long a coordinator tries to send what a connection that it closes is owed.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long sockets are read before a session whose time is over is expired.
pub const EXPIRY_READING: Duration = Duration::from_millis(50);

/// Containers and TTL nodes that one sweep deletes; the next one takes what is left.
pub const SWEEP_NODES_MAX: usize = 100_000;

/// Containers and TTL nodes that a sweep looks at before it lets the writer in.
pub const SWEEP_STEP: usize = 4_096;

/// The shortest time between two sweeps.
pub const SWEEP_PAUSE_MIN: Duration = Duration::from_millis(1);

/// How often a soft quota is warned of.
pub const QUOTA_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How late the session timer may be, in milliseconds, before sockets are read for up to a tick.
pub const EXPIRY_LATE_MS: u64 = 100;

/// The longest time that sockets are read first.
pub const EXPIRY_GRACE_MAX: Duration = Duration::from_secs(1);

/// How long the prompt of `doorkeeper zk` waits for the names that complete a path.
pub const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

/// How many images an encoded answer outlives that nobody asks for any more.
pub const IMAGES_KEPT: u64 = 100;

/// Bytes of encoded topics that are kept for the clients of one listener and version.
pub const KAFKA_RESPONSE_CACHE_BYTES: usize = 64 << 20;

/// Answers that one client of a gateway is owed before its requests are left unread.
pub const GATEWAY_OWED_MAX: usize = 1_000;

/// Bytes of answers made by a gateway that one client is owed before its requests are left unread.
pub const GATEWAY_OWED_BYTES_MAX: usize = 1 << 20;

/// Brokers that are tried for one upstream.
pub const GATEWAY_UPSTREAM_TRIES: usize = 3;

/// How long a gateway waits for a connection to a broker, as Kafka's
/// `socket.connection.setup.timeout.ms`.
pub const GATEWAY_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gateway waits for the answer to a question of its own.
pub const GATEWAY_EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the answer to a gateway's `ApiVersions`.
pub const GATEWAY_VERSIONS_BYTES_MAX: usize = 1 << 20;

/// How long a client waits for the first broker to say what it offers.
pub const GATEWAY_VERSIONS_PATIENCE: Duration = Duration::from_secs(5);

/// How often a broker that did not say what it offers is asked again.
pub const GATEWAY_VERSIONS_RETRY: Duration = Duration::from_secs(1);

/// How long what a broker said of its offer is good.
pub const GATEWAY_VERSIONS_REFRESH: Duration = Duration::from_secs(60);

/// Records of a consumer group's that are written in one batch.
pub const GROUP_RECORDS_IN_BATCH: usize = 1_000;

/// Bytes of `__consumer_offsets` that are read at once when groups are loaded.
pub const GROUPS_READ_BYTES: usize = 1 << 20;

/// Damaged records of one log that are named in the log of the process.
pub const RECORDS_NAMED_MAX: usize = 10;

/// The version of Produce that the broker's own records are checked as.
pub const INTERNAL_PRODUCE_VERSION: i16 = 11;

/// How often the files of a configuration are looked at.
pub const CONFIGURATION_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The largest buffer that a connection keeps while nothing comes, in bytes.
pub const READ_KEPT_BYTES: usize = 8 << 10;

/// The room that a gateway's connection reads into at first, in bytes.
pub const GATEWAY_READ_MIN: usize = READ_KEPT_BYTES;

/// The most room that it reads into where much comes.
pub const GATEWAY_READ_MAX: usize = 128 << 10;

/// Of an answer that is passed on, so many bytes or more that are still to come are left to the kernel.
pub const GATEWAY_SPLICE_MIN: usize = 64 << 10;

/// Bytes of one connection that the kernel passes on while others wait for their thread.
pub const GATEWAY_SPLICE_BYTES: usize = 1 << 20;

/// Answers that are left to the kernel at the same time: each takes a pipe, which is two open files.
pub const GATEWAY_PIPES_MAX: usize = 256;

/// The longest request that a gateway reads whole to answer it; a longer one is passed on.
pub const GATEWAY_QUESTION_BYTES_MAX: usize = 16 << 20;

/// Whole requests and answers up to this length don't count as held.
pub const GATEWAY_SMALL_BYTES: usize = 64 << 10;

/// The longest answer of an upstream that is rewritten.
pub const GATEWAY_ANSWER_BYTES_MAX: usize = 100 << 20;

/// The longest answer to `Metadata` that a page of `DescribeTopicPartitions` is made of.
pub const GATEWAY_DESCRIBED_BYTES_MAX: usize = 16 << 20;

/// How often the bytes of such an answer are in memory, decoded.
pub const GATEWAY_DECODED_COPIES: usize = 10;

/// Bytes of whole requests, and as many of whole answers, that a gateway holds.
pub const GATEWAY_HELD_BYTES_MAX: usize = 256 << 20;

/// How long a gateway holds a request that is not whole; then it is passed on. How long an upstream may
/// take for an answer that is held, and a client to read one, at [`GATEWAY_READ_RATE_MIN`] besides.
pub const GATEWAY_HELD_PATIENCE: Duration = Duration::from_secs(30);

/// How many bytes a second a client reads at least of an answer that is held for it.
pub const GATEWAY_READ_RATE_MIN: usize = 128 << 10;

/// How long an upstream with a client's login is idle before the gateway asks it something, while the
/// client is not: under a third of Kafka's default `connections.max.idle.ms`.
pub const GATEWAY_KEEP_ALIVE: Duration = Duration::from_secs(180);

/// The longest answer to a question of the gateway's own between a client's.
pub const GATEWAY_OWN_BYTES_MAX: usize = 1 << 20;

/// The most rounds of SCRAM that a gateway does for its own login.
pub const SCRAM_ROUNDS_MAX: u32 = 1_000_000;

/// How long a connection that a gateway ends waits for the answers that are on their way.
pub const GATEWAY_LINGER: Duration = Duration::from_secs(5);

/// The longest message of a login that is read, as Kafka's `sasl.server.max.receive.size`.
pub const GATEWAY_LOGIN_BYTES_MAX: usize = 512 << 10;

/// How often one question is taken up again because of what was found out meanwhile.
pub const GATEWAY_QUESTION_ROUNDS: usize = 4;

/// The newest version of `Metadata` that brokers kept in `ZooKeeper` have.
pub const GATEWAY_METADATA_ASSUMED: i16 = 12;

/// Bytes before the `acks` of a `Produce` request.
pub const GATEWAY_PRODUCE_HEADER_MAX: usize = 128 << 10;

/// Missing topics of one question that are looked up here; with more of them it is passed on.
pub const GATEWAY_MISSING_NAMES_MAX: usize = 64;

/// How long it is known that a topic is missing.
pub const GATEWAY_MISSING_FOR: Duration = Duration::from_secs(1);

/// Topics that are known to be missing.
pub const GATEWAY_MISSING_MAX: usize = 10_000;

/// Bytes of a broker's answer to a question for one topic.
pub const GATEWAY_ASKED_BYTES_MAX: usize = 16 << 20;

/// How long the image is waited for to show what a broker or a znode has shown already.
pub const GATEWAY_SHOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Files that a gateway keeps for other things than clients and their brokers: relay ports, sessions
/// with coordinators, its own questions, the HTTP endpoint. Where few may be open, a quarter of them.
pub const GATEWAY_FILES_RESERVED: usize = 1_024;

/// Addresses whose request rates are told apart.
pub const GATEWAY_RATED_ADDRESSES_MAX: usize = 100_000;

/// The longest that a client is not read for its rate's sake, before it is looked again.
pub const GATEWAY_DELAY_MAX: Duration = Duration::from_secs(1);

/// How long the header of the PROXY protocol may take: it is what a load balancer sends first.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the port of a broker that could not be had is tried again.
pub const GATEWAY_PORT_RETRY: Duration = Duration::from_secs(10);

const _: () = assert!(GATEWAY_KEEP_ALIVE.as_secs() < 200);
const _: () =
    assert!(GATEWAY_DECODED_COPIES * GATEWAY_DESCRIBED_BYTES_MAX <= GATEWAY_HELD_BYTES_MAX);
const _: () = assert!(2 * GATEWAY_ANSWER_BYTES_MAX <= GATEWAY_HELD_BYTES_MAX);
const _: () = assert!(GATEWAY_QUESTION_BYTES_MAX <= GATEWAY_HELD_BYTES_MAX);
const _: () = assert!(ACCEPT_BACKOFF_MIN.as_millis() < ACCEPT_BACKOFF_MAX.as_millis());
const _: () = assert!(ACCEPT_BACKOFF_MAX.as_millis() < DRAIN_GRACE.as_millis());
const _: () = assert!(COORDINATOR_DRAIN_RESERVE.as_millis() < DRAIN_GRACE.as_millis());
const _: () = assert!(HTTP_CONNECTIONS_MAX < CONNECTIONS_MAX);
const _: () = assert!(LOG_BATCH_BYTES >= crate::zookeeper::txn::record::RECORD_MAX);
const _: () = assert!(KAFKA_COPY_MAX < KAFKA_WRITE_BURST_BYTES);
const _: () = assert!(INPUT_BYTES_MIN <= INPUT_BYTES_KEPT);
const _: () = assert!(OUTPUT_BYTES_FLUSH < OUTPUT_BYTES_MAX);
const _: () = assert!(OUTPUT_BYTES_MAX < OUTPUT_BYTES_TOTAL_MAX);
const _: () = assert!(HANDSHAKE_BYTES_MAX <= INPUT_BYTES_MIN);
