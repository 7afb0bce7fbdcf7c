//! What a table of the target holds, against what was audited: its rows and sums, and each row that was written.

use arrow::datatypes::DataType;

use super::Loader;
use super::alike::numbered;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{list, quote_identifier as quote};
use crate::star::audit::Sums;
use crate::star::number::Number;
use crate::star::table::StarTable;

/// Where the target holds another number than a star.
pub struct Otherwise {
    column: String,
    held: Number,
    expected: Number,
}

/// How many rows a table holds is what is asked of one that did not change; of one that is to change its sums as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Rows,
    Sums,
}

impl Otherwise {
    /// What it was left as is not what it is: somebody else wrote.
    pub fn drift(&self) -> String {
        let Otherwise { column, held, expected } = self;
        match column.as_str() {
            "rows" => format!("it had {held} rows, and {expected} were delivered"),
            _ => format!("its {column} summed to {held}, and to {expected} when it was delivered"),
        }
    }
}

/// The first number in which the target's table differs from a star's.
pub async fn otherwise(
    loader: &Loader<'_>,
    table: &StarTable,
    sums: &Sums,
    asked: Asked,
) -> Result<Option<Otherwise>> {
    let name = loader.own(table.name().as_str()).await?;
    let sums = sums.get(table.name().as_str()).filter(|_| asked == Asked::Sums);
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
        let held = Number::parse(row.get(place * 2), type_name).unwrap_or(Number::Null);
        if !audited.agrees_with(&held) {
            return Ok(Some(Otherwise { column: column.clone(), held, expected: audited.clone() }));
        }
    }
    Ok(None)
}

/// The target's own count and sums, before anyone sees them, against those that were audited.
pub async fn prove(loader: &Loader<'_>, table: &StarTable) -> Result<()> {
    let Some(Otherwise { column, held, expected }) =
        otherwise(loader, table, &loader.shipment.star.sums, Asked::Sums).await?
    else {
        return Ok(());
    };
    let name = loader.qualified(table.name().as_str());
    let message = format!("{name}: {column} is {held} in the target, but {expected} was audited");
    Err(Error::new(ErrorKind::Store, message).hint(match loader.rewriting.is_empty() {
        true => "something there changes what is written, or rows are there that were not delivered: `starmill deliver` compares every row",
        false => REMOVE,
    }))
}

const REMOVE: &str = "a trigger or rule on a delivered table changes what is written: remove it";

/// Rows that were sent to a table.
pub struct Sent {
    /// A table of them.
    pub beside: String,
    pub rows: SentRows,
}

pub enum SentRows {
    /// Says of `t` and `n` whether they are one row, and whether it has other values.
    ByKey { same: String, differ: String },
    /// All rows, told apart by nothing: their columns.
    Whole(String),
}

/// Where triggers or rules of others may have had their way, each row that was written in this transaction must be one that was
/// sent, as it was sent.
pub async fn written(loader: &Loader<'_>, table: &StarTable, sent: Option<&Sent>) -> Result<()> {
    let name = table.name().as_str();
    let own = loader.own(name).await?;
    // What is written in a subtransaction has a later number than the transaction itself.
    let now = "age(t.xmin) <= 0";
    let query = match sent {
        None => format!("SELECT count(*) FROM {own} AS t WHERE {now}"),
        Some(Sent { beside, rows: SentRows::ByKey { same, differ } }) => format!(
            "SELECT greatest((SELECT count(*) FROM {beside} AS n WHERE NOT EXISTS (SELECT FROM {own} AS t WHERE {same} AND NOT ({differ}))), \
             (SELECT count(*) FROM {own} AS t WHERE {now} AND NOT EXISTS (SELECT FROM {beside} AS n WHERE {same} AND NOT ({differ}))))"
        ),
        Some(Sent { beside, rows: SentRows::Whole(list) }) => format!(
            "SELECT count(*) FROM ({}) AS t FULL JOIN ({}) AS n USING (\"starmill: row\", \"starmill: copy\") WHERE t.here IS NULL OR n.here IS NULL",
            numbered(&own, "1 AS here,", list),
            numbered(beside, "1 AS here,", list)
        ),
    };
    let row = loader.client.query_one(&query, &[]).await;
    let otherwise: i64 = row.map_err(|error| loader.failed(error, &format!("compare {name}")))?.get(0);
    if otherwise == 0 {
        return Ok(());
    }
    let rows = if otherwise == 1 { "1 row is".to_owned() } else { format!("{otherwise} rows are") };
    let message = format!(
        "{}: {rows} not as sent, where {} may change what is written",
        loader.qualified(name),
        list(&loader.rewriting)
    );
    Err(Error::new(ErrorKind::Store, message).hint(REMOVE))
}
