//! A connection to Postgres, for reading a source and for delivering into a target: found as psql
//! users expect, its session pinned, its errors told by what the reader can do.

mod auth;
mod known;
mod parameters;
mod passfile;
mod reach;
mod refusal;
mod tap;
mod tls;
mod traffic;
mod watch;

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::PostgresUrl;
use auth::Demand;
use parameters::{Wanted, parameters};
use tap::Connector;
pub use tap::Tap;
use tls::SslMode;
use traffic::Traffic;

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
    wanted: Wanted,
    demand: Option<Demand>,
    shown: String,
    side: Side,
    /// Whether its words about values are kept from everybody.
    discreet: bool,
    /// What every transaction begins with.
    pins: String,
    /// The sessions that were opened with it, for who watches them.
    sessions: Arc<Mutex<Vec<Arc<Traffic>>>>,
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
    /// As whom it acts; none as whom it connects.
    pub role: Option<&'a str>,
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
    /// The same, whose words about values are kept from everybody.
    pub fn discreet(self, discreet: bool) -> Server {
        Server { discreet, ..self }
    }

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
        if local && parameters.demand.is_some() {
            let message =
                "require_auth cannot be held over a local socket, where the server's own files decide";
            return Err(wrong(Error::new(ErrorKind::Pipeline, message).hint("leave it out, or name a host")));
        }
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
        let role = pins.role.map(|role| format!("; SET LOCAL ROLE {}", quote_identifier(role)));
        let pins = format!(
            "SET LOCAL TimeZone = {}; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; \
             SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; SET LOCAL standard_conforming_strings = on; \
             SET LOCAL xmloption = content; SET LOCAL xmlbinary = base64; SET LOCAL quote_all_identifiers = off; SET LOCAL transform_null_equals = off; \
             SET LOCAL search_path = {}; SET LOCAL row_security = off; SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL lock_timeout = {}{}{}",
            quote_literal(pins.timezone),
            if path.is_empty() { "pg_catalog".to_owned() } else { path.join(", ") },
            pins.lock_timeout.map_or(0, |timeout| timeout.as_millis()),
            statement_timeout.unwrap_or_default(),
            role.unwrap_or_default(),
        );
        let (wanted, demand) = (parameters.wanted, parameters.demand);
        Ok(Server {
            config,
            mode,
            tls,
            wanted,
            demand,
            shown: parameters.tried.unwrap_or_else(|| url.to_string()),
            side,
            discreet: false,
            pins,
            sessions: Arc::default(),
        })
    }

    /// Opens a session. Its connection runs in a task of its own, which ends with the client. What
    /// passes by itself, such as a server that is just starting, is tried again for a few seconds.
    pub async fn connect(&self) -> Result<Session> {
        let waits =
            ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_factor(2.0).with_max_times(RETRIES);
        let attempt = || self.connect_once();
        let attempts = attempt.retry(waits).when(|failure| failure.passes).notify(|failure, wait| {
            tracing::info!(error = %failure.error, ?wait, "cannot connect to the {}; trying again", self.side.word());
        });
        attempts.await.map_err(|failure| failure.error)
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
}

/// The first wait of those between attempts; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const RETRIES: usize = 4;

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
