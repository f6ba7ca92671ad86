//! Sessions with the coordinator: where it is, how a session is made, and who shares one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::error::Elapsed;
use zookeeper_client::{Client, Error, SessionState, StateWatcher};

use super::credentials::{self, ConnectError};
use super::znode_acls::ZnodeAcls;
use crate::config::{BrokerConfig, CoordinatorAccess, GatewayConfig};
use crate::limits;

/// Where the coordinator is, and how long its sessions last.
#[derive(Debug, Clone, Default)]
pub struct Coordinator {
    /// `host:port[,host:port]`.
    pub connect: String,
    /// The chroot, or empty.
    pub chroot: String,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`.
    pub connection_timeout: Duration,
    /// What is shown to a coordinator that demands something.
    pub access: CoordinatorAccess,
    /// The ACLs of what is made there.
    pub acls: ZnodeAcls,
}

impl Coordinator {
    /// What the configuration says.
    pub fn of(config: &BrokerConfig) -> Self {
        Coordinator {
            connect: config.zookeeper_connect.clone(),
            chroot: config.zookeeper_chroot.clone(),
            session_timeout: config.zookeeper_session_timeout,
            connection_timeout: config.zookeeper_connection_timeout,
            access: config.access.clone(),
            acls: if config.set_acl { ZnodeAcls::Owned } else { ZnodeAcls::Open },
        }
    }

    /// What a gateway's configuration says.
    pub fn of_gateway(config: &GatewayConfig) -> Self {
        Coordinator {
            connect: config.zookeeper_connect.clone(),
            chroot: config.zookeeper_chroot.clone(),
            session_timeout: config.zookeeper_session_timeout,
            connection_timeout: config.zookeeper_connection_timeout,
            access: config.access.clone(),
            acls: ZnodeAcls::default(),
        }
    }

    /// Makes a session, in the chroot, which must be there.
    ///
    /// # Errors
    /// The last reason, when no server took it within the connection timeout.
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        let client = self.connect_outside_chroot().await?;
        self.enter_chroot(client)
    }

    /// Makes a session, and the chroot if it is not there yet.
    ///
    /// # Errors
    /// As for [`Coordinator::connect`].
    pub async fn connect_and_make_chroot(&self) -> Result<Client, ConnectError> {
        let client = self.connect_outside_chroot().await?;
        if !self.chroot.is_empty() && client.check_stat(&self.chroot).await?.is_none() {
            client.mkdir(&self.chroot, &self.acls.persistent(&self.chroot)).await?;
        }
        self.enter_chroot(client)
    }

    async fn connect_outside_chroot(&self) -> Result<Client, ConnectError> {
        let connector = Client::connector().with_session_timeout(self.session_timeout);
        let connector = credentials::equip(connector, &self.access).await?;
        let servers = self.servers();
        let connect = async {
            match self.access.tls {
                Some(_) => connector.secure_connect(&servers).await,
                None => connector.connect(&servers).await,
            }
        };
        let connected = tokio::time::timeout(self.connection_timeout, connect).await;
        match connected.unwrap_or(Err(Error::Timeout)) {
            Ok(client) => Ok(client),
            Err(error) => Err(credentials::explain(&self.access, &self.connect, error).await),
        }
    }

    fn enter_chroot(&self, client: Client) -> Result<Client, ConnectError> {
        if self.chroot.is_empty() {
            return Ok(client);
        }
        client
            .chroot(self.chroot.clone())
            .map_err(|_| ConnectError::Refused(format!("chroot {} is no path", self.chroot)))
    }

    /// The servers, each named several times: the client pauses after each turn through its list
    /// twice as long as after the last, which with a list of one would soon be longer than a
    /// session lasts.
    fn servers(&self) -> String {
        let count = self.connect.split(',').count();
        vec![self.connect.as_str(); limits::COORDINATOR_TRIES.div_ceil(count)].join(",")
    }
}

/// A session that others write through while it lasts. Clones share it.
///
/// The session closes when the last [`Client`] of it is dropped, so nobody keeps one for longer
/// than an operation.
#[derive(Debug, Clone)]
pub struct SharedSession {
    client: Arc<watch::Sender<Option<Client>>>,
    acls: ZnodeAcls,
}

impl Default for SharedSession {
    fn default() -> Self {
        SharedSession::new(ZnodeAcls::default())
    }
}

impl SharedSession {
    /// No session yet. Znodes that are made through it have these ACLs.
    pub fn new(acls: ZnodeAcls) -> Self {
        SharedSession { client: Arc::new(watch::Sender::new(None)), acls }
    }

    /// The ACLs of znodes that are made through it.
    pub fn acls(&self) -> ZnodeAcls {
        self.acls
    }

    /// Gives the session to everybody, or takes it away.
    pub fn set(&self, client: Option<Client>) {
        self.client.send_replace(client);
    }

    /// The session, if it is there and connected.
    pub fn get(&self) -> Option<Client> {
        self.client.borrow().clone().filter(|client| client.state() == SessionState::SyncConnected)
    }

    /// Waits for the session to be there and connected.
    pub async fn wait(&self) -> Client {
        let mut changed = self.client.subscribe();
        loop {
            let client = changed.borrow_and_update().clone();
            let Some(client) = client else {
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let mut state = client.state_watcher();
            if state.state() == SessionState::SyncConnected {
                return client;
            }
            drop(client);
            tokio::select! {
                _ = changed.changed() => {}
                _ = state.changed() => {}
            }
        }
    }
}

/// Waits until a session that its clients have dropped is over.
///
/// # Errors
/// The server did not confirm it in time.
pub async fn session_end(mut states: StateWatcher) -> Result<(), Elapsed> {
    let closed = async {
        while !states.peek_state().is_terminated() {
            states.changed().await;
        }
    };
    tokio::time::timeout(limits::SESSION_CLOSE_TIMEOUT, closed).await
}

/// Whether the outcome of a write that failed so is unknown.
pub fn is_unknown(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionLoss
            | Error::Timeout
            | Error::SessionExpired
            | Error::SessionMoved
            | Error::ClientClosed
            | Error::Custom(_)
    )
}
