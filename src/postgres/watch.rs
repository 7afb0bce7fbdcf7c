//! A server that stops answering without closing its sessions: its kernel, or a proxy's, acknowledges what is sent,
//! so no timeout of TCP's notices. While something is done there, another session asks now and then whether
//! anybody is at home, and whether a session that has been quiet for long is one that the server waits for.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_postgres::types::Type;

use super::traffic::Traffic;
use super::{Server, Session};
use crate::error::{Error, Result};

/// Questions asked in the time after which a silent server is given up.
const QUESTIONS: u32 = 4;

/// What is wrong with a server that is given up.
enum Silence {
    /// Nobody answers.
    OfServer,
    /// A session has moved nothing, and the server waits for it: what is between them lost its bytes.
    OfLine,
}

impl Server {
    /// Does something in a server, unless the server or a session with it falls silent meanwhile.
    pub async fn watched<T>(&self, most: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            silence = self.silence(most) => Err(self.given_up(&silence, most)),
        }
    }

    fn given_up(&self, silence: &Silence, most: Duration) -> Error {
        let (side, patience) = (self.side.word(), humantime::format_duration(most));
        let (message, help) = match silence {
            Silence::OfServer => (
                format!("the {side} {} has not answered for {patience}", self.shown),
                "see whether its server is stopped or its disk hangs",
            ),
            Silence::OfLine => (
                format!(
                    "nothing has come over a connection with the {side} {} for {patience}, though each waits for the other",
                    self.shown
                ),
                "see what is between: a proxy, a tunnel or a firewall that keeps connections and loses bytes",
            ),
        };
        let help = format!("{help}; `silent_max` in [{side}] says how long it may be silent");
        Error::new(self.side.unreachable(), message).hint(help)
    }

    /// Ends when the server has not answered for so long, or one of its sessions moved nothing.
    async fn silence(&self, most: Duration) -> Silence {
        let mut session = None;
        loop {
            tokio::time::sleep(most / QUESTIONS).await;
            let quiet = self.quiet_for(most);
            match tokio::time::timeout(most, self.ask(session.take(), &quiet)).await {
                Ok((answered, false)) => session = answered,
                // It may have moved while it was asked after.
                Ok((answered, true)) => {
                    match self.quiet_for(most).iter().any(|process| quiet.contains(process)) {
                        true => return Silence::OfLine,
                        false => session = answered,
                    }
                }
                Err(_) => return Silence::OfServer,
            }
        }
    }

    /// The server's processes whose answers are awaited, and that have moved nothing for so long.
    fn quiet_for(&self, most: Duration) -> Vec<i32> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|traffic| Arc::strong_count(traffic) > 1);
        sessions.iter().filter_map(|traffic| traffic.quiet_for(most)).collect()
    }

    /// From now on a session is watched with the others.
    pub(super) fn watch(&self, traffic: &Arc<Traffic>) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(traffic));
    }

    /// Asks whether the server waits for one of some sessions. A server that refuses to answer is at home; what it
    /// refuses is the work's own to tell.
    async fn ask(&self, session: Option<Session>, quiet: &[i32]) -> (Option<Session>, bool) {
        let session = match session {
            Some(session) => session,
            None => loop {
                match self.connect_once().await {
                    Ok(session) => break session,
                    // Not answering within its own timeout is no answer, either.
                    Err(error) if error.is_silence() => {}
                    Err(_) => return (None, false),
                }
            },
        };
        // Behind a pooler the processes are not the server's, and nothing is found.
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY ($1) AND wait_event_type = 'Client')";
        match session.query_typed(waits, &[(&quiet, Type::INT4_ARRAY)]).await {
            Ok(rows) => (Some(session), rows.first().is_some_and(|row| row.get(0))),
            Err(_) => (None, false),
        }
    }
}
