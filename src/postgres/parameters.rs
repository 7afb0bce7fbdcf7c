//! What a connection is made of: the URL, completed as libpq does from a service file, the PG*
//! variables, the password file, and the defaults of psql.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::tls::{SslMode, TlsSettings};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Reads the environment; tests hand in their own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything that a connection is made with.
#[derive(Clone)]
pub struct Parameters {
    pub config: Config,
    pub tls: TlsSettings,
}

/// What psql knows and tokio-postgres doesn't.
#[derive(Default)]
struct Ours {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
    service: Option<String>,
    passfile: Option<String>,
}

impl Ours {
    /// Takes a parameter if it is one of ours; what was said first counts.
    fn take(&mut self, name: &str, value: &str) -> bool {
        let field = match name {
            "sslmode" => &mut self.sslmode,
            "sslrootcert" => &mut self.sslrootcert,
            "sslcert" => &mut self.sslcert,
            "sslkey" => &mut self.sslkey,
            "service" => &mut self.service,
            "passfile" => &mut self.passfile,
            // Nothing here speaks GSSAPI, which is what libpq does without a ticket.
            "gssencmode" | "krbsrvname" | "sslcompression" | "sslsni" => return true,
            _ => return false,
        };
        field.get_or_insert_with(|| value.to_owned());
        true
    }
}

/// Reads a URL, and completes it.
pub fn parameters(url: &str, variables: Variables) -> Result<Parameters> {
    let mut ours = Ours::default();
    let bare = without_ours(url, &mut ours);
    one_at(&bare)?;
    let mut config = Config::from_str(&bare)
        .or_error(ErrorKind::Pipeline, || "it is not one that Postgres knows".to_owned())?;
    let name = ours.service.clone().or_else(|| variables("PGSERVICE"));
    if let Some(name) = name {
        for (key, value) in service(&name, variables)? {
            if !ours.take(&key, &value) {
                supply(&mut config, &key, &value)
                    .map_err(|error| error.at("service", &name).at("setting", &key))?;
            }
        }
    }
    let settings = [
        ("PGHOST", "host"),
        ("PGHOSTADDR", "hostaddr"),
        ("PGPORT", "port"),
        ("PGUSER", "user"),
        ("PGDATABASE", "dbname"),
        ("PGPASSWORD", "password"),
        ("PGOPTIONS", "options"),
        ("PGCONNECT_TIMEOUT", "connect_timeout"),
        ("PGTARGETSESSIONATTRS", "target_session_attrs"),
        ("PGAPPNAME", "application_name"),
        ("PGSSLMODE", "sslmode"),
        ("PGSSLROOTCERT", "sslrootcert"),
        ("PGSSLCERT", "sslcert"),
        ("PGSSLKEY", "sslkey"),
        ("PGPASSFILE", "passfile"),
    ];
    for (variable, key) in settings {
        if let Some(value) = variables(variable).filter(|value| !value.is_empty())
            && !ours.take(key, &value)
        {
            supply(&mut config, key, &value).map_err(|error| error.at("variable", variable))?;
        }
    }
    defaults(&mut config, variables);
    if config.get_password().is_none()
        && let Some(password) = password_file(&config, &ours, variables)
    {
        config.password(password);
    }
    let home = variables("HOME").map(|home| PathBuf::from(home).join(".postgresql"));
    let beside = |file: &str| home.as_ref().map(|folder| folder.join(file)).filter(|path| path.exists());
    let tls = TlsSettings {
        mode: ours.sslmode.as_deref().map_or(Ok(SslMode::Prefer), SslMode::parse)?,
        roots: ours.sslrootcert.map(PathBuf::from).or_else(|| beside("root.crt")),
        certificate: ours.sslcert.map(PathBuf::from).or_else(|| beside("postgresql.crt")),
        key: ours.sslkey.map(PathBuf::from).or_else(|| beside("postgresql.key")),
    };
    Ok(Parameters { config, tls })
}

