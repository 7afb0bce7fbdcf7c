//! Columns that are declared never to be NULL.

use super::{Auditor, ControlLine};
use crate::error::Result;
use crate::name::quote_identifier as quote;
use crate::pipeline::model::Model;
use crate::star::session::star_reference;

impl Auditor<'_> {
    pub(super) async fn declared(&self, model: &Model) -> Result<Vec<ControlLine>> {
        let table = star_reference(&model.name).to_quoted_string();
        let keys: Vec<String> = model.row_key().iter().map(|key| quote(key)).collect();
        // The unknown member stands for rows that nobody knows.
        let members = self.members_only(model).replace(" WHERE ", " AND ");
        let mut lines = Vec::new();
        for column in model.declared.columns.iter().filter(|column| column.not_null) {
            let name = &column.name.value;
            let nulls = format!("SELECT * FROM {table} WHERE {} IS NULL{members}", quote(name));
            let rule = format!("NULL in {name}, which is declared not_null");
            lines.push(self.offending(model, &rule, &nulls, &keys.join(", ")).await?);
        }
        Ok(lines)
    }
}
