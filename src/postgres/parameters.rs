//! What a connection is made of: the URL, completed as libpq does from a service file, the PG*
//! variables, the password file, and the defaults of psql.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::auth::Demand;
use super::known::{self, require_possible};
use super::passfile;
use super::tls::{SslMode, TlsSettings};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Reads the environment; tests hand in their own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything that a connection is made with.
#[derive(Clone)]
pub struct Parameters {
    pub config: Config,
    pub tls: TlsSettings,
    pub wanted: Wanted,
    /// How the server may ask who we are.
    pub demand: Option<Demand>,
    /// The address that is tried, where the query says another than stands before it.
    pub tried: Option<String>,
}

/// Which of several servers is wanted, beyond what tokio-postgres asks of them itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Any,
    Primary,
    Standby,
    /// A standby, or else any.
    PreferStandby,
}

/// The folders of local sockets where nothing is said.
pub const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What is said of a connection, by libpq's names. What is said first counts.
#[derive(Default)]
struct Said(BTreeMap<String, String>);

impl Said {
    fn fill(&mut self, name: &str, value: &str) -> Result<()> {
        require_possible(name, value)?;
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Reads a URL, and completes it.
pub fn parameters(url: &str, variables: Variables) -> Result<Parameters> {
    let mut said = read_url(url)?;
    if let Some(name) = said.get("service").map(str::to_owned).or_else(|| variables("PGSERVICE")) {
        let file = said.get("servicefile").map(str::to_owned).or_else(|| variables("PGSERVICEFILE"));
        for (key, value) in service(&name, file.map(PathBuf::from), variables)? {
            said.fill(&key, &value).map_err(|error| error.at("service", &name).at("setting", &key))?;
        }
    }
    let named = said.get("host").is_some() || said.get("hostaddr").is_some();
    for (variable, key) in known::variables() {
        // An address of the environment's is no part of a host that is named elsewhere.
        let other = named && matches!(key, "host" | "hostaddr");
        if let Some(value) = variables(variable).filter(|value| !value.is_empty() && !other) {
            said.fill(key, &value).map_err(|error| error.at("variable", variable))?;
        }
    }
    defaults(&mut said, variables);
    let mut config = config(&said)?;
    let home = variables("HOME").map(PathBuf::from);
    if config.get_password().is_none() {
        let file = said.get("passfile").map(PathBuf::from);
        let file = file.or_else(|| Some(home.as_ref()?.join(".pgpass")));
        if let Some(password) = file.and_then(|file| passfile::password(&config, &file)) {
            config.password(password);
        }
    }
    let tried = tried(url, &config);
    Ok(Parameters {
        config,
        tls: tls(&said, home.map(|home| home.join(".postgresql")))?,
        wanted: wanted(&said)?,
        demand: Demand::parse(said.get("require_auth").unwrap_or_default())?,
        tried,
    })
}

/// Parameters that say after the `?` what the address before it may say otherwise.
const SAID_AGAIN: [&str; 6] = ["host", "hostaddr", "port", "user", "dbname", "service"];

/// The address that is tried, where it is not the one that is written first.
fn tried(url: &str, config: &Config) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let keys = query.split('&').filter_map(|part| part.split_once('=')).map(|(key, _)| key);
    if !keys.into_iter().any(|key| SAID_AGAIN.contains(&key)) {
        return None;
    }
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts = if hosts.len() > 0 {
        hosts.collect()
    } else {
        config.get_hostaddrs().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let ports = config.get_ports();
    let at = |number: usize, host: &String| match ports.get(number).or(ports.first()) {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let hosts: Vec<String> = hosts.iter().enumerate().map(|(number, host)| at(number, host)).collect();
    let user = config.get_user().map_or_else(String::new, |user| format!("{user}@"));
    Some(format!("postgres://{user}{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default()))
}

fn tls(said: &Said, home: Option<PathBuf>) -> Result<TlsSettings> {
    let beside = |file: &str| home.as_ref().map(|folder| folder.join(file)).filter(|path| path.exists());
    let path = |name: &str, file: &str| said.get(name).map(PathBuf::from).or_else(|| beside(file));
    let shown = said.get("sslcertmode") != Some("disable");
    Ok(TlsSettings {
        mode: said.get("sslmode").map_or(Ok(SslMode::Prefer), SslMode::parse)?,
        roots: path("sslrootcert", "root.crt"),
        certificate: path("sslcert", "postgresql.crt").filter(|_| shown),
        key: path("sslkey", "postgresql.key").filter(|_| shown),
        lowest: said.get("ssl_min_protocol_version").unwrap_or_default().to_owned(),
        highest: said.get("ssl_max_protocol_version").unwrap_or_default().to_owned(),
        names_host: said.get("sslsni") != Some("0"),
    })
}

fn wanted(said: &Said) -> Result<Wanted> {
    match said.get("target_session_attrs") {
        None | Some("any" | "read-write" | "read-only") => Ok(Wanted::Any),
        Some("primary") => Ok(Wanted::Primary),
        Some("standby") => Ok(Wanted::Standby),
        Some("prefer-standby") => Ok(Wanted::PreferStandby),
        Some(_) => Err(Error::new(ErrorKind::Pipeline, "`target_session_attrs` cannot be that")
            .hint("valid: any, read-write, read-only, primary, standby and prefer-standby")),
    }
}

/// What tokio-postgres is told, through its parser of key-value strings, so that lists mean what they mean there.
fn config(said: &Said) -> Result<Config> {
    let mut config = Config::new();
    let ours = |name: &str| {
        Some(
            match name {
                "host" | "hostaddr" | "port" | "user" | "dbname" | "password" | "options"
                | "application_name" => name,
                "connect_timeout" | "keepalives" | "keepalives_idle" | "keepalives_interval" => name,
                "channel_binding" | "sslnegotiation" | "load_balance_hosts" | "target_session_attrs" => name,
                "keepalives_count" => "keepalives_retries",
                "fallback_application_name" if said.get("application_name").is_none() => "application_name",
                _ => return None,
            }
            .to_owned(),
        )
    };
    let mut text = String::new();
    for (name, value) in &said.0 {
        let beyond = name == "target_session_attrs" && wanted(said)? != Wanted::Any;
        let Some(key) = ours(name).filter(|_| !value.is_empty() && !beyond) else { continue };
        let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
        let pair = format!("{key}='{quoted}' ");
        // One by one first, so that what is wrong with one is told of it.
        let alone = Config::from_str(&pair);
        alone.or_error(ErrorKind::Pipeline, || {
            format!("`{name}` cannot be what is asked of the connection")
        })?;
        text.push_str(&pair);
    }
    if !text.is_empty() {
        config = Config::from_str(&text)
            .or_error(ErrorKind::Pipeline, || "the connection cannot be what is asked of it".to_owned())?;
    }
    if let Some(milliseconds) = said.get("tcp_user_timeout") {
        let parsed = milliseconds.parse::<u64>();
        let parsed = parsed.or_error(ErrorKind::Pipeline, || {
            "`tcp_user_timeout` is not a number of milliseconds".to_owned()
        })?;
        config.tcp_user_timeout(Duration::from_millis(parsed));
    }
    Ok(config)
}

/// A URL's parts, by libpq's names.
fn read_url(url: &str) -> Result<Said> {
    let mut said = Said::default();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // As libpq looks for it: what follows a `/` is no user, so that a value in the query can name no host. A
    // password's own slash is seen where what stands before it can be no host.
    let place = rest.split('?').next().unwrap_or_default();
    let hosts = rest.split('/').next().unwrap_or_default();
    let is_host = hosts_of(hosts, &mut Said::default()).is_ok();
    let at = hosts.find('@').or_else(|| place.find('@').filter(|_| !is_host));
    let (user, rest) = at.map_or((None, rest), |at| (Some(&rest[..at]), &rest[at + 1..]));
    // What follows the first `@` is the host. A password's own would send half of it to a name server.
    if rest.split('?').next().is_some_and(|place| place.contains('@')) {
        return Err(Error::new(ErrorKind::Pipeline, "an `@` stands in its user or password")
            .hint("write it as %40 there, a `/` as %2F, a `%` as %25"));
    }
    // Without a `/` before it, a query would be taken for the password of whatever follows its `@`.
    let query_name = |user: &str| Some(user.split_once('?')?.1.split_once('=')?.0.to_owned());
    if user.and_then(query_name).is_some_and(|name| known::is_known(&name)) {
        return Err(Error::new(ErrorKind::Pipeline, "an `@` stands in its parameters")
            .hint("write it as %40 there, and a `/` before the `?`"));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    // What the query says counts before what stands in its place.
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = match (name, decoded(value)) {
            // As JDBC's URLs say it, which libpq takes, too.
            ("ssl", value) if value == "true" => ("sslmode", "require".to_owned()),
            (name, value) => (name, value),
        };
        said.fill(name, &value)?;
    }
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    hosts_of(hosts, &mut said)?;
    let (user, password) = user.map_or(("", None), |user| match user.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user, None),
    });
    for (name, text) in [("user", user), ("password", password.unwrap_or_default()), ("dbname", database)] {
        if !text.is_empty() {
            said.fill(name, &decoded(text))?;
        }
    }
    Ok(said)
}

/// `host`, `host:port`, `[::1]:port`, or a list of them.
fn hosts_of(text: &str, said: &mut Said) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for item in text.split(',') {
        let (host, port) = match item.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':').unwrap_or(rest)),
            None => item.split_once(':').unwrap_or((item, "")),
        };
        let known = port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
        if !known {
            return Err(Error::new(ErrorKind::Pipeline, "what follows its host is no port")
                .hint("a port is a number up to 65535; a `:` in a password is written as %3A"));
        }
        hosts.push(decoded(host));
        ports.push(port);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        // Somebody may stand among others without a name: here.
        let named = hosts.iter().map(|host| if host.is_empty() { "localhost" } else { host });
        said.fill("host", &named.collect::<Vec<_>>().join(","))?;
    }
    match ports.iter().any(|port| !port.is_empty()) {
        true => {
            let ports = ports.iter().map(|port| if port.is_empty() { "5432" } else { port });
            said.fill("port", &ports.collect::<Vec<_>>().join(","))
        }
        false => Ok(()),
    }
}

