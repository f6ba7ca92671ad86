//! Keeps the broker registered: with the first session, and with a new one whenever it is gone.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use zookeeper_client::{Client, SessionState};

use super::failure::Failure;
use super::registration::{self, JoinError};
use super::session_file::SessionFile;
use crate::cluster::client::{Coordinator, SharedSession, session_end};
use crate::cluster::layout::broker::Registration;
use crate::cluster::znode_acls::ZnodeAcls;
use crate::cluster::{ConnectError, ImageHandle};
use crate::limits;

/// What a broker registers with.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: i32,
    pub(super) cluster_id: String,
    pub(super) registration: Registration,
    pub(super) sessions: SessionFile,
    pub(super) acls: ZnodeAcls,
}

impl Member {
    /// Joins with a session that has just been made.
    async fn join(&mut self, client: &Client) -> Result<(), JoinError> {
        registration::make_roots(client, self.acls).await?;
        registration::cluster_id(client, self.acls, Some(&self.cluster_id), true).await?;
        registration::check_peers(client).await?;
        self.register(client).await
    }

    /// Registers in a cluster that was joined already.
    pub(super) async fn register(&mut self, client: &Client) -> Result<(), JoinError> {
        let Member { id, registration, sessions, acls, .. } = self;
        registration::register(client, *acls, *id, registration, sessions).await
    }
}

/// The task that keeps the broker registered.
#[derive(Debug)]
pub(super) struct Membership {
    task: JoinHandle<()>,
    session: SharedSession,
    /// The state of the newest session, to see its end.
    current: Arc<Mutex<Option<zookeeper_client::StateWatcher>>>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Membership {
    /// Keeps `member` registered, which is so already with `client`. Others write through
    /// `session`.
    pub(super) fn start(
        coordinator: Coordinator,
        client: Client,
        member: Member,
        session: SharedSession,
        images: ImageHandle,
        failure: Failure,
    ) -> Self {
        let current = Arc::new(Mutex::new(None));
        let keep = Keep {
            coordinator,
            member,
            session: session.clone(),
            images,
            current: current.clone(),
        };
        let task = tokio::spawn(async move {
            let reason = keep.run(client).await;
            failure.report(reason);
        });
        Membership { task, session, current }
    }

    /// Closes the session, so that the registration is gone, and waits for its end.
    pub(super) async fn leave(self) {
        self.task.abort();
        self.session.set(None);
        let state = self.current.lock().take();
        if let Some(state) = state
            && session_end(state).await.is_err()
        {
            tracing::debug!("the session did not close in time: it will expire");
        }
    }
}

struct Keep {
    coordinator: Coordinator,
    member: Member,
    session: SharedSession,
    images: ImageHandle,
    current: Arc<Mutex<Option<zookeeper_client::StateWatcher>>>,
}

impl Keep {
    /// Ends with the reason why the broker can't go on.
    async fn run(mut self, first: Client) -> String {
        let mut client = first;
        loop {
            *self.current.lock() = Some(client.state_watcher());
            self.session.set(Some(client.clone()));
            if let Err(reason) = self.stay(&client).await {
                return reason;
            }
            self.session.set(None);
            tracing::warn!(broker = self.member.id, "session expired: registering again");
            client = match self.join_again().await {
                Ok(client) => client,
                Err(reason) => return reason,
            };
            tracing::info!(broker = self.member.id, "registered again");
        }
    }

    /// Stays until the session is over. A registration that somebody removed is made again.
    async fn stay(&mut self, client: &Client) -> Result<(), String> {
        let mut state = client.state_watcher();
        let mut changed = self.images.changed();
        loop {
            if state.state().is_terminated() {
                return Ok(());
            }
            let image = self.images.load();
            let seen = self.images.connected() && image.version > 0;
            if seen
                && !image.is_alive(self.member.id)
                && client.state() == SessionState::SyncConnected
            {
                match self.member.register(client).await {
                    Ok(()) | Err(JoinError::Session(_) | JoinError::Connect(_)) => {}
                    Err(JoinError::Refused(reason)) => return Err(reason),
                }
            }
            tokio::select! {
                _ = state.changed() => {}
                _ = changed.changed() => {}
            }
        }
    }

    async fn join_again(&mut self) -> Result<Client, String> {
        let mut backoff = limits::SESSION_BACKOFF_MIN;
        let mut told = None;
        loop {
            let joined = async {
                let client = self.coordinator.connect_and_make_chroot().await?;
                self.member.join(&client).await?;
                Ok::<_, JoinError>(client)
            };
            match joined.await {
                Ok(client) => return Ok(client),
                Err(JoinError::Refused(reason)) => return Err(reason),
                Err(JoinError::Session(error)) => log_try(&error),
                Err(JoinError::Connect(error)) => {
                    // Said once: an operator must act, and meanwhile it is tried again.
                    if let ConnectError::Refused(reason) = &error
                        && told.as_ref() != Some(reason)
                    {
                        tracing::error!(broker = self.member.id, "no session: {reason}");
                        told = Some(reason.clone());
                    }
                    log_try(&error);
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(limits::SESSION_BACKOFF_MAX);
        }
    }
}

fn log_try(error: &dyn std::fmt::Display) {
    tracing::debug!(%error, "not registered yet");
}
