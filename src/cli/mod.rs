//! Speaks with people, decides nothing.

mod args;
mod command;
mod render;
mod signals;
mod spinner;

use std::process::ExitCode;

use clap::Parser;

/// Reads the command line, runs the command, and gives the exit code.
pub fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap's help and version are no mistakes; everything else is wrong usage, 2.
            let code = error.exit_code();
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    start_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(command::dispatch(args, signals::Signals::listen()));
    // Work on other threads that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Logs go to stderr; STARMILL_LOG says how much of them.
fn start_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("STARMILL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