/// `%2F` and the like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'%')
            .then(|| {
                tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())
            })
            .flatten();
        rest = if hex.is_some() { &tail[2..] } else { tail };
        bytes.push(hex.unwrap_or(*first));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What psql takes when nothing is said: the local socket, and the user's own name.
fn defaults(said: &mut Said, variables: Variables) {
    if said.get("host").is_none() && said.get("hostaddr").is_none() {
        let port = said.get("port").and_then(|ports| ports.split(',').next()).unwrap_or("5432");
        let socket = |folder: &str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
        let folder = SOCKETS.into_iter().find(|folder| socket(folder)).unwrap_or("localhost");
        said.0.insert("host".to_owned(), folder.to_owned());
    }
    if said.get("user").is_none() {
        let user = variables("USER").filter(|user| !user.is_empty()).unwrap_or("postgres".to_owned());
        said.0.insert("user".to_owned(), user);
    }
}

/// The settings of a service, from the user's file or the system's.
fn service(name: &str, own: Option<PathBuf>, variables: Variables) -> Result<Vec<(String, String)>> {
    let own = own.or_else(|| Some(PathBuf::from(variables("HOME")?).join(".pg_service.conf")));
    let system = variables("PGSYSCONFDIR").unwrap_or("/etc/postgresql-common".to_owned());
    let files: Vec<PathBuf> =
        own.into_iter().chain([PathBuf::from(system).join("pg_service.conf")]).collect();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        if let Some(settings) = service_section(&text, name) {
            return Ok(settings);
        }
    }
    let looked: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(Error::new(ErrorKind::Pipeline, format!("there is no service `{name}`"))
        .hint(format!("add [{name}] to {}", looked.join(" or "))))
}

