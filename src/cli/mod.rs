//! Speaks with people, decides nothing.

mod args;
mod command;
mod logs;
mod prompt;
mod query;
mod render;
mod rows;
mod schedule;
mod signals;
mod snapshots;
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
    logs::start(&args);
    keep_freed_blocks();
    open_more_files();
    // The engine walks a query by calling itself, and takes it apart so; a query may have thousands of parts.
    let work = std::thread::Builder::new().name("starmill".to_owned()).stack_size(STACK).spawn(|| work(args));
    let code = work
        .map_err(|error| error.to_string())
        .and_then(|work| work.join().map_err(|_| "the command's thread ended by itself".to_owned()));
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            render::say(&format!("error: cannot start: {error}"));
            ExitCode::from(1)
        }
    }
}

/// Bytes of a thread's stack: reserved, and used as far as a query is deep.
const STACK: usize = 32 << 20;

fn work(args: args::Args) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            render::say(&format!("error: cannot start: {error}"));
            return 1;
        }
    };
    let code = runtime.block_on(command::dispatch(args));
    // Work on other threads that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    command::exit_code(code)
}

/// A star may have more files than a shell lets a process open by default; up to the hard limit nobody need ask.
fn open_more_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const ENOUGH: u64 = 65_536;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(ENOUGH)
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard);
    }
}

/// Lets glibc reuse large blocks instead of giving them back and faulting them in again, batch after
/// batch. Its threshold for blocks that are mapped one by one, and twice that for what it keeps, grows
/// with the largest such block ever freed, up to 32 MiB; so one is freed here, without being touched.
/// A thread keeps up to twice as much for it. Other allocators take no notice, nor does glibc when its
/// `MALLOC_…` variables say otherwise.
fn keep_freed_blocks() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity((32 << 20) - (64 << 10))));
}
