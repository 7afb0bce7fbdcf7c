//! One table of the star into one table of the target.

use arrow::array::RecordBatch;

use super::alike::{differ, same};
use super::beside::{Beside, copy};
use super::copies::{merge_whole_rows, without_copies};
use super::pointing::{pointed_at_by_none, pointing, spare_deleted, spare_updated};
use super::prove::{Asked, Sent, SentRows, otherwise, prove, written};
use super::receipt::{Receipt, require_table, table_exists};
use super::reshape::{self, Reshaping};
use super::shape::{self, Column, Constraints, Ours, quoted};
use super::{DeliveredTable, Loader, Trust, alike, at, describe, foreign, guard, hung, keys, not_null};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::Point;
use crate::name::quote_identifier as quote;
use crate::star::diff::{RowChanges, row_changes};
use crate::star::table::StarTable;

/// What a difference between two snapshots may take in memory; beyond it the whole table travels.
const MOST_CHANGES: usize = 64 << 20;

/// A table whose rows are there, but for those that are to go once the tables are written that point at it.
pub struct Merged {
    pub delivered: DeliveredTable,
    late: Option<Parting>,
    /// Whether there was anything to write.
    touched: bool,
    /// Whether its keys are to be made at the end.
    wants_keys: bool,
    /// Whether only what changed was sent.
    pub by_changes: bool,
    /// What of its keys and indexes is ours.
    pub ours: Ours,
    /// Columns that somebody declared NOT NULL, and that are so again at the end.
    not_null: Vec<String>,
    /// What was sent, to be held against what is there where others may have their way with it.
    sent: Option<Sent>,
}

impl Merged {
    /// Keeps what was sent where others may have their way with it.
    pub fn note_sent(&mut self, loader: &Loader<'_>, sent: Sent) {
        self.sent = (!loader.rewriting.is_empty()).then_some(sent);
    }

    /// Gives the room of temporary tables back, unless they are still asked.
    async fn clear(&self, loader: &Loader<'_>, beside: &[&Beside]) -> Result<()> {
        for beside in beside.iter().filter(|_| self.late.is_none() && self.sent.is_none()) {
            beside.clear(loader).await?;
        }
        Ok(())
    }
}

/// Rows that the star no longer has.
pub struct Parting {
    /// Says of a row `t` whether it is one.
    pub gone: String,
}

pub async fn table(loader: &Loader<'_>, table: &StarTable, receipt: &Receipt) -> Result<Merged> {
    let name = table.name().as_str();
    let exists = loader.exists(&table_exists(loader, name)).await?;
    let drift = loader.drifted.clone().filter(|drifted| drifted == name);
    let drift = drift.map(|_| "its rows were others than were delivered".to_owned());
    let delivered = DeliveredTable { table: name.to_owned(), drift, ..DeliveredTable::default() };
    let ours = Ours::default();
    let mut merged = Merged {
        delivered,
        late: None,
        touched: true,
        wants_keys: false,
        by_changes: false,
        ours,
        not_null: Vec::new(),
        sent: None,
    };
    let made = receipt.made.get(name);
    if !exists {
        let columns = shape::columns(table)?;
        shape::create(loader, table, &columns).await?;
        merged.delivered.inserted = copy(loader, table, &loader.qualified(name)).await?;
        if !loader.rewriting.is_empty() {
            // It has no trigger, but those of others may write here.
            let beside = Beside::of_table(loader, table, &columns).await?;
            let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            merged.note_sent(loader, Sent { beside: beside.name, rows: SentRows::Whole(quoted(&names)) });
        }
        merged.ours.keys = keys::make(loader, table, None).await?;
    } else {
        require_ours(loader, table, receipt).await?;
        let unchanged = is_trusted(loader, receipt, name).await?
            && receipt.tables.get(name).is_some_and(|hashes| *hashes == table.hashes())
            && shape::fits(loader, table, made).await?;
        if unchanged {
            // Somebody may have written there since.
            let found = otherwise(loader, table, &loader.shipment.star.sums, Asked::Rows).await?;
            merged.delivered.drift = found.map(|found| found.drift()).or(merged.delivered.drift);
        }
        merged.touched = !unchanged || merged.delivered.drift.is_some();
        if merged.touched {
            fit(loader, table, receipt, &mut merged).await?;
        }
    }
    // After the rows, which is faster.
    merged.ours.indexes = shape::index(loader, table, made.filter(|_| exists)).await?;
    guard::table(loader, table).await?;
    describe::table(loader, table, made).await?;
    at(Point::LoadMerged)?;
    Ok(merged)
}

