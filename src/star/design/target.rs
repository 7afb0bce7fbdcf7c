//! Whether the target can have a published table: said before a night builds it.

use arrow::datatypes::Field;

use super::Designer;
use crate::diagnostic::Diagnostic;
use crate::name::DELIVERY_TABLE;
use crate::pgcopy::encode;
use crate::pipeline::model::Model;
use crate::pipeline::sql::SelectSql;

/// Columns that every table of Postgres has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// Bytes of a name in Postgres; what is longer is cut, and then another name.
const LONGEST_NAME: usize = 63;

impl Designer<'_> {
    /// A column that the target cannot have is told before a night builds it.
    pub(super) fn check_target(&mut self, model: &Model, fields: &[Field], sql: &SelectSql) {
        if self.pipeline.deployment.target.is_none() {
            return;
        }
        for field in fields {
            let name = field.name();
            let (message, help) = if SYSTEM_COLUMNS.contains(&name.as_str()) {
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
    }
}
