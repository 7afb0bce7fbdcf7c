//! Postgres's own catalog, read into ours.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::Result;
use crate::name::SourceTable;
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::TypePolicy;
use crate::pipeline::catalog::{Beneath, Catalog, Relation, RelationKind, SourceColumn};
use crate::postgres::Server;

/// All relations outside the system's schemas, with their columns. A domain is told by the type
/// below it, which is how its values travel. A primary key does not hold over the rows that are inherited, but over those of
/// partitions.
const RELATIONS: &str = "
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.reltuples::float8,
       -- Asking for the real size takes a lock, and may wait for whoever holds another.
       CASE WHEN c.relkind IN ('r', 'm') THEN c.relpages::bigint * current_setting('block_size')::bigint END,
       a.attname::text,
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
       a.attnotnull, a.attnum::int, coalesce(a.attnum = ANY (k.conkey), false),
       -- Of an enum, or a domain over one.
       array(SELECT e.enumlabel::text FROM pg_enum AS e JOIN pg_type AS t ON t.oid = a.atttypid
             WHERE e.enumtypid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END ORDER BY e.enumsortorder)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p' AND NOT k.condeferrable
  AND (c.relkind = 'p' OR NOT c.relhassubclass)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname, a.attnum";

/// Names the pairs of a relation and one beneath it that some expressions climb to.
macro_rules! named {
    ($climb:literal) => {
        concat!(
            $climb,
            "SELECT an.nspname::text, a.relname::text, bn.nspname::text, b.relname::text, b.relkind::text
FROM climb
JOIN pg_class AS a ON a.oid = climb.above
JOIN pg_namespace AS an ON an.oid = a.relnamespace
JOIN pg_class AS b ON b.oid = climb.bottom
JOIN pg_namespace AS bn ON bn.oid = b.relnamespace
WHERE climb.above <> climb.bottom
ORDER BY 1, 2, 3, 4"
        )
    };
}

/// Every relation above a foreign table or a materialized view, with it: by inheritance, which is how
/// partitions belong to their table too, and by the rule that a view is. What a materialized view
/// reads, it read when it was refreshed.
const BENEATH: &str = named!(
    "
WITH RECURSIVE edges AS (
    SELECT inhparent AS above, inhrelid AS below FROM pg_inherits
    UNION
    SELECT r.ev_class, d.refobjid
    FROM pg_rewrite AS r
    JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind = 'v'
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
),
climb AS (
    SELECT oid AS bottom, oid AS above FROM pg_class WHERE relkind IN ('f', 'm')
    UNION
    SELECT climb.bottom, edges.above FROM climb JOIN edges ON edges.below = climb.above
)
"
);

/// Every relation that shows the rows of a table that has masks under another name: views of every kind over it, tables
/// that it is a partition or child of, and its own partitions and children.
const SHOWING: &str = named!("
WITH RECURSIVE masked AS (
    SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname || '.' || c.relname = ANY ($1)
),
children AS (
    SELECT oid AS bottom, oid AS above FROM masked
    UNION
    SELECT children.bottom, i.inhrelid FROM children JOIN pg_inherits AS i ON i.inhparent = children.above
),
edges AS (
    SELECT inhparent AS above, inhrelid AS below FROM pg_inherits
    UNION
    SELECT r.ev_class, d.refobjid
    FROM pg_rewrite AS r
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE r.ev_type = '1' AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
),
parents AS (
    SELECT oid AS bottom, oid AS above FROM masked
    UNION
    SELECT parents.bottom, edges.above FROM parents JOIN edges ON edges.below = parents.above
),
-- What shows a child shows its rows, too.
climb AS (
    SELECT * FROM children
    UNION
    SELECT * FROM parents
    UNION
    SELECT climb.bottom, r.ev_class
    FROM climb
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = climb.above
    JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_type = '1' AND r.ev_class <> climb.above
)
");

pub async fn read(client: &Client, server: &Server, policy: &TypePolicy) -> Result<Catalog> {
    let rows = client.query_typed(RELATIONS, &[]).await;
    let rows = rows.map_err(|error| server.error(error, "cannot read the source's catalog"))?;
    let mut relations: BTreeMap<SourceTable, Relation> = BTreeMap::new();
    for row in rows {
        let table = SourceTable::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let relation = relations.entry(table.clone()).or_insert_with(|| Relation {
            kind: kind(row.get::<_, &str>(2)),
            columns: Vec::new(),
            primary_key: Vec::new(),
            // Never analyzed is -1; such a guess is no guess.
            estimated_rows: Some(row.get::<_, f64>(3)).filter(|rows| *rows >= 0.0).map(|rows| rows as u64),
            bytes: row.get::<_, Option<i64>>(4).and_then(|bytes| u64::try_from(bytes).ok()),
            beneath: Vec::new(),
        });
        // A table without columns has one row here, and no attribute in it.
        if let (Some(name), Some(type_name)) =
            (row.get::<_, Option<String>>(5), row.get::<_, Option<String>>(6))
        {
            let mapping = Mapping::of(&type_name, &format!("{table}.{name}"), policy);
            let not_null = row.get::<_, Option<bool>>(7).unwrap_or(false);
            let number = row.get::<_, Option<i32>>(8).unwrap_or_default();
            if row.get::<_, bool>(9) {
                relation.primary_key.push(name.clone());
            }
            let mask = policy.masks.of(&format!("{table}.{name}")).cloned();
            // What stands in a label's place is none.
            let labels = if mask.is_some() { Vec::new() } else { row.get::<_, Vec<String>>(10) };
            relation.columns.push(SourceColumn { name, number, type_name, labels, mapping, not_null, mask });
        }
    }
    let failed = |error| server.error(error, "cannot read the source's catalog");
    let mut rows = client.query_typed(BENEATH, &[]).await.map_err(failed)?;
    let has_masks = |relation: &Relation| relation.columns.iter().any(|column| column.mask.is_some());
    let masked =
        relations.iter().filter(|(_, relation)| has_masks(relation)).map(|(table, _)| table.to_string());
    let masked: Vec<String> = masked.collect();
    if !masked.is_empty() {
        rows.extend(client.query_typed(SHOWING, &[(&masked, Type::TEXT_ARRAY)]).await.map_err(failed)?);
    }
    for row in rows {
        let above = SourceTable::new(row.get::<_, String>(0), row.get::<_, String>(1));
        if let Some(relation) = relations.get_mut(&above) {
            let table = SourceTable::new(row.get::<_, String>(2), row.get::<_, String>(3));
            relation.beneath.push(Beneath { table, kind: kind(row.get::<_, &str>(4)) });
        }
    }
    Ok(Catalog { relations })
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
