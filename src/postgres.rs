//! A connection to Postgres, for reading a source and for delivering into a target: found as psql
//! users expect, its session pinned, its errors told by what the reader can do.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{Error, ErrorKind, Result};
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::PostgresUrl;

/// Which side of starmill connects: it decides what an unreachable server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

impl Side {
    fn unreachable(self) -> ErrorKind {
        match self {
            Side::Source => ErrorKind::Source,
            Side::Target => ErrorKind::Store,
        }
    }

    fn unfit(self) -> ErrorKind {
        match self {
            Side::Source => ErrorKind::Fit,
            Side::Target => ErrorKind::Store,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Target => "target",
        }
    }
}

/// Everything needed to open one more session like the others.
#[derive(Clone)]
pub struct Server {
    config: Config,
    shown: String,
    side: Side,
    /// Run by every session before anything else.
    setup: String,
}

/// How a session is pinned, so that no server's or role's default changes a value's text.
pub struct Pins<'a> {
    pub timezone: &'a str,
    pub search_path: &'a [String],
    /// How long a statement may wait for a lock; none is as long as it takes.
    pub lock_timeout: Option<Duration>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    pub fn new(url: &PostgresUrl, side: Side, pins: &Pins) -> Result<Server> {
        let wrong = |error| {
            let error: tokio_postgres::Error = error;
            Error::new(
                ErrorKind::Pipeline,
                format!("the {}'s URL is not one that Postgres knows", side.word()),
            )
            .caused_by(error)
            .hint("write postgres://user@host:port/database")
        };
        let mut config = Config::from_str(url.reveal()).map_err(wrong)?;
        complete(&mut config);
        config.application_name("starmill");
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT));
        let path: Vec<String> = pins.search_path.iter().map(|schema| quote_identifier(schema)).collect();
        let setup = format!(
            "SET TimeZone = {}; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
             SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; \
             SET search_path = {}; SET row_security = off; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = {}",
            quote_literal(pins.timezone),
            if path.is_empty() { "pg_catalog".to_owned() } else { path.join(", ") },
            pins.lock_timeout.map_or(0, |timeout| timeout.as_millis()),
        );
        Ok(Server { config, shown: url.to_string(), side, setup })
    }

    /// Opens a session. Its connection runs in a task of its own, which ends with the client.
    pub async fn connect(&self) -> Result<Client> {
        // The configured timeout ends with the TCP handshake; a host may swallow what comes after.
        let most = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let connected = tokio::time::timeout(most * 2, self.config.connect(NoTls)).await;
        let (client, connection) = match connected {
            Ok(connected) => connected.map_err(|error| self.connect_error(error))?,
            Err(_) => return Err(self.silent()),
        };
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a Postgres connection ended");
            }
        });
        client
            .batch_execute(&self.setup)
            .await
            .map_err(|error| self.error(error, "cannot prepare the session"))?;
        Ok(client)
    }

    fn silent(&self) -> Error {
        let message =
            format!("cannot connect to the {} {}: it does not answer", self.side.word(), self.shown);
        Error::new(self.side.unreachable(), message).hint(
            "check host and port, and what is between; connect_timeout in the URL says how long to wait",
        )
    }

    fn connect_error(&self, error: tokio_postgres::Error) -> Error {
        let code = error.code().cloned();
        let text = error_text(&error);
        let message = format!("cannot connect to the {} {}", self.side.word(), self.shown);
        let ours = Error::new(self.side.unreachable(), message);
        let hint = match code {
            Some(SqlState::INVALID_PASSWORD) => {
                "check the password: in PGPASSWORD, in ~/.pgpass, or in the URL"
            }
            Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                "check the role's name, and what pg_hba.conf allows it"
            }
            Some(SqlState::INVALID_CATALOG_NAME) => "check the database's name at the end of the URL",
            Some(SqlState::TOO_MANY_CONNECTIONS) => "try again later, or lower `connections` in [source]",
            Some(SqlState::CANNOT_CONNECT_NOW) => "the server is starting or stopping: try again",
            Some(_) => "see the server's message above",
            None if text.contains("password missing") => {
                "give the password: in PGPASSWORD, in ~/.pgpass, or in the URL"
            }
            None if text.to_lowercase().contains("tls") => {
                "this version of starmill speaks no TLS: use sslmode=prefer or disable, over a network that you trust, or a tunnel"
            }
            None => "check host and port, and that the server is up and reachable from here",
        };
        ours.caused_by(error_text(&error)).hint(hint)
    }

    /// An error of a statement, told by what the reader can do.
    pub fn error(&self, error: tokio_postgres::Error, doing: impl Into<String>) -> Error {
        let doing = doing.into();
        let Some(db) = error.as_db_error() else {
            return Error::new(
                self.side.unreachable(),
                format!("{doing}: the connection to the {} was lost", self.side.word()),
            )
            .caused_by(error_text(&error))
            .hint("nothing was published; run again when the server is back");
        };
        let code = db.code();
        let (kind, hint) = match code {
            &SqlState::INSUFFICIENT_PRIVILEGE => {
                (self.side.unfit(), Some("GRANT the role what it needs, or connect as another"))
            }
            &SqlState::LOCK_NOT_AVAILABLE => (
                self.side.unreachable(),
                Some("another session holds a conflicting lock: run again later, or raise `lock_timeout`"),
            ),
            &SqlState::QUERY_CANCELED => {
                (self.side.unreachable(), Some("a statement timeout or someone's cancel ended it; run again"))
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
            &SqlState::DISK_FULL | &SqlState::OUT_OF_MEMORY => {
                (self.side.unreachable(), Some("the server ran out of space or memory"))
            }
            _ => (self.side.unfit(), None),
        };
        let mut cause = format!("{}: {}", db.severity(), db.message());
        if let Some(detail) = db.detail() {
            cause.push_str(&format!(" ({detail})"));
        }
        let ours = Error::new(kind, doing).caused_by(cause);
        match hint.map(str::to_owned).or(db.hint().map(str::to_owned)) {
            Some(hint) => ours.hint(hint),
            None => ours,
        }
    }
}

