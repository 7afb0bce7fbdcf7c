//! Columns that are declared never to be NULL.

use super::{Auditor, ControlLine, EXAMPLES};
use crate::error::Result;
use crate::name::quote_identifier as quote;
use crate::pipeline::model::Model;
use crate::star::session::star_reference;

impl Auditor<'_> {
    pub(super) async fn declared(&self, model: &Model) -> Result<Vec<ControlLine>> {
        let table = star_reference(&model.name).to_quoted_string();
        let mut lines = Vec::new();
        for column in model.declared.columns.iter().filter(|column| column.not_null) {
            let name = &column.name.value;
            // The unknown member stands for rows that nobody knows.
            let members = self.members_only(model).replace(" WHERE ", " AND ");
            let offending = format!("FROM {table} WHERE {} IS NULL{members}", quote(name));
            let found = self.count(&format!("SELECT count(*) {offending}")).await?;
            let examples = match found {
                0 => Vec::new(),
                _ => self.examples(&format!("SELECT * {offending} LIMIT {EXAMPLES}")).await,
            };
            lines.push(self.rule(
                model,
                &format!("NULL in {name}, which is declared not_null"),
                found,
                examples,
            ));
        }
        Ok(lines)
    }
}
