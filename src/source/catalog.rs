//! Postgres's own catalog, read into ours.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::error::Result;
use crate::name::SourceTable;
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::TypePolicy;
use crate::pipeline::catalog::{Catalog, Relation, RelationKind, SourceColumn};
use crate::postgres::Server;

/// All relations outside the system's schemas, with their columns. A domain is told by the type
/// below it, which is how its values travel.
const RELATIONS: &str = "
SELECT n.nspname, c.relname, c.relkind::text, c.reltuples::float8,
       -- Asking for the real size takes a lock, and may wait for whoever holds another.
       CASE WHEN c.relkind IN ('r', 'm') THEN c.relpages::bigint * current_setting('block_size')::bigint END,
       a.attname,
       (WITH RECURSIVE chain AS (
            SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod, a.atttypmod AS modifier
            FROM pg_type AS t
            WHERE t.oid = a.atttypid
            UNION ALL
            SELECT b.oid, b.typtype, b.typbasetype, b.typtypmod,
                   CASE WHEN chain.typtypmod <> -1 THEN chain.typtypmod ELSE chain.modifier END
            FROM chain
            JOIN pg_type AS b ON b.oid = chain.typbasetype
            WHERE chain.typtype = 'd'
        )
        SELECT format_type(chain.oid, chain.modifier) FROM chain WHERE chain.typtype <> 'd'),
       a.attnotnull
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname, a.attnum";

pub async fn read(client: &Client, server: &Server, policy: &TypePolicy) -> Result<Catalog> {
    let rows = client.query(RELATIONS, &[]).await;
    let rows = rows.map_err(|error| server.error(error, "cannot read the source's catalog"))?;
    let mut relations: BTreeMap<SourceTable, Relation> = BTreeMap::new();
    for row in rows {
        let table = SourceTable::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let relation = relations.entry(table.clone()).or_insert_with(|| Relation {
            kind: kind(row.get::<_, &str>(2)),
            columns: Vec::new(),
            // Never analyzed is -1; such a guess is no guess.
            estimated_rows: Some(row.get::<_, f64>(3)).filter(|rows| *rows >= 0.0).map(|rows| rows as u64),
            bytes: row.get::<_, Option<i64>>(4).and_then(|bytes| u64::try_from(bytes).ok()),
        });
        // A table without columns has one row here, and no attribute in it.
        if let (Some(name), Some(type_name)) =
            (row.get::<_, Option<String>>(5), row.get::<_, Option<String>>(6))
        {
            let mapping = Mapping::of(&type_name, &format!("{table}.{name}"), policy);
            let not_null = row.get::<_, Option<bool>>(7).unwrap_or(false);
            relation.columns.push(SourceColumn { name, type_name, mapping, not_null });
        }
    }
    Ok(Catalog { relations })
}

/// The real sizes of tables that are locked already, in bytes.
pub async fn sizes(client: &Client, server: &Server, tables: &[&SourceTable]) -> Result<Vec<u64>> {
    let names: Vec<String> = tables.iter().map(|table| table.quoted()).collect();
    let rows = client.query("SELECT pg_relation_size(name::regclass) FROM unnest($1::text[]) WITH ORDINALITY AS t(name, place) ORDER BY place", &[&names]).await;
    let rows = rows.map_err(|error| server.error(error, "cannot size the source's tables"))?;
    Ok(rows.iter().map(|row| u64::try_from(row.get::<_, Option<i64>>(0).unwrap_or(0)).unwrap_or(0)).collect())
}

fn kind(relkind: &str) -> RelationKind {
    match relkind {
        "p" => RelationKind::PartitionedTable,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::ForeignTable,
        _ => RelationKind::Table,
    }
}