/// Whether what the receipt says of a table is believed: not of one that was restored from elsewhere, which has another number.
async fn is_trusted(loader: &Loader<'_>, receipt: &Receipt, name: &str) -> Result<bool> {
    let known = receipt.made.get(name).and_then(|made| made.oid);
    Ok(loader.shipment.trust == Trust::Receipt
        && (known.is_none() || known == hung::oid(loader, name).await?))
}

/// Refuses what is no table, and a table that is not ours or stands in the place of the one that was delivered.
pub async fn require_ours(loader: &Loader<'_>, table: &StarTable, receipt: &Receipt) -> Result<()> {
    let name = table.name().as_str();
    require_table(loader, name).await?;
    if !receipt.owned.iter().any(|owned| owned == name) {
        let message = format!("{}.{name} exists, and starmill did not make it", loader.target.schema);
        return Err(Error::new(ErrorKind::Store, message).hint(loader.instead_of(name)));
    }
    let Some(made) = receipt.made.get(name).filter(|_| !receipt.adopts) else { return Ok(()) };
    if !shape::is_another(loader, name, made).await? {
        return Ok(());
    }
    let qualified = loader.qualified(name);
    let message =
        format!("{qualified} is not the table that starmill delivered: somebody made another in its place");
    let help = "move it out of the way (ALTER TABLE … RENAME TO …), and deliver again; `starmill deliver --adopt` takes it over, after it showed what would become of its rows";
    Err(Error::new(ErrorKind::Store, message).hint(help))
}

/// Makes a table that is there have the star's columns, keys and rows.
async fn fit(loader: &Loader<'_>, table: &StarTable, receipt: &Receipt, merged: &mut Merged) -> Result<()> {
    let name = table.name().as_str();
    let columns = shape::columns(table)?;
    let planned = planned(loader, table, &columns, receipt).await?;
    let shaped = reshape::reshape(loader, table, planned).await?;
    if shaped.has_its_rows()
        && let Some(changes) = changes(loader, table, receipt, merged).await?
    {
        merged.by_changes = true;
        let sent = merge_changes(loader, table, &columns, &changes, merged).await;
        return sent.inspect_err(|error| {
            // What stands in the server's way may be rows that nobody delivered.
            if !error.is_busy() && !error.causes().is_empty() {
                loader.note_unproven(table.name().as_str());
            }
        });
    }
    if shaped.keys == Constraints::Dropped {
        // Its rows were told apart by another key; by this one they may be told apart no more.
        spare_deleted(loader, name, "true").await?;
        let delete = format!("DELETE FROM {}", loader.own(name).await?);
        merged.delivered.deleted = loader.changed(&delete, &format!("empty {name}")).await?;
    }
    merge_all(loader, table, &columns, merged).await?;
    merged.not_null = shaped.not_null;
    merged.delivered.deleted += shaped.emptied;
    merged.wants_keys = shaped.keys != Constraints::Kept;
    Ok(())
}

/// What has to become of a table's shape.
pub async fn planned(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    receipt: &Receipt,
) -> Result<Reshaping> {
    let same_key = receipt.held(table).is_some_and(|(_, held)| keys::has_same_keys(held, table))
        && shape::has_own(loader, table, receipt.made.get(table.name().as_str())).await?;
    reshape::planned(loader, table, columns, receipt, same_key).await
}

