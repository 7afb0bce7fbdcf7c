//! Whether a dimension can keep its history: said before a night begins one.

use arrow::datatypes::{DataType, Schema};

use super::Designer;
use crate::pipeline::Spanned;
use crate::pipeline::model::Model;
use crate::star::memory::Memory;

impl Designer<'_> {
    pub(super) fn check_history(&mut self, model: &Model, raw: &Schema) {
        let Some(history) = model.history() else { return };
        for column in history.tracked.named() {
            self.require(model, raw, &[], column, "the history");
        }
        if let Some(from) = &history.effective_from {
            self.require(model, raw, &[], from, "effective_from");
            self.require_time(model, raw, from, "effective_from");
        }
        let memory = Memory::of(model);
        let tracked = |name: &String| memory.history.as_ref().is_some_and(|versions| versions.tracks(name));
        let mut rest =
            raw.fields().iter().map(|field| field.name()).filter(|name| !memory.key.contains(name));
        if !rest.any(tracked) {
            let message = format!("the history of `{}` tracks no column", model.name);
            let help = "leave fewer columns to `except`, or remove `history`".to_owned();
            self.error(history.place.clone(), message, help);
        }
    }

    pub(super) fn require_time(&mut self, model: &Model, raw: &Schema, column: &Spanned<String>, what: &str) {
        let Ok(field) = raw.field_with_name(&column.value) else { return };
        if matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32) {
            return;
        }
        let message = format!("{what} names `{}.{}`, which is no time", model.name, column.value);
        let help =
            "name a timestamptz, a timestamp or a date; the latter two are read in the pipeline's time zone";
        self.error(column.span.clone(), message, help.to_owned());
    }
}
