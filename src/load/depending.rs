//! What others made of a delivered table's columns, elsewhere: views, policies, triggers, generated columns, foreign keys. The
//! server would refuse to take the column from under them.

use super::Loader;
use super::hung::oid;
use crate::error::Result;

/// What is to become of a column.
#[derive(Debug, Clone, Copy)]
pub enum Fate<'a> {
    /// With the foreign keys that are ours: those go by themselves.
    Dropped(&'a [u32]),
    Retyped,
    /// Views and what rules read it are looked after elsewhere.
    RetypedBelowViews,
}

/// A view by its kind and whole name; anything else as the server describes it.
const OBJECT: &str = "coalesce((SELECT CASE v.relkind WHEN 'm' THEN 'the materialized view ' ELSE 'the view ' END || format('%I.%I', n.nspname, v.relname) \
            FROM pg_rewrite AS w JOIN pg_class AS v ON v.oid = w.ev_class JOIN pg_namespace AS n ON n.oid = v.relnamespace \
            WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND v.relkind IN ('v', 'm')), \
        'the ' || pg_describe_object(d.classid, d.objid, d.objsubid))";

/// What depends on a column.
pub async fn on_column(
    loader: &Loader<'_>,
    table: &str,
    column: &str,
    fate: Fate<'_>,
) -> Result<Vec<String>> {
    // A foreign key survives another type, if the two can still be compared.
    let (keys_count, rules_count, ours) = match fate {
        Fate::Dropped(ours) => (true, true, ours),
        Fate::Retyped => (false, true, [].as_slice()),
        Fate::RetypedBelowViews => (false, false, [].as_slice()),
    };
    let query = format!(
        "SELECT DISTINCT {OBJECT} FROM pg_depend AS d JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND a.attname = $2::text AND d.deptype = 'n' \
             AND (d.classid <> 'pg_constraint'::regclass OR $3 AND d.objid <> ALL ($4::oid[])) \
             AND (d.classid <> 'pg_rewrite'::regclass OR $5) ORDER BY 1"
    );
    let oid = oid(loader, table).await?;
    let rows = loader.client.query(&query, &[&oid, &column, &keys_count, &ours, &rules_count]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show what depends on its columns"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What depends on a table as a whole: it cannot go while that stands. Foreign keys that are ours go by themselves.
pub async fn on_table(loader: &Loader<'_>, table: &str, ours: &[u32]) -> Result<Vec<String>> {
    let query = format!(
        "SELECT DISTINCT {OBJECT} FROM pg_depend AS d \
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.deptype = 'n' AND ( \
             d.classid = 'pg_rewrite'::regclass AND (SELECT w.ev_class FROM pg_rewrite AS w WHERE w.oid = d.objid) <> $1 \
             OR d.classid = 'pg_constraint'::regclass AND (SELECT k.conrelid FROM pg_constraint AS k WHERE k.oid = d.objid) <> $1) \
             AND (d.classid <> 'pg_constraint'::regclass OR d.objid <> ALL ($2::oid[])) \
         ORDER BY 1"
    );
    let rows = loader.client.query(&query, &[&oid(loader, table).await?, &ours]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show what depends on its tables"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
