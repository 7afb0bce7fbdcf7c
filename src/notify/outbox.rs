//! Alerts that are owed to people: written down before they are sent, and kept until every channel has accepted
//! them, so that neither a receiver that is down nor a killed process loses one.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Alert, Channel, Sent, send_through};
use crate::clock;
use crate::pipeline::notify::NotifySettings;

/// Alerts that are kept at most; of more the oldest are given up.
const MOST: usize = 100;
/// An alert that is older tells nobody anything.
const LONGEST: TimeDelta = TimeDelta::days(7);
/// What is told later than that says so.
const LATE: TimeDelta = TimeDelta::minutes(2);

/// A folder of alerts that are owed.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Owed {
    alert: Alert,
    /// Who has not accepted it yet.
    channels: Vec<Channel>,
}

impl Outbox {
    /// The outbox of a store. Where a store should be and is not, none is made for an alert's sake.
    pub fn of(store: &Path) -> Outbox {
        Outbox { folder: store.join("alerts") }
    }

    /// Sends an alert to every channel; what is not accepted is kept.
    pub async fn tell(&self, settings: &NotifySettings, alert: Alert) -> Vec<Sent> {
        let owed = Owed { alert, channels: settings.channels() };
        if owed.channels.is_empty() {
            return Vec::new();
        }
        let name = format!("{}-{:08x}.json", owed.alert.at.format("%Y%m%dT%H%M%S%3fZ"), fastrand::u32(..));
        let path = self.folder.join(name);
        let locked = self.write(&path, &owed).and_then(|()| lock(&path));
        let locked = locked.inspect_err(|error| tracing::warn!(%error, "the alert is not kept")).ok();
        let sent = send_through(settings, &owed.alert, &owed.channels).await;
        if let Some(locked) = locked {
            self.settle(&path, owed, &sent);
            drop(locked);
        }
        sent
    }

    /// Sends what is kept, the oldest first. Whether nothing remains.
    pub async fn tell_kept(&self, settings: &NotifySettings) -> bool {
        for path in self.kept() {
            // Whoever holds it is sending it.
            let Ok(_locked) = lock(&path) else { continue };
            let Some(mut owed) = read(&path) else { continue };
            if clock::now() - owed.alert.at > LONGEST {
                tracing::error!(
                    alert = owed.alert.text,
                    "an alert was never accepted, and is given up after a week"
                );
                remove(&path);
                continue;
            }
            let wanted = settings.channels();
            owed.channels.retain(|channel| wanted.contains(channel));
            let mut told = owed.alert.clone();
            if clock::now() - told.at > LATE {
                told.text = format!("{} (told late, of {})", told.text, told.at.format("%Y-%m-%d %H:%M UTC"));
            }
            let sent = send_through(settings, &told, &owed.channels).await;
            if !self.settle(&path, owed, &sent) {
                // Whoever doesn't accept this one doesn't accept the next, and waiting for each takes its time.
                return false;
            }
        }
        true
    }

    /// Forgets an alert, or keeps it for those who have not accepted it.
    fn settle(&self, path: &Path, owed: Owed, sent: &[Sent]) -> bool {
        let failed: Vec<Channel> =
            sent.iter().filter(|sent| sent.result.is_err()).map(|sent| sent.channel).collect();
        if failed.is_empty() {
            remove(path);
            return true;
        }
        if failed != owed.channels {
            let rest = Owed { channels: failed, ..owed };
            if let Err(error) = self.write(path, &rest) {
                tracing::warn!(%error, "an alert will be told again to who has accepted it");
            }
        }
        false
    }

    fn write(&self, path: &Path, owed: &Owed) -> std::io::Result<()> {
        match std::fs::create_dir(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder)?;
        file.write_all(&serde_json::to_vec_pretty(owed)?)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// The alerts that are owed, the oldest first; those beyond the most are given up.
    fn kept(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        // Plain files of our own naming: what others laid there is neither read, nor counted, nor removed.
        let ours = |entry: std::fs::DirEntry| {
            let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
            (plain && entry.file_name().to_str().is_some_and(is_alert)).then(|| entry.path())
        };
        let mut found: Vec<PathBuf> = entries.filter_map(|entry| ours(entry.ok()?)).collect();
        found.sort();
        let surplus = found.len().saturating_sub(MOST);
        for path in found.drain(..surplus) {
            tracing::error!(alert = %path.display(), "too many alerts are owed: the oldest is given up");
            remove(&path);
        }
        found
    }
}

/// `20261126T033000123Z-0f3a12bc.json`
fn is_alert(name: &str) -> bool {
    let Some((at, id)) = name.strip_suffix(".json").and_then(|name| name.split_once('-')) else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let at = at.strip_suffix('Z').and_then(|at| at.split_once('T'));
    at.is_some_and(|(day, time)| day.len() == 8 && time.len() == 9 && digits(day) && digits(time))
        && id.len() == 8
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Held while an alert is on its way, so that no two processes send it.
fn lock(path: &Path) -> std::io::Result<File> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(std::io::ErrorKind::WouldBlock.into()),
    }
}

/// None for what somebody else has just told, or no alert at all.
fn read(path: &Path) -> Option<Owed> {
    let text = std::fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(file = %path.display(), %error, "a kept alert is ignored"))
        .ok()
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "an alert that was told is still kept");
    }
}
