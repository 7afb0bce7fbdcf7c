//! A connection to Postgres, for reading a source and for delivering into a target: found as psql
//! users expect, its session pinned, its errors told by what the reader can do.

mod parameters;
mod refusal;
mod tap;
mod tls;

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode as Negotiation, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::PostgresUrl;
use parameters::parameters;
use refusal::error_text;
use tap::Connector;
pub use tap::Tap;
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
    /// What every transaction begins with.
    pins: String,
}

/// How a transaction is pinned, so that no server's or role's default changes a value's text.
pub struct Pins<'a> {
    /// Who a DBA sees at work, after our own name.
    pub pipeline: &'a str,
    pub timezone: &'a str,
    pub search_path: &'a [String],
    /// How long a statement may wait for a lock; none is as long as it takes.
    pub lock_timeout: Option<Duration>,
    /// How long a statement may take; none is what the server allows the role.
    pub statement_timeout: Option<Duration>,
}

/// How a transaction sees the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    /// One instant for all its statements, and no change.
    Snapshot,
}

/// A client, with the tap on its connection.
pub struct Session {
    client: Client,
    tap: Tap,
    connector: Connector,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// What ends what this session is doing, whoever holds it then.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation { token: self.client.cancel_token(), connector: self.connector.clone() }
    }
}

/// The right to end what a session is doing, as safely as the session itself speaks.
pub struct Cancellation {
    token: CancelToken,
    connector: Connector,
}