/// What changed since the snapshot that the target holds, when it holds what it was left with, and the store still has that.
async fn changes(
    loader: &Loader<'_>,
    table: &StarTable,
    receipt: &Receipt,
    merged: &mut Merged,
) -> Result<Option<RowChanges>> {
    let name = table.name();
    let Some((star, before)) = receipt.held(table) else { return Ok(None) };
    let is_left = receipt.tables.get(name.as_str()).is_some_and(|hashes| *hashes == before.hashes());
    if !is_left || !is_trusted(loader, receipt, name.as_str()).await? || merged.delivered.drift.is_some() {
        return Ok(None);
    }
    let identity = table.contract.identity();
    // The server adds up while the files are walked.
    let (found, changes) = tokio::join!(
        otherwise(loader, before, &star.sums, Asked::Sums),
        row_changes(before, table, &identity, MOST_CHANGES)
    );
    if let Some(found) = found? {
        merged.delivered.drift = Some(found.drift());
        return Ok(None);
    }
    // A file of the snapshot that is left may be damaged, and nothing else needs it.
    Ok(changes.unwrap_or_else(|error| {
        tracing::warn!(table = %name, %error, "what changed cannot be found; every row is compared");
        None
    }))
}

/// The rows that were to go last.
pub async fn part_last(loader: &Loader<'_>, table: &StarTable, merged: &mut Merged) -> Result<()> {
    match merged.late.take() {
        Some(parting) => part(loader, table, &parting, &mut merged.delivered).await,
        None => Ok(()),
    }
}

/// Its keys, once what was deferred has had its say: a table that is waited for cannot be altered.
pub async fn give_keys(
    loader: &Loader<'_>,
    table: &StarTable,
    receipt: &Receipt,
    merged: &mut Merged,
) -> Result<()> {
    if merged.wants_keys {
        merged.ours.keys = keys::make(loader, table, receipt.made.get(table.name().as_str())).await?;
    }
    Ok(())
}

/// What is promised of its columns, once all rows are there and what was deferred has had its say.
pub async fn promise(
    loader: &Loader<'_>,
    table: &StarTable,
    receipt: &Receipt,
    merged: &mut Merged,
) -> Result<()> {
    let made = receipt.made.get(table.name().as_str());
    reshape::make_not_null(loader, table, &merged.not_null).await?;
    merged.ours.not_null = not_null::make(loader, table, made).await?;
    merged.ours.foreign_keys = foreign::make(loader, table, made).await?;
    Ok(())
}

/// The proof of the whole table, once nothing is written any more.
pub async fn conclude(loader: &Loader<'_>, table: &StarTable, merged: &Merged) -> Result<()> {
    let may_be_written = !loader.rewriting.is_empty();
    if !merged.touched && !may_be_written {
        return Ok(());
    }
    let proved = async {
        if may_be_written {
            written(loader, table, merged.sent.as_ref()).await?;
        }
        prove(loader, table).await
    };
    if let Err(error) = proved.await {
        // Somebody wrote there what neither its count nor its sums told.
        if merged.by_changes && !error.is_busy() {
            loader.note_unproven(table.name().as_str());
        }
        return Err(error);
    }
    let DeliveredTable { inserted, updated, deleted, .. } = merged.delivered;
    if (inserted + updated + deleted).saturating_mul(MUCH) > table.rows() {
        // Until somebody looked at them, the server plans as if its tables were as before.
        let statement = format!("ANALYZE {}", loader.qualified(table.name().as_str()));
        loader.execute(&statement, "look at its new rows").await?;
    }
    Ok(())
}

/// From the tenth part of its rows on a table is another to the server's planner; below the twentieth its rows are better
/// found one by one.
const MUCH: u64 = 10;
const FEW: u64 = 20;

/// Deletes what the star no longer has.
pub async fn part(
    loader: &Loader<'_>,
    table: &StarTable,
    parting: &Parting,
    delivered: &mut DeliveredTable,
) -> Result<()> {
    let name = table.name().as_str();
    spare_deleted(loader, name, &parting.gone).await?;
    let delete = format!("DELETE FROM {} AS t WHERE {}", loader.own(name).await?, parting.gone);
    let doing = format!("delete from {}", loader.qualified(name));
    delivered.deleted += loader.changed(&delete, &doing).await?;
    Ok(())
}

/// Loads the rows beside the table, then touches only those that differ.
async fn merge_all(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    merged: &mut Merged,
) -> Result<()> {
    let beside = Beside::of_table(loader, table, columns).await?;
    let identity = table.contract.identity();
    if identity.is_empty() {
        merge_whole_rows(loader, table, &beside, columns, merged).await?;
        return merged.clear(loader, &[&beside]).await;
    }
    beside.find_by(loader, &identity).await?;
    without_copies(loader, table, merged).await?;
    let same = same(&identity, &shape::loose(loader, table.name().as_str()).await?);
    let parting = Parting { gone: format!("NOT EXISTS (SELECT FROM {} AS n WHERE {same})", beside.name) };
    upsert(loader, table, columns, &beside, (&same, parting), merged).await?;
    merged.clear(loader, &[&beside]).await
}

