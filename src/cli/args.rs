//! The command line: clap's words only.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Turns a normalized Postgres database into an audited star schema, every night, all or nothing.
#[derive(Debug, Parser)]
#[command(name = "starmill", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  starmill check pipelines/shop.toml              every mistake, with its place
  starmill plan pipelines/shop.toml               what would be read, built and written
  starmill run --dry-run pipelines/shop.toml      build, audit, and show what would change
  starmill run pipelines/shop.toml                the same, and publish
  SHOP_SOURCE=postgres://me@db/shop starmill run pipelines/shop.toml
  starmill run pipelines/shop.toml --format json | jq '.diff[] | {table, added, removed, changed}'

Exit codes:
  0 done · 1 a bug · 2 wrong usage · 3 the pipeline or its SQL is wrong
  4 the source is unreachable, refused us or got lost
  5 the source's schema, privileges or a value don't fit
  6 a model failed · 7 the audit refused · 8 the store, scratch or target refused
  9 another run holds the lock · 10 --exit-code found differences
  11 published, delivery pending · 130, 143 interrupted

Passwords: PGPASSWORD or ~/.pgpass; they need not stand in a URL, and are never shown.
Logs: STARMILL_LOG=info (or debug) writes them to stderr.";

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
        /// Accept a changed key, surrogate or first-seen column of this model
        #[arg(long, value_name = "MODEL")]
        accept: Vec<String>,
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
    /// Deliver the published snapshot into the target again; harmless when it is there
    Deliver {
        #[command(flatten)]
        pipeline: PipelineArg,
        /// Take over a target that holds another store's star, or tables of the same names
        #[arg(long)]
        adopt: bool,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  starmill run pipelines/shop.toml
  starmill run --dry-run --exit-code pipelines/shop.toml    in a merge check: 10 if rows change
  starmill run --accept dim_customer pipelines/shop.toml    after its key was changed on purpose";

#[derive(Debug, clap::Args)]
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