/// What tokio-postgres takes when nothing is said: as long as kernels do.
const KERNELS_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// How long what was sent may stay without an acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);
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
            config.application_name(format!("starmill {}", pins.pipeline));
        }
        // A host that is gone without a word is noticed in a minute or two, not in two hours.
        if config.get_keepalives_idle() == KERNELS_IDLE {
            config.keepalives_idle(Duration::from_secs(30));
            config.keepalives_interval(config.get_keepalives_interval().unwrap_or(Duration::from_secs(10)));
            config.keepalives_retries(config.get_keepalives_retries().unwrap_or(6));
        }
        config.tcp_user_timeout(config.get_tcp_user_timeout().copied().unwrap_or(UNACKNOWLEDGED));
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT));
        let path: Vec<String> = pins.search_path.iter().map(|schema| quote_identifier(schema)).collect();
        let statement_timeout = pins
            .statement_timeout
            .map(|most| format!("; SET LOCAL statement_timeout = {}", most.as_millis()));
        let pins = format!(
            "SET LOCAL TimeZone = {}; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; \
             SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; SET LOCAL standard_conforming_strings = on; \
             SET LOCAL xmloption = content; SET LOCAL xmlbinary = base64; SET LOCAL quote_all_identifiers = off; SET LOCAL transform_null_equals = off; \
             SET LOCAL search_path = {}; SET LOCAL row_security = off; SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL lock_timeout = {}{}",
            quote_literal(pins.timezone),
            if path.is_empty() { "pg_catalog".to_owned() } else { path.join(", ") },
            pins.lock_timeout.map_or(0, |timeout| timeout.as_millis()),
            statement_timeout.unwrap_or_default(),
        );
        Ok(Server { config, mode, tls, shown: url.to_string(), side, pins })
    }

    /// Opens a session. Its connection runs in a task of its own, which ends with the client. What
    /// passes by itself, such as a server that is just starting, is tried again for a few seconds.
    pub async fn connect(&self) -> Result<Session> {
        let waits =
            ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_factor(2.0).with_max_times(RETRIES);
        let attempt = || self.attempt();
        let attempts = attempt.retry(waits).when(|failure| failure.passes).notify(|failure, wait| {
            tracing::info!(error = %failure.error, ?wait, "cannot connect to the {}; trying again", self.side.word());
        });
        attempts.await.map_err(|failure| failure.error)
    }

    async fn attempt(&self) -> Result<Session, Unconnected> {
        // The configured timeout ends with the TCP handshake; a host may swallow what comes after.
        let most = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        match tokio::time::timeout(most * 2, self.reach()).await {
            Ok(reached) => reached.map_err(|error| Unconnected {
                passes: passes_by_itself(&error),
                error: self.connect_error(error),
            }),
            Err(_) => Err(Unconnected { passes: false, error: self.silent() }),
        }
    }

    /// Begins a transaction and pins it. The pins end with it, so that a session that others use after
    /// us, behind a pooling proxy, is left as it was.
    pub async fn begin(&self, client: &Client, isolation: Isolation) -> Result<()> {
        let begin = match isolation {
            Isolation::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Isolation::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        };
        let begun = client.batch_execute(&format!("{begin}; {}", self.pins)).await;
        begun.map_err(|error| {
            self.error(error, format!("cannot begin a transaction in the {}", self.side.word()))
        })
    }

    /// Asks the server to end what a session is doing. It goes on its way on a thread of its own, which
    /// a busy engine cannot hold up; [`settle`] waits for it.
    pub fn cancel(session: Cancellation) {
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let Cancellation { token, connector } = session;
            if let Err(error) = runtime.block_on(token.cancel_query(connector)) {
                tracing::debug!(%error, "a statement was not cancelled");
            }
        });
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    /// Connects as `sslmode` says; `allow` and `prefer` try the other way when the first is refused.
    async fn reach(&self) -> Result<Session, tokio_postgres::Error> {
        match self.mode {
            SslMode::Disable => self.reach_plain().await,
            SslMode::Allow => match self.reach_plain().await {
                Err(error) if wants_otherwise(&error) => self.reach_through_tls().await,
                reached => reached,
            },
            // Of several addresses only the last one's error is told, so it says little about TLS.
            SslMode::Prefer => match self.reach_through_tls().await {
                Err(error) if wants_otherwise(&error) || error.code().is_none() => self.reach_plain().await,
                reached => reached,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => self.reach_through_tls().await,
        }
    }

    async fn reach_plain(&self) -> Result<Session, tokio_postgres::Error> {
        let (mut config, tap) = (self.config.clone(), Tap::default());
        let connector = Connector { tls: None, tap: tap.clone() };
        // What has no host's name, a local socket, can have no tap.
        let client = if config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_)))
            && !config.get_hosts().is_empty()
        {
            config.ssl_mode(Negotiation::Require).ssl_negotiation(SslNegotiation::Direct);
            let (client, connection) = config.connect(connector.clone()).await?;
            attend(connection);
            client
        } else {
            let (client, connection) = config.ssl_mode(Negotiation::Disable).connect(NoTls).await?;
            attend(connection);
            client
        };
        Ok(Session { client, tap, connector })
    }

    async fn reach_through_tls(&self) -> Result<Session, tokio_postgres::Error> {
        let (mut config, tap) = (self.config.clone(), Tap::default());
        let connector = Connector { tls: Some(self.tls.clone()), tap: tap.clone() };
        let connecting = config.ssl_mode(Negotiation::Require).connect(connector.clone());
        let (client, connection) = connecting.await?;
        attend(connection);
        Ok(Session { client, tap, connector })
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
}

/// A connection that did not come about.
struct Unconnected {
    /// Whether another attempt may find it otherwise.
    passes: bool,
    error: Error,
}

/// The first wait of those between attempts; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const RETRIES: usize = 4;

/// A server that is restarting, or has no room just now.
fn passes_by_itself(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        return [
            &SqlState::CANNOT_CONNECT_NOW,
            &SqlState::TOO_MANY_CONNECTIONS,
            &SqlState::ADMIN_SHUTDOWN,
            &SqlState::CRASH_SHUTDOWN,
        ]
        .contains(&code);
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as Io;
            return matches!(io.kind(), Io::ConnectionRefused | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof)
                // getaddrinfo's "try again".
                || io.to_string().contains("Temporary failure in name resolution");
        }
        cause = inner.source();
    }
    false
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
