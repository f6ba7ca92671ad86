//! The audit log (`audit.enable`): who changed what, and how it came out, one line each, as
//! ZooKeeper's `AuditHelper` tells it. Reads are not audited.

mod event;
mod request;
mod writer;

use std::io;
use std::time::SystemTime;

use metrics::Counter;

use self::event::{Event, Outcome};
pub use self::request::Audited;
use self::request::What;
use self::writer::Writer;
use super::auth::Auth;
use super::pipeline::queue::Job;
use super::txn::prep::{Prepared, Verdict};
use super::txn::record::Txn;
use crate::config::AuditConfig;

/// The audit log of one coordinator.
#[derive(Debug)]
pub struct Audit {
    writer: Writer,
    /// Who runs the server: what it does by itself is done by this user.
    server_user: String,
}

impl Audit {
    /// Opens the log; `dropped` counts events that it could not take.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn start(config: &AuditConfig, dropped: Counter) -> io::Result<Audit> {
        let writer = Writer::start(config.file.as_deref(), dropped, lost)?;
        Ok(Audit { writer, server_user: process_user() })
    }

    /// The server serves.
    pub fn server_started(&self) {
        self.server_event("serverStart", Outcome::Success);
    }

    /// The server stops: nothing is written after this.
    pub fn server_stops(&self) {
        self.server_event("serverStop", Outcome::Invoked);
        self.writer.stop();
    }

    fn server_event(&self, operation: &str, outcome: Outcome) {
        self.write(&Event { user: Some(&self.server_user), ..bare(operation, outcome) });
    }

    /// A request is done: `audited` is what was asked, `prepared` what was made of it.
    pub fn finished(&self, auth: &Auth, job: &Job, audited: &Audited, prepared: &Prepared) {
        if let Txn::CloseSession { paths: Some(paths) } = &prepared.txn {
            for path in paths {
                self.write(&Event {
                    session: Some(job.session.id()),
                    user: Some(&self.server_user),
                    znode: Some(path),
                    ..bare("ephemeralZNodeDeletionOnSessionCloseOrExpire", Outcome::Success)
                });
            }
            return;
        }
        let Some(connection) = &job.connection else { return };
        let names: Vec<_> = job
            .identities
            .iter()
            .map(|identity| auth.user_name(identity).trim().replace(',', "\\,"))
            .filter(|name| !name.is_empty())
            .collect();
        let user = names.join(",");
        let of_client = |operation, outcome| Event {
            session: Some(job.session.id()),
            user: Some(&user).filter(|user| !user.is_empty()).map(String::as_str),
            ip: Some(connection.peer().ip()),
            ..bare(operation, outcome)
        };
        let write = |what: &What, znode: Option<&str>, outcome| {
            self.write(&Event {
                znode: znode.or(what.znode.as_deref()),
                znode_type: what.znode_type,
                acl: what.acl.as_deref(),
                ..of_client(what.operation, outcome)
            });
        };
        match (audited, &prepared.txn, prepared.verdict) {
            (Audited::Nothing, ..) => {}
            (Audited::Single(what), txn, Verdict::Ok) => {
                write(what, path_of(txn), Outcome::Success);
            }
            (Audited::Single(what), ..) => write(what, None, Outcome::Failure),
            (Audited::Multi(all), Txn::Multi(txns), Verdict::Ok) => {
                for (what, txn) in all.iter().zip(txns) {
                    if let Some(what) = what {
                        write(what, path_of(txn), Outcome::Success);
                    }
                }
            }
            (Audited::Multi(_), ..) => {
                self.write(&of_client("multiOperation", Outcome::Failure));
            }
        }
    }

    fn write(&self, event: &Event<'_>) {
        self.writer.push(&event.line(SystemTime::now()));
    }
}

fn bare(operation: &str, outcome: Outcome) -> Event<'_> {
    Event {
        session: None,
        user: None,
        ip: None,
        operation,
        znode: None,
        znode_type: None,
        acl: None,
        outcome,
    }
}

/// The line in place of events that found no room.
fn lost(count: u64) -> String {
    let operation = format!("{count} events lost");
    bare(&operation, Outcome::Failure).line(SystemTime::now())
}

/// The path that a transaction really has: that of a sequential node ends with its number.
fn path_of(txn: &Txn) -> Option<&str> {
    match txn {
        Txn::Create { create, .. }
        | Txn::CreateContainer(create)
        | Txn::CreateTtl { create, .. } => Some(&create.path),
        Txn::Delete { path } | Txn::SetData { path, .. } | Txn::SetAcl { path, .. } => Some(path),
        _ => None,
    }
}

/// The name of the user that runs this process, or its number.
fn process_user() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .map_or(id.clone(), |fields| fields[0].to_owned())
}
