//! Rows that nothing tells apart: those of a table without a key, and those that are there twice where no key kept them out.

use super::alike::{exact_key, numbered};
use super::beside::Beside;
use super::merge::{Merged, Parting, part};
use super::prove::{Sent, SentRows};
use super::shape::{self, Column, quoted};
use super::{Loader, keys};
use crate::error::Result;
use crate::star::table::StarTable;

/// Deletes rows that are there twice, where no key keeps them from it.
pub async fn without_copies(loader: &Loader<'_>, table: &StarTable, merged: &mut Merged) -> Result<()> {
    let (name, identity) = (table.name().as_str(), table.contract.identity());
    if keys::tell_apart(loader, name, &identity).await? {
        return Ok(());
    }
    let loose = shape::loose(loader, name).await?;
    let told_apart: Vec<String> = identity.iter().map(|name| exact_key(name, &loose)).collect();
    let own = loader.own(name).await?;
    let gone = format!(
        "(t.tableoid, t.ctid) IN (SELECT c.part, c.at FROM ( \
             SELECT tableoid AS part, ctid AS at, row_number() OVER (PARTITION BY {} ORDER BY tableoid, ctid) AS copy FROM {own}) AS c WHERE c.copy > 1)",
        told_apart.join(", ")
    );
    part(loader, table, &Parting { gone }, &mut merged.delivered).await
}

/// Without a key a row is its own identity, and equal rows are counted.
pub async fn merge_whole_rows(
    loader: &Loader<'_>,
    table: &StarTable,
    beside: &Beside,
    columns: &[Column],
    merged: &mut Merged,
) -> Result<()> {
    let name = table.name().as_str();
    let (into, own) = (loader.qualified(name), loader.own(name).await?);
    let doing = format!("merge into {into}");
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let list = quoted(&names);
    let numbered = |table: &str, extra: &str| numbered(table, extra, &list);
    let gone = format!(
        "(t.tableoid, t.ctid) IN (SELECT o.part, o.at FROM ({}) AS o LEFT JOIN ({}) AS n USING (\"starmill: row\", \"starmill: copy\") WHERE n.\"starmill: row\" IS NULL)",
        numbered(&own, "tableoid AS part, ctid AS at,"),
        numbered(&beside.name, "")
    );
    part(loader, table, &Parting { gone }, &mut merged.delivered).await?;
    let insert = format!(
        "INSERT INTO {into} ({list}) SELECT {list} FROM ({}) AS n LEFT JOIN ({}) AS o USING (\"starmill: row\", \"starmill: copy\") WHERE o.\"starmill: row\" IS NULL",
        numbered(&beside.name, &format!("{list},")),
        numbered(&own, "")
    );
    merged.delivered.inserted = loader.changed(&insert, &doing).await?;
    merged.note_sent(loader, Sent { beside: beside.name.clone(), rows: SentRows::Whole(list.clone()) });
    Ok(())
}
