//! Junk dimensions: the combinations of a few columns that occur in facts, each with one key. The SELECT of one is composed of
//! its facts' own.

use super::Resolver;
use crate::diagnostic::Document;
use crate::name::{ModelName, list, nearest, quote_identifier as quote};
use crate::pipeline::file::Text;
use crate::pipeline::model::{Lookup, UnknownMax, combination};
use crate::pipeline::model_file::{ModelFile, RoleWord};
use crate::pipeline::sql::SelectSql;

/// The business key of a junk dimension: its columns' values in one text.
pub const COMBINATION: &str = "combination";

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
        }
    }

    /// The SELECT of the combinations, of the facts whose SQL can be read: what is wrong with one is told of the fact.
    pub(super) fn junk_sql(&self, stem: &str, file: &ModelFile) -> Option<SelectSql> {
        let (_, names) = file.from.first()?;
        let (mut parts, mut is_read) = (Vec::new(), false);
        for (fact, columns) in &file.from {
            let relative = format!("sql/{stem}/{}.sql", fact.value);
            let text = std::fs::read_to_string(self.project.join(&relative)).ok()?;
            let (sql, _) = SelectSql::parse(Document::new(relative, text)).ok()?;
            let of = |column: &Text| format!("f.{}", quote(&column.value));
            let listed = columns
                .iter()
                .zip(names)
                .map(|(column, name)| format!("{} AS {}", of(column), quote(&name.value)));
            let listed = listed.collect::<Vec<_>>().join(", ");
            let combined = combination(columns.iter().map(of));
            parts.push(format!(
                "SELECT DISTINCT {combined} AS {COMBINATION}, {listed} FROM ({}) AS f",
                sql.plain()
            ));
            is_read = true;
        }
        if !is_read {
            return None;
        }
        match SelectSql::composed(&self.notes.document, &parts.join(" UNION "), file.place.clone()) {
            Ok((sql, _)) => Some(sql),
            Err(found) => {
                for diagnostic in found {
                    self.notes.error(
                        file.place.clone(),
                        diagnostic.message,
                        "name columns that the facts' SELECTs give",
                    );
                }
                None
            }
        }
    }

    /// The keys that a fact gets into the junk dimensions that are made of it.
    pub(super) fn junk_lookups(&self, fact: &ModelFile, all: &[ModelFile]) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for dimension in all.iter().filter(|model| model.role == RoleWord::Dimension) {
            for (_, columns) in dimension.from.iter().filter(|(name, _)| name.value == fact.name.value) {
                let Some(name) = ModelName::parse(&dimension.name.value) else { continue };
                let column = self.surrogate(dimension, &name);
                let on = columns.iter().map(|column| (COMBINATION.to_owned(), column.clone())).collect();
                lookups.push(Lookup {
                    column,
                    dimension: name,
                    on,
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
