//! Lookups that bring members into a dimension before the source tells of them, or days into a calendar.

use super::{Resolver, reads};
use crate::name::ModelName;
use crate::pipeline::calendar::Calendar;
use crate::pipeline::file::Text;
use crate::pipeline::model::{Body, Lookup, Model};
use crate::pipeline::model_file::{LookupFile, ModelFile};

impl Resolver<'_> {
    pub(super) fn inferred(&self, lookup: &LookupFile, dimension: &ModelFile) {
        let Some(inferred) = lookup.inferred.as_ref().filter(|inferred| inferred.value) else { return };
        let name = &dimension.name.value;
        let (message, help) = if dimension.times.is_some() {
            (format!("`{name}` has every time of a day already"), "remove `inferred`")
        } else if dimension.dates.is_some() {
            (format!("the calendar `{name}` has its days already"), "give it the range that the facts need")
        } else if dimension.history.is_some() {
            (
                format!("`{name}` keeps its history, into which a fact brings no members"),
                "remove `inferred`; the fact finds the member once the source tells of it",
            )
        } else {
            return;
        };
        self.notes.error(inferred.span.clone(), message, help);
    }

    /// The members that a fact brings are those of its rows as they are now.
    pub(super) fn inferred_of_now(&self, lookup: &LookupFile, fact: &ModelFile) {
        if lookup.inferred.as_ref().is_none_or(|inferred| !inferred.value) {
            return;
        }
        self.not_first_seen(lookup, fact, "`inferred` brings what it is", "remove `inferred`");
    }

    /// The days that a calendar grows by are those that facts have now.
    pub(super) fn grown_of_now(&self, lookup: &LookupFile, fact: &ModelFile, dimension: &ModelFile) {
        let is_facts = |edge: &Option<Text>| edge.as_ref().is_some_and(|edge| edge.value == "facts");
        if dimension.dates.as_ref().is_some_and(|dates| is_facts(&dates.from) || is_facts(&dates.to)) {
            let brings = "the calendar grows by what it is";
            self.not_first_seen(lookup, fact, brings, "give the calendar its dates instead of \"facts\"");
        }
    }

    fn not_first_seen(&self, lookup: &LookupFile, fact: &ModelFile, brings: &str, help: &str) {
        let kept = |column: &&Text| fact.first_seen.iter().any(|kept| kept.value == column.value);
        if let Some(column) = lookup.on.iter().map(|(_, column)| column).find(kept) {
            let message = format!("`first_seen` keeps what `{}` was, and {brings}", column.value);
            let help = format!("{help}, or look up a column that is not first-seen");
            self.notes.error(column.span.clone(), message, help);
        }
    }

    /// A dimension into which facts bring members, or days, is built of the facts' own SELECTs, too: after all that these read.
    pub(super) fn with_inferred(&self, mut models: Vec<Model>) -> Vec<Model> {
        let names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
        let mut needed: Vec<(ModelName, Vec<ModelName>)> = Vec::new();
        for fact in &models {
            let Body::Sql(sql) = &fact.body else { continue };
            let grows = |lookup: &Lookup| {
                let dimension = models.iter().find(|model| model.name == lookup.dimension);
                dimension.and_then(Model::calendar).is_some_and(Calendar::grows)
            };
            for lookup in fact
                .lookups()
                .iter()
                .filter(|lookup| lookup.inferred || lookup.is_combination || grows(lookup))
            {
                let read = reads(sql, &fact.name, names.iter().map(String::as_str));
                if read.contains(&lookup.dimension) {
                    let (brought, help) = match (lookup.inferred, lookup.is_combination) {
                        (true, _) => ("members", "read the source's table instead, or remove `inferred`"),
                        (_, true) => ("combinations", "leave it out of the SELECT"),
                        _ => (
                            "days",
                            "give the calendar its dates instead of \"facts\", or leave it out of the SELECT",
                        ),
                    };
                    let message = format!(
                        "`{}` reads `{}`, into which it would bring {brought}",
                        fact.name, lookup.dimension
                    );
                    self.notes.error(lookup.column.span.clone(), message, help);
                }
                needed.push((lookup.dimension.clone(), read));
            }
        }
        for (dimension, read) in needed {
            for model in models.iter_mut().filter(|model| model.name == dimension) {
                let fresh: Vec<ModelName> = read
                    .iter()
                    .filter(|name| **name != model.name && !model.reads.contains(name))
                    .cloned()
                    .collect();
                model.reads.extend(fresh);
            }
        }
        models
    }
}
