//! The prompt: history, and completion of commands and paths.

use std::io::Write;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Context, Editor, Helper, Highlighter, Hinter, Validator};
use tokio::runtime::{Handle, Runtime};
use tokio::time::timeout;
use zookeeper_client::Client;

use super::execute::Ended;
use super::remote::Remote;
use super::{ShellError, command, one, words};
use crate::limits;

/// Lines of history that are kept.
const HISTORY: usize = 1_000;

/// Reads and executes lines until `quit`, Ctrl-D, or the end of the terminal.
pub(super) fn run(runtime: &Runtime, remote: &mut Remote, json: bool) -> Result<(), ShellError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY)
        .map_err(terminal)?
        .build();
    let mut editor: Editor<Completion, DefaultHistory> =
        Editor::with_config(config).map_err(terminal)?;
    let history = history_file();
    if let Some(file) = &history {
        // There is none before the first time.
        let _ = editor.load_history(file);
    }
    let prompt = format!("{}> ", remote.server());
    writeln!(std::io::stdout(), "connected to {}; help lists the commands", remote.server())?;
    loop {
        let client = runtime.block_on(remote.client()).ok();
        editor.set_helper(Some(Completion { client, runtime: runtime.handle().clone() }));
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        };
        let words = match words::split(&line) {
            Ok(words) if words.is_empty() => continue,
            Ok(words) => words,
            Err(reason) => {
                writeln!(std::io::stderr(), "{reason}")?;
                continue;
            }
        };
        // A password is not kept.
        if words[0] != "addauth" {
            let _ = editor.add_history_entry(&line);
        }
        match one(runtime, remote, &words, json) {
            Ok(Ended::Yes) => break,
            Ok(Ended::No) => {}
            Err(error) => writeln!(std::io::stderr(), "{error}")?,
        }
    }
    if let Some(file) = &history {
        // Without a home that can be written to, the history ends with the prompt.
        let _ = editor.save_history(file);
    }
    Ok(())
}

fn terminal(error: ReadlineError) -> ShellError {
    ShellError::Io(match error {
        ReadlineError::Io(error) => error,
        other => std::io::Error::other(other.to_string()),
    })
}

fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".doorkeeper_zk_history"))
}

#[derive(Helper, Hinter, Highlighter, Validator)]
struct Completion {
    client: Option<Client>,
    runtime: Handle,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..position];
        let start = typed.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let word = &typed[start..];
        if typed[..start].trim().is_empty() {
            return Ok((start, beginning(word, command::names())));
        }
        // Of a path, what is behind the last slash is completed.
        let (Some(slash), Some(client)) = (word.rfind('/'), &self.client) else {
            return Ok((start, Vec::new()));
        };
        let parent = if slash == 0 { "/" } else { &word[..slash] };
        let asked = async {
            timeout(limits::COMPLETION_TIMEOUT, client.list_children(parent)).await.ok()?.ok()
        };
        let names = self.runtime.block_on(asked).unwrap_or_default();
        Ok((start + slash + 1, beginning(&word[slash + 1..], names)))
    }
}

fn beginning(with: &str, names: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().filter(|name| name.starts_with(with)).collect();
    names.sort_unstable();
    names
}
