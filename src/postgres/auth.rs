//! `require_auth`: how a server may ask who we are. It is held against the server's own words before they are
//! answered, so that no password goes to a server that asks for it otherwise.

use std::io;

use crate::error::{Error, ErrorKind, Result};
use crate::name::list;

/// The ways of asking, as libpq names them.
const METHODS: [&str; 7] = ["password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"];

/// What is demanded of a server, and whether it has asked yet.
#[derive(Debug, Clone)]
pub struct Demand {
    allowed: Vec<&'static str>,
    asked: bool,
}

impl Demand {
    /// A list of methods; with `!` before each, all others.
    pub fn parse(text: &str) -> Result<Option<Demand>> {
        if text.is_empty() {
            return Ok(None);
        }
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        let excluding = words.iter().filter(|word| word.starts_with('!')).count();
        let named: Option<Vec<&'static str>> = words
            .iter()
            .map(|word| METHODS.into_iter().find(|method| *method == word.trim_start_matches('!')))
            .collect();
        let named = named.filter(|_| excluding == 0 || excluding == words.len()).ok_or_else(|| {
            Error::new(ErrorKind::Pipeline, "`require_auth` cannot be that")
                .hint(format!("a list of {}, all with `!` before them or none", list(METHODS)))
        })?;
        let allowed =
            METHODS.into_iter().filter(|method| named.contains(method) == (excluding == 0)).collect();
        Ok(Some(Demand { allowed, asked: false }))
    }

    /// Holds one of the server's authentication messages against what is demanded: its code and what follows.
    /// Whether it was the last of them.
    pub fn hold(&mut self, code: i32, rest: &[u8]) -> io::Result<bool> {
        let method = match code {
            0 if self.asked => return Ok(true),
            0 => "none",
            3 => "password",
            5 => "md5",
            7 | 8 => "gss",
            9 => "sspi",
            10 if rest.starts_with(b"OAUTH") => "oauth",
            10 => "scram-sha-256",
            // Continues what was asked.
            11 | 12 => return Ok(false),
            _ => "another way",
        };
        if !self.allowed.contains(&method) {
            let asks = if method == "none" {
                "does not ask who we are".to_owned()
            } else {
                format!("asks by {method}")
            };
            let message = format!("the server {asks}, and require_auth allows {}", list(&self.allowed));
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        self.asked = true;
        Ok(code == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ways_that_are_allowed_pass() {
        let held = |demand: &str, codes: &[i32]| {
            let mut demand = Demand::parse(demand).unwrap().unwrap();
            codes.iter().try_for_each(|code| demand.hold(*code, b"SCRAM-SHA-256\0\0").map(drop)).is_ok()
        };
        assert!(held("scram-sha-256", &[10, 11, 12, 0]));
        assert!(!held("scram-sha-256", &[3]));
        assert!(!held("scram-sha-256", &[0]), "a server that asks for nothing proves nothing");
        assert!(held("none,md5", &[0]) && held("none,md5", &[5, 0]) && !held("none,md5", &[10]));
        assert!(held("!password,!md5", &[10, 11, 12, 0]) && !held("!password,!md5", &[5]));
        assert!(Demand::parse("!password,md5").is_err() && Demand::parse("scram").is_err());
        assert!(Demand::parse("").unwrap().is_none());
    }
}
