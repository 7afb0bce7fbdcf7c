//! A target that stops answering without closing its sessions: its kernel acknowledges what is sent, so no timeout of
//! TCP's notices. While something is done there, another session asks now and then whether anybody is at home.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TargetSettings;
use crate::postgres::{Pins, Server, Session, Side};

/// Questions asked in the time after which a silent target is given up.
const QUESTIONS: u32 = 4;

/// Does something in a target, unless the target falls silent meanwhile.
pub async fn watched<T>(
    target: &TargetSettings,
    pipeline: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let pins =
        Pins { pipeline, timezone: "UTC", search_path: &[], lock_timeout: None, statement_timeout: None };
    let server = Server::new(&target.url, Side::Target, &pins)?;
    tokio::select! {
        done = work => done,
        () = silence(&server, target.silent_max) => {
            let patience = humantime::format_duration(target.silent_max);
            Err(Error::new(ErrorKind::Store, format!("the target {} has not answered for {patience}", target.url))
                .hint("see whether its server is stopped or its disk hangs; `silent_max` in [target] says how long it may be silent"))
        }
    }
}

/// Ends when the target has not answered for so long.
async fn silence(server: &Server, most: Duration) {
    let mut session = None;
    loop {
        tokio::time::sleep(most / QUESTIONS).await;
        match tokio::time::timeout(most, ask(server, session.take())).await {
            Ok(answered) => session = answered,
            Err(_) => return,
        }
    }
}

/// Asks anything. A server that refuses to answer is at home; what it refuses is the work's own to tell.
async fn ask(server: &Server, session: Option<Session>) -> Option<Session> {
    let session = match session {
        Some(session) => session,
        None => loop {
            match server.connect_once().await {
                Ok(session) => break session,
                // Not answering within its own timeout is no answer, either.
                Err(error) if error.is_silence() => {}
                Err(_) => return None,
            }
        },
    };
    session.simple_query("").await.is_ok().then_some(session)
}