/// What follows the first `@` is the host. A password's own would send half of it to a name server.
fn one_at(url: &str) -> Result<()> {
    let host = url.split_once('@').map_or("", |(_, host)| host);
    if host.split(['/', '?']).next().is_some_and(|host| host.contains('@')) {
        return Err(Error::new(ErrorKind::Pipeline, "an `@` stands in its user or password")
            .hint("write it as %40 there, a `/` as %2F, a `%` as %25"));
    }
    Ok(())
}

/// The URL without the parameters that are ours to understand.
fn without_ours(url: &str, ours: &mut Ours) -> String {
    // A password may hold a raw question mark; what follows it is no query.
    let host = url.find('@').unwrap_or_default();
    let Some(query) = url[host..].find('?').map(|at| host + at) else { return url.to_owned() };
    let kept: Vec<&str> = url[query + 1..]
        .split('&')
        .filter(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            !ours.take(name, &decoded(value))
        })
        .collect();
    match kept.is_empty() {
        true => url[..query].to_owned(),
        false => format!("{}?{}", &url[..query], kept.join("&")),
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

/// Sets what the URL left out.
fn supply(config: &mut Config, key: &str, value: &str) -> Result<()> {
    let said = match key {
        "host" | "hostaddr" => !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty(),
        "port" => !config.get_ports().is_empty(),
        "user" => config.get_user().is_some(),
        "dbname" => config.get_dbname().is_some(),
        "password" => config.get_password().is_some(),
        "options" => config.get_options().is_some(),
        "application_name" => config.get_application_name().is_some(),
        "connect_timeout" => config.get_connect_timeout().is_some(),
        _ => false,
    };
    if said {
        return Ok(());
    }
    // Through the parser of key-value strings, so that lists and names mean what they mean there.
    let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
    let parsed = Config::from_str(&format!("{key}='{quoted}'"));
    let parsed = parsed
        .or_error(ErrorKind::Pipeline, || format!("`{key}` cannot be what is asked of the connection"))?;
    match key {
        "host" => parsed.get_hosts().iter().for_each(|host| match host {
            Host::Tcp(name) => {
                config.host(name);
            }
            Host::Unix(path) => {
                config.host_path(path);
            }
        }),
        "hostaddr" => parsed.get_hostaddrs().iter().for_each(|address| {
            config.hostaddr(*address);
        }),
        "port" => parsed.get_ports().iter().for_each(|port| {
            config.port(*port);
        }),
        "user" => drop(config.user(value)),
        "dbname" => drop(config.dbname(value)),
        "password" => drop(config.password(value)),
        "options" => drop(config.options(value)),
        "application_name" => drop(config.application_name(value)),
        "connect_timeout" => parsed.get_connect_timeout().into_iter().for_each(|timeout| {
            config.connect_timeout(*timeout);
        }),
        "target_session_attrs" => drop(config.target_session_attrs(parsed.get_target_session_attrs())),
        // Keepalives and the like are taken from a URL only.
        _ => {}
    }
    Ok(())
}

/// What psql takes when nothing is said: the local socket, and the user's own name.
fn defaults(config: &mut Config, variables: Variables) {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let socket = |folder: &str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
        match ["/var/run/postgresql", "/tmp"].into_iter().find(|folder| socket(folder)) {
            Some(folder) => config.host_path(folder),
            None => config.host("localhost"),
        };
    }
    if config.get_user().is_none() {
        config.user(variables("USER").filter(|user| !user.is_empty()).unwrap_or("postgres".to_owned()));
    }
}

/// The settings of a service, from the user's file or the system's.
fn service(name: &str, variables: Variables) -> Result<Vec<(String, String)>> {
    let own = variables("PGSERVICEFILE").map(PathBuf::from);
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

fn password_file(config: &Config, ours: &Ours, variables: Variables) -> Option<String> {
    let file = match &ours.passfile {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(variables("HOME")?).join(".pgpass"),
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
        assert!(refused("postgres://h/d?sslmod=require").causes().join(" ").contains("sslmod"));
    }
}
