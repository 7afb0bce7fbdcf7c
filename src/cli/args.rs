//! The command line: clap's words only.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Turns a normalized Postgres database into an audited star schema, every night, all or nothing.
#[derive(Debug, Parser)]
#[command(name = "starmill", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// How logs are written to stderr; STARMILL_LOG says how much of them
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  starmill check pipelines/shop.toml              every mistake, with its place
  starmill run --dry-run pipelines/shop.toml      build, audit, and show what would change
  starmill run pipelines/shop.toml                the same, and publish
  SHOP_SOURCE=postgres://me@db/shop starmill run pipelines/shop.toml
  starmill schedule pipelines/*.toml              every night, by itself
  starmill query pipelines/shop.toml              ask the published star, in SQL
  starmill diff pipelines/shop.toml latest~1      what the last night changed
  starmill snapshots rollback pipelines/shop.toml 2026-11-18

Exit codes:
  0 done · 1 a bug · 2 wrong usage · 3 the pipeline or its SQL is wrong
  4 the source is unreachable, refused us or got lost
  5 the source's schema, privileges or a value don't fit
  6 a model failed · 7 the audit refused · 8 the store, scratch or target refused
  9 another run holds the lock · 10 --exit-code found differences
  11 published, delivery pending · 12 held, nothing published · 130, 143 interrupted

Passwords: PGPASSWORD or ~/.pgpass; they need not stand in a URL, and are never shown.
Logs: STARMILL_LOG=info (or debug) writes them to stderr.
A snapshot is named by its id or the beginning of it, by latest, latest~1, or by a date or a time
(2026-11-18, 2026-11-18T12:00): the newest that had been made by then.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the source, build and audit the star, show what changed, and publish it
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// Build and audit everything, show the diff, publish nothing
        #[arg(long)]
        dry_run: bool,
        /// Exit with 10 when the star differs from the published one
        #[arg(long)]
        exit_code: bool,
        /// Refuse what is otherwise only noted: lookups that find no member
        #[arg(long)]
        strict: bool,
        /// Accept a changed key, surrogate, first-seen column or history of this model, or a changed mask of a column, by its
        /// full name. Where a SELECT was edited of which a history is kept: `model=restate` overwrites what differs in all
        /// versions, `model=open` begins new ones
        #[arg(long, value_name = "NAME")]
        accept: Vec<String>,
        /// The night that this run is (2026-11-20T03:30:00Z): one that was had already is not run again
        #[arg(long, value_name = "TIME", conflicts_with = "dry_run")]
        scheduled_for: Option<DateTime<Utc>>,
        /// Tell nobody how it went, whatever [notify] says
        #[arg(long)]
        no_notify: bool,
        /// Begin anew though a store was there: surrogate keys are given again, first-seen values are lost
        #[arg(long, conflicts_with = "accept_restored")]
        new_store: bool,
        /// Go on from a backup that is older than what was published last
        #[arg(long)]
        accept_restored: bool,
    },
    /// Show what a run would read, build and write; no row is read
    Plan {
        #[command(flatten)]
        pipeline: PipelineArg,
    },
    /// Hold the pipeline and its SQL against the source's schema; report all mistakes at once
    Check {
        #[command(flatten)]
        pipeline: PipelineArg,
    },
    /// Take tables of the source as they are, as of one instant, into Parquet
    #[command(after_help = EXTRACT_EXAMPLES)]
    Extract {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// A new folder for the files; it appears when all of them are whole
        #[arg(long, value_name = "FOLDER", required_unless_present = "dry_run")]
        to: Option<PathBuf>,
        /// A table to take with all its columns, instead of what the models read; may be repeated
        #[arg(long, value_name = "TABLE")]
        table: Vec<String>,
        /// Look at every value, and write nothing
        #[arg(long, conflicts_with = "to")]
        dry_run: bool,
    },
    /// Show what changed between any two snapshots
    Diff {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// The older snapshot: an id, latest~1, a date
        from: String,
        /// The newer one
        #[arg(default_value = "latest")]
        to: String,
        /// Exit with 10 when they differ
        #[arg(long)]
        exit_code: bool,
    },
    /// List, show, verify, prune the published snapshots, or publish an older one again
    #[command(subcommand)]
    Snapshots(SnapshotsCommand),
    /// Deliver the published snapshot into the target again; harmless when it is there
    Deliver {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// Take over a target that holds another store's star, or tables of the same names: shown, then asked
        #[arg(long)]
        adopt: bool,
        /// Don't ask
        #[arg(long, short, requires = "adopt")]
        yes: bool,
        /// Only compare every row of the target with what is published; exit with 8 when they differ
        #[arg(long, conflicts_with = "adopt")]
        verify: bool,
    },
    /// Ask the published star in SQL; without SQL, an interactive prompt
    #[command(after_help = QUERY_EXAMPLES)]
    Query(QueryArgs),
    /// Show what one member of a dimension was, version by version, or what a row was when it was first seen
    #[command(after_help = HISTORY_EXAMPLES)]
    History {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// The dimension that keeps its history, or the table with first-seen columns
        table: String,
        /// A value of its key; `column=value,column=value` where that has several columns
        key: String,
    },
    /// Change a value that is kept as it was first seen, on purpose; who did it and why is kept, and the next run shows it
    #[command(after_help = CORRECT_EXAMPLES)]
    Correct {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// The table, which has `first_seen` columns
        table: String,
        /// The value of the row's key, or column=value,column=value where that has several columns
        #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
        key: String,
        /// The column, and what it shall be; may be repeated
        #[arg(long, value_name = "COLUMN=VALUE", required_unless_present = "set_null")]
        set: Vec<String>,
        /// A column that shall be NULL; may be repeated
        #[arg(long, value_name = "COLUMN")]
        set_null: Vec<String>,
        /// Why
        #[arg(long, value_name = "REASON")]
        because: String,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// List the runs with their outcomes and reasons, or show one again
    Runs {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// The run to show whole: an id or the beginning of it, or `latest`
        run: Option<String>,
        /// How many of the newest are listed
        #[arg(long, default_value = "20")]
        limit: NonZeroUsize,
    },
    /// Run pipelines at the times of their [schedule], until told to stop
    #[command(after_help = SCHEDULE_EXAMPLES)]
    Schedule(ScheduleArgs),
    /// Send a test alert to every channel of [notify], and say what each answered
    Notify {
        #[command(flatten)]
        pipeline: PipelineArg,
    },
    /// Print a completion script: starmill completions bash > /etc/bash_completion.d/starmill
    Completions { shell: clap_complete::Shell },
    /// Print the man page: starmill man | man -l -
    Man {
        /// Write it into this folder instead, with one page for each command
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  starmill run pipelines/shop.toml
  starmill run pipelines/shop.toml --format json | jq '.diff[] | {table, added, removed, changed}'
  starmill run --dry-run --exit-code pipelines/shop.toml    in a merge check: 10 if rows change
  starmill run --accept dim_customer pipelines/shop.toml    after its key was changed on purpose";

const HISTORY_EXAMPLES: &str = "\
Examples:
  starmill history pipelines/sales.toml dim_customer 42
  starmill history pipelines/sales.toml dim_product 'shop=7,sku=A-12' --format json | jq .versions";

const CORRECT_EXAMPLES: &str = "\
Examples:
  starmill correct pipelines/shop.toml order_summary --key 17 --set city_at_order=Bern --because \"ticket 4711: it was typed wrong\"
  starmill correct pipelines/shop.toml order_summary --key 17 --set-null city_at_order --because \"asked for by the customer\" --dry-run";

const EXTRACT_EXAMPLES: &str = "\
Examples:
  starmill extract pipelines/shop.toml --to out/tables          what the models read
  starmill extract pipelines/shop.toml --to orders --table orders --table public.order_items
  starmill extract pipelines/shop.toml --dry-run                would every value arrive?";

const QUERY_EXAMPLES: &str = "\
Tables: the star's by their names; starmill.runs, starmill.tables and starmill.controls tell of the runs.

Examples:
  starmill query pipelines/shop.toml                                   a prompt; \\? helps there
  starmill query pipelines/shop.toml 'SELECT sum(revenue) FROM daily_sales'
  starmill query pipelines/shop.toml --at latest~7 'SELECT count(*) FROM order_summary'
  starmill query pipelines/shop.toml 'SELECT * FROM order_summary' --format parquet --output o.parquet
  starmill query pipelines/shop.toml 'SELECT run, seconds FROM starmill.runs ORDER BY seconds DESC'";

const SCHEDULE_EXAMPLES: &str = "\
A night that was missed, because the scheduler was down or the night before still ran, is run once,
late, and said. What may pass (4, 8, 11) is tried again with growing waits, what the audit refused
never. On SIGTERM or Ctrl-C no new night begins; running ones have --drain to end, and are then ended
cleanly, which takes 12 seconds at most. A second signal does that at once.

Examples:
  starmill schedule --list pipelines/shop.toml               the next five nights
  starmill schedule --listen 127.0.0.1:9187 pipelines/*.toml with /health and /metrics
  starmill schedule --once pipelines/shop.toml               only what is due, then exit";

#[derive(Debug, Subcommand)]
pub enum SnapshotsCommand {
    /// List them: time, source position, rows, size, what changed, which is published
    List {
        #[command(flatten)]
        pipeline: PipelineArg,
    },
    /// Show one: its tables, its proof, what it changed
    Show {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// An id, latest~1, a date
        #[arg(default_value = "latest")]
        snapshot: String,
    },
    /// Publish an older snapshot again, and deliver it: shown first, then asked
    Rollback {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// An id, latest~1, a date; without it, the one that the published one was compared with
        snapshot: Option<String>,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
        /// Keep it published until `snapshots release`: runs rehearse, tell people why, and end with 12
        #[arg(long, value_name = "WHY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        hold: Option<String>,
    },
    /// Let runs publish again after a rollback with --hold
    Release {
        #[command(flatten)]
        pipeline: PipelineArg,
    },
    /// Forget old snapshots, as `keep` in [store] says or as asked here; the published one stays
    Prune {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// These, and no others
        #[arg(value_name = "SNAPSHOT", conflicts_with_all = ["keep", "older_than"])]
        snapshots: Vec<String>,
        /// Keep so many of the newest
        #[arg(long, value_name = "COUNT")]
        keep: Option<usize>,
        /// Forget those made longer ago: 30d, 12h
        #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
        older_than: Option<Duration>,
        /// Time for readers of what was just superseded, instead of `grace` in [store]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        grace: Option<Duration>,
        /// Only show what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Take somebody's rows out of every kept snapshot, the registry and the examples in reports: shown first, then asked
    Forget {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// The table whose rows are theirs
        #[arg(long, value_name = "TABLE")]
        table: String,
        /// The value of its key, or column=value,column=value where that has several; may be repeated
        #[arg(long = "key", value_name = "KEY", required = true, allow_hyphen_values = true)]
        keys: Vec<String>,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
        /// Only show what would go
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
    /// Hold every file against the hash that was taken when it was written; exit with 8 if one differs
    Verify {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// Ids, latest~1, dates; without any, all that are kept
        snapshots: Vec<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct QueryArgs {
    /// The pipeline: pipelines/<name>.toml
    #[arg(value_name = "PIPELINE")]
    pub path: PathBuf,
    /// One or several SELECTs; `-` reads them from standard input
    pub sql: Option<String>,
    /// Ask another snapshot than the published one: an id, latest~1, a date
    #[arg(long, value_name = "SNAPSHOT")]
    pub at: Option<String>,
    /// How to print the rows; without it, as the ending of --output says, else a table
    #[arg(long, value_enum)]
    pub format: Option<RowFormat>,
    /// Write the rows into this file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct ScheduleArgs {
    /// The pipelines; each needs a [schedule]
    #[arg(value_name = "PIPELINE", required = true)]
    pub pipelines: Vec<PathBuf>,
    /// Only show when the next five nights of each begin
    #[arg(long, conflicts_with_all = ["once", "listen"])]
    pub list: bool,
    /// Run what is due now, missed nights too, with its repetitions; then exit
    #[arg(long)]
    pub once: bool,
    /// Answer /health and /metrics over HTTP at this address
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Nights that may run at once
    #[arg(long, value_name = "COUNT", default_value = "2")]
    pub jobs: NonZeroUsize,
    /// How long running nights may go on after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain: Duration,
    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct PipelineArg {
    /// The pipeline: pipelines/<name>.toml
    #[arg(value_name = "PIPELINE")]
    pub path: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object on stdout
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowFormat {
    /// For people
    Table,
    /// As COPY writes it: NULL is an empty field, the empty string is ""
    Csv,
    /// One array of objects
    Json,
    /// Needs --output, or a pipe
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl QueryArgs {
    /// The form that is asked for, or that the file's ending means.
    pub fn row_format(&self) -> RowFormat {
        let ending =
            self.output.as_ref().and_then(|path| path.extension()).and_then(|ending| ending.to_str());
        self.format.unwrap_or(match ending {
            Some("csv") => RowFormat::Csv,
            Some("json") => RowFormat::Json,
            Some("parquet") => RowFormat::Parquet,
            _ => RowFormat::Table,
        })
    }
}
