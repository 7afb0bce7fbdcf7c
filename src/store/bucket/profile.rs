//! Profiles of the tools of AWS: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

#[derive(Default)]
pub struct Profile {
    name: String,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub token: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// Where it has its credentials from instead.
    other: Option<&'static str>,
}

impl Profile {
    /// A profile with credentials of a kind that is not read here must not be passed over for those of the machine.
    pub fn require_understood(&self) -> Result<()> {
        let Some(other) = self.other else { return Ok(()) };
        let message =
            format!("the profile {} has its credentials by `{other}`, which is not read here", self.name);
        Err(Error::new(ErrorKind::Store, message).hint(
            "`aws configure export-credentials --format env` prints them for the environment; or name a profile with keys",
        ))
    }
}

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// `[name]` and `key = value`; what is set in below a key belongs to it, and is not read.
fn sections(text: &str) -> Sections {
    let mut found = Sections::new();
    let mut now = String::new();
    for line in text.lines() {
        let set_in = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || set_in {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name.trim();
            now = name.strip_prefix("profile ").unwrap_or(name).trim().to_owned();
            found.entry(now.clone()).or_default();
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.split(" #").next().unwrap_or(value).trim();
            let section = found.entry(now.clone()).or_default();
            section.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    found
}

/// The profile that the environment names, or the default one.
pub fn found() -> Result<Option<Profile>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let home = variable("HOME").map(|home| PathBuf::from(home).join(".aws"));
    let file = |name: &str, usual: &str| {
        variable(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(usual)))
    };
    let read = |path: Option<PathBuf>| {
        path.and_then(|path| std::fs::read_to_string(path).ok())
            .map(|text| sections(&text))
            .unwrap_or_default()
    };
    let keys = read(file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    let config = read(file("AWS_CONFIG_FILE", "config"));
    let wanted = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
    of(&keys, &config, wanted.as_deref())
}

fn of(keys: &Sections, config: &Sections, wanted: Option<&str>) -> Result<Option<Profile>> {
    let name = wanted.unwrap_or("default");
    let both = [keys.get(name), config.get(name)];
    if both.iter().all(Option::is_none) {
        return match wanted {
            None => Ok(None),
            Some(name) => Err(Error::new(ErrorKind::Store, format!("there is no profile {name}"))
                .hint("see AWS_PROFILE, and the files ~/.aws/credentials and ~/.aws/config")),
        };
    }
    let value = |key: &str| both.iter().flatten().find_map(|section| section.get(key)).cloned();
    let others = [
        "credential_process",
        "sso_session",
        "sso_start_url",
        "role_arn",
        "web_identity_token_file",
        "credential_source",
    ];
    Ok(Some(Profile {
        name: name.to_owned(),
        access_key: value("aws_access_key_id"),
        secret_key: value("aws_secret_access_key"),
        token: value("aws_session_token"),
        region: value("region"),
        endpoint: value("endpoint_url"),
        other: others.into_iter().find(|key| value(key).is_some()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "[default]\naws_access_key_id = A1\naws_secret_access_key=s=1 # mine\n\n# other\n[night]\naws_access_key_id = A2\naws_secret_access_key = s2\naws_session_token = t\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\ns3 =\n  addressing_style = path\n[profile night]\nregion=eu-west-1\nendpoint_url = http://127.0.0.1:1\n[profile sso]\nsso_session = work\n";

    #[test]
    fn a_profile_is_found_in_both_files() {
        let (keys, config) = (sections(KEYS), sections(CONFIG));
        let usual = of(&keys, &config, None).unwrap().unwrap();
        assert_eq!(usual.access_key.as_deref(), Some("A1"));
        assert_eq!(usual.secret_key.as_deref(), Some("s=1"));
        assert_eq!(usual.region.as_deref(), Some("eu-central-1"));
        let night = of(&keys, &config, Some("night")).unwrap().unwrap();
        assert_eq!(night.token.as_deref(), Some("t"));
        assert_eq!(night.endpoint.as_deref(), Some("http://127.0.0.1:1"));
        assert!(of(&keys, &config, Some("nobody")).is_err());
        let sso = of(&keys, &config, Some("sso")).unwrap().unwrap();
        assert!(sso.require_understood().unwrap_err().message().contains("sso_session"));
        assert!(of(&Sections::new(), &Sections::new(), None).unwrap().is_none());
    }
}
