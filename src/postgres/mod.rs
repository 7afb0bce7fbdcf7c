//! A connection to Postgres, for reading a source and for delivering into a target: found as psql
//! users expect, its session pinned, its errors told by what the reader can do.

mod parameters;
mod tls;

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode as Negotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::PostgresUrl;
use parameters::parameters;
use tls::SslMode;

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
    mode: SslMode,
    tls: MakeRustlsConnect,
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
        let variable = |name: &str| std::env::var(name).ok();
        let wrong = |error: Error| {
            let hint = error.help().unwrap_or("write postgres://user@host:port/database").to_owned();
            let message = format!("the {}'s URL cannot be used", side.word());
            Error::new(ErrorKind::Pipeline, message).caused_by(error).hint(hint)
        };
        let parameters = parameters(url.reveal(), &variable).map_err(wrong)?;
        let mut config = parameters.config;
        // A local socket needs no TLS, and its server offers none.
        let local = config.get_hostaddrs().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let mut tls = parameters.tls;
        if local {
            tls.mode = SslMode::Disable;
        }
        let (mode, tls) = (tls.mode, tls.connector().map_err(wrong)?);
        if config.get_application_name().is_none() {
            config.application_name("starmill");
        }
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
        Ok(Server { config, mode, tls, shown: url.to_string(), side, setup })
    }

    /// Opens a session. Its connection runs in a task of its own, which ends with the client.
    pub async fn connect(&self) -> Result<Client> {
        // The configured timeout ends with the TCP handshake; a host may swallow what comes after.
        let most = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let client = match tokio::time::timeout(most * 2, self.reach()).await {
            Ok(reached) => reached.map_err(|error| self.connect_error(error))?,
            Err(_) => return Err(self.silent()),
        };
        client
            .batch_execute(&self.setup)
            .await
            .map_err(|error| self.error(error, "cannot prepare the session"))?;
        Ok(client)
    }

    /// Asks the server to end what a session is doing, as safely as the session itself speaks. It goes
    /// on its way on a thread of its own, which a busy engine cannot hold up; [`settle`] waits for it.
    pub fn cancel(&self, session: CancelToken) {
        let tls = self.tls.clone();
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            if let Err(error) = runtime.block_on(session.cancel_query(tls)) {
                tracing::debug!(%error, "a statement was not cancelled");
            }
        });
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    /// Connects as `sslmode` says; `allow` and `prefer` try the other way when the first is refused.
    async fn reach(&self) -> Result<Client, tokio_postgres::Error> {
        match self.mode {
            SslMode::Disable => self.reach_plain().await,
            SslMode::Allow => match self.reach_plain().await {
                Err(error) if wants_otherwise(&error) => self.reach_through_tls(Negotiation::Require).await,
                reached => reached,
            },
            SslMode::Prefer => match self.reach_through_tls(Negotiation::Prefer).await {
                Err(error) if wants_otherwise(&error) => self.reach_plain().await,
                reached => reached,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.reach_through_tls(Negotiation::Require).await
            }
        }
    }

    async fn reach_plain(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.config.clone();
        let (client, connection) = config.ssl_mode(Negotiation::Disable).connect(NoTls).await?;
        attend(connection);
        Ok(client)
    }

    async fn reach_through_tls(&self, negotiation: Negotiation) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.config.clone();
        let (client, connection) = config.ssl_mode(negotiation).connect(self.tls.clone()).await?;
        attend(connection);
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
            None if tls::hint(&text).is_some() => tls::hint(&text).unwrap_or_default(),
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

/// Cancellations on their way.
static ASKED: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// How long the end of a run may wait for its cancellations to arrive.
const SETTLING: Duration = Duration::from_secs(3);

/// Waits until every cancellation has arrived: a process that ends before leaves its server computing
/// for nobody. It blocks, because at its time the engine may be too busy to keep time.
pub fn settle() {
    let asked = std::mem::take(&mut *ASKED.lock().unwrap_or_else(PoisonError::into_inner));
    let watch = Stopwatch::start();
    while asked.iter().any(|asked| !asked.is_finished()) && watch.elapsed() < SETTLING {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads what the server sends, in a task that ends with the client.
fn attend<S, T>(connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a Postgres connection ended");
        }
    });
}

/// Whether a refusal may be about TLS, so that the other way is worth a try.
fn wants_otherwise(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        None => tls::hint(&error_text(error)).is_some(),
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
