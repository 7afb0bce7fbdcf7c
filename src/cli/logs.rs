//! Logs go to stderr: STARMILL_LOG says how much of them, `--log-format` or STARMILL_LOG_FORMAT how.

use std::fmt::Debug;
use std::io::Write;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format as fields;

use super::args::{Args, Command, LogFormat};
use super::command::stderr_is_styled;
use crate::run::ENDS;
use crate::shown;

pub const LEVEL: &str = "STARMILL_LOG";
pub const FORMAT: &str = "STARMILL_LOG_FORMAT";
/// What a scheduler and its nights log unless they are told otherwise.
pub const VERBOSE: &str = "warn,starmill=info";

pub fn start(args: &Args) {
    // A scheduler speaks through its logs; other commands have their own output.
    let quiet = match args.command {
        Command::Schedule(_) => VERBOSE.to_owned(),
        // It says itself what each channel answered.
        Command::Notify { .. } => "error".to_owned(),
        _ => format!("warn,{ENDS}=off"),
    };
    let filter = EnvFilter::try_from_env(LEVEL).unwrap_or_else(|_| EnvFilter::new(quiet));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unfailing(std::io::stderr()))
        .with_ansi(stderr_is_styled())
        .with_target(false);
    match format(args) {
        LogFormat::Text => logs.fmt_fields(fields::debug_fn(field).delimited(" ")).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

pub fn format(args: &Args) -> LogFormat {
    args.log_format.unwrap_or_else(|| match std::env::var(FORMAT).as_deref() {
        Ok("json") => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

/// One field of a line: the message as it is, others by their names, none of them obeyed by a terminal.
fn field(writer: &mut fields::Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", shown::line(&value)),
        name => write!(writer, "{name}={}", shown::line(&value)),
    }
}

/// A log that nobody can read, or that has no room, must not cost a night.
struct Unfailing(std::io::Stderr);

impl Write for Unfailing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
