//! What taking over would do to the tables that a target has already. Nothing is changed there.

use chrono_tz::Tz;
use serde::Serialize;

use super::{Loader, Shipment, receipt, server, shape};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TargetSettings;
use crate::postgres::Isolation;

/// What taking over would do to one table of the target.
#[derive(Debug, Clone, Serialize)]
pub struct TakenOver {
    pub table: String,
    /// Rows that it has now; those that the star does not have are deleted.
    pub rows: u64,
    pub star_rows: u64,
    /// Columns that get another type.
    pub retyped: Vec<String>,
}

/// What taking over would do to tables that are there already; nothing is changed.
pub async fn takeover(
    shipment: Shipment<'_>,
    target: &TargetSettings,
    timezone: Tz,
) -> Result<Vec<TakenOver>> {
    let server = server(target, shipment.pipeline, timezone.name(), &target.schema)?;
    let planned = async {
        let client = server.connect().await?;
        let loader = Loader::new(&client, &server, target, shipment);
        server.begin(&client, Isolation::RepeatableRead).await?;
        let plan = taken_over(&loader).await;
        let _ = client.batch_execute("ROLLBACK").await;
        plan
    };
    server.watched(target.silent_max, planned).await
}

async fn taken_over(loader: &Loader<'_>) -> Result<Vec<TakenOver>> {
    let (client, target) = (loader.client, loader.target);
    let mut plan = Vec::new();
    let strangers = receipt::strangers(loader).await?;
    if let Some((owner, table)) = receipt::other_owner(loader, &strangers).await? {
        let message = format!("{}.{table} belongs to the pipeline {owner}", target.schema);
        return Err(Error::new(ErrorKind::Store, message)
            .hint("give this pipeline a `schema` of its own in [target]"));
    }
    for name in strangers {
        if loader.is_source(&name) {
            let message = format!("{}.{name} is the table that the pipeline reads", target.schema);
            return Err(Error::new(ErrorKind::Store, message).hint(receipt::SOURCE_TABLE));
        }
        receipt::require_table(loader, &name).await?;
        let star = loader.shipment.star;
        let Some(table) = star.tables.iter().find(|table| table.name().as_str() == name) else { continue };
        let row = client.query_one(&format!("SELECT count(*) FROM {}", loader.qualified(&name)), &[]).await;
        let rows: i64 = row.map_err(|error| loader.failed(error, "count its rows"))?.get(0);
        let columns = shape::columns(table)?;
        let retyped = shape::retyped(loader, &name, &columns).await?;
        plan.push(TakenOver {
            table: name,
            rows: u64::try_from(rows).unwrap_or_default(),
            star_rows: table.rows(),
            retyped,
        });
    }
    Ok(plan)
}
