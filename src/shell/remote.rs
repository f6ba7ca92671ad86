//! The session with the server, made anew when it has expired.

use std::time::Duration;

use zookeeper_client::{Client, Connector, Error};

use super::ShellError;
use crate::cluster::client::session_end;

/// A session, and what makes another like it.
#[derive(Debug)]
pub(super) struct Remote {
    server: String,
    timeout: Duration,
    identities: Vec<(String, Vec<u8>)>,
    client: Client,
}

impl Remote {
    /// Makes a session in which these identities (`scheme:credentials`) are proved.
    pub(super) async fn connect(
        server: &str,
        timeout: Duration,
        auth: &[String],
    ) -> Result<Self, ShellError> {
        let mut identities = Vec::with_capacity(auth.len());
        for identity in auth {
            let Some((scheme, credentials)) = identity.split_once(':') else {
                // What it is stays unsaid: it may be a password.
                return Err(ShellError::Usage("--auth: not scheme:credentials".to_owned()));
            };
            identities.push((scheme.to_owned(), credentials.as_bytes().to_vec()));
        }
        let client = session(server, timeout, &identities).await?;
        Ok(Remote { server: server.to_owned(), timeout, identities, client })
    }

    /// The client of a session that has not ended, as far as one knows.
    ///
    /// # Errors
    /// The last one has expired, and no server gives another.
    pub(super) async fn client(&mut self) -> Result<Client, ShellError> {
        if self.client.state().is_terminated() {
            self.client = session(&self.server, self.timeout, &self.identities).await?;
        }
        Ok(self.client.clone())
    }

    /// Proves one more identity, in this session and in those after it.
    ///
    /// # Errors
    /// The server does not believe it; the session ends with that.
    pub(super) async fn add_identity(
        &mut self,
        scheme: String,
        credentials: Vec<u8>,
    ) -> Result<(), ShellError> {
        let client = self.client().await?;
        client
            .auth(&scheme, &credentials)
            .await
            .map_err(|reason| ShellError::Refused { path: scheme.clone(), reason })?;
        self.identities.push((scheme, credentials));
        Ok(())
    }

    /// Where it is connected to.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Closes the session, so that its ephemerals go with it.
    pub(super) async fn close(self) {
        let states = self.client.state_watcher();
        drop(self.client);
        // One that the server does not confirm expires by itself.
        let _ = session_end(states).await;
    }
}

async fn session(
    server: &str,
    timeout: Duration,
    identities: &[(String, Vec<u8>)],
) -> Result<Client, ShellError> {
    let failed = |reason: Error| ShellError::Connect { server: server.to_owned(), reason };
    let mut connector: Connector =
        Client::connector().with_session_timeout(timeout).with_fail_eagerly();
    for (scheme, credentials) in identities {
        connector = connector.with_auth(scheme, credentials);
    }
    let connected = tokio::time::timeout(timeout, connector.connect(server)).await;
    connected.unwrap_or(Err(Error::Timeout)).map_err(failed)
}
