//! The coordinator's configuration, after parsing: `zoo.cfg` keys as typed values.

use std::path::PathBuf;
use std::time::Duration;

use super::ListenAddress;

/// What a coordinator is started with. Defaults are Apache ZooKeeper's.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// `clientPort` and `clientPortAddress`.
    pub client_address: ListenAddress,
    /// `dataDir`: snapshots (and logs, unless `data_log_dir` differs) go to its `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`, `dataDir` unless set.
    pub data_log_dir: PathBuf,
    /// `tickTime`.
    pub tick_time: Duration,
    /// `minSessionTimeout`, 2 ticks unless set.
    pub min_session_timeout: Duration,
    /// `maxSessionTimeout`, 20 ticks unless set.
    pub max_session_timeout: Duration,
    /// `maxClientCnxns`: connections from one address; 0 = no limit.
    pub max_client_cnxns: usize,
    /// `maxCnxns`: connections in all; 0 = no limit.
    pub max_cnxns: usize,
    /// `jute.maxbuffer`: the longest request, in bytes.
    pub jute_max_buffer: usize,
    /// `snapCount`: transactions between two snapshots.
    pub snap_count: u64,
    /// `snapSizeLimitInKb` in bytes: log bytes between two snapshots; 0 = no limit.
    pub snap_size_limit: u64,
    /// `preAllocSize` in bytes: how far ahead the log file is allocated.
    pub pre_alloc_size: u64,
    /// `autopurge.snapRetainCount`.
    pub snap_retain_count: usize,
    /// `autopurge.purgeInterval`, in hours; zero = never.
    pub purge_interval: Duration,
    /// `forceSync`: fsync the log before a write is acknowledged.
    pub force_sync: bool,
    /// `globalOutstandingLimit`: requests in the pipeline before sockets are left unread.
    pub global_outstanding_limit: usize,
    /// `4lw.commands.whitelist`; `*` allows all.
    pub four_letter_whitelist: Vec<String>,
    /// `digest.enabled`: keep the tree digest and write it to log and snapshots.
    pub digest_enabled: bool,
    /// `trustEmptySnapshot` (`snapshot.trust.empty`): logs without a snapshot are no damage.
    pub trust_empty_snapshot: bool,
    /// `skipACL`: check no ACL.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`: `super:<base64 sha1>`.
    pub super_digest: Option<String>,
    /// `doorkeeper.znode.depth.max`: creates deeper than this are refused.
    pub znode_depth_max: usize,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        let tick_time = Duration::from_millis(3_000);
        CoordinatorConfig {
            client_address: ListenAddress { host: String::new(), port: 2181 },
            data_dir: PathBuf::from("doorkeeper-data/coordinator"),
            data_log_dir: PathBuf::from("doorkeeper-data/coordinator"),
            tick_time,
            min_session_timeout: tick_time * 2,
            max_session_timeout: tick_time * 20,
            max_client_cnxns: 60,
            max_cnxns: 0,
            jute_max_buffer: 0xf_ffff,
            snap_count: 100_000,
            snap_size_limit: 4_194_304 * 1024,
            pre_alloc_size: 64 << 20,
            snap_retain_count: 3,
            purge_interval: Duration::ZERO,
            force_sync: true,
            global_outstanding_limit: 1_000,
            four_letter_whitelist: vec!["srvr".to_owned()],
            digest_enabled: true,
            trust_empty_snapshot: false,
            skip_acl: false,
            super_digest: None,
            znode_depth_max: 1_000,
        }
    }
}
