//! Columns that the pipeline declares NOT NULL. Those of a dimension are NULL in its unknown member, and stay as they are; so do
//! those that others' tables inherit, and that a primary key of somebody's has.

use std::collections::BTreeSet;

use super::shape::{Made, columns_there};
use super::{Loader, hung, keys};
use crate::error::Result;
use crate::name::quote_identifier as quote;
use crate::star::table::StarTable;

/// Makes columns NOT NULL that the pipeline declares so, and those of ours nullable again that it does not. Gives ours.
pub async fn make(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<BTreeSet<String>> {
    let contract = &table.contract;
    let declared = contract.notes.iter().filter(|(column, note)| {
        note.not_null
            && contract.schema.column_with_name(column).is_some()
            && contract.memory.surrogate.is_none()
    });
    let declared: BTreeSet<&String> = declared.map(|(column, _)| column).collect();
    let before = made.map(|made| made.not_null.clone()).unwrap_or_default();
    if declared.is_empty() && before.is_empty() {
        return Ok(BTreeSet::new());
    }
    let name = table.name().as_str();
    let there = columns_there(loader, name).await?;
    let primary = keys::primary(loader, name).await?;
    let has_children = !hung::children(loader, name).await?.is_empty();
    let lacking =
        there.iter().filter(|column| declared.contains(&column.name) && !column.not_null && !has_children);
    let lacking: Vec<&String> = lacking.map(|column| &column.name).collect();
    let gone = there.iter().map(|column| &column.name).filter(|column| {
        before.contains(*column) && !declared.contains(column) && !primary.contains(column) && !has_children
    });
    let gone: Vec<&String> = gone.collect();
    let kept = before.iter().filter(|column| declared.contains(column)).cloned();
    let fits = lacking.is_empty() && gone.is_empty();
    if !fits && !hung::owns(loader, name).await? {
        tracing::warn!(
            table = name,
            "the role does not own the table, whose columns stay nullable or not as they are"
        );
        return Ok(kept.collect());
    }
    let qualified = loader.qualified(name);
    for (columns, what) in [(&lacking, "SET NOT NULL"), (&gone, "DROP NOT NULL")] {
        for column in columns {
            let statement = format!("ALTER TABLE {qualified} ALTER COLUMN {} {what}", quote(column));
            loader.execute(&statement, &format!("{what} for {qualified}.{column}")).await?;
        }
    }
    Ok(kept.chain(lacking.into_iter().cloned()).collect())
}
