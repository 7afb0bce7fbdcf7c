//! What others hung on a delivered table, as its catalog tells: what a DROP would take along without a word.

use super::Loader;
use super::guard::GUARD;
use super::shape::Made;
use crate::error::Result;
use crate::name::DELIVERY_TABLE;

/// The table by its schema and name, as every question here asks for it.
const TABLE: &str = "(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = $2)";

/// What an index `i` is, whatever its schema and table are called.
const INDEX_DEFINITION: &str = "(SELECT CASE WHEN y.indisunique THEN 'UNIQUE' ELSE '' END || substring(pg_get_indexdef(y.indexrelid) FROM ' USING .*$') \
     FROM pg_index AS y WHERE y.indexrelid = i.oid)";

/// Something that hangs on a table.
struct Hung {
    kind: String,
    name: String,
    /// What it is, where somebody may have made another of its name.
    definition: Option<String>,
}

async fn names(loader: &Loader<'_>, table: &str, query: &str) -> Result<Vec<Hung>> {
    let query = query.replace("TABLE_OID", TABLE).replace("INDEX_DEFINITION", INDEX_DEFINITION);
    let rows = loader.client.query(&query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show what hangs on its tables"))?;
    let hung =
        |row: &tokio_postgres::Row| Hung { kind: row.get(0), name: row.get(1), definition: row.get(2) };
    Ok(rows.iter().map(hung).collect())
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

fn is_ours(hung: &Hung, made: Option<&Made>) -> bool {
    let (name, definition) = (&hung.name, hung.definition.as_deref());
    made.is_some_and(|made| match hung.kind.as_str() {
        "the constraint" => {
            made.has(&made.constraints, name, definition) || made.has(&made.foreign_keys, name, definition)
        }
        "the trigger" => name == GUARD,
        "the index" => made.has(&made.indexes, name, definition) || made.constraints.contains(name),
        _ => false,
    })
}

fn told(found: Vec<Hung>, made: Option<&Made>) -> Vec<String> {
    let others = found.into_iter().filter(|hung| !is_ours(hung, made));
    others.map(|Hung { kind, name, .. }| format!("{kind} {name}")).collect()
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
                coalesce(k.conname, i.relname, s.stxname)::text, \
                CASE WHEN k.oid IS NOT NULL THEN pg_get_constraintdef(k.oid) WHEN i.relkind IN ('i', 'I') THEN INDEX_DEFINITION END \
         FROM a JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum \
         LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype <> 'n' AND k.conrelid = a.attrelid \
         LEFT JOIN pg_class AS i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND i.relkind IN ('i', 'I', 'S') \
         LEFT JOIN pg_statistic_ext AS s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid \
         WHERE coalesce(k.oid, i.oid, s.oid) IS NOT NULL \
         UNION SELECT 'the generated column', g.attname::text, NULL FROM a JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid \
                AND d.refobjsubid = a.attnum AND d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid > 0 AND d.deptype = 'a' \
              JOIN pg_attribute AS g ON g.attrelid = d.objid AND g.attnum = d.objsubid AND g.attgenerated <> '' ORDER BY 1, 2";
    let query = query.replace("'COLUMN'", &crate::name::quote_literal(column));
    Ok(told(names(loader, table, &query).await?, made))
}

/// Triggers and rules of others, on delivered tables, their partitions and the receipts, that may write otherwise than they are
/// told, and into each other's tables.
pub async fn rewriting(loader: &Loader<'_>) -> Result<Vec<String>> {
    let names: Vec<&str> = loader.shipment.star.tables.iter().map(|table| table.name().as_str()).collect();
    let query = "WITH RECURSIVE r(oid) AS ( \
           SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) \
           UNION SELECT i.inhrelid FROM r JOIN pg_inherits AS i ON i.inhparent = r.oid) \
         SELECT 'the trigger', t.tgname || ' on ' || format('%I.%I', n.nspname, c.relname) FROM r JOIN pg_class AS c ON c.oid = r.oid \
             JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_trigger AS t ON t.tgrelid = r.oid \
             WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname <> $3 \
         UNION ALL SELECT 'the rule', w.rulename || ' on ' || format('%I.%I', n.nspname, c.relname) FROM r JOIN pg_class AS c ON c.oid = r.oid \
             JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_rewrite AS w ON w.ev_class = r.oid \
             WHERE w.ev_enabled <> 'D' AND w.rulename <> '_RETURN' ORDER BY 1, 2";
    let names: Vec<&str> = names.into_iter().chain([DELIVERY_TABLE]).collect();
    let rows = loader.client.query(query, &[&loader.target.schema, &names, &GUARD]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show the triggers of its tables"))?;
    Ok(rows.iter().map(|row| format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}

/// Everything of others that goes with a table.
pub async fn on_table(loader: &Loader<'_>, table: &str, made: &Made) -> Result<Vec<String>> {
    let query = "SELECT 'the column', a.attname::text, NULL::text FROM pg_attribute AS a WHERE a.attrelid = TABLE_OID AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT 'the constraint', k.conname::text, pg_get_constraintdef(k.oid) FROM pg_constraint AS k WHERE k.conrelid = TABLE_OID AND k.contype NOT IN ('n', 't') \
         UNION ALL SELECT 'the index', i.relname::text, INDEX_DEFINITION FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE x.indrelid = TABLE_OID \
         UNION ALL SELECT 'the trigger', t.tgname::text, NULL FROM pg_trigger AS t WHERE t.tgrelid = TABLE_OID AND NOT t.tgisinternal \
         UNION ALL SELECT 'the rule', r.rulename::text, NULL FROM pg_rewrite AS r WHERE r.ev_class = TABLE_OID \
         UNION ALL SELECT 'the statistics', s.stxname::text, NULL FROM pg_statistic_ext AS s WHERE s.stxrelid = TABLE_OID \
         UNION ALL SELECT 'the partition', format('%I.%I', n.nspname, c.relname), NULL FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
                   JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE i.inhparent = TABLE_OID AND c.relispartition \
         UNION ALL SELECT 'its place in the table', format('%I.%I', n.nspname, c.relname), NULL FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent \
                   JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE i.inhrelid = TABLE_OID \
         UNION ALL SELECT 'its place in the publication', p.pubname::text, NULL FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid \
                   WHERE r.prrelid = TABLE_OID \
         UNION ALL SELECT 'the sequence', q.relname::text, NULL FROM pg_depend AS d JOIN pg_class AS q ON d.classid = 'pg_class'::regclass AND q.oid = d.objid AND q.relkind = 'S' \
                   WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = TABLE_OID AND d.refobjsubid > 0 \
         UNION ALL SELECT 'the policy', p.polname::text, NULL FROM pg_policy AS p WHERE p.polrelid = TABLE_OID";
    let found = names(loader, table, query).await?;
    let others = found
        .into_iter()
        .filter(|hung| hung.kind != "the column" || !made.columns.contains(&hung.name))
        .collect();
    Ok(told(others, Some(made)))
}

/// An index such as a pipeline asks for: by columns alone, of all rows, and not unique.
pub struct PlainIndex {
    pub name: String,
    pub columns: Vec<String>,
    pub definition: String,
}

pub async fn plain_indexes(loader: &Loader<'_>, table: &str) -> Result<Vec<PlainIndex>> {
    let query = format!(
        "SELECT i.relname::text, array(SELECT a.attname::text \
                FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(number, place) \
                JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number ORDER BY k.place), {INDEX_DEFINITION} \
         FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid \
         JOIN pg_am AS m ON m.oid = i.relam \
         WHERE x.indrelid = {TABLE} AND x.indpred IS NULL AND x.indexprs IS NULL AND NOT x.indisunique \
               AND x.indisvalid AND x.indnkeyatts = x.indnatts AND m.amname = 'btree' ORDER BY 1"
    );
    let rows = loader.client.query(&query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its indexes"))?;
    let index = |row: &tokio_postgres::Row| PlainIndex {
        name: row.get(0),
        columns: row.get(1),
        definition: row.get(2),
    };
    Ok(rows.iter().map(index).collect())
}

/// Unique and exclusion indexes, the primary key's apart, that are checked at each row, so that a row cannot take the value of one that goes later.
pub async fn strict_uniques(loader: &Loader<'_>, table: &str) -> Result<Vec<String>> {
    let query = "SELECT 'the index', i.relname::text, INDEX_DEFINITION FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid \
         WHERE x.indrelid = TABLE_OID AND (x.indisunique AND x.indimmediate AND NOT x.indisprimary OR x.indisexclusion) ORDER BY 2";
    Ok(told(names(loader, table, query).await?, None))
}

/// The table that one is a partition of, quoted where it must be.
pub async fn whole(loader: &Loader<'_>, table: &str) -> Result<Option<String>> {
    let query = "SELECT 'the table', format('%I.%I', n.nspname, c.relname), NULL::text FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhrelid \
         JOIN pg_class AS c ON c.oid = i.inhparent JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE i.inhrelid = TABLE_OID AND p.relispartition";
    Ok(names(loader, table, query).await?.into_iter().map(|hung| hung.name).next())
}

/// Tables that inherit from one, partitions apart, quoted where they must be.
pub async fn children(loader: &Loader<'_>, table: &str) -> Result<Vec<String>> {
    let query = "SELECT 'the table', format('%I.%I', n.nspname, c.relname), NULL::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
         JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE i.inhparent = TABLE_OID AND NOT c.relispartition ORDER BY 2";
    Ok(names(loader, table, query).await?.into_iter().map(|hung| hung.name).collect())
}
