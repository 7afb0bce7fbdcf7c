//! Tells people, through the channels that a pipeline names. A channel that fails is tried again a
//! few times and then told in the log; it never changes how a night ended.

mod command;
mod outbox;
mod webhook;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{RunId, SnapshotId};
use crate::pipeline::notify::{AlertKind, NotifySettings};

pub use crate::pipeline::notify::Channel;
pub use outbox::Outbox;
pub use webhook::ping;

/// What is told: the webhook's body, and the command's standard input. The shape is documented and
/// stable; fields may be added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alert {
    pub event: AlertKind,
    pub pipeline: String,
    /// One line for people; chat tools show it.
    pub text: String,
    pub run: Option<RunId>,
    pub outcome: Option<String>,
    pub exit_code: Option<u8>,
    pub message: Option<String>,
    pub causes: Vec<String>,
    pub hint: Option<String>,
    pub scheduled_for: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub seconds: Option<f64>,
    /// The snapshot that readers see now.
    pub snapshot: Option<SnapshotId>,
    pub host: String,
    pub at: DateTime<Utc>,
}

/// What became of an alert on one channel.
#[derive(Debug)]
pub struct Sent {
    pub channel: Channel,
    /// Its name as it may be shown.
    pub name: String,
    pub result: Result<()>,
}

/// Sends an alert to every channel, and says what each answered.
pub async fn send(settings: &NotifySettings, alert: &Alert) -> Vec<Sent> {
    send_through(settings, alert, &settings.channels()).await
}

/// Sends an alert to some channels.
async fn send_through(settings: &NotifySettings, alert: &Alert, channels: &[Channel]) -> Vec<Sent> {
    // At once: the second channel is there for when the first is slow or dead.
    let posted = async {
        let url = settings.webhook.as_ref().filter(|_| channels.contains(&Channel::Webhook))?;
        Some(Sent {
            channel: Channel::Webhook,
            name: url.to_string(),
            result: webhook::post(url, alert).await,
        })
    };
    let ran = async {
        let command = settings.command.as_ref().filter(|_| channels.contains(&Channel::Command))?;
        // Its arguments may hold a secret.
        let name = command.first().cloned().unwrap_or_default();
        Some(Sent { channel: Channel::Command, name, result: command::run(command, alert).await })
    };
    let (posted, ran) = futures::join!(posted, ran);
    let sent: Vec<Sent> = posted.into_iter().chain(ran).collect();
    for Sent { name, result, .. } in &sent {
        match result {
            Ok(()) => tracing::info!(channel = name, event = alert.event.word(), "people were told"),
            Err(error) => {
                let causes = error.causes().join("; ");
                tracing::warn!(channel = name, event = alert.event.word(), %error, causes, "people were not told");
            }
        }
    }
    sent
}
