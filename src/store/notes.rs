//! Small notes beside the commit point: what was delivered where, whether somebody was told of a
//! failure, since when a schedule is watched. None of them decides what is published, so one that is
//! missing or damaged counts as not written.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::objects::Objects;
use super::{Readers, Store};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::name::{RunId, SnapshotId};
use crate::pipeline::notify::AlertKind;

/// A kind of note, with the file that holds the one of its kind.
pub trait Note: Serialize + DeserializeOwned {
    const FILE: &'static str;
}

/// What the target held when a delivery into it last ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryNote {
    /// None before the first delivery has ended well.
    pub snapshot: Option<SnapshotId>,
    /// Without its password.
    pub target: String,
    pub schema: String,
    pub delivered_at: DateTime<Utc>,
}

/// A failure that somebody was told of, and that has not come right yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IncidentNote {
    pub kind: AlertKind,
    pub run: Option<RunId>,
    /// The night of the schedule that it is about.
    #[serde(default)]
    pub night: Option<DateTime<Utc>>,
    pub since: DateTime<Utc>,
}

/// Since when a scheduler looks after the pipeline: nights before it were nobody's to miss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchNote {
    pub cron: String,
    pub timezone: String,
    pub since: DateTime<Utc>,
}

impl Note for DeliveryNote {
    const FILE: &'static str = "delivery.json";
}

impl Note for IncidentNote {
    const FILE: &'static str = "incident.json";
}

impl Note for WatchNote {
    const FILE: &'static str = "schedule.json";
}

/// Held while notes are read and written: two schedulers of one store must not both find nothing said.
pub struct NotesHeld(#[allow(dead_code, reason = "the lock goes with it")] Option<std::fs::File>);

impl Store {
    /// Waits until nobody else holds the notes. Where no store is, nobody does.
    pub fn hold_notes(&self) -> NotesHeld {
        let folder = match &self.objects {
            Objects::Folder(folder) => std::fs::File::open(folder).ok(),
            // Schedulers on several machines may both tell of one failure.
            Objects::Bucket(_) => std::fs::File::open(self.local_folder()).ok(),
        };
        NotesHeld(folder.filter(|folder| folder.lock().is_ok()))
    }

    /// A note, or none; an error where it cannot be read.
    pub fn note_there<N: Note>(&self) -> Result<Option<N>> {
        let Some(text) = self.objects.read(N::FILE)? else { return Ok(None) };
        let note = serde_json::from_slice(&text);
        Ok(note.inspect_err(|error| tracing::warn!(file = N::FILE, %error, "a note is ignored")).ok())
    }

    pub fn note<N: Note>(&self) -> Option<N> {
        if !self.exists() {
            return None;
        }
        let note = self.note_there();
        note.inspect_err(|error| tracing::warn!(file = N::FILE, %error, "a note is ignored")).ok().flatten()
    }

    pub fn keep_note<N: Note>(&self, note: &N) -> Result<()> {
        let text = serde_json::to_string_pretty(note).or_error(ErrorKind::Bug, || "a note".to_owned())?;
        self.objects.write(N::FILE, &text, Readers::All)
    }

    pub fn drop_note<N: Note>(&self) -> Result<()> {
        match self.objects.read(N::FILE) {
            Ok(None) => Ok(()),
            _ => self.objects.remove(N::FILE),
        }
    }
}
