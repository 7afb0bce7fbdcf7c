//! One attempt at a night, in a process of its own: what it needs of memory goes with it, and what
//! kills it leaves the scheduler alive.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::timetable::{Attempt, End, Work};
use crate::clock;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::run::report::RunReport;

/// How long a process may take to end after it was told to: it promises ten seconds itself.
const PATIENCE: Duration = Duration::from_secs(12);

/// How an attempt ended, and what it reported.
#[derive(Debug)]
pub struct Ended {
    pub end: End,
    /// The process's exit code; 1 when it has none.
    pub code: u8,
    /// The report of a run; a delivery has none.
    pub report: Option<Box<RunReport>>,
    /// In one line, for the log and for people.
    pub said: String,
}

/// Runs the attempt to its end. When `stop` says so, it is ended cleanly: nothing is published, or
/// all of it is.
pub async fn attempt(
    pipeline: &Path,
    attempt: Attempt,
    variables: &[(&str, &str)],
    stop: impl Future<Output = ()>,
) -> Ended {
    let started = start(pipeline, attempt, variables);
    let ended = async { supervise(started?, attempt, stop).await };
    match ended.await {
        Ok(ended) => ended,
        Err(error) => {
            Ended { end: End::Badly, code: error.kind().exit_code(), report: None, said: error.to_string() }
        }
    }
}

async fn supervise(mut child: Child, attempt: Attempt, stop: impl Future<Output = ()>) -> Result<Ended> {
    let mut stdout = child.stdout.take();
    let mut text = String::new();
    let status = {
        let run = async {
            if let Some(stdout) = &mut stdout {
                // What it printed is read to its end, lest it wait for a reader.
                let _ = stdout.read_to_string(&mut text).await;
            }
            child.wait().await
        };
        tokio::pin!(run);
        tokio::select! {
            status = &mut run => Some(status),
            () = stop => None,
        }
    };
    let status = match status {
        Some(status) => status,
        None => {
            signal(&child, Signal::SIGTERM);
            match tokio::time::timeout(PATIENCE, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    signal(&child, Signal::SIGKILL);
                    child.wait().await
                }
            }
        }
    };
    let status = status.or_error(ErrorKind::Bug, || "cannot wait for the night".to_owned())?;
    Ok(match attempt.work {
        Work::Run => of_run(status.code(), &text),
        Work::Deliver => of_delivery(status.code(), &text),
    })
}

fn start(pipeline: &Path, attempt: Attempt, variables: &[(&str, &str)]) -> Result<Child> {
    let mut command = Command::new(program());
    match attempt.work {
        Work::Run => {
            let night = attempt.night.to_rfc3339();
            command.args(["run", "--no-notify", "--scheduled-for", &night]).arg(pipeline);
        }
        Work::Deliver => {
            command.arg("deliver").arg(pipeline);
        }
    }
    command.envs(variables.iter().copied());
    if let Some((variable, value)) = clock::for_child() {
        command.env(variable, value);
    }
    command
        .args(["--format", "json"])
        // A group of its own: Ctrl-C is the scheduler's to hear, and to pass on in time.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_error(ErrorKind::Bug, || "cannot start a process for the night".to_owned())
}

/// This program, also after an upgrade has replaced or removed its file.
pub fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

fn of_run(code: Option<i32>, text: &str) -> Ended {
    let report: Option<Box<RunReport>> = serde_json::from_str(text).ok();
    let said = match &report {
        Some(report) => match report.reason() {
            Some(reason) => format!("{}: {reason}", report.outcome.word()),
            None => report.outcome.word().to_owned(),
        },
        None => unheard(code),
    };
    Ended { end: end(code), code: exit_code(code), report, said }
}

fn of_delivery(code: Option<i32>, text: &str) -> Ended {
    let said = match code {
        Some(0) => "the pending snapshot was delivered".to_owned(),
        _ => {
            let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            let message = answer["error"]["message"].as_str();
            message.map_or_else(|| unheard(code), str::to_owned)
        }
    };
    let end = match end(code) {
        End::Passing => End::Pending,
        other => other,
    };
    Ended { end, code: exit_code(code), report: None, said }
}

fn exit_code(code: Option<i32>) -> u8 {
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(ErrorKind::Bug.exit_code())
}

fn unheard(code: Option<i32>) -> String {
    match code {
        Some(code) => format!("the process ended with {code} and reported nothing"),
        None => "the process was killed, perhaps for want of memory, and reported nothing".to_owned(),
    }
}

fn end(code: Option<i32>) -> End {
    // What killed it may be a lack of memory that passes.
    let Some(code) = code else { return End::Passing };
    match ErrorKind::of_exit_code(code) {
        None if code == 0 => End::Well,
        Some(ErrorKind::DeliveryPending) => End::Pending,
        Some(ErrorKind::Locked) => End::Locked,
        Some(kind) if kind.may_pass() => End::Passing,
        _ => End::Badly,
    }
}
