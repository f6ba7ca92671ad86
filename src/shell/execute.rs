//! Commands carried out on a session.

use std::io::Write;
use std::time::Duration;

use serde_json::json;
use zookeeper_client::{
    Acl, Acls, AddWatchMode, Client, CreateMode, Error, EventType, PersistentWatcher, SessionState,
    WatchedEvent,
};

use super::answer::{Answer, printable};
use super::command::Command;
use super::remote::Remote;
use super::{ShellError, acl, kafka};
use crate::limits;

/// How often a tree that others change meanwhile is listed again to be deleted.
const DELETE_ROUNDS: usize = 10;

/// Whether a command ends the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Yes,
    No,
}

/// Carries out a command and writes what it found.
///
/// # Errors
/// What the server or the client refused.
pub(super) async fn execute(
    remote: &mut Remote,
    command: Command,
    json: bool,
    to: &mut dyn Write,
) -> Result<Ended, ShellError> {
    let answer = match command {
        Command::Quit => return Ok(Ended::Yes),
        Command::Addauth { scheme, credentials } => {
            remote.add_identity(scheme, credentials.into_bytes()).await?;
            Answer::Done
        }
        Command::Watch { one, count, path } => {
            let client = remote.client().await?;
            watch(&client, &path, one, count, json, to).await?;
            return Ok(Ended::No);
        }
        command => ask(&remote.client().await?, command).await?,
    };
    answer.write(json, to)?;
    Ok(Ended::No)
}

async fn ask(client: &Client, command: Command) -> Result<Answer, ShellError> {
    match command {
        Command::Ls { stat, recursive: true, path } => {
            let names = subtree(client, &path).await?;
            let stat =
                if stat { client.check_stat(&path).await.map_err(about(&path))? } else { None };
            Ok(Answer::Children { names, stat })
        }
        Command::Ls { stat, recursive: false, path } => {
            let (mut names, found) = client.get_children(&path).await.map_err(about(&path))?;
            names.sort_unstable();
            Ok(Answer::Children { names, stat: stat.then_some(found) })
        }
        Command::Get { stat, path } => {
            let (data, found) = client.get_data(&path).await.map_err(about(&path))?;
            let meaning = kafka::meaning(&path, &data);
            Ok(Answer::Data { data, meaning, stat: stat.then_some(found) })
        }
        Command::Set { stat, version, path, data } => {
            let written = client.set_data(&path, data.as_bytes(), version.filter(|v| *v != -1));
            let found = written.await.map_err(about(&path))?;
            Ok(if stat { Answer::Stat(found) } else { Answer::Done })
        }
        Command::Create { sequential, ephemeral, container, ttl, parents, path, data, acl } => {
            let mode = match (sequential, ephemeral, container) {
                (false, false, false) => CreateMode::Persistent,
                (true, false, _) => CreateMode::PersistentSequential,
                (false, true, _) => CreateMode::Ephemeral,
                (true, true, _) => CreateMode::EphemeralSequential,
                (false, false, true) => CreateMode::Container,
            };
            create(client, mode, ttl, parents, path, &data, acl.as_deref()).await
        }
        Command::Delete { version, path } => {
            let deleted = client.delete(&path, version.filter(|v| *v != -1));
            deleted.await.map_err(about(&path))?;
            Ok(Answer::Done)
        }
        Command::Deleteall { path } => delete_all(client, &path).await.map(Answer::Deleted),
        Command::Stat { path } => match client.check_stat(&path).await.map_err(about(&path))? {
            Some(stat) => Ok(Answer::Stat(stat)),
            None => Err(about(&path)(Error::NoNode)),
        },
        Command::GetAcl { stat, path } => {
            let (list, found) = client.get_acl(&path).await.map_err(about(&path))?;
            Ok(Answer::Acl { list, stat: stat.then_some(found) })
        }
        Command::SetAcl { version, recursive, path, acl } => {
            let list = acl::parse(&acl).map_err(ShellError::Usage)?;
            let paths = if recursive { subtree(client, &path).await? } else { vec![path] };
            for path in &paths {
                let written = client.set_acl(path, &list, version.filter(|v| *v != -1));
                written.await.map_err(about(path))?;
            }
            Ok(Answer::Done)
        }
        Command::Whoami => {
            client.list_auth_users().await.map(Answer::Identities).map_err(about("whoami"))
        }
        Command::Quit | Command::Addauth { .. } | Command::Watch { .. } => Ok(Answer::Done),
    }
}

fn about(path: &str) -> impl FnOnce(Error) -> ShellError {
    move |reason| ShellError::Refused { path: printable(path), reason }
}

