//! What others hung on a delivered table, as its catalog tells: what a DROP would take along without a word.

use super::Loader;
use super::guard::GUARD;
use super::shape::Made;
use crate::error::{Error, ErrorKind, Result};
use crate::name::list;

/// The table by its schema and name, as every question here asks for it.
const TABLE: &str = "(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = $2)";

async fn names(loader: &Loader<'_>, table: &str, query: &str) -> Result<Vec<(String, String)>> {
    let query = query.replace("TABLE_OID", TABLE);
    let rows = loader.client.query(&query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show what hangs on its tables"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The table's number in its database.
pub async fn oid(loader: &Loader<'_>, table: &str) -> Result<Option<u32>> {
    let query = format!("SELECT {TABLE}");
    let row = loader.client.query_one(&query, &[&loader.target.schema, &table]).await;
    Ok(row.map_err(|error| loader.failed(error, "read its catalog"))?.get(0))
}

/// Whether the role owns the table: nobody else describes it, or takes its triggers away.
pub async fn owns(loader: &Loader<'_>, table: &str) -> Result<bool> {
    let query = "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c WHERE c.oid = $1";
    let row = loader.client.query_opt(query, &[&oid(loader, table).await?]).await;
    Ok(row.map_err(|error| loader.failed(error, "tell whose its tables are"))?.is_some_and(|row| row.get(0)))
}

fn is_ours(kind: &str, name: &str, made: Option<&Made>) -> bool {
    made.is_some_and(|made| match kind {
        "the constraint" => made.constraints.contains(name),
        "the trigger" => name == GUARD,
        _ => made.indexes.contains(name) || made.constraints.contains(name),
    })
}

fn told(found: Vec<(String, String)>, made: Option<&Made>) -> Vec<String> {
    let others = found.into_iter().filter(|(kind, name)| !is_ours(kind, name, made));
    others.map(|(kind, name)| format!("{kind} {name}")).collect()
}

/// Constraints, indexes and statistics that go with a column.
pub async fn on_column(
    loader: &Loader<'_>,
    table: &str,
    column: &str,
    made: Option<&Made>,
) -> Result<Vec<String>> {
    // Receipts that don't tell what is ours would make everything somebody's.
    if made.is_none() {
        return Ok(Vec::new());
    }
    let query = "WITH a AS (SELECT attrelid, attnum FROM pg_attribute WHERE attrelid = TABLE_OID AND attname = 'COLUMN') \
         SELECT DISTINCT CASE d.classid WHEN 'pg_constraint'::regclass THEN 'the constraint' \
                WHEN 'pg_class'::regclass THEN CASE i.relkind WHEN 'S' THEN 'the sequence' ELSE 'the index' END ELSE 'the statistics' END, \
                coalesce(k.conname, i.relname, s.stxname)::text \
         FROM a JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum \
         LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype <> 'n' \
         LEFT JOIN pg_class AS i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND i.relkind IN ('i', 'I', 'S') \
         LEFT JOIN pg_statistic_ext AS s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid \
         WHERE coalesce(k.oid, i.oid, s.oid) IS NOT NULL ORDER BY 1, 2";
    let query = query.replace("'COLUMN'", &crate::name::quote_literal(column));
    Ok(told(names(loader, table, &query).await?, made))
}

/// Foreign keys of other tables that point at this one.
pub async fn referring(loader: &Loader<'_>, table: &str) -> Result<Vec<String>> {
    let query = "SELECT 'the foreign key', k.conname || ' of ' || k.conrelid::regclass::text FROM pg_constraint AS k \
         WHERE k.contype = 'f' AND k.confrelid = TABLE_OID ORDER BY 2";
    Ok(told(names(loader, table, query).await?, None))
}

/// Foreign keys of others by which a deleted row of the table takes rows or values of theirs along.
async fn taking_along(loader: &Loader<'_>, table: &str) -> Result<Vec<(String, String)>> {
    let query = "SELECT 'the foreign key', k.conname || ' of ' || k.conrelid::regclass::text FROM pg_constraint AS k \
         WHERE k.contype = 'f' AND k.confrelid = TABLE_OID AND k.confdeltype IN ('c', 'n', 'd') ORDER BY 2";
    names(loader, table, query).await
}

/// Refuses to delete rows of a table where that would change those of others.
pub async fn spared(loader: &Loader<'_>, table: &str, gone: &str) -> Result<()> {
    let along = taking_along(loader, table).await?;
    if along.is_empty() {
        return Ok(());
    }
    let own = loader.own(table).await?;
    if !loader.exists(&format!("SELECT FROM {own} AS t WHERE {gone}")).await? {
        return Ok(());
    }
    let message = format!(
        "{} has rows that the star no longer has, and deleting them would delete or change rows of others by {}",
        loader.qualified(table),
        list(told(along, None))
    );
    Err(Error::new(ErrorKind::Store, message).hint(
        "declare the foreign key again without ON DELETE CASCADE, SET NULL or SET DEFAULT, or delete what points at those rows by hand",
    ))
}

/// Triggers and rules of others that may write otherwise than they are told.
pub async fn rewriting(loader: &Loader<'_>, table: &str) -> Result<Vec<String>> {
    let query = "SELECT 'the trigger', t.tgname::text FROM pg_trigger AS t WHERE t.tgrelid = TABLE_OID AND NOT t.tgisinternal AND t.tgenabled <> 'D' \
         UNION ALL SELECT 'the rule', r.rulename::text FROM pg_rewrite AS r WHERE r.ev_class = TABLE_OID AND r.ev_enabled <> 'D' ORDER BY 1, 2";
    Ok(told(names(loader, table, query).await?, Some(&Made::default())))
}

/// Everything of others that goes with a table.
pub async fn on_table(loader: &Loader<'_>, table: &str, made: &Made) -> Result<Vec<String>> {
    let query = "SELECT 'the column', a.attname::text FROM pg_attribute AS a WHERE a.attrelid = TABLE_OID AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT 'the constraint', k.conname::text FROM pg_constraint AS k WHERE k.conrelid = TABLE_OID AND k.contype NOT IN ('n', 't') \
         UNION ALL SELECT 'the index', i.relname::text FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE x.indrelid = TABLE_OID \
         UNION ALL SELECT 'the trigger', t.tgname::text FROM pg_trigger AS t WHERE t.tgrelid = TABLE_OID AND NOT t.tgisinternal \
         UNION ALL SELECT 'the rule', r.rulename::text FROM pg_rewrite AS r WHERE r.ev_class = TABLE_OID \
         UNION ALL SELECT 'the sequence', q.relname::text FROM pg_depend AS d JOIN pg_class AS q ON d.classid = 'pg_class'::regclass AND q.oid = d.objid AND q.relkind = 'S' \
                   WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = TABLE_OID AND d.refobjsubid > 0 \
         UNION ALL SELECT 'the policy', p.polname::text FROM pg_policy AS p WHERE p.polrelid = TABLE_OID";
    let found = names(loader, table, query).await?;
    let others =
        found.into_iter().filter(|(kind, name)| kind != "the column" || !made.columns.contains(name));
    Ok(told(others.collect(), Some(made)))
}

/// Indexes such as a pipeline asks for, with their columns: by columns alone, of all rows, and unique none.
pub async fn plain_indexes(loader: &Loader<'_>, table: &str) -> Result<Vec<(String, Vec<String>)>> {
    let query = format!(
        "SELECT i.relname::text, array(SELECT a.attname::text \
                FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(number, place) \
                JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number ORDER BY k.place) \
         FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid \
         JOIN pg_am AS m ON m.oid = i.relam \
         WHERE x.indrelid = {TABLE} AND x.indpred IS NULL AND x.indexprs IS NULL AND NOT x.indisunique \
               AND x.indisvalid AND x.indnkeyatts = x.indnatts AND m.amname = 'btree' ORDER BY 1"
    );
    let rows = loader.client.query(&query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its indexes"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
