//! Dimensions that starmill makes without a SELECT: their keys are given, and have a meaning.

use super::Resolver;
use crate::name::ModelName;
use crate::pipeline::Spanned;
use crate::pipeline::file::Text;
use crate::pipeline::model_file::{BuiltIn, ModelFile};
use crate::pipeline::times::Times;

impl Resolver<'_> {
    pub(super) fn check_built_in(&self, file: &ModelFile) {
        if let Some(BuiltIn { word, key, .. }) = file.built_in()
            && !(file.order_by.is_empty() && file.first_seen.is_empty())
        {
            let message = format!("the {word} is ordered by its {key}, and its values never change");
            self.notes.error(file.place.clone(), message, "remove `order_by` and `first_seen`");
        }
    }

    /// The surrogate of what is built in is always the same, because its value has a meaning (yyyymmdd, hhmm).
    pub(super) fn surrogate(&self, file: &ModelFile, name: &ModelName) -> Text {
        match (&file.surrogate, file.built_in()) {
            (Some(surrogate), Some(built_in)) if surrogate.value != built_in.surrogate => {
                let message = format!("the {}'s surrogate key is `{}`", built_in.word, built_in.surrogate);
                self.notes.error(surrogate.span.clone(), message, "remove `surrogate`");
                surrogate.clone()
            }
            (Some(surrogate), _) => surrogate.clone(),
            (None, Some(built_in)) => {
                Spanned { value: built_in.surrogate.to_owned(), span: file.place.clone() }
            }
            (None, None) => {
                let stem = name.as_str().trim_start_matches("dim_");
                Spanned { value: format!("{stem}_key"), span: file.place.clone() }
            }
        }
    }

    pub(super) fn built_in_key(&self, file: &ModelFile) -> Vec<Text> {
        let Some(BuiltIn { word, key, .. }) = file.built_in() else { return Vec::new() };
        if file.key.is_some() {
            let message = format!("the {word}'s key is `{key}`");
            self.notes.error(file.place.clone(), message, "remove `key`");
        }
        vec![Spanned { value: key.to_owned(), span: file.place.clone() }]
    }

    pub(super) fn times(&self, word: &Text) -> Option<Times> {
        let times = Times::by_word(&word.value);
        if times.is_none() {
            let message = format!("`times` cannot be `{}`", word.value);
            self.notes.error(word.span.clone(), message, "write times = \"minute\", \"hour\" or \"second\"");
        }
        times
    }
}
