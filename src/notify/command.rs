//! Runs a program of the user's, with the alert on its standard input.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
        .env("STARMILL_TEXT", bounded(&alert.text))
        // A program that tells people needs no key of the source's or the target's.
        .env_remove("PGPASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_error(ErrorKind::Store, || format!("cannot start `{program}`"))?;
    let (stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    let mut said = Vec::new();
    let tell = async {
        // A program that doesn't read what it is told has been told all the same.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(&body).await;
        }
    };
    let listen = async {
        if let Some(stderr) = &mut stderr {
            // All of it is read, lest the program wait for a reader, and little of it is kept.
            let _ = (&mut *stderr).take(KEPT).read_to_end(&mut said).await;
            let _ = tokio::io::copy(stderr, &mut tokio::io::sink()).await;
        }
    };
    // Telling and listening at once: a pipe holds less than an alert may say.
    let end = async {
        futures::join!(tell, listen);
        child.wait().await
    };
    let ended = tokio::time::timeout(PATIENCE, end).await.map_err(|_| {
        Error::new(ErrorKind::Store, format!("`{program}` did not end within {} s", PATIENCE.as_secs()))
    })?;
    let status = ended.or_error(ErrorKind::Store, || format!("cannot wait for `{program}`"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let mut said = said.lines().next().unwrap_or_default().to_owned();
    // It may repeat its arguments, and those may hold a secret.
    for arg in args.iter().filter(|arg| arg.len() > 3) {
        said = said.replace(arg.as_str(), "…");
    }
    Err(Error::new(ErrorKind::Store, format!("`{program}` ended with {status}")).caused_by(said))
}

/// Bytes of what a program says that are kept.
const KEPT: u64 = 4_096;

/// A text that fits into an environment, which the system bounds.
fn bounded(text: &str) -> &str {
    let end = (0..=text.len().min(8_192)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}
