//! What a command found out, as text for people and as JSON for scripts.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zookeeper_client::{Acl, AuthUser, Stat};

use super::acl;
use crate::calendar::Utc;

/// What a command found out.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing beside that it was done.
    Done,
    /// Names, or paths, below a znode.
    Children { names: Vec<String>, stat: Option<Stat> },
    /// Data, and what it means.
    Data { data: Vec<u8>, meaning: Option<String>, stat: Option<Stat> },
    /// The path of a new znode.
    Created(String),
    /// How many znodes were deleted.
    Deleted(usize),
    /// A Stat alone.
    Stat(Stat),
    /// An access control list.
    Acl { list: Vec<Acl>, stat: Option<Stat> },
    /// The identities of a session.
    Identities(Vec<AuthUser>),
}

impl Answer {
    /// Writes it, as one line if it is JSON.
    pub(super) fn write(&self, json: bool, to: &mut dyn Write) -> io::Result<()> {
        if json { writeln!(to, "{}", self.json()) } else { self.text(to) }
    }

    fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Answer::Done => Ok(()),
            Answer::Children { names, stat } => {
                for name in names {
                    writeln!(to, "{}", printable(name))?;
                }
                stat_lines(stat.as_ref(), to)
            }
            Answer::Data { data, meaning, stat } => {
                match std::str::from_utf8(data) {
                    Ok("") => {}
                    Ok(text) if text.chars().all(|c| !c.is_control() || "\n\t".contains(c)) => {
                        writeln!(to, "{text}")?;
                    }
                    _ => {
                        writeln!(to, "{} bytes, in base64: {}", data.len(), STANDARD.encode(data))?;
                    }
                }
                for line in meaning.iter().flat_map(|text| text.lines()) {
                    writeln!(to, "# {}", printable(line))?;
                }
                stat_lines(stat.as_ref(), to)
            }
            Answer::Created(path) => writeln!(to, "{}", printable(path)),
            Answer::Deleted(count) => writeln!(to, "{count} deleted"),
            Answer::Stat(stat) => stat_lines(Some(stat), to),
            Answer::Acl { list, stat } => {
                for entry in list {
                    let letters = acl::letters(entry.permission());
                    writeln!(to, "{}:{}:{letters}", entry.scheme(), printable(entry.id()))?;
                }
                stat_lines(stat.as_ref(), to)
            }
            Answer::Identities(users) => {
                for user in users {
                    writeln!(to, "{}:{}", user.scheme(), printable(user.user()))?;
                }
                Ok(())
            }
        }
    }

    fn json(&self) -> Value {
        let mut value = match self {
            Answer::Done | Answer::Stat(_) => json!({}),
            Answer::Children { names, .. } => json!({ "children": names }),
            Answer::Data { data, meaning, .. } => {
                let mut value = match std::str::from_utf8(data) {
                    Ok(text) => json!({ "data": text }),
                    Err(_) => json!({ "data_base64": STANDARD.encode(data) }),
                };
                if let Some(meaning) = meaning {
                    value["meaning"] = json!(meaning);
                }
                value
            }
            Answer::Created(path) => json!({ "path": path }),
            Answer::Deleted(count) => json!({ "deleted": count }),
            Answer::Acl { list, .. } => {
                let entry = |acl: &Acl| {
                    let permissions = acl::letters(acl.permission());
                    json!({ "scheme": acl.scheme(), "id": acl.id(), "permissions": permissions })
                };
                json!({ "acl": list.iter().map(entry).collect::<Vec<_>>() })
            }
            Answer::Identities(users) => {
                let user = |user: &AuthUser| json!({ "scheme": user.scheme(), "id": user.user() });
                json!({ "identities": users.iter().map(user).collect::<Vec<_>>() })
            }
        };
        let stat = match self {
            Answer::Children { stat, .. }
            | Answer::Data { stat, .. }
            | Answer::Acl { stat, .. } => stat.as_ref(),
            Answer::Stat(stat) => Some(stat),
            _ => None,
        };
        if let Some(stat) = stat {
            value["stat"] = stat_json(stat);
        }
        value
    }
}

/// A name as it can be shown on a terminal: what would steer it is escaped.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() })
        .collect()
}

/// The lines, and the names in them, that `zkCli.sh` shows.
fn stat_lines(stat: Option<&Stat>, to: &mut dyn Write) -> io::Result<()> {
    let Some(stat) = stat else { return Ok(()) };
    writeln!(to, "cZxid = 0x{:x}", stat.czxid)?;
    writeln!(to, "ctime = {}", Utc::of(stat.ctime))?;
    writeln!(to, "mZxid = 0x{:x}", stat.mzxid)?;
    writeln!(to, "mtime = {}", Utc::of(stat.mtime))?;
    writeln!(to, "pZxid = 0x{:x}", stat.pzxid)?;
    writeln!(to, "cversion = {}", stat.cversion)?;
    writeln!(to, "dataVersion = {}", stat.version)?;
    writeln!(to, "aclVersion = {}", stat.aversion)?;
    writeln!(to, "ephemeralOwner = 0x{:x}", stat.ephemeral_owner)?;
    writeln!(to, "dataLength = {}", stat.data_length)?;
    writeln!(to, "numChildren = {}", stat.num_children)
}

fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": stat.czxid,
        "mzxid": stat.mzxid,
        "pzxid": stat.pzxid,
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": stat.ephemeral_owner,
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("tür"), "tür");
        let mut shown = Vec::new();
        let data = b"\x1b[2J".to_vec();
        Answer::Data { data, meaning: None, stat: None }.write(false, &mut shown).unwrap();
        assert_eq!(shown, b"4 bytes, in base64: G1sySg==\n");
    }
}
