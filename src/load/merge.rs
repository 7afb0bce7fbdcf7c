//! One table of the star into one table of the target.

use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use futures::SinkExt;

use super::receipt::{Receipt, require_table, table_exists};
use super::shape::{self, Column, Constraints, definitions, quoted};
use super::{DeliveredTable, Loader, Trust, at, describe, guard, hung};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::Point;
use crate::name::quote_identifier as quote;
use crate::pgcopy::encode;
use crate::star::number::Number;
use crate::star::shelf;
use crate::star::table::StarTable;

/// Bytes of one COPY message.
const MESSAGE_BYTES: usize = 256 << 10;

pub async fn table(loader: &Loader<'_>, table: &StarTable, receipt: &Receipt) -> Result<DeliveredTable> {
    let name = table.name().as_str();
    let hashes: Vec<String> = table.files.iter().map(|file| file.sha256.clone()).collect();
    let exists = loader.exists(&table_exists(loader, name)).await?;
    let mut delivered = DeliveredTable { table: name.to_owned(), inserted: 0, updated: 0, deleted: 0 };
    if exists {
        require_table(loader, name).await?;
    }
    let trusted = loader.shipment.trust == Trust::Receipt;
    if exists
        && let Some(made) = receipt.made.get(name)
        && !receipt.adopts
        && shape::is_another(loader, name, made).await?
    {
        let qualified = loader.qualified(name);
        let message = format!(
            "{qualified} is not the table that starmill delivered: somebody made another in its place"
        );
        let help = "move it out of the way (ALTER TABLE … RENAME TO …), and deliver again; `starmill deliver --adopt` takes it over, after it showed what would become of its rows";
        return Err(Error::new(ErrorKind::Store, message).hint(help));
    }
    if exists && trusted && receipt.tables.get(name) == Some(&hashes) {
        guard::table(loader, table).await?;
        describe::table(loader, table, receipt.made.get(name)).await?;
        return Ok(delivered);
    }
    let columns = columns(table.schema(), name)?;
    if !exists {
        shape::create(loader, table, &columns).await?;
        delivered.inserted = copy(loader, table, &loader.qualified(name)).await?;
        shape::constrain(loader, table).await?;
        shape::index(loader, table).await?;
    } else {
        if !receipt.owned.iter().any(|owned| owned == name) {
            let message = format!("{}.{name} exists, and starmill did not make it", loader.target.schema);
            return Err(Error::new(ErrorKind::Store, message).hint(loader.instead_of(name)));
        }
        let keys = shape::reshape(loader, table, &columns, receipt.made.get(name)).await?;
        if keys == Constraints::Dropped {
            // Its rows were told apart by another key; by this one they may be told apart no more.
            hung::spared(loader, name, "true").await?;
            let delete = format!("DELETE FROM {}", loader.own(name).await?);
            delivered.deleted = loader.changed(&delete, &format!("empty {name}")).await?;
        }
        merge(loader, table, &columns, &mut delivered).await?;
        if keys == Constraints::Dropped {
            shape::constrain(loader, table).await?;
        }
    }
    guard::table(loader, table).await?;
    describe::table(loader, table, receipt.made.get(name)).await?;
    at(Point::LoadMerged)?;
    prove(loader, table).await?;
    Ok(delivered)
}

pub fn columns(schema: &SchemaRef, table: &str) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for field in schema.fields() {
        let type_name = encode::postgres_type(field.data_type()).ok_or_else(|| {
            Error::new(
                ErrorKind::Store,
                format!(
                    "{table}.{} is {}, which is not delivered into Postgres",
                    field.name(),
                    field.data_type()
                ),
            )
            .hint("cast the column to text in the model, or leave the target away")
        })?;
        columns.push(Column { name: field.name().clone(), type_name });
    }
    Ok(columns)
}

/// Copies every row of the table into `into`.
async fn copy(loader: &Loader<'_>, table: &StarTable, into: &str) -> Result<u64> {
    let doing = format!("copy into {into}");
    let sink = loader.client.copy_in::<_, Bytes>(&format!("COPY {into} FROM STDIN (FORMAT binary)")).await;
    let sink = sink.map_err(|error| loader.failed(error, &doing))?;
    futures::pin_mut!(sink);
    let mut out = Vec::with_capacity(MESSAGE_BYTES * 2);
    encode::header(&mut out);
    for batch in shelf::batches(table, None, 1_024) {
        encode::rows(&batch?, &mut out)
            .map_err(|reason| Error::new(ErrorKind::Store, format!("{}: {reason}", table.name())))?;
        if out.len() >= MESSAGE_BYTES {
            let message = Bytes::from(std::mem::replace(&mut out, Vec::with_capacity(MESSAGE_BYTES * 2)));
            sink.send(message).await.map_err(|error| loader.failed(error, &doing))?;
        }
    }
    encode::trailer(&mut out);
    sink.send(Bytes::from(out)).await.map_err(|error| loader.failed(error, &doing))?;
    sink.finish().await.map_err(|error| loader.failed(error, &doing))
}

/// The temporary table that has the star's rows while they are compared with the target's.
pub const BESIDE: &str = "pg_temp.starmill_new";

/// Copies a table of the star into a temporary one, to be compared there.
pub async fn copy_beside(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    doing: &str,
) -> Result<()> {
    loader.execute(&format!("DROP TABLE IF EXISTS {BESIDE}"), doing).await?;
    let create = format!("CREATE TEMP TABLE starmill_new ({}) ON COMMIT DROP", definitions(columns));
    loader.execute(&create, doing).await?;
    copy(loader, table, BESIDE).await?;
    Ok(())
}