async fn create(
    client: &Client,
    mode: CreateMode,
    ttl: Option<u64>,
    parents: bool,
    path: String,
    data: &str,
    acl: Option<&str>,
) -> Result<Answer, ShellError> {
    let list: Option<Vec<Acl>> = acl.map(acl::parse).transpose().map_err(ShellError::Usage)?;
    let acls = match &list {
        Some(list) => Acls::new(list),
        None => Acls::anyone_all(),
    };
    if parents
        && let Some((parent, _)) = path.rsplit_once('/')
        && !parent.is_empty()
    {
        let persistent = CreateMode::Persistent.with_acls(acls);
        client.mkdir(parent, &persistent).await.map_err(about(parent))?;
    }
    let mut options = mode.with_acls(acls);
    if let Some(ttl) = ttl {
        options = options.with_ttl(Duration::from_millis(ttl));
    }
    let (_, sequence) =
        client.create(&path, data.as_bytes(), &options).await.map_err(about(&path))?;
    let sequential =
        matches!(mode, CreateMode::PersistentSequential | CreateMode::EphemeralSequential);
    Ok(Answer::Created(if sequential { format!("{path}{sequence}") } else { path }))
}

/// A znode and all below it, parents before their children.
async fn subtree(client: &Client, path: &str) -> Result<Vec<String>, ShellError> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        match client.list_children(&path).await {
            Ok(mut names) => {
                names.sort_unstable();
                let parent = if path == "/" { "" } else { &path };
                waiting.extend(names.iter().rev().map(|name| format!("{parent}/{name}")));
            }
            // Somebody else was quicker to delete it.
            Err(Error::NoNode) if !found.is_empty() => continue,
            Err(reason) => return Err(about(&path)(reason)),
        }
        found.push(path);
    }
    Ok(found)
}

/// Deletes a tree from its leaves up, in transactions of many znodes each.
async fn delete_all(client: &Client, path: &str) -> Result<usize, ShellError> {
    let mut deleted = 0;
    for _ in 0..DELETE_ROUNDS {
        let paths = match subtree(client, path).await {
            Err(ShellError::Refused { reason: Error::NoNode, .. }) if deleted > 0 => {
                return Ok(deleted);
            }
            paths => paths?,
        };
        let mut changed = false;
        for together in paths.rchunks(limits::MULTI_WRITE_OPERATIONS) {
            let mut writer = client.new_multi_writer();
            for path in together.iter().rev() {
                writer.add_delete(path, None).map_err(about(path))?;
            }
            match writer.commit().await {
                Ok(_) => deleted += together.len(),
                Err(error) => match Error::from(error) {
                    // The tree has changed since it was listed.
                    Error::NoNode | Error::NotEmpty => {
                        changed = true;
                        break;
                    }
                    reason => return Err(about(path)(reason)),
                },
            }
        }
        if !changed {
            return Ok(deleted);
        }
    }
    Err(about(path)(Error::NotEmpty))
}

/// Prints events until enough have come, or Ctrl-C.
async fn watch(
    client: &Client,
    path: &str,
    one: bool,
    count: Option<u64>,
    json: bool,
    to: &mut dyn Write,
) -> Result<(), ShellError> {
    let mode = if one { AddWatchMode::Persistent } else { AddWatchMode::PersistentRecursive };
    let mut watcher: PersistentWatcher = client.watch(path, mode).await.map_err(about(path))?;
    let mut left = count.unwrap_or(u64::MAX);
    let mut lost = false;
    while left > 0 {
        let event = tokio::select! {
            event = watcher.changed() => event,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        if event.event_type != EventType::Session {
            left -= 1;
            write_event(&event, json, to)?;
            continue;
        }
        match event.session_state {
            SessionState::Disconnected => lost = true,
            SessionState::SyncConnected | SessionState::ConnectedReadOnly if lost => {
                lost = false;
                // The client forgets such a watch when its connection is made anew.
                watcher = client.watch(path, mode).await.map_err(about(path))?;
            }
            state if state.is_terminated() => {
                return Err(about(path)(Error::SessionExpired));
            }
            _ => continue,
        }
        write_session(lost, json, to)?;
    }
    Ok(())
}

fn write_event(event: &WatchedEvent, json: bool, to: &mut dyn Write) -> Result<(), ShellError> {
    let kind = event.event_type;
    if json {
        let line = json!({ "event": kind.to_string(), "path": event.path, "zxid": event.zxid });
        writeln!(to, "{line}")?;
    } else {
        writeln!(to, "{kind} {} (zxid 0x{:x})", printable(&event.path), event.zxid)?;
    }
    Ok(to.flush()?)
}

fn write_session(lost: bool, json: bool, to: &mut dyn Write) -> Result<(), ShellError> {
    let kind = if lost { "Disconnected" } else { "SyncConnected" };
    if json {
        writeln!(to, "{}", json!({ "event": kind }))?;
    } else if lost {
        writeln!(to, "{kind}: what changes now is not seen")?;
    } else {
        writeln!(to, "{kind}: watching again")?;
    }
    Ok(to.flush()?)
}
