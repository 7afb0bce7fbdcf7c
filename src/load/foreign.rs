//! Foreign keys from facts to the dimensions that they look up, where the pipeline asks for them.

use std::collections::BTreeSet;

use super::receipt::{Receipt, table_exists};
use super::shape::Made;
use super::{Loader, hung, keys};
use crate::error::Result;
use crate::name::quote_identifier as quote;
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

/// What a receipt says of foreign keys that are ours, each as `table.name`.
pub fn ours(receipt: &Receipt) -> Vec<String> {
    let of = |(table, made): (&String, &Made)| {
        made.foreign_keys.iter().map(|name| format!("{table}.{name}")).collect::<Vec<_>>()
    };
    receipt.made.iter().flat_map(of).collect()
}

/// Drops foreign keys of ours that are asked for no more, before rows come that they would refuse.
pub async fn let_go(loader: &Loader<'_>, receipt: &Receipt) -> Result<()> {
    for table in &loader.shipment.star.tables {
        let name = table.name().as_str();
        let Some(made) = receipt.made.get(name).filter(|made| !made.foreign_keys.is_empty()) else {
            continue;
        };
        if !loader.exists(&table_exists(loader, name)).await? || !hung::owns(loader, name).await? {
            continue;
        }
        let wanted = wanted(loader, table);
        let there = there(loader, name).await?;
        let ours = there.iter().filter(|key| made.has(&made.foreign_keys, &key.name, Some(&key.definition)));
        for key in ours.filter(|key| !wanted.iter().any(|wanted| wanted.is(key))) {
            let statement =
                format!("ALTER TABLE {} DROP CONSTRAINT {}", loader.qualified(name), quote(&key.name));
            loader.execute(&statement, &format!("take a foreign key from {name}")).await?;
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
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let before = there(loader, name).await?;
    let is_ours =
        |key: &There| made.is_some_and(|made| made.has(&made.foreign_keys, &key.name, Some(&key.definition)));
    let lacking = wanted.iter().filter(|wanted| !before.iter().any(|key| wanted.is(key)));
    let lacking: Vec<&Wanted> = lacking.collect();
    let ours = |keys: Vec<There>, before: &BTreeSet<String>| {
        let keys = keys.into_iter().filter(|key| wanted.iter().any(|wanted| wanted.is(key)));
        let keys = keys.filter(|key| is_ours(key) || !before.contains(&key.name));
        keys.map(|key| (key.name, key.definition)).collect::<Vec<_>>()
    };
    let known: BTreeSet<String> = before.iter().map(|key| key.name.clone()).collect();
    if !lacking.is_empty() && !hung::owns(loader, name).await? {
        tracing::warn!(table = name, "the role does not own the table, whose foreign keys stay as they are");
        return Ok(ours(before, &known));
    }
    let qualified = loader.qualified(name);
    for key in lacking {
        if !keys::are_told_apart_by(loader, &key.dimension, &key.key).await? {
            let (dimension, key) = (&key.dimension, &key.key);
            tracing::warn!(
                table = name,
                dimension,
                key,
                "the dimension has no unique key that could be pointed at"
            );
            continue;
        }
        let (column, dimension) = (quote(&key.column), loader.qualified(&key.dimension));
        let statement = format!(
            "ALTER TABLE {qualified} ADD FOREIGN KEY ({column}) REFERENCES {dimension} ({})",
            quote(&key.key)
        );
        loader.execute(&statement, &format!("give {qualified} its foreign keys")).await?;
    }
    Ok(ours(there(loader, name).await?, &known))
}
