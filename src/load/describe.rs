//! Comments in the target: what the columns of a table are, as the pipeline says it. Somebody else's words stay, and a table
//! that the role does not own is not described.

use std::collections::BTreeMap;

use super::Loader;
use super::hung::{oid, owns};
use super::shape::Made;
use crate::error::Result;
use crate::name::{quote_identifier as quote, quote_literal};
use crate::star::table::StarTable;

/// What a first-seen column is besides what the pipeline says of it.
const FIRST_SEEN: &str =
    "As it was when the row was first seen; kept by starmill, changed by `starmill correct` alone";

/// The comments that a table's columns are to have.
pub fn comments(table: &StarTable) -> BTreeMap<String, String> {
    let contract = &table.contract;
    let comment = |column: &String| {
        let told = contract.notes.get(column).and_then(|note| note.told());
        let seen = contract.memory.first_seen.contains(column).then(|| FIRST_SEEN.to_owned());
        let said: Vec<String> = told.into_iter().chain(seen).collect();
        (!said.is_empty()).then(|| (column.clone(), said.join(". ")))
    };
    table.schema().fields().iter().filter_map(|field| comment(field.name())).collect()
}

/// What a table is, as its comment says it.
pub fn of_table(loader: &Loader<'_>, table: &StarTable) -> String {
    let contract = &table.contract;
    let description = contract.description.as_ref().map(|text| format!("{text}; ")).unwrap_or_default();
    format!(
        "{description}{} of the pipeline {}, delivered by starmill",
        contract.role, loader.shipment.pipeline
    )
}

/// What is said of a table.
pub async fn said(loader: &Loader<'_>, table: &str) -> Result<Option<String>> {
    let query = "SELECT obj_description($1, 'pg_class')";
    let row = loader.client.query_one(query, &[&oid(loader, table).await?]).await;
    Ok(row.map_err(|error| loader.failed(error, "show its comments"))?.get(0))
}

/// Makes a table's own comment what it is to be, where it is still the one that we made.
async fn itself(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<()> {
    let wanted = of_table(loader, table);
    let Some(before) = made.and_then(|made| made.description.as_ref()).filter(|before| **before != wanted)
    else {
        return Ok(());
    };
    let name = table.name().as_str();
    if said(loader, name).await?.as_ref() != Some(before) || !owns(loader, name).await? {
        return Ok(());
    }
    let qualified = loader.qualified(name);
    let statement = format!("COMMENT ON TABLE {qualified} IS {}", quote_literal(&wanted));
    loader.execute(&statement, &format!("describe {qualified}")).await
}

/// Makes the comments of a table's columns what they are to be, where nobody else has said anything.
pub async fn table(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<()> {
    itself(loader, table, made).await?;
    let wanted = comments(table);
    let before = made.map(|made| made.comments.clone()).unwrap_or_default();
    if wanted.is_empty() && before.is_empty() {
        return Ok(());
    }
    if !owns(loader, table.name().as_str()).await? {
        return Ok(());
    }
    let qualified = loader.qualified(table.name().as_str());
    let there = of_columns(loader, table.name().as_str()).await?;
    for (column, said) in &there {
        let is_ours = said.is_none() || said.as_ref() == before.get(column);
        if !is_ours || said.as_ref() == wanted.get(column) {
            continue;
        }
        let text = wanted.get(column).map_or_else(|| "NULL".to_owned(), |text| quote_literal(text));
        let statement = format!("COMMENT ON COLUMN {qualified}.{} IS {text}", quote(column));
        loader.execute(&statement, &format!("describe {qualified}.{column}")).await?;
    }
    Ok(())
}

/// The columns of a table with their comments.
async fn of_columns(loader: &Loader<'_>, table: &str) -> Result<BTreeMap<String, Option<String>>> {
    let query = "SELECT a.attname::text, col_description(a.attrelid, a.attnum) FROM pg_attribute AS a \
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = loader.client.query(query, &[&oid(loader, table).await?]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its comments"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
