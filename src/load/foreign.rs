//! Foreign keys from facts to the dimensions that they look up, where the pipeline asks for them.

use super::receipt::{Receipt, table_exists};
use super::shape::Made;
use super::{Loader, hung, keys};
use crate::error::Result;
use crate::name::{quote_identifier as quote, quote_literal};
use crate::star::table::StarTable;

/// A foreign key that a table is to have.
struct Wanted {
    column: String,
    dimension: String,
    key: String,
}

/// A foreign key of the target's table, by one column.
struct There {
    name: String,
    definition: String,
    column: String,
    dimension: String,
    key: String,
}

impl Wanted {
    fn is(&self, there: &There) -> bool {
        (&self.column, &self.dimension, &self.key) == (&there.column, &there.dimension, &there.key)
    }
}

impl There {
    fn is_ours(&self, made: Option<&Made>) -> bool {
        made.is_some_and(|made| made.has(&made.foreign_keys, &self.name, Some(&self.definition)))
    }
}

/// The foreign keys that a table is to have.
fn wanted(loader: &Loader<'_>, table: &StarTable) -> Vec<Wanted> {
    let tables = &loader.shipment.star.tables;
    let wanted = table.schema().fields().iter().filter_map(|field| {
        let dimension = table.contract.notes.get(field.name())?.dimension.as_ref()?;
        let dimension = tables.iter().find(|known| known.name().as_str() == dimension)?;
        let [key] = dimension.contract.identity().try_into().ok()?;
        Some(Wanted { column: field.name().clone(), dimension: dimension.name().to_string(), key })
    });
    if loader.target.foreign_keys { wanted.collect() } else { Vec::new() }
}

async fn there(loader: &Loader<'_>, table: &str) -> Result<Vec<There>> {
    let query = "SELECT k.conname::text, pg_get_constraintdef(k.oid), a.attname::text, d.relname::text, b.attname::text \
         FROM pg_constraint AS k JOIN pg_class AS d ON d.oid = k.confrelid JOIN pg_namespace AS n ON n.oid = d.relnamespace \
         JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
         JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1] \
         WHERE k.conrelid = $1 AND k.contype = 'f' AND k.conparentid = 0 AND n.nspname = $2 AND cardinality(k.conkey) = 1 ORDER BY 1";
    let rows = loader.client.query(query, &[&hung::oid(loader, table).await?, &loader.target.schema]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its foreign keys"))?;
    let key = |row: &tokio_postgres::Row| There {
        name: row.get(0),
        definition: row.get(1),
        column: row.get(2),
        dimension: row.get(3),
        key: row.get(4),
    };
    Ok(rows.iter().map(key).collect())
}

/// The foreign keys that are ours, and those that partitions have of them, by their numbers in the catalog.
pub async fn ours(loader: &Loader<'_>, receipt: &Receipt) -> Result<Vec<u32>> {
    let of = |(table, made): (&String, &Made)| {
        let key = |name: &String| (table.clone(), name.clone(), made.definitions.get(name).cloned());
        made.foreign_keys.iter().map(key).collect::<Vec<_>>()
    };
    let known: Vec<(String, String, Option<String>)> = receipt.made.iter().flat_map(of).collect();
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let tables: Vec<&String> = known.iter().map(|(table, _, _)| table).collect();
    let names: Vec<&String> = known.iter().map(|(_, name, _)| name).collect();
    let definitions: Vec<&Option<String>> = known.iter().map(|(_, _, definition)| definition).collect();
    let query = "WITH RECURSIVE o(oid) AS ( \
           SELECT k.oid FROM unnest($2::text[], $3::text[], $4::text[]) AS m(relation, name, definition) \
             JOIN pg_namespace AS n ON n.nspname = $1 JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = m.relation \
             JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.conname = m.name AND k.contype = 'f' \
             WHERE m.definition IS NULL OR m.definition = pg_get_constraintdef(k.oid) \
           UNION SELECT k.oid FROM o JOIN pg_constraint AS k ON k.conparentid = o.oid) SELECT oid FROM o";
    let rows = loader.client.query(query, &[&loader.target.schema, &tables, &names, &definitions]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its foreign keys"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Drops foreign keys of ours that are asked for no more, before rows come that they would refuse, or tables go.
pub async fn let_go(loader: &Loader<'_>, receipt: &Receipt) -> Result<()> {
    for (name, made) in receipt.made.iter().filter(|(_, made)| !made.foreign_keys.is_empty()) {
        if !loader.exists(&table_exists(loader, name)).await? || !hung::owns(loader, name).await? {
            continue;
        }
        let table = loader.shipment.star.tables.iter().find(|table| table.name().as_str() == name);
        let wanted = table.map(|table| wanted(loader, table)).unwrap_or_default();
        for key in there(loader, name).await?.iter().filter(|key| key.is_ours(Some(made))) {
            if !wanted.iter().any(|wanted| wanted.is(key)) {
                let statement =
                    format!("ALTER TABLE {} DROP CONSTRAINT {}", loader.qualified(name), quote(&key.name));
                loader.execute(&statement, &format!("take a foreign key from {name}")).await?;
            }
        }
    }
    Ok(())
}

/// Makes the foreign keys that a table lacks, once all rows are there. Gives the names of those that are ours, with what they
/// are.
pub async fn make(
    loader: &Loader<'_>,
    table: &StarTable,
    made: Option<&Made>,
) -> Result<Vec<(String, String)>> {
    let (wanted, name) = (wanted(loader, table), table.name().as_str());
    if wanted.is_empty() && made.is_none_or(|made| made.foreign_keys.is_empty()) {
        return Ok(Vec::new());
    }
    let before = there(loader, name).await?;
    for key in wanted.iter().filter(|wanted| !before.iter().any(|key| wanted.is(key))) {
        if !may_point(loader, name, key).await? {
            continue;
        }
        let (column, dimension) = (quote(&key.column), loader.qualified(&key.dimension));
        let (qualified, to) = (loader.qualified(name), quote(&key.key));
        let statement =
            format!("ALTER TABLE {qualified} ADD FOREIGN KEY ({column}) REFERENCES {dimension} ({to})");
        loader.execute(&statement, &format!("give {qualified} its foreign keys")).await?;
    }
    let is_new = |key: &There| before.iter().all(|known| known.name != key.name);
    let ours = there(loader, name).await?.into_iter().filter(|key| key.is_ours(made) || is_new(key));
    Ok(ours.map(|key| (key.name, key.definition)).collect())
}

/// Whether a foreign key can be made; why not is told.
async fn may_point(loader: &Loader<'_>, table: &str, key: &Wanted) -> Result<bool> {
    let dimension = key.dimension.as_str();
    if !hung::owns(loader, table).await? {
        tracing::warn!(table, "the role does not own the table, which gets no foreign keys");
        return Ok(false);
    }
    let may = format!(
        "SELECT 1 WHERE has_table_privilege({}, 'REFERENCES')",
        quote_literal(&loader.qualified(dimension))
    );
    if !loader.exists(&may).await? {
        tracing::warn!(
            table,
            dimension,
            "the role may make no foreign key to the dimension (GRANT REFERENCES)"
        );
        return Ok(false);
    }
    if !keys::are_told_apart_by(loader, dimension, &key.key).await? {
        tracing::warn!(table, dimension, "the dimension has no unique key that could be pointed at");
        return Ok(false);
    }
    Ok(true)
}
