//! Where a table's rows lie on the server: its own heap, those of its partitions or children, or no
//! heap at all. By it an extraction is cut, and what moved under it is found.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{SourceTable, list, quote_identifier};
use crate::pipeline::catalog::RelationKind;
use crate::postgres::Server;
use crate::star::design::Design;

/// A table's rows as of the source snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Read by one statement: a view, a foreign table, what is kept otherwise than in a heap.
    Whole { bytes: u64 },
    /// Heaps that the role may read one by one: the table's own, its partitions', its children's.
    Heaps(Vec<Heap>),
    /// Heaps of which some only open through the table that they belong to.
    Behind(Vec<Size>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heap {
    /// As it stands after FROM.
    pub from: String,
    pub size: Size,
}

/// Bytes of a heap: of its pages, and of the large values that TOAST keeps apart from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub pages: u64,
    pub toast: u64,
}

impl Size {
    pub fn bytes(&self) -> u64 {
        self.pages + self.toast
    }
}

impl Storage {
    pub fn bytes(&self) -> u64 {
        match self {
            Storage::Whole { bytes } => *bytes,
            Storage::Heaps(heaps) => heaps.iter().map(|heap| heap.size.bytes()).sum(),
            Storage::Behind(heaps) => heaps.iter().map(Size::bytes).sum(),
        }
    }
}

/// Every relation below the named ones, with itself. A partition that is being detached belongs to
/// its table no more; before Postgres 14 there is no such state, and no column that says so.
const TREES: &str = "
WITH RECURSIVE tree AS (
    SELECT place, name::regclass::oid AS root, name::regclass::oid AS oid
    FROM unnest($1::text[]) WITH ORDINALITY AS named(name, place)
    UNION
    SELECT tree.place, tree.root, i.inhrelid
    FROM tree
    JOIN pg_inherits AS i ON i.inhparent = tree.oid
    WHERE NOT coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false)
)";

/// Reads it for tables that are locked already.
pub async fn read(
    client: &Client,
    server: &Server,
    tables: &[&SourceTable],
) -> Result<BTreeMap<SourceTable, Storage>> {
    let query = format!(
        "{TREES}
        SELECT tree.place, n.nspname::text, c.relname::text, c.relkind::text, coalesce(pg_relation_size(c.oid), 0),
               coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0),
               coalesce(m.amname = 'heap', false), tree.oid = tree.root,
               has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AND NOT c.relrowsecurity
        FROM tree
        JOIN pg_class AS c ON c.oid = tree.oid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_am AS m ON m.oid = c.relam
        -- Another session's temporary child is nobody's business.
        WHERE NOT pg_is_other_temp_schema(n.oid)
        ORDER BY tree.place, n.nspname, c.relname"
    );
    let names: Vec<String> = tables.iter().map(|table| table.quoted()).collect();
    let rows = client.query_typed(&query, &[(&names, Type::TEXT_ARRAY)]).await;
    let rows = rows.map_err(|error| server.error(error, "cannot size the source's tables"))?;
    let mut members: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for row in rows {
        let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
        members.entry(place).or_default().push(Member {
            table: SourceTable::new(row.get::<_, String>(1), row.get::<_, String>(2)),
            kind: row.get(3),
            size: Size {
                pages: u64::try_from(row.get::<_, i64>(4)).unwrap_or(0),
                toast: u64::try_from(row.get::<_, i64>(5)).unwrap_or(0),
            },
            is_heap: row.get(6),
            is_root: row.get(7),
            readable: row.get(8),
        });
    }
    let of = |(place, table): (usize, &&SourceTable)| {
        let storage = storage(table, &members.remove(&place).unwrap_or_default());
        ((*table).clone(), storage)
    };
    Ok((1..).zip(tables).map(of).collect())
}

struct Member {
    table: SourceTable,
    kind: String,
    size: Size,
    is_heap: bool,
    is_root: bool,
    readable: bool,
}

fn storage(table: &SourceTable, members: &[Member]) -> Storage {
    let bytes = members.iter().map(|member| member.size.bytes()).sum();
    // A partitioned table keeps no rows of its own; all others in a tree do.
    let holders: Vec<&Member> = members.iter().filter(|member| member.kind != "p").collect();
    if holders.is_empty() || holders.iter().any(|member| !member.is_heap) {
        return Storage::Whole { bytes };
    }
    if holders.iter().all(|member| member.readable || member.is_root) {
        // A condition may name its table, so every heap goes by that name.
        let name = quote_identifier(&table.table);
        let heap = |member: &&Member| Heap {
            from: format!("ONLY {} AS {name}", member.table.quoted()),
            size: member.size,
        };
        return Storage::Heaps(holders.iter().map(heap).collect());
    }
    Storage::Behind(holders.iter().map(|member| member.size).collect())
}

/// What locks don't hold, and a snapshot doesn't show: a partition attached since, whose rows a
/// statement planned later reads with the others; a materialized view refreshed since, whose new rows
/// every snapshot sees; a partition truncated since, where it could not be locked. The catalog's tables
/// show the snapshot; its functions show now.
pub async fn unmoved(client: &Client, server: &Server, design: &Design) -> Result<()> {
    let mut trees = Vec::new();
    let mut heaps = Vec::new();
    for (table, read) in &design.reads {
        match read.relation.kind {
            RelationKind::Table | RelationKind::PartitionedTable => trees.push(table.quoted()),
            RelationKind::MaterializedView => heaps.push(table.quoted()),
            _ => {}
        }
        let beneath = &read.relation.beneath;
        let views = beneath.iter().filter(|beneath| beneath.kind == RelationKind::MaterializedView);
        heaps.extend(views.map(|beneath| beneath.table.quoted()));
    }
    let query = format!(
        "{TREES}
        SELECT 'the partitions of ' || root::regclass::text AS moved
        FROM (SELECT DISTINCT root FROM tree JOIN pg_class AS c ON c.oid = root AND c.relkind = 'p') AS parents
        WHERE (SELECT count(*) FROM pg_partition_tree(root::regclass)) <> (SELECT count(*) FROM tree WHERE tree.root = parents.root)
           OR EXISTS (SELECT FROM pg_partition_tree(root::regclass) AS now
                      WHERE now.relid NOT IN (SELECT tree.oid FROM tree WHERE tree.root = parents.root))
        UNION ALL
        SELECT c.oid::regclass::text
        FROM pg_class AS c
        WHERE (c.oid IN (SELECT name::regclass::oid FROM unnest($2::text[]) AS named(name)) OR c.oid IN (SELECT oid FROM tree))
          AND c.relkind IN ('r', 'm') AND c.relfilenode <> pg_relation_filenode(c.oid)"
    );
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&trees, Type::TEXT_ARRAY), (&heaps, Type::TEXT_ARRAY)];
    let rows = client.query_typed(&query, &parameters).await;
    let rows = rows.map_err(|error| server.error(error, "cannot confirm what was read"))?;
    if rows.is_empty() {
        return Ok(());
    }
    let moved = list(rows.iter().map(|row| row.get::<_, String>(0)));
    Err(Error::new(ErrorKind::Source, format!("{moved} changed while the source was read"))
        .hint("nothing was published; run again when no REFRESH, TRUNCATE or ATTACH PARTITION is at work"))
}
