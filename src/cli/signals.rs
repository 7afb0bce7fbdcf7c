//! SIGINT and SIGTERM, heard on a thread of their own: a busy engine must not keep them waiting.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::ErrorKind;

/// How long a run may take to end cleanly; then it is ended, and the next one sweeps.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Signals(watch::Receiver<Option<ErrorKind>>);

impl Signals {
    pub fn listen() -> Signals {
        let (tell, heard) = watch::channel(None);
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let Some(kind) = next().await else { return };
                let _ = tell.send(Some(kind));
                tokio::time::sleep(PATIENCE).await;
                eprintln!("error: the run did not end within {} s and was ended", PATIENCE.as_secs());
                std::process::exit(i32::from(kind.exit_code()));
            });
        });
        Signals(heard)
    }

    /// Waits for the first signal.
    pub async fn first(mut self) -> ErrorKind {
        match self.0.wait_for(Option::is_some).await.map(|kind| *kind) {
            Ok(Some(kind)) => kind,
            _ => std::future::pending().await,
        }
    }
}

async fn next() -> Option<ErrorKind> {
    let mut interrupt = signal(SignalKind::interrupt()).ok()?;
    let mut terminate = signal(SignalKind::terminate()).ok()?;
    tokio::select! {
        _ = interrupt.recv() => Some(ErrorKind::Interrupted),
        _ = terminate.recv() => Some(ErrorKind::Terminated),
    }
}
