//! One short function a command: from arguments to values, from values to output and exit code.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::args::{Args, Command, Format, PipelineArg};
use super::signals::Signals;
use super::{render, spinner};
use crate::error::{Error, ErrorKind, Result};
use crate::load::Adopt;
use crate::pipeline;
use crate::run::plan::plan;
use crate::run::report::{ErrorReport, Mode};
use crate::run::{Request, keep, redeliver, run};
use crate::star::audit::Strictness;

pub async fn dispatch(args: Args, signals: Signals) -> u8 {
    match args.command {
        Command::Run { pipeline, dry_run, exit_code, strict, accept } => {
            let request = Request {
                mode: if dry_run { Mode::DryRun } else { Mode::Run },
                strictness: if strict { Strictness::Strict } else { Strictness::Lenient },
                accept,
            };
            run_command(&pipeline, request, exit_code, signals).await
        }
        Command::Plan { pipeline } => {
            let summary = async { Ok(plan(pipeline::read(&pipeline.path)?, &[]).await?.summary()) };
            finish(&pipeline, stoppable(summary, signals).await, render::plan)
        }
        Command::Check { pipeline } => check(&pipeline, signals).await,
        Command::Deliver { pipeline, adopt } => {
            let adopt = if adopt { Adopt::TakeOver } else { Adopt::Refuse };
            let delivery = stoppable(redeliver(&pipeline.path, adopt), signals).await;
            finish(&pipeline, delivery, render::delivery)
        }
    }
}

async fn run_command(pipeline: &PipelineArg, request: Request, exit_code: bool, signals: Signals) -> u8 {
    let progress = spinner::progress(pipeline.format);
    let (mut report, result) = run(&pipeline.path, request, progress.listener(), signals.first()).await;
    progress.finish();
    let code = match &result {
        Ok(()) if exit_code && report.has_differences() => ErrorKind::Differences.exit_code(),
        Ok(()) => 0,
        Err(error) => error.kind().exit_code(),
    };
    report.exit_code = code;
    if let Err(error) = keep(&pipeline.path, &report) {
        render::warning(&format!("the report was not kept: {error}"));
    }
    match pipeline.format {
        Format::Json => print_json(&report),
        Format::Text => print(&render::run(&report, &shown_folder(&report.output))),
    }
    if let Err(error) = &result
        && pipeline.format == Format::Text
    {
        render::error(error);
    }
    code
}

async fn check(pipeline: &PipelineArg, signals: Signals) -> u8 {
    let plan = async { plan(pipeline::read(&pipeline.path)?, &[]).await };
    match stoppable(plan, signals).await {
        Ok(plan) => {
            let warnings: Vec<_> = plan.warnings().collect();
            match pipeline.format {
                Format::Json => print_json(&json!({
                    "ok": true,
                    "pipeline": plan.pipeline.name,
                    "models": plan.pipeline.models.len(),
                    "controls": plan.pipeline.controls.len(),
                    "diagnostics": warnings.iter().map(|warning| warning.to_json()).collect::<Vec<_>>(),
                })),
                Format::Text => {
                    render::diagnostics(&warnings);
                    print(&render::checked(&plan));
                }
            }
            0
        }
        Err(error) => fail(pipeline.format, &error),
    }
}

fn finish<T: Serialize>(pipeline: &PipelineArg, result: Result<T>, text: impl Fn(&T) -> String) -> u8 {
    match result {
        Ok(value) => {
            match pipeline.format {
                Format::Json => print_json(&value),
                Format::Text => print(&text(&value)),
            }
            0
        }
        Err(error) => fail(pipeline.format, &error),
    }
}

fn fail(format: Format, error: &Error) -> u8 {
    let code = error.kind().exit_code();
    match format {
        Format::Json => {
            print_json(&json!({ "ok": false, "exit_code": code, "error": ErrorReport::of(error) }))
        }
        Format::Text => render::error(error),
    }
    code
}

/// Ends the work when a signal comes; dropping it closes connections and sweeps scratch.
async fn stoppable<T>(work: impl Future<Output = Result<T>>, signals: Signals) -> Result<T> {
    tokio::select! {
        result = work => result,
        kind = signals.first() => Err(Error::new(kind, "interrupted")),
    }
}

/// A closed pipe is the reader's right, not our failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn print_json<T: Serialize>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => eprintln!("error: cannot print JSON: {error}"),
    }
}

/// The output folder as the user would type it: relative to where they stand, if it is below.
fn shown_folder(output: &Option<String>) -> String {
    let Some(output) = output else { return String::new() };
    let here = std::env::current_dir().unwrap_or_default();
    let path = Path::new(output);
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// Whether errors may be coloured.
pub fn stderr_is_styled() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
