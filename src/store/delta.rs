//! Delta logs of a store's tables, one below each table's files. They follow each commit, table by table, and decide nothing.

use super::lake::Followed;
use super::lock::StoreWriter;
use super::manifest::Latest;
use super::objects::{Kind, Objects};
use super::tables::table_below;
use super::{Readers, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::{self, Point};
use crate::lake::delta::{self, Moment, Version};
use crate::lake::{NightTable, Shore};

pub(super) const LOG: &str = "_delta_log";
/// Names the newest checkpoint.
const LAST: &str = "_last_checkpoint";

impl StoreWriter {
    /// Brings every table's log to the published snapshot.
    pub(super) fn bring_logs_up(&self, latest: &Latest) -> Result<()> {
        let store = self.store();
        let followed = Followed { store, latest };
        let Some(night) = followed.night(&latest.snapshot)? else {
            tracing::warn!(
                snapshot = %latest.snapshot,
                "the Delta logs do not show it: an older starmill wrote it, and the next run writes one that they can show"
            );
            return Ok(());
        };
        let moment = Moment { store: &latest.store, snapshot: &latest.snapshot, at: latest.published_at };
        let mut names: Vec<String> = night.tables.iter().map(|table| table.name.to_string()).collect();
        names.extend(store.tables_there()?);
        names.sort();
        names.dedup();
        for name in names {
            let table = night.tables.iter().find(|table| table.name.as_str() == name);
            let unsuited = table.and_then(delta::unsuited);
            if let Some(column) = unsuited {
                tracing::warn!(
                    table = name,
                    column,
                    "it has no Delta log: Delta has no type for that column's values"
                );
            }
            self.bring_log_up(&name, table.filter(|_| unsuited.is_none()), moment)?;
        }
        Ok(())
    }

    fn bring_log_up(&self, name: &str, table: Option<&NightTable>, moment: Moment<'_>) -> Result<()> {
        let (objects, below) = (&self.store().objects, format!("{}/{LOG}", table_below(name)));
        let last = self.store().last_version(&below)?;
        let Some(next) = delta::next(last.as_ref(), table, moment)? else { return Ok(()) };
        fault::at(Point::DeltaTable)
            .map_err(|error| super::store_error("cannot write", &objects.local(&below), error))?;
        let file = format!("{below}/{}", Version::file(next.number));
        if !objects.create(&file, next.lines.as_bytes())? {
            let message = format!("another writer has written {}", objects.shown(&file));
            return Err(Error::new(ErrorKind::Store, message).hint("the next run goes on from it"));
        }
        if let Some(checkpoint) = next.checkpoint {
            objects.put(&format!("{below}/{}", checkpoint.name), &checkpoint.parquet, Readers::All)?;
            objects.put(&format!("{below}/{LAST}"), checkpoint.last.as_bytes(), Readers::All)?;
        }
        Ok(())
    }
}

impl Store {
    /// The last version of a table's log; none before the first.
    fn last_version(&self, below: &str) -> Result<Option<Version>> {
        let files = self.objects.entries(below)?.into_iter().filter(|entry| entry.kind == Kind::File);
        let Some(number) = files.filter_map(|entry| Version::number_of(&entry.name)).max() else {
            return Ok(None);
        };
        let text = self.objects.require(&format!("{below}/{}", Version::file(number)))?;
        let read = Version::read(number, &String::from_utf8_lossy(&text));
        read.map(Some).map_err(|problem| {
            let message = format!("{} is no log that starmill wrote: {problem}", self.objects.shown(below));
            Error::new(ErrorKind::Store, message).hint(match &self.objects {
                Objects::Folder(_) => "move it away; the next run begins it anew",
                Objects::Bucket(_) => "remove what lies there; the next run begins it anew",
            })
        })
    }
}
