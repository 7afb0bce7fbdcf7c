//! Runs a program of the user's, with the alert on its standard input.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Alert;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(command: &[String], alert: &Alert) -> Result<()> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let body = serde_json::to_vec(alert).or_error(ErrorKind::Bug, || "the alert".to_owned())?;
    let mut child = Command::new(program)
        .args(args)
        .env("STARMILL_EVENT", alert.event.word())
        .env("STARMILL_PIPELINE", &alert.pipeline)
        .env("STARMILL_TEXT", &alert.text)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_error(ErrorKind::Store, || format!("cannot start `{program}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that doesn't read what it is told has been told all the same.
        let _ = stdin.write_all(&body).await;
    }
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.map_err(|_| {
        Error::new(ErrorKind::Store, format!("`{program}` did not end within {} s", PATIENCE.as_secs()))
    })?;
    let output = ended.or_error(ErrorKind::Store, || format!("cannot wait for `{program}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or_default().to_owned();
    Err(Error::new(ErrorKind::Store, format!("`{program}` ended with {}", output.status)).caused_by(said))
}
