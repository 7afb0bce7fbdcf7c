//! How a session comes about: which server, encrypted or not, and what it means when none does.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode as Negotiation, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::parameters::Wanted;
use super::refusal::error_text;
use super::tap::{Connector, Tap};
use super::tls::{self, SslMode};
use super::{CONNECT_TIMEOUT, Server, Session};
use crate::error::{Error, Result};

/// A connection that did not come about.
pub struct Unconnected {
    /// Whether another attempt may find it otherwise.
    pub(super) passes: bool,
    pub(super) error: Error,
    silent: bool,
}

impl Unconnected {
    /// Whether nobody answered at all.
    pub fn is_silence(&self) -> bool {
        self.silent
    }
}

impl Server {
    /// Opens a session, in one attempt.
    pub async fn connect_once(&self) -> Result<Session, Unconnected> {
        // The configured timeout ends with the TCP handshake; a host may swallow what comes after.
        let most = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        match tokio::time::timeout(most * 2, self.reach_wanted()).await {
            Ok(reached) => reached,
            Err(_) => Err(Unconnected { passes: false, error: self.silent(), silent: true }),
        }
    }

    /// Reaches the server that is wanted, of those that are named.
    async fn reach_wanted(&self) -> Result<Session, Unconnected> {
        let rounds: &[Option<bool>] = match self.wanted {
            Wanted::Any => return self.reach(&self.config).await.map_err(|error| self.unconnected(error)),
            Wanted::Primary => &[Some(false)],
            Wanted::Standby => &[Some(true)],
            Wanted::PreferStandby => &[Some(true), None],
        };
        let mut failure = None;
        for standby in rounds {
            for config in each_host(&self.config) {
                match self.reach(&config).await {
                    Ok(session) => match (standby, self.is_standby(&session).await) {
                        (None, _) => return Ok(session),
                        (Some(standby), Ok(is)) if *standby == is => return Ok(session),
                        (_, Ok(_)) => {}
                        (_, Err(error)) => failure = Some(self.unconnected(error)),
                    },
                    Err(error) => failure = Some(self.unconnected(error)),
                }
            }
        }
        let what = if self.wanted == Wanted::Primary { "primary" } else { "standby" };
        Err(failure.unwrap_or_else(|| {
            let message = format!("none of the {}'s servers is a {what}: {}", self.side.word(), self.shown);
            let error = Error::new(self.side.unreachable(), message);
            Unconnected {
                passes: false,
                error: error.hint("see target_session_attrs in its URL"),
                silent: false,
            }
        }))
    }

    async fn is_standby(&self, session: &Session) -> Result<bool, tokio_postgres::Error> {
        Ok(session.query_one("SELECT pg_is_in_recovery()", &[]).await?.get(0))
    }

    fn unconnected(&self, error: tokio_postgres::Error) -> Unconnected {
        Unconnected { passes: passes_by_itself(&error), error: self.connect_error(error), silent: false }
    }

    /// Connects as `sslmode` says; `allow` and `prefer` try the other way when the first is refused.
    async fn reach(&self, config: &Config) -> Result<Session, tokio_postgres::Error> {
        match self.mode {
            SslMode::Disable => self.reach_plain(config).await,
            SslMode::Allow => match self.reach_plain(config).await {
                Err(error) if wants_otherwise(&error) => self.reach_through_tls(config).await,
                reached => reached,
            },
            // Of several addresses only the last one's error is told, so it says little about TLS.
            SslMode::Prefer => match self.reach_through_tls(config).await {
                Err(error) if wants_otherwise(&error) || error.code().is_none() => {
                    self.reach_plain(config).await
                }
                reached => reached,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.reach_through_tls(config).await
            }
        }
    }

    async fn reach_plain(&self, config: &Config) -> Result<Session, tokio_postgres::Error> {
        let (mut config, tap) = (config.clone(), Tap::default());
        let connector = self.connector(None, &tap);
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

    async fn reach_through_tls(&self, config: &Config) -> Result<Session, tokio_postgres::Error> {
        let (mut config, tap) = (config.clone(), Tap::default());
        let connector = self.connector(Some(self.tls.clone()), &tap);
        let connecting = config.ssl_mode(Negotiation::Require).connect(connector.clone());
        let (client, connection) = connecting.await?;
        attend(connection);
        Ok(Session { client, tap, connector })
    }

    fn connector(&self, tls: Option<MakeRustlsConnect>, tap: &Tap) -> Connector {
        let traffic = Arc::default();
        self.watch(&traffic);
        Connector { tls, tap: tap.clone(), demand: self.demand.clone(), traffic }
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

/// The same for each of the servers that are named, one after the other.
fn each_host(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let one = |at: usize| {
        let mut alone = bare(config);
        match hosts.get(at) {
            Some(Host::Tcp(name)) => drop(alone.host(name)),
            Some(Host::Unix(folder)) => drop(alone.host_path(folder)),
            None => {}
        }
        addresses.get(at).map(|address| alone.hostaddr(*address));
        ports.get(at).or(ports.first()).map(|port| alone.port(*port));
        alone
    };
    (0..hosts.len().max(addresses.len())).map(one).collect()
}

/// All but the servers.
fn bare(config: &Config) -> Config {
    let mut bare = Config::new();
    config.get_user().map(|user| bare.user(user));
    config.get_password().map(|password| bare.password(password));
    config.get_dbname().map(|database| bare.dbname(database));
    config.get_options().map(|options| bare.options(options));
    config.get_application_name().map(|name| bare.application_name(name));
    config.get_connect_timeout().map(|timeout| bare.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| bare.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| bare.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| bare.keepalives_retries(retries));
    bare.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .channel_binding(config.get_channel_binding())
        .ssl_negotiation(config.get_ssl_negotiation());
    bare
}

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
