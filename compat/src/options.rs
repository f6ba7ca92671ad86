//! What a run is asked to do, and where the programs that it needs are.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Puts the same load on doorkeeper and on Apache Kafka and ZooKeeper, in turn, and prints a table.
#[derive(Debug, Clone, Parser)]
#[command(name = "bash compat/bench")]
pub struct Options {
    /// Rows to run, by name or by the beginning of a name; all without any.
    pub rows: Vec<String>,
    /// Rows to leave out, by name or by the beginning of a name; may be given again.
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,
    /// Rounds of each row; the table shows their medians.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Measured seconds of each load in each round.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Unmeasured seconds of a load on a Java server before its first round, for its compiler; a
    /// quarter of it before the rows that only vary the load.
    #[arg(long, default_value_t = 8.0)]
    pub warm_up: f64,
    /// Two rounds of a second of each row: a quarter of an hour, with coarser figures.
    #[arg(long)]
    pub short: bool,
    /// One short round of everything with little data: proves that every row works, measures nothing.
    #[arg(long)]
    pub smoke: bool,
    /// Every fsync of every server takes this many milliseconds longer, by `strace`.
    #[arg(long, value_name = "MS")]
    pub slow_disk: Option<u64>,
    /// Names of the rows, and nothing else.
    #[arg(long)]
    pub list: bool,
    /// Loads only one side, without its peer: `doorkeeper` or `peer`; for profiling.
    #[arg(long)]
    pub only: Option<crate::server::Side>,
    /// The doorkeeper binary.
    #[arg(long, value_name = "FILE")]
    pub doorkeeper: PathBuf,
    /// Folder with the jars of Apache Kafka and its tools.
    #[arg(long, value_name = "DIR")]
    pub kafka_jars: PathBuf,
    /// Folder with the jars of Apache ZooKeeper.
    #[arg(long, value_name = "DIR")]
    pub zookeeper_jars: PathBuf,
    /// Folder with the jars of Kroxylicious, for the rows that are about it.
    #[arg(long, value_name = "DIR")]
    pub kroxylicious_jars: Option<PathBuf>,
    /// The source file of the class that starts it.
    #[arg(long, value_name = "FILE")]
    pub kroxylicious_main: Option<PathBuf>,
    /// Folder for data directories, emptied first; it decides on which disk all servers write.
    #[arg(long, value_name = "DIR")]
    pub scratch: PathBuf,
    /// Where the JSON goes.
    #[arg(long, value_name = "FILE")]
    pub json: PathBuf,
    /// A Markdown file whose table, between its two marks, is replaced by the new one.
    #[arg(long, value_name = "FILE")]
    pub table_into: Option<PathBuf>,
}

impl Options {
    /// The options as they count: what a short and a smoke run fix.
    #[must_use]
    pub fn effective(mut self) -> Self {
        if self.short {
            (self.rounds, self.seconds, self.warm_up) = (2, 1.0, 3.0);
        }
        if self.smoke {
            (self.rounds, self.seconds, self.warm_up) = (1, 0.1, 0.0);
        }
        self
    }

    /// Whether the row of this name was asked for.
    pub fn wants(&self, row: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| row.starts_with(name.as_str()));
        (self.rows.is_empty() || named(&self.rows)) && !named(&self.without)
    }

    /// JVM settings of a smoke run, in front of all others: its JVMs are not worth optimizing for.
    pub fn smoke_jvm(&self) -> &'static [&'static str] {
        if self.smoke { &["-XX:TieredStopAtLevel=1"] } else { &[] }
    }

    /// The measured time of one load.
    pub fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.max(0.05))
    }

    /// The unmeasured time in front of every measured one, once the server is warm.
    pub fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.seconds / 5.0)
    }
}
