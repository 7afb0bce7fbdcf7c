//! What a server refused, told by what the reader can do, and whether it may pass.

use tokio_postgres::error::SqlState;

use super::{Server, Side};
use crate::error::Error;

impl Server {
    /// An error of a statement, told by what the reader can do.
    pub fn error(&self, error: tokio_postgres::Error, doing: impl Into<String>) -> Error {
        let doing = doing.into();
        let Some(db) = error.as_db_error() else {
            return Error::new(
                self.side.unreachable(),
                format!("{doing}: the connection to the {} was lost", self.side.word()),
            )
            .caused_by(error_text(&error))
            .hint(match self.side {
                Side::Source => "nothing was published; run again when the server is back",
                Side::Target => "see that the server is back",
            });
        };
        let code = db.code();
        let (kind, hint) = match code {
            &SqlState::INSUFFICIENT_PRIVILEGE if db.message().contains("row-level security") => (
                self.side.unfit(),
                Some(
                    "a part of a table is never taken for the whole: give the role BYPASSRLS, or connect as one that sees all rows",
                ),
            ),
            &SqlState::INSUFFICIENT_PRIVILEGE => {
                (self.side.unfit(), Some("GRANT the role what it needs, or connect as another"))
            }
            &SqlState::LOCK_NOT_AVAILABLE => (
                self.side.unreachable(),
                Some(match self.side {
                    Side::Source => {
                        "another session holds a conflicting lock: run again later, or raise `lock_timeout` in [source]"
                    }
                    Side::Target => {
                        "another session holds a conflicting lock there: end it, or wait longer, `lock_wait` in [target]"
                    }
                }),
            ),
            &SqlState::QUERY_CANCELED if db.message().contains("statement timeout") => (
                self.side.unreachable(),
                Some(match self.side {
                    Side::Source => {
                        "raise `statement_timeout` in [source], or where the server sets it for the role"
                    }
                    Side::Target => {
                        "raise `statement_timeout` in [target], or where the server sets it for the role"
                    }
                }),
            ),
            &SqlState::QUERY_CANCELED => {
                (self.side.unreachable(), Some("somebody cancelled it on the server; run again"))
            }
            &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN => {
                (self.side.unreachable(), Some("the server ended the session; run again when it is back"))
            }
            &SqlState::T_R_SERIALIZATION_FAILURE => (
                self.side.unreachable(),
                Some(
                    "on a standby, replay removed rows that the snapshot needed: raise max_standby_streaming_delay, or set hot_standby_feedback",
                ),
            ),
            &SqlState::DISK_FULL
            | &SqlState::OUT_OF_MEMORY
            | &SqlState::INSUFFICIENT_RESOURCES
            | &SqlState::CONFIGURATION_LIMIT_EXCEEDED => {
                (self.side.unreachable(), Some("the server ran out of space or memory"))
            }
            code if may_pass(code) => {
                (self.side.unreachable(), Some("the server may take it later: run again"))
            }
            _ => (self.side.unfit(), None),
        };
        let mut cause = format!("{}: {}", db.severity(), db.message());
        if let Some(detail) = db.detail() {
            cause.push_str(&format!(" ({detail})"));
        }
        if self.discreet && shows_values(code) {
            cause = format!(
                "{}: SQLSTATE {}; its words are left out, since they may show a value that is masked",
                db.severity(),
                code.code()
            );
        }
        let ours = Error::new(kind, doing).caused_by(cause).busy(is_busy(code));
        // What the server advises would destroy what others made.
        let advice = db.hint().filter(|hint| !hint.contains("CASCADE")).map(str::to_owned);
        match hint.map(str::to_owned).or(advice) {
            Some(hint) => ours.hint(hint),
            None => ours,
        }
    }
}

/// Whether what a server says of an error has values of rows in it: of data, of constraints, of what functions raise.
fn shows_values(code: &SqlState) -> bool {
    ["22", "23", "P0", "38", "39", "XX"].iter().any(|class| code.code().starts_with(class))
}

/// Whether a server that refused a statement may take it later: connections, rollbacks forced by others,
/// resources, operators, the machine beneath, and what the server itself calls a fault of its own.
fn may_pass(code: &SqlState) -> bool {
    const CLASSES: [&str; 6] = ["08", "40", "53", "57", "58", "XX"];
    const TIMEOUTS: [&str; 3] = ["25P03", "25P04", "55P03"];
    CLASSES.iter().any(|class| code.code().starts_with(class)) || TIMEOUTS.contains(&code.code())
}

/// Whether others had what a statement needed, a lock or the last word, and may be done in a moment.
fn is_busy(code: &SqlState) -> bool {
    [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::T_R_DEADLOCK_DETECTED, &SqlState::T_R_SERIALIZATION_FAILURE]
        .contains(&code)
}

/// tokio-postgres says "error connecting to server" and hides why one level below.
pub(super) fn error_text(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(db) => format!("{}: {}", db.severity(), db.message()),
        None => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if error.as_db_error().is_none() && !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
