//! Dimensions that keep what their rows were, and the lookups that ask them as of a time.

use super::Resolver;
use crate::pipeline::model::{History, Tracked};
use crate::pipeline::model_file::{HistoryFile, LookupFile, ModelFile};

impl Resolver<'_> {
    /// Which columns a history tracks; none when it is not said, which is told.
    pub(super) fn history(&self, history: &HistoryFile, file: &ModelFile) -> Option<History> {
        let refuse = |message: String, help: &str| self.notes.error(history.place.clone(), message, help);
        let name = &file.name.value;
        if let Some(built_in) = file.built_in() {
            refuse(
                format!("the {} `{name}` has no history: its rows never change", built_in.word),
                "remove `history`",
            );
            return None;
        }
        if let Some(column) = file.first_seen.first() {
            let message = format!("`{name}` has a history, which keeps every value that a column had");
            self.notes.error(
                column.span.clone(),
                message,
                "track the column instead, and remove `first_seen`",
            );
        }
        let tracked = match (&history.track, &history.except) {
            (Some(columns), None) if !columns.is_empty() => Tracked::Columns(columns.clone()),
            (None, Some(columns)) => Tracked::AllBut(columns.clone()),
            (Some(_), Some(_)) => {
                refuse(
                    format!("the history of `{name}` says both `track` and `except`"),
                    "name the columns that it tracks, or those that it doesn't",
                );
                return None;
            }
            _ => {
                refuse(
                    format!("the history of `{name}` tracks no column"),
                    "write history = { track = [\"city\"] }, or { except = [\"email\"] } for all but some",
                );
                return None;
            }
        };
        let keys = file.key.iter().flatten();
        for column in
            tracked.named().iter().filter(|column| keys.clone().any(|key| key.value == column.value))
        {
            let message = format!("the history of `{name}` names `{}`, which is its key", column.value);
            self.notes.error(
                column.span.clone(),
                message,
                "leave it out: a row with another key is another member",
            );
        }
        if let (Some(from), Tracked::Columns(columns)) = (&history.effective_from, &tracked)
            && columns.iter().any(|column| column.value == from.value)
        {
            let message =
                format!("`{}` says since when a version holds, and is not tracked itself", from.value);
            self.notes.error(from.span.clone(), message, "leave it out of `track`");
        }
        let effective_from = history.effective_from.clone();
        Some(History { tracked, effective_from, place: history.place.clone() })
    }

    /// A time says which version is meant only where there are versions.
    pub(super) fn as_of(&self, lookup: &LookupFile, dimension: &ModelFile) {
        let Some(as_of) = lookup.as_of.as_ref().filter(|_| dimension.history.is_none()) else { return };
        let message = format!("`as_of` asks `{}` for a version, and it keeps none", dimension.name.value);
        let help = format!(
            "remove `as_of`, or add to [dimension.{}]: history = {{ track = [\"…\"] }}",
            dimension.name.value
        );
        self.notes.error(as_of.span.clone(), message, help);
    }
}
