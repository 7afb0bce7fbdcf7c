//! Every parameter of a connection that libpq knows (its version 18): taken, or refused by name with the reason.

use crate::error::{Error, ErrorKind, Result};
use crate::name::{list, nearest};

/// What becomes of a parameter.
enum Meaning {
    Taken,
    /// These values are taken, or ask for what is so anyway; others are refused for the reason.
    Only(&'static [&'static str], &'static str),
    Refused(&'static str),
}

use Meaning::{Only, Refused, Taken};

struct Parameter {
    name: &'static str,
    /// The variable that says it where the URL doesn't.
    variable: Option<&'static str>,
    meaning: Meaning,
}

const fn known(name: &'static str, variable: &'static str, meaning: Meaning) -> Parameter {
    Parameter { name, variable: Some(variable), meaning }
}

const fn in_url(name: &'static str, meaning: Meaning) -> Parameter {
    Parameter { name, variable: None, meaning }
}

const NO_GSS: &str = "starmill has no GSSAPI; use a password, a certificate or a local socket";
const NO_OAUTH: &str = "starmill has no OAuth; use a password or a certificate";
const NO_LISTS: &str = "starmill reads no revocation lists; give the roots that are trusted with sslrootcert";
const NO_KEYS: &str = "starmill takes the password itself: in PGPASSWORD or in the password file";

static KNOWN: [Parameter; 54] = [
    known("host", "PGHOST", Taken),
    known("hostaddr", "PGHOSTADDR", Taken),
    known("port", "PGPORT", Taken),
    known("dbname", "PGDATABASE", Taken),
    known("user", "PGUSER", Taken),
    known("password", "PGPASSWORD", Taken),
    known("passfile", "PGPASSFILE", Taken),
    known("require_auth", "PGREQUIREAUTH", Taken),
    known("channel_binding", "PGCHANNELBINDING", Taken),
    known("connect_timeout", "PGCONNECT_TIMEOUT", Taken),
    in_url(
        "client_encoding",
        Only(
            &["auto", "utf8", "utf-8", "unicode"],
            "every session of starmill speaks UTF8, whatever the database's encoding is",
        ),
    ),
    known("options", "PGOPTIONS", Taken),
    known("application_name", "PGAPPNAME", Taken),
    in_url("fallback_application_name", Taken),
    in_url("keepalives", Taken),
    in_url("keepalives_idle", Taken),
    in_url("keepalives_interval", Taken),
    in_url("keepalives_count", Taken),
    in_url("tcp_user_timeout", Taken),
    in_url("replication", Only(&["false", "off", "no", "0"], "starmill reads tables and replicates nothing")),
    known("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"], NO_GSS)),
    known("sslmode", "PGSSLMODE", Taken),
    known("sslnegotiation", "PGSSLNEGOTIATION", Taken),
    in_url("sslcompression", Only(&["0"], "no server compresses TLS any more")),
    known("sslcert", "PGSSLCERT", Taken),
    known("sslkey", "PGSSLKEY", Taken),
    in_url("sslkeylogfile", Refused("starmill writes no keys of its connections anywhere")),
    in_url("sslpassword", Refused("starmill opens no encrypted key; give one that only its owner may read")),
    known(
        "sslcertmode",
        "PGSSLCERTMODE",
        Only(&["allow", "disable"], "starmill cannot tell whether the server has asked for the certificate"),
    ),
    known("sslrootcert", "PGSSLROOTCERT", Taken),
    known("sslcrl", "PGSSLCRL", Refused(NO_LISTS)),
    known("sslcrldir", "PGSSLCRLDIR", Refused(NO_LISTS)),
    known("sslsni", "PGSSLSNI", Only(&["0", "1"], "0 or 1")),
    known("requirepeer", "PGREQUIREPEER", Refused("starmill does not ask who owns a local socket's server")),
    known("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Taken),
    known("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Taken),
    known(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        Only(&["3.0"], "starmill speaks version 3.0 of the protocol"),
    ),
    known(
        "max_protocol_version",
        "PGMAXPROTOCOLVERSION",
        Only(&["3.0", "3.2", "latest"], "3.0, 3.2 or latest"),
    ),
    // Only a ticket would make use of them, and nothing here has one.
    known("krbsrvname", "PGKRBSRVNAME", Taken),
    known("gsslib", "PGGSSLIB", Taken),
    known("gssdelegation", "PGGSSDELEGATION", Only(&["0"], NO_GSS)),
    in_url("scram_client_key", Refused(NO_KEYS)),
    in_url("scram_server_key", Refused(NO_KEYS)),
    known("service", "PGSERVICE", Taken),
    known("servicefile", "PGSERVICEFILE", Taken),
    known("target_session_attrs", "PGTARGETSESSIONATTRS", Taken),
    known("load_balance_hosts", "PGLOADBALANCEHOSTS", Taken),
    in_url("oauth_issuer", Refused(NO_OAUTH)),
    in_url("oauth_client_id", Refused(NO_OAUTH)),
    in_url("oauth_client_secret", Refused(NO_OAUTH)),
    in_url("oauth_scope", Refused(NO_OAUTH)),
    in_url(
        "authtype",
        Refused("Postgres knows it no more; require_auth says how a server may ask who we are"),
    ),
    in_url("requiressl", Refused("Postgres knows it no more; write sslmode=require")),
    in_url("tty", Refused("Postgres knows it no more; leave it out")),
];

/// The variables that complete a URL, with the parameter that each says.
pub fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.iter().filter_map(|parameter| Some((parameter.variable?, parameter.name)))
}

pub fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|parameter| parameter.name == name)
}

/// Whether a connection can be what is asked of it. The value may be a secret, and is not shown unless the valid
/// ones are known.
pub fn require_possible(name: &str, value: &str) -> Result<()> {
    let wrong = |message: String, hint: String| Err(Error::new(ErrorKind::Pipeline, message).hint(hint));
    let Some(parameter) = KNOWN.iter().find(|parameter| parameter.name == name) else {
        let hint = match nearest(name, KNOWN.iter().map(|parameter| parameter.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "see \"Parameter Key Words\" in Postgres's manual".to_owned(),
        };
        return wrong(format!("a connection has no parameter `{name}`"), hint);
    };
    match &parameter.meaning {
        Taken => Ok(()),
        Only(valid, _) if valid.iter().any(|valid| valid.eq_ignore_ascii_case(value)) => Ok(()),
        Only(valid, reason) => {
            wrong(format!("`{name}` cannot be that: {reason}"), format!("valid: {}", list(*valid)))
        }
        Refused(reason) => wrong(format!("`{name}` is not taken: {reason}"), "leave it out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_is_known_twice_and_none_is_passed_over() {
        for (at, parameter) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..at].iter().all(|other| other.name != parameter.name), "{}", parameter.name);
        }
        let refused = |name: &str, value: &str| {
            require_possible(name, value).err().map(|error| error.message().to_owned())
        };
        assert_eq!(refused("client_encoding", "UTF8"), None);
        assert!(refused("client_encoding", "LATIN1").unwrap().contains("UTF8"));
        assert!(refused("gssencmode", "require").unwrap().contains("GSSAPI"));
        assert!(refused("oauth_client_secret", "s3cret").unwrap().contains("OAuth"));
        assert_eq!(
            require_possible("sslmod", "require").err().unwrap().help(),
            Some("did you mean `sslmode`?")
        );
    }
}