/// tokio-postgres says "error connecting to server" and hides why one level below.
fn error_text(error: &tokio_postgres::Error) -> String {
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

/// Fills what the URL leaves out as libpq does: PG* variables, then ~/.pgpass.
fn complete(config: &mut Config) {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host(variable("PGHOST").unwrap_or("localhost".to_owned()));
    }
    if config.get_ports().is_empty()
        && let Some(port) = variable("PGPORT").and_then(|port| port.parse().ok())
    {
        config.port(port);
    }
    if config.get_user().is_none() {
        let user = variable("PGUSER").or(variable("USER")).unwrap_or("postgres".to_owned());
        config.user(user);
    }
    if config.get_dbname().is_none()
        && let Some(name) = variable("PGDATABASE")
    {
        config.dbname(name);
    }
    if config.get_password().is_none()
        && let Some(password) = variable("PGPASSWORD").or_else(|| pgpass(config))
    {
        config.password(password);
    }
}

fn pgpass(config: &Config) -> Option<String> {
    let file = match std::env::var_os("PGPASSFILE") {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".pgpass"),
    };
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        _ => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    let text = std::fs::read_to_string(file).ok()?;
    pgpass_entry(&text, [&host, &port, database, user])
}

/// The password of the first line that fits; `*` fits anything, a backslash escapes.
fn pgpass_entry(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = vec![String::new()];
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            let last = fields.len() - 1;
            match c {
                '\\' => fields[last].extend(chars.next()),
                ':' if fields.len() < 5 => fields.push(String::new()),
                c => fields[last].push(c),
            }
        }
        let fits =
            fields.len() == 5 && fields.iter().zip(wanted).all(|(have, want)| have == "*" || have == want);
        fits.then(|| fields.swap_remove(4))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fitting_line_of_pgpass_wins() {
        let text = "# a comment\nother:5432:*:*:no\n*:5432:shop:ann:se\\:cret\n*:*:*:*:last\n";
        assert_eq!(pgpass_entry(text, ["db", "5432", "shop", "ann"]).as_deref(), Some("se:cret"));
        assert_eq!(pgpass_entry(text, ["db", "5433", "shop", "ann"]).as_deref(), Some("last"));
        assert_eq!(pgpass_entry("a:b:c:d", ["a", "b", "c", "d"]), None);
    }
}