/// Touches what changed, and nothing else.
async fn merge_changes(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    changes: &RowChanges,
    merged: &mut Merged,
) -> Result<()> {
    let (name, identity) = (table.name().as_str(), table.contract.identity());
    let fresh = Beside::of_rows(loader, name, "new", columns, &changes.fresh).await?;
    fresh.find_by(loader, &identity).await?;
    let keys = columns.iter().filter(|column| identity.contains(&column.name)).cloned();
    let gone = Beside::of_rows(loader, name, "gone", &keys.collect::<Vec<_>>(), &changes.gone).await?;
    gone.find_by(loader, &identity).await?;
    let same = same(&identity, &shape::loose(loader, name).await?);
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
    let few = (rows(&changes.fresh) + rows(&changes.gone)).saturating_mul(FEW) < table.rows();
    if few {
        let by_index = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
        loader.execute(by_index, "find rows one by one").await?;
    }
    let parting = Parting {
        gone: format!(
            "EXISTS (SELECT FROM {} AS n WHERE {same}) AND NOT EXISTS (SELECT FROM {} AS n WHERE {same})",
            gone.name, fresh.name
        ),
    };
    upsert(loader, table, columns, &fresh, (&same, parting), merged).await?;
    if few {
        let as_before = "SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT";
        loader.execute(as_before, "plan as before").await?;
    }
    merged.clear(loader, &[&fresh, &gone]).await
}

/// Deletes, changes and inserts rows, so that the table has those beside it. Rows that others point at go last.
async fn upsert(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    beside: &Beside,
    (same, parting): (&str, Parting),
    merged: &mut Merged,
) -> Result<()> {
    let name = table.name().as_str();
    let (into, own, beside) = (loader.qualified(name), loader.own(name).await?, &beside.name);
    let doing = format!("merge into {into}");
    let identity = table.contract.identity();
    let pointing = pointing(loader, name).await?;
    if pointing.is_empty() {
        part(loader, table, &parting, &mut merged.delivered).await?;
    } else {
        // What nobody points at makes room at once for a row that has its values now.
        if let Some(by_none) = pointed_at_by_none(&pointing)
            && !hung::strict_uniques(loader, name).await?.is_empty()
        {
            let gone = format!("({}) AND {by_none}", parting.gone);
            part(loader, table, &Parting { gone }, &mut merged.delivered).await?;
        }
        merged.late = Some(parting);
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let others: Vec<&Column> = columns.iter().filter(|column| !identity.contains(&column.name)).collect();
    let differ = differ(others.iter().copied());
    if !others.is_empty() {
        spare_updated(loader, name, &pointing, |ours| {
            let among: Vec<&Column> =
                others.iter().copied().filter(|column| ours.contains(&&column.name)).collect();
            let differ = alike::differ(among.iter().copied());
            (!among.is_empty())
                .then(|| format!("SELECT FROM {own} AS t JOIN {beside} AS n ON {same} WHERE ({differ})"))
        })
        .await?;
        let sets: Vec<String> =
            others.iter().map(|column| format!("{0} = n.{0}", quote(&column.name))).collect();
        let update = format!(
            "UPDATE {own} AS t SET {} FROM {beside} AS n WHERE {same} AND ({differ})",
            sets.join(", ")
        );
        merged.delivered.updated = loader.changed(&update, &doing).await?;
    }
    let insert = format!(
        "INSERT INTO {into} ({0}) SELECT {0} FROM {beside} AS n WHERE NOT EXISTS (SELECT FROM {own} AS t WHERE {same})",
        quoted(&names)
    );
    merged.delivered.inserted = loader.changed(&insert, &doing).await?;
    let rows = SentRows::ByKey { same: same.to_owned(), differ };
    merged.note_sent(loader, Sent { beside: beside.clone(), rows });
    Ok(())
}
