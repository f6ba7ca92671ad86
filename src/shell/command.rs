//! The commands and their options.

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// One line.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    override_usage = "COMMAND [OPTIONS] PATH ...",
    help_template = "{subcommands}\n"
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
#[command(rename_all = "camelCase")]
pub(super) enum Command {
    /// Lists the children of a znode
    Ls {
        /// Shows the Stat too
        #[arg(short)]
        stat: bool,
        /// Lists everything below it
        #[arg(short = 'R')]
        recursive: bool,
        path: String,
    },
    /// Shows a znode's data, and what it means if it is one of Kafka's
    Get {
        /// Shows the Stat too
        #[arg(short)]
        stat: bool,
        path: String,
    },
    /// Replaces a znode's data
    Set {
        /// Shows the Stat too
        #[arg(short)]
        stat: bool,
        /// Only if the znode has this version
        #[arg(short, allow_negative_numbers = true)]
        version: Option<i32>,
        path: String,
        #[arg(allow_hyphen_values = true)]
        data: String,
    },
    /// Creates a znode
    Create {
        /// Numbers it, after the others below its parent
        #[arg(short)]
        sequential: bool,
        /// It lives as long as this session
        #[arg(short)]
        ephemeral: bool,
        /// A container: removed some time after its last child
        #[arg(short, conflicts_with_all = ["ephemeral", "sequential", "ttl"])]
        container: bool,
        /// Removed when unchanged for so many milliseconds, and childless
        #[arg(short, value_name = "MS", conflicts_with = "ephemeral", value_parser = clap::value_parser!(u64).range(1..))]
        ttl: Option<u64>,
        /// Makes the parents that are missing
        #[arg(short)]
        parents: bool,
        path: String,
        #[arg(default_value = "", allow_hyphen_values = true)]
        data: String,
        /// scheme:id:permissions[,...] [default: world:anyone:cdrwa]
        acl: Option<String>,
    },
    /// Deletes a znode without children
    Delete {
        /// Only if the znode has this version
        #[arg(short, allow_negative_numbers = true)]
        version: Option<i32>,
        path: String,
    },
    /// Deletes a znode and everything below it
    Deleteall { path: String },
    /// Shows a znode's Stat
    Stat { path: String },
    /// Shows a znode's access control list
    GetAcl {
        /// Shows the Stat too
        #[arg(short)]
        stat: bool,
        path: String,
    },
    /// Replaces a znode's access control list
    SetAcl {
        /// Only if the list has this version
        #[arg(short, allow_negative_numbers = true)]
        version: Option<i32>,
        /// Replaces those of everything below it too
        #[arg(short = 'R', conflicts_with = "version")]
        recursive: bool,
        path: String,
        /// scheme:id:permissions[,...]
        acl: String,
    },
    /// Prints what happens to a znode and below it, until Ctrl-C
    Watch {
        /// The znode alone, and the list of its children
        #[arg(short = '1')]
        one: bool,
        /// Ends after so many events
        #[arg(short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
        path: String,
    },
    /// Proves an identity, such as: addauth digest user:password
    Addauth {
        scheme: String,
        #[arg(default_value = "", allow_hyphen_values = true)]
        credentials: String,
    },
    /// Shows the identities of this session
    Whoami,
    /// Ends the prompt
    #[command(alias = "exit")]
    Quit,
}

/// The names of the commands, for completion.
pub(super) fn names() -> Vec<String> {
    let mut names: Vec<String> = <Line as clap::CommandFactory>::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.push("help".to_owned());
    names
}

/// Why words are not a command to execute.
#[derive(Debug)]
pub(super) enum NoCommand {
    /// Help was asked for: this.
    Help(String),
    /// They make no sense: why.
    Wrong(String),
}

/// Reads the words of a line.
///
/// # Errors
/// Help that was asked for, or what is wrong.
pub(super) fn parse(words: &[String]) -> Result<Command, NoCommand> {
    match Line::try_parse_from(words) {
        Ok(line) => Ok(line.command),
        Err(error) => {
            let text = error.render().to_string();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    Err(NoCommand::Help(text))
                }
                _ => {
                    let text = text.trim_start_matches("error: ").trim_end();
                    Err(NoCommand::Wrong(text.to_owned()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, NoCommand> {
        parse(&crate::shell::words::split(line).unwrap())
    }

    #[test]
    fn lines_are_read_as_in_zk_cli() {
        let path = "/a".to_owned();
        let same = |line, command| assert_eq!(parsed(line).unwrap(), command, "{line}");
        same("ls -s /a", Command::Ls { stat: true, recursive: false, path: path.clone() });
        same("ls -R /a", Command::Ls { stat: false, recursive: true, path: path.clone() });
        same("delete -v -1 /a", Command::Delete { version: Some(-1), path: path.clone() });
        same(
            "set /a -5",
            Command::Set { stat: false, version: None, path: path.clone(), data: "-5".to_owned() },
        );
        same(
            "create -s -e /a",
            Command::Create {
                sequential: true,
                ephemeral: true,
                container: false,
                ttl: None,
                parents: false,
                path: path.clone(),
                data: String::new(),
                acl: None,
            },
        );
        same("getAcl /a", Command::GetAcl { stat: false, path });
        same("exit", Command::Quit);
    }

    #[test]
    fn what_is_no_command_is_said() {
        for line in ["lss /", "ls", "ls /a /b", "create -c -e /a", "create -t 0 /a", "watch -n 0 /"]
        {
            assert!(matches!(parsed(line), Err(NoCommand::Wrong(_))), "{line}");
        }
        assert!(matches!(parsed("help"), Err(NoCommand::Help(text)) if text.contains("deleteall")));
        assert!(matches!(parsed("help ls"), Err(NoCommand::Help(text)) if text.contains("-R")));
        assert!(names().contains(&"setAcl".to_owned()));
    }
}
