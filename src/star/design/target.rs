//! Whether the target can have a published table: said before a night builds it.

use std::collections::BTreeMap;

use arrow::datatypes::Field;

use super::Designer;
use crate::diagnostic::Diagnostic;
use crate::name::DELIVERY_TABLE;
use crate::pgcopy::encode;
use crate::pipeline::model::Model;
use crate::pipeline::sql::SelectSql;

/// Columns that every table of Postgres has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// Columns that a table of Postgres's has at most.
const MOST_COLUMNS: usize = 1_600;

/// Columns of a key or an index.
const MOST_KEYS: usize = 32;

/// Bytes of a name in Postgres; what is longer is cut, and then another name.
const LONGEST_NAME: usize = 63;

impl Designer<'_> {
    /// A column that the target cannot have is told before a night builds it.
    pub(super) fn check_target(&mut self, model: &Model, fields: &[Field], sql: &SelectSql) {
        self.check_engines(fields, sql);
        self.check_keys(model);
        if self.pipeline.deployment.target.is_none() {
            return;
        }
        if fields.len() > MOST_COLUMNS {
            let message = format!(
                "`{}` has {} columns, and a table of the target {MOST_COLUMNS} at most",
                model.name,
                fields.len()
            );
            let help = "publish what belongs together as a table of its own, or leave the target away";
            self.found.push(Diagnostic::error(message).at(&sql.document, sql.whole()).help(help));
        }
        for field in fields {
            let name = field.name();
            let (message, help) = if name.is_empty() {
                (
                    "a column has an empty name, which the target cannot have".to_owned(),
                    "give it a name with AS",
                )
            } else if SYSTEM_COLUMNS.contains(&name.as_str()) {
                (
                    format!(
                        "a table of the target cannot have a column `{name}`: Postgres has one of its own"
                    ),
                    "give it another name with AS",
                )
            } else if name.len() > LONGEST_NAME {
                (
                    format!(
                        "the column `{name}` has {} bytes, and a name in the target {LONGEST_NAME} at most",
                        name.len()
                    ),
                    "give it a shorter name with AS",
                )
            } else if encode::postgres_type(field.data_type()).is_none() {
                (
                    format!(
                        "the column `{name}` is {}, which is not delivered into Postgres",
                        field.data_type()
                    ),
                    "cast it to text, publish its elements as columns, or leave the target away",
                )
            } else {
                continue;
            };
            self.found.push(Diagnostic::error(message).at(&sql.document, sql.whole()).help(help));
        }
        if model.name.as_str() == DELIVERY_TABLE {
            let message =
                format!("`{}` is the table of the target in which starmill keeps its receipts", model.name);
            self.error(model.place.clone(), message, "give the model another name".to_owned());
        }
        // In Postgres tables and indexes share their names.
        let taken = self.pipeline.models.iter().find_map(|other| {
            let name = model.name.as_str();
            relations_of(other).into_iter().find(|made| made == name).map(|_| other.name.clone())
        });
        if let Some(other) = taken {
            let message =
                format!("`{}` is the name that an index of `{other}` gets in the target", model.name);
            self.error(model.place.clone(), message, "give the model another name".to_owned());
        }
    }
}

impl Designer<'_> {
    /// A key and an index name some columns, each once, and no more than a server takes.
    fn check_keys(&mut self, model: &Model) {
        let keys = std::iter::once(("key", &model.key)).chain(model.indexes.iter().map(|of| ("index", of)));
        let mut wrong = Vec::new();
        for (what, columns) in keys {
            let twice = columns
                .iter()
                .enumerate()
                .find(|(at, column)| columns.iter().take(*at).any(|before| before.value == column.value));
            if let Some((_, column)) = twice {
                let message = format!("the {what} of `{}` names `{}` twice", model.name, column.value);
                wrong.push((column.span.clone(), message, "name each column once"));
            }
            if what == "index" && columns.is_empty() {
                let message = format!("an index of `{}` has no columns", model.name);
                wrong.push((model.place.clone(), message, "name its columns: indexes = [[\"day\"]]"));
            }
            if columns.len() > MOST_KEYS {
                let message = format!(
                    "the {what} of `{}` has {} columns, and one of Postgres {MOST_KEYS} at most",
                    model.name,
                    columns.len()
                );
                wrong.push((model.place.clone(), message, "name those that tell its rows apart"));
            }
        }
        for (span, message, help) in wrong {
            self.error(span, message, help.to_owned());
        }
    }

    /// Those who read lakes and Delta logs don't tell columns apart that differ in case alone.
    fn check_engines(&mut self, fields: &[Field], sql: &SelectSql) {
        let deployment = &self.pipeline.deployment;
        let lake =
            deployment.store.lake || deployment.target.as_ref().is_some_and(|target| target.lake.is_some());
        if !lake && !deployment.store.delta {
            return;
        }
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for field in fields {
            if let Some(other) = seen.insert(field.name().to_lowercase(), field.name()) {
                let message = format!(
                    "the columns `{other}` and `{}` differ only in case, and readers of lakes and Delta logs don't tell them apart",
                    field.name()
                );
                let help = "give one of them another name with AS, or leave `lake` and `delta` away";
                self.found.push(Diagnostic::error(message).at(&sql.document, sql.whole()).help(help));
            }
        }
    }
}

/// The names that Postgres gives the keys and indexes of a table when nobody names them.
fn relations_of(model: &Model) -> Vec<String> {
    let name = model.name.as_str();
    let mut made = vec![format!("{name}_pkey")];
    if model.surrogate().is_some() {
        made.push(format!("{name}_{}_key", model.row_key().join("_")));
    }
    for index in &model.indexes {
        let columns: Vec<&str> = index.iter().map(|column| column.value.as_str()).collect();
        made.push(format!("{name}_{}_idx", columns.join("_")));
    }
    made
}