/// Loads the rows beside the table, then touches only those that differ.
async fn merge(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    delivered: &mut DeliveredTable,
) -> Result<()> {
    let into = loader.qualified(table.name().as_str());
    let own = loader.own(table.name().as_str()).await?;
    let beside = BESIDE;
    let doing = format!("merge into {into}");
    copy_beside(loader, table, columns, &doing).await?;
    let identity = table.contract.identity();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    if identity.is_empty() {
        return merge_whole_rows(loader, table.name().as_str(), &own, &names, delivered).await;
    }
    loader
        .execute(
            &format!("CREATE UNIQUE INDEX ON {beside} ({}); ANALYZE {beside}", quoted(&identity)),
            &doing,
        )
        .await?;
    let same: Vec<String> = identity.iter().map(|name| format!("t.{0} = n.{0}", quote(name))).collect();
    let same = same.join(" AND ");
    let gone = format!("NOT EXISTS (SELECT 1 FROM {beside} AS n WHERE {same})");
    hung::spared(loader, table.name().as_str(), &gone).await?;
    let delete = format!("DELETE FROM {own} AS t WHERE {gone}");
    delivered.deleted += loader.changed(&delete, &doing).await?;
    let others: Vec<&String> = names.iter().filter(|name| !identity.contains(name)).collect();
    if !others.is_empty() {
        let sets: Vec<String> = others.iter().map(|name| format!("{0} = n.{0}", quote(name))).collect();
        let differ: Vec<String> =
            others.iter().map(|name| format!("t.{0} IS DISTINCT FROM n.{0}", quote(name))).collect();
        let update = format!(
            "UPDATE {own} AS t SET {} FROM {beside} AS n WHERE {same} AND ({})",
            sets.join(", "),
            differ.join(" OR ")
        );
        delivered.updated = loader.changed(&update, &doing).await?;
    }
    let insert = format!(
        "INSERT INTO {into} ({0}) SELECT {0} FROM {beside} AS n WHERE NOT EXISTS (SELECT 1 FROM {own} AS t WHERE {same})",
        quoted(&names)
    );
    delivered.inserted = loader.changed(&insert, &doing).await?;
    Ok(())
}

/// Rows without a key, equal ones told apart by a number.
pub fn numbered(table: &str, extra: &str, list: &str) -> String {
    format!(
        "SELECT {extra} ROW({list})::text AS \"starmill: row\", row_number() OVER (PARTITION BY ROW({list})::text) AS \"starmill: copy\" FROM {table}"
    )
}

/// Without a key a row is its own identity, and equal rows are counted.
async fn merge_whole_rows(
    loader: &Loader<'_>,
    name: &str,
    own: &str,
    names: &[String],
    delivered: &mut DeliveredTable,
) -> Result<()> {
    let into = loader.qualified(name);
    let doing = format!("merge into {into}");
    let list = quoted(names);
    let numbered = |table: &str, extra: &str| numbered(table, extra, &list);
    let gone = format!(
        "t.ctid IN (SELECT o.at FROM ({}) AS o LEFT JOIN ({}) AS n USING (\"starmill: row\", \"starmill: copy\") WHERE n.\"starmill: row\" IS NULL)",
        numbered(own, "ctid AS at,"),
        numbered(BESIDE, "")
    );
    hung::spared(loader, name, &gone).await?;
    let delete = format!("DELETE FROM {own} AS t WHERE {gone}");
    delivered.deleted += loader.changed(&delete, &doing).await?;
    let insert = format!(
        "INSERT INTO {into} ({list}) SELECT {list} FROM ({}) AS n LEFT JOIN ({}) AS o USING (\"starmill: row\", \"starmill: copy\") WHERE o.\"starmill: row\" IS NULL",
        numbered(BESIDE, &format!("{list},")),
        numbered(own, "")
    );
    delivered.inserted = loader.changed(&insert, &doing).await?;
    Ok(())
}

/// The target's own count and sums, before anyone sees them, against those that were audited.
async fn prove(loader: &Loader<'_>, table: &StarTable) -> Result<()> {
    let name = loader.own(table.name().as_str()).await?;
    let sums = loader.shipment.star.sums.get(table.name().as_str());
    let sums: Vec<(&String, &Number)> = sums.iter().flat_map(|sums| sums.iter()).collect();
    let mut selected = vec!["count(*)::text".to_owned(), "'bigint'".to_owned()];
    for (column, _) in &sums {
        // Postgres sums real in real, seven digits; the audit summed it in double.
        let single =
            table.schema().field_with_name(column).is_ok_and(|field| field.data_type() == &DataType::Float32);
        let summed = if single { format!("{}::float8", quote(column)) } else { quote(column) };
        selected.push(format!("sum({summed})::text, pg_typeof(sum({summed}))::text"));
    }
    let query = format!("SELECT {} FROM {name}", selected.join(", "));
    let messages = loader.client.simple_query(&query).await;
    let messages = messages.map_err(|error| loader.failed(error, &format!("add up {name}")))?;
    let row = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| Error::new(ErrorKind::Bug, format!("{name} gave no totals")))?;
    let rows = ("rows".to_owned(), Number::of_count(table.rows()));
    let expected = std::iter::once((&rows.0, &rows.1)).chain(sums);
    for (place, (column, audited)) in expected.enumerate() {
        let type_name = row.get(place * 2 + 1).unwrap_or_default();
        let loaded = Number::parse(row.get(place * 2), type_name).unwrap_or(Number::Null);
        if !audited.agrees_with(&loaded) {
            return Err(Error::new(
                ErrorKind::Store,
                format!("{name}: {column} is {loaded} in the target, but {audited} was audited"),
            )
            .hint("a trigger or rule on the target's table changes what is written: remove it"));
        }
    }
    Ok(())
}
