//! Who is told when a night goes wrong, comes right again, or is late.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where alerts go, and which of them.
#[derive(Debug, Clone, Default)]
pub struct NotifySettings {
    pub webhook: Option<WebhookUrl>,
    /// A program with its arguments; it gets the alert on its standard input.
    pub command: Option<Vec<String>>,
    pub on: Vec<AlertKind>,
    /// An address that is fetched after each night that went well: whoever watches it notices when none does.
    pub heartbeat: Option<WebhookUrl>,
}

/// A way to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Webhook,
    Command,
}

impl NotifySettings {
    /// The ways that are set.
    pub fn channels(&self) -> Vec<Channel> {
        let webhook = self.webhook.as_ref().map(|_| Channel::Webhook);
        webhook.into_iter().chain(self.command.as_ref().map(|_| Channel::Command)).collect()
    }
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A night failed, or its delivery is pending.
    Failure,
    /// The audit refused the star.
    Refusal,
    /// A night ended well after one that was told.
    Recovery,
    /// A night began late, or has not ended well in time.
    Lateness,
    /// A night ended well. Told only when it is asked for.
    Success,
    /// Somebody tries out the channels.
    Test,
}

impl AlertKind {
    /// Those that a pipeline may choose from.
    pub const CHOICES: [AlertKind; 5] = [
        AlertKind::Failure,
        AlertKind::Refusal,
        AlertKind::Recovery,
        AlertKind::Lateness,
        AlertKind::Success,
    ];

    /// Those that are told unless the pipeline chooses.
    pub const USUAL: [AlertKind; 4] =
        [AlertKind::Failure, AlertKind::Refusal, AlertKind::Recovery, AlertKind::Lateness];

    pub fn word(self) -> &'static str {
        match self {
            AlertKind::Failure => "failure",
            AlertKind::Refusal => "refusal",
            AlertKind::Recovery => "recovery",
            AlertKind::Lateness => "lateness",
            AlertKind::Success => "success",
            AlertKind::Test => "test",
        }
    }
}

/// An address to POST to. Many carry their secret in the path, so it prints without it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// Takes `http://…` and `https://…`.
    pub fn parse(url: &str) -> Option<WebhookUrl> {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
        (!rest.starts_with('/') && !rest.is_empty()).then(|| WebhookUrl(url.to_owned()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("https", ""));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}/…")
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_prints_without_its_secret() {
        for url in [
            "https://hooks.example/T0/s3cret",
            "https://me:s3cret@hooks.example/",
            "https://hooks.example?k=s3cret",
        ] {
            assert_eq!(WebhookUrl::parse(url).unwrap().to_string(), "https://hooks.example/…");
        }
        assert_eq!(WebhookUrl::parse("hooks.example/T0"), None);
        assert_eq!(WebhookUrl::parse("https:///T0"), None);
    }
}
