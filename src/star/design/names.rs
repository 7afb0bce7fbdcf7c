//! Whether the columns that a pipeline names of a model are there, and what starmill adds is not there yet.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;

use super::Designer;
use crate::diagnostic::Diagnostic;
use crate::name::{ModelName, list, nearest};
use crate::pipeline::Spanned;
use crate::pipeline::model::{IS_INFERRED, Model};
use crate::pipeline::sql::SelectSql;
use crate::star::inferred::lookups_into;
use crate::star::versions;

impl Designer<'_> {
    /// Every column that the pipeline names of a model is one that its SELECT gives.
    pub(super) fn check_names(&mut self, model: &Model, raw: &Schema, sql: &SelectSql) {
        let mut seen = BTreeSet::new();
        for field in raw.fields() {
            if !seen.insert(field.name()) {
                let message = format!("two columns are named `{}`", field.name());
                self.found.push(
                    Diagnostic::error(message)
                        .at(&sql.document, sql.whole())
                        .help("give one of them another name with AS"),
                );
            }
        }
        let lookup_columns: Vec<&str> =
            model.lookups().iter().map(|lookup| lookup.column.value.as_str()).collect();
        let surrogate = model.surrogate();
        let own: Vec<(&Spanned<String>, &str)> = (model.key.iter().map(|column| (column, "the key")))
            .chain(model.first_seen.iter().map(|column| (column, "first_seen")))
            .chain(
                model
                    .lookups()
                    .iter()
                    .flat_map(|lookup| lookup.on.iter().map(|(_, column)| (column, "a lookup"))),
            )
            .collect();
        let added: Vec<(&Spanned<String>, &str)> = (model.order_by.iter().map(|column| (column, "order_by")))
            .chain(model.indexes.iter().flatten().map(|column| (column, "an index")))
            .collect();
        for (column, what) in own {
            self.require(model, raw, &[], column, what);
        }
        self.check_lookups(model, raw);
        self.check_history(model, raw);
        self.check_fact(model, raw);
        let ours: Vec<String> = match surrogate {
            Some(surrogate) if model.history().is_some() => versions::added(surrogate).to_vec(),
            Some(_) if !lookups_into(self.pipeline, model).is_empty() => vec![IS_INFERRED.to_owned()],
            _ => Vec::new(),
        };
        let mut extra = lookup_columns.clone();
        extra.extend(surrogate);
        extra.extend(ours.iter().map(String::as_str));
        for (column, what) in added {
            self.require(model, raw, &extra, column, what);
        }
        for (at, lookup) in model.lookups().iter().enumerate() {
            let column = &lookup.column;
            if model.lookups()[..at].iter().any(|other| other.column.value == column.value) {
                let message = format!("two keys of `{}` are named `{}`", model.name, column.value);
                let help = "give one of the dimensions another `surrogate`, or the lookup another name";
                self.error(column.span.clone(), message, help.to_owned());
            }
        }
        for added in lookup_columns.into_iter().chain(surrogate).chain(ours.iter().map(String::as_str)) {
            if raw.column_with_name(added).is_some() {
                let message = format!("`{}` has a column `{added}` already; starmill adds it", model.name);
                self.error(
                    model.place.clone(),
                    message,
                    "leave it out of the SELECT, or give it another name with AS".to_owned(),
                );
            }
        }
    }

    pub(super) fn require(
        &mut self,
        model: &Model,
        raw: &Schema,
        extra: &[&str],
        column: &Spanned<String>,
        what: &str,
    ) {
        let names = || raw.fields().iter().map(|field| field.name().as_str()).chain(extra.iter().copied());
        if names().any(|name| name == column.value) {
            return;
        }
        let names: Vec<&str> = names().collect();
        self.lacking(what, &model.name, column, &names);
    }

    /// Tells of a column that a model has not.
    pub(super) fn lacking(
        &mut self,
        what: &str,
        model: &ModelName,
        column: &Spanned<String>,
        names: &[&str],
    ) {
        let message = format!("{what} names `{}`, which `{model}` has not", column.value);
        let near = nearest(&column.value, names.iter().copied());
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        self.error(column.span.clone(), message, format!("{near}its columns: {}", list(names)));
    }
}