fn service_section(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .by_ref()
        .find(|line| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) == Some(name))?;
    let settings = lines.take_while(|line| !line.starts_with('['));
    Some(
        settings
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::Host;

    fn read(url: &str, pairs: &[(&str, &str)]) -> Parameters {
        let variables = |name: &str| {
            pairs.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        parameters(url, &variables).unwrap_or_else(|error| panic!("{error}: {:?}", error.causes()))
    }

    #[test]
    fn a_url_is_completed_from_a_service_then_from_variables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("services");
        let text = "# ours\n[other]\nhost=no\n[shop]\nhost=db.example\nport=6000\ndbname=shop\nuser=ann\nsslmode=verify-full\n\n[more]\nuser=no\n";
        std::fs::write(&file, text).unwrap();
        let pairs = [
            ("PGSERVICEFILE", file.to_str().unwrap()),
            ("PGUSER", "bob"),
            ("PGPASSWORD", "it's \\ open"),
            ("PGSSLROOTCERT", "/ca.crt"),
            ("PGHOST", "elsewhere"),
        ];
        let found = read("postgres:///?service=shop&port=6001&keepalives=0", &pairs);
        assert_eq!(found.config.get_hosts(), [Host::Tcp("db.example".to_owned())]);
        assert_eq!((found.config.get_ports(), found.config.get_user()), ([6001].as_slice(), Some("ann")));
        assert_eq!(found.config.get_password(), Some(b"it's \\ open".as_slice()));
        assert_eq!((found.tls.mode, found.tls.roots), (SslMode::VerifyFull, Some("/ca.crt".into())));
        let plain = read("postgres://eve:s3?cret@h:1/d?sslmode=disable&sslrootcert=%2Fmy%20ca", &pairs[1..]);
        assert_eq!(plain.config.get_password(), Some(b"s3?cret".as_slice()));
        assert_eq!((plain.tls.mode, plain.tls.roots), (SslMode::Disable, Some("/my ca".into())));
        let socket = read("postgres:///d", &[("PGHOST", "/run/pg"), ("USER", "me")]);
        assert_eq!(socket.config.get_hosts(), [Host::Unix("/run/pg".into())]);
        assert_eq!(socket.config.get_user(), Some("me"));
    }

    #[test]
    fn what_is_asked_of_a_connection_and_cannot_be_is_told() {
        let refused = |url: &str| parameters(url, &|_| None).err().unwrap();
        assert!(refused("postgres://h/d?service=none").message().contains("no service `none`"));
        assert!(refused("postgres://me:p@ss@h/d").help().unwrap().contains("%40"));
        assert!(refused("postgres://h/d?sslmode=maybe").message().contains("`maybe`"));
        assert!(refused("postgres://h/d?sslmod=require").message().contains("`sslmod`"));
        assert!(
            refused("postgres://h/d?target_session_attrs=first").help().unwrap().contains("prefer-standby")
        );
        assert!(refused("postgres://h/d?sslcrl=/x").message().contains("revocation"));
        assert!(refused("postgres://h/d?keepalives_idle=soon").message().contains("`keepalives_idle`"));
        assert!(refused("postgres://h:p4rt/d").help().unwrap().contains("%3A"));
    }

    #[test]
    fn an_at_in_the_query_names_no_host() {
        let found = read("postgres://127.0.0.1:6543/d?user=ann&password=x@y&application_name=me@host", &[]);
        assert_eq!(found.config.get_hosts(), [Host::Tcp("127.0.0.1".to_owned())]);
        assert_eq!(found.config.get_password(), Some(b"x@y".as_slice()));
        let found = read("postgres:///d?user=ann&host=a.invalid&password=a:b@127.0.0.1:6543/postgres", &[]);
        assert_eq!(found.config.get_hosts(), [Host::Tcp("a.invalid".to_owned())]);
        assert_eq!(found.config.get_user(), Some("ann"));
        let refused = parameters("postgres://h:6543?user=ann&password=x@y", &|_| None).err().unwrap();
        assert!(refused.help().unwrap().contains("%40"));
        // A password's own slash: it could be meant either way, and nobody is asked by either.
        let refused = parameters("postgres://me:12/secret@db.example/d", &|_| None).err().unwrap();
        assert!(refused.help().unwrap().contains("%2F"), "{refused}");
        assert!(!format!("{refused} {:?}", refused.causes()).contains("secret"));
    }

    #[test]
    fn every_part_of_a_url_is_read_as_libpq_reads_it() {
        let found = read("postgresql://ann:p%40ss@[::1]:6000,db2,db3:7000/shop?connect_timeout=3", &[]);
        let hosts = ["::1", "db2", "db3"].map(|host| Host::Tcp(host.to_owned()));
        assert_eq!(
            (found.config.get_hosts(), found.config.get_ports()),
            (hosts.as_slice(), [6000, 5432, 7000].as_slice())
        );
        assert_eq!(found.config.get_password(), Some(b"p@ss".as_slice()));
        let query = "postgres://ann@h/d?port=6001&host=%2Frun%2Fpg&user=bob&dbname=e&tcp_user_timeout=1500&keepalives_count=4&client_encoding=UTF8";
        let found = read(query, &[("PGHOSTADDR", "10.0.0.1"), ("PGCLIENTENCODING", "LATIN1")]);
        assert_eq!(found.config.get_hosts(), [Host::Unix("/run/pg".into())]);
        assert!(found.config.get_hostaddrs().is_empty());
        assert_eq!((found.config.get_ports(), found.config.get_user()), ([6001].as_slice(), Some("bob")));
        assert_eq!(found.config.get_dbname(), Some("e"));
        assert_eq!(found.config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
        assert_eq!(found.config.get_keepalives_retries(), Some(4));
        let both = read("postgres://db.example:6003/d?hostaddr=127.0.0.1", &[]);
        assert_eq!(both.config.get_hosts(), [Host::Tcp("db.example".to_owned())]);
        assert_eq!((both.config.get_hostaddrs().len(), both.config.get_ports()), (1, [6003].as_slice()));
        assert_eq!(read("postgres://h/d?target_session_attrs=standby", &[]).wanted, Wanted::Standby);
        assert_eq!(read("postgres://h/d?ssl=true", &[]).tls.mode, SslMode::Require);
        assert_eq!(read("postgres://h/d?port=6001", &[]).config.get_ports(), [6001]);
    }
}
