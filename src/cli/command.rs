//! One short function a command: from arguments to values, from values to output and exit code.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::CommandFactory;
use serde::Serialize;
use serde_json::json;

use super::args::{Args, Command, Format, PipelineArg};
use super::signals::Signals;
use super::{query, render, schedule, snapshots, spinner};
use crate::clock;
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::load::{Adopt, refusal};
use crate::operate::correct::{self, CorrectRequest};
use crate::operate::{compare, history, runs};
use crate::postgres;
use crate::run::extract::{Wanted, extract};
use crate::run::plan::planned;
use crate::run::report::ErrorReport;
use crate::run::{Alerts, Differences, Purpose, Request, delivery, run};
use crate::shown;
use crate::star::audit::Strictness;
use crate::store::Beginning;

/// A night so far ahead is a slip of the pen, and would make every night before it count as had.
const FARTHEST_NIGHT: chrono::TimeDelta = chrono::TimeDelta::days(1);

pub async fn dispatch(args: Args) -> u8 {
    let logs = super::logs::format(&args);
    match args.command {
        Command::Run {
            pipeline,
            dry_run,
            exit_code,
            strict,
            accept,
            scheduled_for,
            no_notify,
            new_store,
            accept_restored,
        } => {
            let request = Request {
                beginning: match (new_store, accept_restored) {
                    (true, _) => Beginning::New,
                    (false, true) => Beginning::Restored,
                    (false, false) => Beginning::Usual,
                },
                purpose: if dry_run { Purpose::Rehearse } else { Purpose::Publish },
                strictness: if strict { Strictness::Strict } else { Strictness::Lenient },
                accept,
                differences: if exit_code { Differences::ExitCode } else { Differences::Shown },
                scheduled_for,
                alerts: if no_notify { Alerts::Leave } else { Alerts::Send },
            };
            if let Some(night) = scheduled_for.filter(|night| *night > clock::now() + FARTHEST_NIGHT) {
                let error = Error::new(ErrorKind::Usage, format!("the night {night} is still far ahead"));
                return fail(pipeline.format, &error.hint("give the time at which this night was to begin"));
            }
            run_command(&pipeline, request).await
        }
        Command::Plan { pipeline } => {
            let summary = async { Ok(planned(&pipeline.path).await?.summary().await) };
            finish(pipeline.format, stoppable(summary).await, render::plan)
        }
        Command::Check { pipeline } => check(&pipeline).await,
        Command::Extract { pipeline, to, table, .. } => {
            let progress = spinner::progress(pipeline.format);
            let wanted = Wanted { tables: table, folder: to };
            let taken = stoppable(extract(&pipeline.path, &wanted, progress.listener())).await;
            postgres::settle();
            progress.finish();
            finish(pipeline.format, taken, render::extraction)
        }
        Command::Diff { pipeline, from, to, exit_code } => {
            let compared = stoppable(compare::compare(&pipeline.path, &from, &to)).await;
            let differs = exit_code && compared.as_ref().is_ok_and(compare::Comparison::has_differences);
            let code = finish(pipeline.format, compared, render::comparison);
            if differs { ErrorKind::Differences.exit_code() } else { code }
        }
        Command::Snapshots(command) => snapshots::dispatch(command).await,
        Command::Deliver { pipeline, verify: true, .. } => verify_delivery(&pipeline).await,
        Command::Deliver { pipeline, adopt: true, yes, verify: false } => adopt(&pipeline, yes).await,
        Command::Deliver { pipeline, adopt: false, verify: false, .. } => {
            let delivery = stoppable(delivery::redeliver(&pipeline.path, Adopt::Refuse)).await;
            finish(pipeline.format, delivery, render::delivery)
        }
        Command::Query(args) => query::query(args).await,
        Command::History { pipeline, table, key } => {
            finish(pipeline.format, history::history(&pipeline.path, &table, &key), render::remembered)
        }
        Command::Correct { pipeline, table, key, set, set_null, because, dry_run } => {
            let request = CorrectRequest { table, key, set, set_null, because };
            let told = match dry_run {
                true => correct::plan(&pipeline.path, &request),
                false => stoppable(correct::correct(&pipeline.path, &request)).await,
            };
            finish(pipeline.format, told, render::corrections)
        }
        Command::Runs { pipeline, run: None, limit } => {
            finish(pipeline.format, runs::history(&pipeline.path, limit.get()), render::history)
        }
        Command::Runs { pipeline, run: Some(reference), .. } => {
            finish(pipeline.format, runs::report(&pipeline.path, &reference), |report| {
                render::run(report, &shown_folder(&report.output)) + &render::kept_error(report)
            })
        }
        Command::Schedule(args) => schedule::schedule(args, logs).await,
        Command::Notify { pipeline } => schedule::notify(&pipeline).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "starmill", &mut script);
            print(&String::from_utf8_lossy(&script));
            0
        }
        Command::Man { folder } => man(folder.as_deref()),
    }
}

