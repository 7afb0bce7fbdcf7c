//! SIGINT, SIGTERM and SIGHUP, heard on a thread of their own: a busy engine must not keep them waiting.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::error::ErrorKind;

/// How long a run may take to end cleanly; then it is ended, and the next one sweeps.
const PATIENCE: Duration = Duration::from_secs(10);

/// The signals heard so far.
#[derive(Clone)]
pub struct Signals(watch::Receiver<Vec<ErrorKind>>);

impl Signals {
    /// Hears signals; the process is ended when it does not end itself soon after the first.
    pub fn listen() -> Signals {
        Signals::listen_for(Some(PATIENCE), None)
    }

    /// Hears signals; when the process ends is its own affair, and SIGHUP is a word of its own.
    pub fn listen_patiently(reload: mpsc::UnboundedSender<()>) -> Signals {
        Signals::listen_for(None, Some(reload))
    }

    fn listen_for(patience: Option<Duration>, reload: Option<mpsc::UnboundedSender<()>>) -> Signals {
        // One ear for the whole process, so that no step of a command misses what an earlier one heard.
        static HEARD: OnceLock<Signals> = OnceLock::new();
        HEARD.get_or_init(|| Signals::begin(patience, reload)).clone()
    }

    fn begin(patience: Option<Duration>, reload: Option<mpsc::UnboundedSender<()>>) -> Signals {
        let (tell, heard) = watch::channel(Vec::new());
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let interrupt = signal(SignalKind::interrupt());
                let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, signal(SignalKind::terminate()))
                else {
                    return;
                };
                let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
                // A write beyond `ulimit -f` is to fail, like one on a full disk, not to end the process.
                let _too_large = signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32));
                let _ = ready.send(());
                loop {
                    let kind = tokio::select! {
                        _ = interrupt.recv() => ErrorKind::Interrupted,
                        _ = terminate.recv() => ErrorKind::Terminated,
                        _ = hangup.recv() => match &reload {
                            // A daemon's terminal is long gone, so this is a word to it.
                            Some(reload) => {
                                let _ = reload.send(());
                                continue;
                            }
                            None => ErrorKind::Terminated,
                        },
                    };
                    tell.send_modify(|signals| signals.push(kind));
                    let Some(patience) = patience else { continue };
                    tokio::time::sleep(patience).await;
                    super::render::say(&format!(
                        "error: the run did not end within {} s and was ended",
                        patience.as_secs()
                    ));
                    std::process::exit(i32::from(kind.exit_code()));
                }
            });
        });
        // From here on no signal goes unheard; without a thread the channel closes, and we go on.
        let _ = is_ready.recv();
        Signals(heard)
    }

    /// Waits for the first signal.
    pub async fn first(self) -> ErrorKind {
        self.nth(1).await
    }

    /// Waits until so many signals have come.
    pub async fn nth(mut self, count: usize) -> ErrorKind {
        match self.0.wait_for(|signals| signals.len() >= count).await.map(|signals| signals.last().copied()) {
            Ok(Some(kind)) => kind,
            _ => std::future::pending().await,
        }
    }
}
