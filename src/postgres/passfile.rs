//! The password file: `~/.pgpass`, or what `passfile` names.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The password for a connection, if the file has one and only its owner may read it.
pub fn password(config: &Config, file: &Path) -> Option<String> {
    let metadata = std::fs::metadata(file).ok()?;
    if !metadata.is_file() {
        tracing::warn!(file = %file.display(), "the password file is no plain file and is passed over");
        return None;
    }
    if metadata.mode() & 0o077 != 0 {
        tracing::warn!(
            file = %file.display(),
            "the password file may be read by others and is passed over: chmod 0600"
        );
        return None;
    }
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    let text = std::fs::read_to_string(file).ok()?;
    entry(&text, [&host(config), &port, database, user])
}

/// The host as a line names it: the socket of the usual folders is `localhost`.
fn host(config: &Config) -> String {
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(host)), _) => host.clone(),
        (Some(Host::Unix(folder)), _) if !super::parameters::SOCKETS.map(PathBuf::from).contains(folder) => {
            folder.display().to_string()
        }
        (None, Some(address)) => address.to_string(),
        _ => "localhost".to_owned(),
    }
}

/// The password of the first line that fits; `*` fits anything, a backslash escapes.
fn entry(text: &str, wanted: [&str; 4]) -> Option<String> {
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
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_fitting_line_wins() {
        let text = "# a comment\nother:5432:*:*:no\n*:5432:shop:ann:se\\:cret\n*:*:*:*:last\n";
        assert_eq!(entry(text, ["db", "5432", "shop", "ann"]).as_deref(), Some("se:cret"));
        assert_eq!(entry(text, ["db", "5433", "shop", "ann"]).as_deref(), Some("last"));
        assert_eq!(entry("a:b:c:d", ["a", "b", "c", "d"]), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        std::fs::write(&file, "*:*:*:*:s3cret\n").unwrap();
        let mut config = Config::new();
        config.user("ann").host("db");
        for (mode, expected) in
            [(0o644, None), (0o640, None), (0o600, Some("s3cret")), (0o400, Some("s3cret"))]
        {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(password(&config, &file).as_deref(), expected, "{mode:o}");
        }
        assert_eq!(password(&config, folder.path()), None);
    }
}