async fn run_command(pipeline: &PipelineArg, request: Request) -> u8 {
    let progress = spinner::progress(pipeline.format);
    let (report, result) = run(&pipeline.path, request, progress.listener(), Signals::listen().first()).await;
    progress.finish();
    match pipeline.format {
        Format::Json => print_json(&report),
        Format::Text => print(&render::run(&report, &shown_folder(&report.output))),
    }
    if let Err(error) = &result
        && pipeline.format == Format::Text
    {
        render::error(error);
    }
    report.exit_code
}

async fn check(pipeline: &PipelineArg) -> u8 {
    let looked = async {
        let plan = planned(&pipeline.path).await?;
        let obstacles = plan.obstacles().await;
        Ok((plan, obstacles))
    };
    match stoppable(looked).await {
        Ok((plan, obstacles)) => {
            let unseen = obstacles.as_ref().err().cloned().map(Diagnostic::warning);
            if let Some(refusal) = obstacles.ok().and_then(|found| refusal(&found)) {
                return fail(pipeline.format, &refusal);
            }
            let warnings: Vec<_> = plan.warnings().chain(&unseen).collect();
            match pipeline.format {
                Format::Json => print_json(&json!({
                    "ok": true,
                    "pipeline": plan.pipeline.deployment.name,
                    "models": plan.pipeline.models.len(),
                    "controls": plan.pipeline.controls.len(),
                    "changes": plan.changes,
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

/// Shows what would become of the target's tables, asks, and takes them over.
async fn adopt(pipeline: &PipelineArg, yes: bool) -> u8 {
    let plan = match stoppable(delivery::takeover(&pipeline.path)).await {
        Ok(plan) => plan,
        Err(error) => return fail(pipeline.format, &error),
    };
    if pipeline.format == Format::Text {
        print(&render::takeover(&plan));
    }
    let question = "Take them over?".to_owned();
    if !plan.is_empty()
        && let Err(error) = stoppable(snapshots::confirmed(yes, question)).await
    {
        return fail(pipeline.format, &error);
    }
    let delivery = stoppable(delivery::redeliver(&pipeline.path, Adopt::TakeOver)).await;
    finish(pipeline.format, delivery, render::delivery)
}

async fn verify_delivery(pipeline: &PipelineArg) -> u8 {
    let found = stoppable(delivery::verify(&pipeline.path)).await;
    let holds = found.as_ref().is_ok_and(crate::load::Verification::holds);
    let unsaid = found.is_ok() && !holds;
    let code = finish(pipeline.format, found, render::verification);
    if !unsaid {
        return code;
    }
    let error = Error::new(ErrorKind::Store, "the target does not hold the published snapshot")
        .hint("`starmill deliver` compares every row and mends what differs");
    if pipeline.format == Format::Text {
        render::error(&error);
    }
    error.kind().exit_code()
}

fn man(folder: Option<&Path>) -> u8 {
    let made = || match folder {
        Some(folder) => std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Args::command(), folder))
            .map(|()| print(&format!("man pages are in {}\n", folder.display())))
            .or_error(ErrorKind::Store, || format!("cannot write man pages into {}", folder.display())),
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Args::command()).render(&mut page);
            rendered.or_error(ErrorKind::Bug, || "the man page".to_owned())?;
            print(&String::from_utf8_lossy(&page));
            Ok(())
        }
    };
    match made() {
        Ok(()) => 0,
        Err(error) => fail(Format::Text, &error),
    }
}

/// Prints a value, or its error; gives the exit code.
pub fn finish<T: Serialize>(format: Format, result: Result<T>, text: impl Fn(&T) -> String) -> u8 {
    match result {
        Ok(value) => {
            match format {
                Format::Json => print_json(&value),
                Format::Text => print(&text(&value)),
            }
            0
        }
        Err(error) => fail(format, &error),
    }
}

pub fn fail(format: Format, error: &Error) -> u8 {
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
pub async fn stoppable<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        kind = Signals::listen().first() => Err(Error::new(kind, "interrupted")),
    }
}

/// Whether something could not be printed that somebody wanted to read.
static UNPRINTED: AtomicBool = AtomicBool::new(false);

/// A closed pipe is the reader's right, not our failure; a full disk behind standard output is one.
pub fn print(text: &str) {
    print_raw(&shown::text(text));
}

/// The same for what programs read, byte by byte as it is.
fn print_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            UNPRINTED.store(true, Ordering::Relaxed);
            render::say(&format!("error: standard output cannot be written: {error}"));
        }
        _ => {}
    }
}

/// The exit code of a command, when all that it had to say could be said.
pub fn exit_code(code: u8) -> u8 {
    match (code, UNPRINTED.load(Ordering::Relaxed)) {
        (0, true) => ErrorKind::Store.exit_code(),
        (code, _) => code,
    }
}

pub fn print_json<T: Serialize>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print_raw(&format!("{text}\n")),
        Err(error) => render::say(&format!("error: cannot print JSON: {error}")),
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
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
