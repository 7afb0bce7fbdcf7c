//! Rows of the star on their way: by COPY into a table, or beside it into a temporary one, to be compared there.

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::SinkExt;

use super::Loader;
use super::shape::{Column, definitions, quoted};
use crate::error::{Error, ErrorKind, Result};
use crate::pgcopy::encode;
use crate::star::shelf;
use crate::star::table::StarTable;

/// Bytes of one COPY message.
const MESSAGE_BYTES: usize = 256 << 10;

/// Copies every row of the table into `into`.
pub async fn copy(loader: &Loader<'_>, table: &StarTable, into: &str) -> Result<u64> {
    copy_batches(loader, shelf::batches(table, None, 1_024), into, "").await
}

/// Copies rows into the columns of `into` that are named, or into all.
async fn copy_batches(
    loader: &Loader<'_>,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    into: &str,
    names: &str,
) -> Result<u64> {
    let doing = format!("copy into {into}");
    let statement = format!("COPY {into} {names} FROM STDIN (FORMAT binary)");
    let sink = loader.client.copy_in::<_, Bytes>(&statement).await;
    let sink = sink.map_err(|error| loader.failed(error, &doing))?;
    futures::pin_mut!(sink);
    let mut out = Vec::with_capacity(MESSAGE_BYTES * 2);
    encode::header(&mut out);
    for batch in batches {
        encode::rows(&batch?, &mut out)
            .map_err(|reason| Error::new(ErrorKind::Store, format!("{into}: {reason}")))?;
        if out.len() >= MESSAGE_BYTES {
            let message = Bytes::from(std::mem::replace(&mut out, Vec::with_capacity(MESSAGE_BYTES * 2)));
            sink.send(message).await.map_err(|error| loader.failed(error, &doing))?;
        }
    }
    encode::trailer(&mut out);
    sink.send(Bytes::from(out)).await.map_err(|error| loader.failed(error, &doing))?;
    sink.finish().await.map_err(|error| loader.failed(error, &doing))
}

/// A temporary table that has rows of the star while they are compared with the target's.
pub struct Beside {
    pub name: String,
}

impl Beside {
    /// An empty one for rows of a table; `what` tells several of one table apart.
    async fn create(loader: &Loader<'_>, table: &str, what: &str, columns: &[Column]) -> Result<Beside> {
        let place = loader.shipment.star.tables.iter().position(|known| known.name().as_str() == table);
        let short = format!("starmill_{what}_{}", place.unwrap_or_default());
        let beside = Beside { name: format!("pg_temp.{short}") };
        let doing = format!("make room beside {table}");
        loader.execute(&format!("DROP TABLE IF EXISTS {}", beside.name), &doing).await?;
        let create = format!("CREATE TEMP TABLE {short} ({}) ON COMMIT DROP", definitions(columns));
        loader.execute(&create, &doing).await?;
        Ok(beside)
    }

    /// One with every row of a table.
    pub async fn of_table(loader: &Loader<'_>, table: &StarTable, columns: &[Column]) -> Result<Beside> {
        let beside = Beside::create(loader, table.name().as_str(), "new", columns).await?;
        copy(loader, table, &beside.name).await?;
        Ok(beside)
    }

    /// One with some rows, whose columns may stand in another order.
    pub async fn of_rows(
        loader: &Loader<'_>,
        table: &str,
        what: &str,
        columns: &[Column],
        rows: &[RecordBatch],
    ) -> Result<Beside> {
        let beside = Beside::create(loader, table, what, columns).await?;
        if let Some(first) = rows.first() {
            let schema = first.schema();
            let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            let names = format!("({})", quoted(&names));
            copy_batches(loader, rows.iter().cloned().map(Ok), &beside.name, &names).await?;
        }
        Ok(beside)
    }

    pub async fn clear(&self, loader: &Loader<'_>) -> Result<()> {
        loader.execute(&format!("DROP TABLE {}", self.name), "give back the room of its rows").await
    }

    /// Makes its rows be found by what tells them apart.
    pub async fn find_by(&self, loader: &Loader<'_>, identity: &[String]) -> Result<()> {
        let statement = format!("CREATE UNIQUE INDEX ON {0} ({1}); ANALYZE {0}", self.name, quoted(identity));
        loader.execute(&statement, "tell apart the rows of the star").await
    }
}
