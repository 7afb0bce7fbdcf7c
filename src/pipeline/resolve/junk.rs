//! Junk dimensions: the combinations of a few columns that occur in facts, each with one key.

use super::{Resolver, reads};
use crate::name::{ModelName, list, nearest};
use crate::pipeline::control::{Control, StarSide};
use crate::pipeline::file::Text;
use crate::pipeline::model::{ALL, Body, COMBINATION, Junk, Lookup, Model, UnknownMax};
use crate::pipeline::model_file::{ModelFile, RoleWord};
use crate::pipeline::sql::SelectSql;

impl Resolver<'_> {
    /// Whether a dimension's columns fit together, and come from facts.
    pub(super) fn check_junk(&self, file: &ModelFile, all: &[ModelFile]) {
        if file.from.is_empty() {
            return;
        }
        let name = &file.name.value;
        for (given, what) in [
            (file.key.is_some(), "key"),
            (file.history.is_some(), "history"),
            (file.dates.is_some(), "dates"),
            (file.times.is_some(), "times"),
        ] {
            if given {
                let message = format!(
                    "`{name}` has the combinations that occur in its facts, and no `{what}` of its own"
                );
                self.notes.error(file.place.clone(), message, format!("remove `{what}`"));
            }
        }
        let mut width = None;
        for (fact, columns) in &file.from {
            let facts = || {
                all.iter().filter(|model| model.role == RoleWord::Fact).map(|model| model.name.value.as_str())
            };
            if !facts().any(|known| known == fact.value) {
                let near = nearest(&fact.value, facts())
                    .map(|near| format!("did you mean `{near}`? "))
                    .unwrap_or_default();
                let help = format!("{near}facts: {}", list(facts()));
                self.notes.error(fact.span.clone(), format!("there is no fact `{}`", fact.value), help);
            }
            if columns.is_empty() || width.is_some_and(|width| width != columns.len()) {
                let message = format!(
                    "`{name}` takes {} columns of `{}`, and others of the other facts",
                    columns.len(),
                    fact.value
                );
                self.notes.error(
                    fact.span.clone(),
                    message,
                    "name as many columns of each fact, in the same order",
                );
            }
            width = Some(columns.len());
            self.check_junk_columns(file, fact, columns, all);
        }
    }

    /// Whether the columns that a junk dimension takes of a fact are such as it can have.
    fn check_junk_columns(&self, file: &ModelFile, fact: &Text, columns: &[Text], all: &[ModelFile]) {
        let name = &file.name.value;
        let of = all.iter().find(|model| model.name.value == fact.value);
        let mut seen: Vec<&str> = Vec::new();
        for column in columns {
            let wrong = |message: String, help: &str| self.notes.error(column.span.clone(), message, help);
            if seen.contains(&column.value.as_str()) {
                let message =
                    format!("`{name}` takes the column `{}` of `{}` twice", column.value, fact.value);
                wrong(message, "name each column once");
            }
            seen.push(&column.value);
            if column.value == COMBINATION {
                let message = format!("`{name}` has a column `{COMBINATION}` already, its business key");
                wrong(message, "give the fact's column another name in its SELECT");
            }
            let is_first_seen = |of: &ModelFile| of.first_seen.iter().any(|kept| kept.value == column.value);
            if of.is_some_and(is_first_seen) {
                let message = format!(
                    "`{name}` has what `{}` is now, and `first_seen` keeps what it was",
                    column.value
                );
                wrong(message, "keep the first value in a column of its own: `channel AS channel_at_order`");
            }
        }
    }

    /// What a junk dimension is made of.
    pub(super) fn junk(&self, file: &ModelFile) -> Option<Junk> {
        let (_, names) = file.from.first()?;
        let names = names.iter().map(|name| name.value.clone()).collect();
        let of =
            |(fact, columns): &(Text, Vec<Text>)| Some((ModelName::parse(&fact.value)?, columns.clone()));
        Some(Junk { names, from: file.from.iter().map(of).collect::<Option<_>>()? })
    }

    /// The keys that a fact gets into the junk dimensions that are made of it.
    pub(super) fn junk_lookups(&self, fact: &ModelFile, all: &[ModelFile]) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for dimension in all.iter().filter(|model| model.role == RoleWord::Dimension) {
            for (_, columns) in dimension.from.iter().filter(|(name, _)| name.value == fact.name.value) {
                let Some(name) = ModelName::parse(&dimension.name.value) else { continue };
                let column = self.surrogate(dimension, &name);
                let first = dimension.from.first().map(|(_, names)| names.as_slice()).unwrap_or_default();
                lookups.push(Lookup {
                    column,
                    dimension: name,
                    on: first.iter().map(|name| name.value.clone()).zip(columns.iter().cloned()).collect(),
                    as_of: None,
                    // It is made of the fact's own rows.
                    unknown_max: Some(UnknownMax::Rows(0)),
                    inferred: false,
                    is_combination: true,
                });
            }
        }
        lookups
    }
}

/// Notes of each model which words others use that read it: columns that they may ask for.
pub(super) fn asked_for(mut models: Vec<Model>, controls: &[Control]) -> Vec<Model> {
    let words = |sql: &SelectSql| -> Vec<String> {
        let plain = sql.plain();
        if ["SELECT *", "DISTINCT *", ".*"].iter().any(|all| plain.contains(all)) {
            return vec![ALL.to_owned()];
        }
        // Quoted names as they are, others as Postgres folds them.
        let parts = plain.split('"').enumerate();
        let words = parts.flat_map(|(at, part)| match at % 2 {
            1 => vec![part.to_owned()],
            _ => part.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_lowercase).collect(),
        });
        words.filter(|word| !word.is_empty()).collect()
    };
    let mut asked: Vec<(ModelName, Vec<String>)> = Vec::new();
    for model in &models {
        let Body::Sql(sql) = &model.body else { continue };
        let read = reads(sql, &model.name, models.iter().map(|other| other.name.as_str()));
        asked.extend(read.into_iter().map(|name| (name, words(sql))));
    }
    for control in controls {
        if let StarSide::Query { sql } = &control.star {
            asked.extend(models.iter().map(|model| (model.name.clone(), words(sql))));
        }
    }
    for (name, words) in asked {
        models
            .iter_mut()
            .filter(|model| model.name == name)
            .for_each(|model| model.asked_for.extend(words.clone()));
    }
    models
}
