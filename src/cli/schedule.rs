//! `starmill schedule` and `starmill notify`.

use serde_json::json;
use tokio::sync::mpsc;

use super::args::{Format, LogFormat, PipelineArg, ScheduleArgs};
use super::command::{fail, print, print_json};
use super::signals::Signals;
use super::{logs, render};
use crate::error::{Error, ErrorKind, Result};
use crate::notify::send;
use crate::pipeline;
use crate::pipeline::notify::AlertKind;
use crate::run::alert;
use crate::serve::{Daemon, Orders, Stopped, http, upcoming};

/// How many nights `--list` shows of each pipeline.
const LISTED: usize = 5;

pub async fn schedule(args: ScheduleArgs, format: LogFormat) -> u8 {
    if args.list {
        let (nights, broken) = upcoming(&args.pipelines, LISTED);
        if args.format == Format::Text && !nights.is_empty() {
            print(&render::upcoming(&nights));
        }
        // Whoever reads json gets one document.
        return match (broken.split_first(), args.format) {
            (None, Format::Json) => {
                print_json(&json!({ "pipelines": nights }));
                0
            }
            (None, Format::Text) => 0,
            (Some((first, others)), format) => {
                for error in others.iter().filter(|_| format == Format::Text) {
                    let _ = fail(format, error);
                }
                fail(format, first)
            }
        };
    }
    match serve(args, format).await {
        Ok(code) => code,
        Err(error) => fail(Format::Text, &error),
    }
}

async fn serve(args: ScheduleArgs, format: LogFormat) -> Result<u8> {
    let (reload, reloads) = mpsc::unbounded_channel();
    let signals = Signals::listen_patiently(reload);
    let orders = Orders {
        pipelines: args.pipelines,
        jobs: args.jobs.get(),
        once: args.once,
        drain: args.drain,
        night: night_variables(format),
    };
    let daemon = Daemon::open(orders)?;
    if let Some(address) = args.listen {
        let listener = http::listen(address).await?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "answering over HTTP");
        tokio::spawn(http::answer(listener, daemon.board()));
    }
    let stop = {
        let signals = signals.clone();
        async {
            signals.first().await;
        }
    };
    let last = signals.clone();
    let hurry = async {
        signals.nth(2).await;
    };
    Ok(match daemon.serve(stop, hurry, reloads).await {
        Stopped::Done { failed } => failed.unwrap_or(0),
        Stopped::Told { drained: true } => 0,
        Stopped::Told { drained: false } => last.first().await.exit_code(),
    })
}

/// What the nights' own processes log, and how.
fn night_variables(format: LogFormat) -> Vec<(&'static str, &'static str)> {
    let mut variables = Vec::new();
    if std::env::var_os(logs::LEVEL).is_none() {
        variables.push((logs::LEVEL, logs::VERBOSE));
    }
    if format == LogFormat::Json {
        variables.push((logs::FORMAT, "json"));
    }
    variables
}

pub async fn notify(arg: &PipelineArg) -> u8 {
    match send_test(arg).await {
        Ok(code) => code,
        Err(error) => fail(arg.format, &error),
    }
}

async fn send_test(arg: &PipelineArg) -> Result<u8> {
    let deployment = pipeline::deployment(&arg.path)?;
    if deployment.notify.webhook.is_none() && deployment.notify.command.is_none() {
        let message = format!("{} has nobody to tell", deployment.name);
        return Err(Error::new(ErrorKind::Pipeline, message)
            .hint("add [notify] with webhook = \"https://…\" or command = [\"program\"]"));
    }
    let text = "this is a test; nothing is wrong".to_owned();
    let sent = send(&deployment.notify, &alert::bare(&deployment, AlertKind::Test, text)).await;
    let failed = sent.iter().any(|sent| sent.result.is_err());
    match arg.format {
        Format::Json => {
            let channels: Vec<_> = sent
                .iter()
                .map(|sent| {
                    let error = sent.result.as_ref().err().map(crate::run::report::ErrorReport::of);
                    json!({ "channel": sent.name, "told": sent.result.is_ok(), "error": error })
                })
                .collect();
            print_json(&json!({ "ok": !failed, "channels": channels }));
        }
        Format::Text => {
            for sent in &sent {
                match &sent.result {
                    Ok(()) => print(&format!("told: {}\n", sent.name)),
                    Err(error) => render::error(error),
                }
            }
        }
    }
    Ok(if failed { ErrorKind::Store.exit_code() } else { 0 })
}
