//! POSTs an alert as JSON, and fetches the address of a heartbeat.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use super::Alert;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::pipeline::notify::WebhookUrl;

/// One attempt, from the name's resolution to the answer's last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts after the first: after half a second, one, two.
const RETRIES: usize = 3;

/// An attempt's failure, and whether another may do better.
struct Failure {
    error: Error,
    passing: bool,
}

/// Posts an alert.
pub async fn post(url: &WebhookUrl, alert: &Alert) -> Result<()> {
    let body = serde_json::to_string(alert).or_error(ErrorKind::Bug, || "the alert".to_owned())?;
    ask(url, Some(body)).await
}

/// Fetches an address, to say that all is well. That it cannot be said is what the watcher notices.
pub async fn ping(url: &WebhookUrl) {
    match ask(url, None).await {
        Ok(()) => tracing::info!(%url, "the heartbeat was told"),
        Err(error) => {
            let causes = error.causes().join("; ");
            tracing::warn!(%url, %error, causes, "the heartbeat was not told");
        }
    }
}

/// Tries a few times: a POST where there is a body, else a GET.
async fn ask(url: &WebhookUrl, body: Option<String>) -> Result<()> {
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_times(RETRIES)
        .with_jitter();
    let attempt = || async {
        let (url, body) = (url.clone(), body.clone());
        let posted = tokio::task::spawn_blocking(move || ask_once(&url, body.as_deref())).await;
        posted.unwrap_or_else(|error| {
            let error = Error::new(ErrorKind::Bug, "the webhook's thread ended").caused_by(error);
            Err(Failure { error, passing: false })
        })
    };
    let posted = attempt.retry(waits).when(|failure: &Failure| failure.passing).await;
    posted.map_err(|failure| failure.error)
}

fn ask_once(url: &WebhookUrl, body: Option<&str>) -> Result<(), Failure> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        // A redirected POST becomes a GET, and its page would answer that all is well.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("starmill/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into();
    let answer = match body {
        Some(body) => agent.post(url.reveal()).header("content-type", "application/json").send(body),
        None => agent.get(url.reveal()).call(),
    };
    let failed = |error: Error, passing| Err(Failure { error, passing });
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            // What the receiver refuses today it refuses tomorrow; what it cannot do now it may do then.
            let passing = status.is_server_error() || status.as_u16() == 429;
            let error = Error::new(ErrorKind::Store, format!("the webhook {url} answered {status}"));
            let error = match status.is_redirection() {
                true => error.hint("give the address that it redirects to"),
                false => error,
            };
            failed(error, passing)
        }
        Err(ureq::Error::Timeout(_)) => {
            let message = format!("the webhook {url} did not answer within {} s", PATIENCE.as_secs());
            failed(Error::new(ErrorKind::Store, message), true)
        }
        Err(error) => {
            let ours = Error::new(ErrorKind::Store, format!("the webhook {url} cannot be reached"));
            failed(ours.caused_by(error), true)
        }
    }
}
