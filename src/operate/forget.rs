//! Takes a person out of every kept snapshot: first the plan, then the work, then the target, which gets what is left.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::load::{Adopt, Delivery};
use crate::name::{ModelName, list, nearest};
use crate::pipeline::{self, Pipeline};
use crate::run::delivery::{deliver_published, still_pending};
use crate::run::record::Record;
use crate::run::report::Mode;
use crate::store::forgetting::{Forgetting, Wish};
use crate::store::manifest::{Latest, TableRecord};
use crate::store::{Store, StoreWriter};

/// Whose rows are forgotten.
#[derive(Debug, Clone)]
pub struct ForgetRequest {
    pub table: String,
    /// A value of the table's key; `column=value,column=value` where it has several columns.
    pub keys: Vec<String>,
}

/// What goes, and what becomes of it.
#[derive(Debug, Serialize)]
pub struct ForgetPlan {
    pub pipeline: String,
    pub table: String,
    pub key: Vec<String>,
    #[serde(flatten)]
    pub found: Forgetting,
    /// Where what is left is delivered to.
    pub target: Option<String>,
    pub delivery: Option<Delivery>,
    pub done: bool,
}

impl ForgetPlan {
    /// Whether there is nobody to forget.
    pub fn is_empty(&self) -> bool {
        self.found.rows == 0
            && self.found.registered == 0
            && self.found.snapshots.is_empty()
            && self.found.reports == 0
    }
}

/// What would go; nothing does.
pub fn plan(path: &Path, request: &ForgetRequest) -> Result<ForgetPlan> {
    let pipeline = pipeline::read(path)?;
    let store = Store::there(&pipeline.deployment)?;
    let latest = store.commit_point()?;
    planned(&pipeline, &store, &latest, request).map(|(plan, _)| plan)
}

fn planned(
    pipeline: &Pipeline,
    store: &Store,
    latest: &Latest,
    request: &ForgetRequest,
) -> Result<(ForgetPlan, Wish)> {
    let record = record_of(store, latest, &request.table)?;
    let keys = request.keys.iter().map(|key| values(key, &record)).collect::<Result<Vec<_>>>()?;
    let named_by = pipeline.models.iter().flat_map(|model| {
        let lookups = model.lookups().iter().filter(|lookup| lookup.dimension == record.name);
        lookups.map(|lookup| (model.name.clone(), lookup.column.value.clone()))
    });
    let encodings = pipeline.deployment.store.encodings;
    let wish = Wish { table: record.name.clone(), keys, named_by: named_by.collect(), encodings };
    let found = store.forgetting(latest, &wish)?;
    let target = pipeline.deployment.target.as_ref();
    let plan = ForgetPlan {
        pipeline: pipeline.deployment.name.clone(),
        table: record.name.to_string(),
        key: record.shape.key.clone(),
        found,
        target: target.map(|target| format!("schema {} of {}", target.schema, target.url)),
        delivery: None,
        done: false,
    };
    Ok((plan, wish))
}

/// The table as the newest snapshot has it that has it.
fn record_of(store: &Store, latest: &Latest, table: &str) -> Result<TableRecord> {
    let mut known: Vec<ModelName> = Vec::new();
    for id in latest.snapshots.iter().rev() {
        let manifest = store.manifest(id)?;
        if let Some(record) = manifest.tables.iter().find(|record| record.name.as_str() == table) {
            return Ok(record.clone());
        }
        known.extend(manifest.tables.into_iter().map(|record| record.name));
    }
    known.sort();
    known.dedup();
    let help = match nearest(table, known.iter().map(ModelName::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its tables: {}", list(&known)),
    };
    Err(Error::new(ErrorKind::Usage, format!("no snapshot that is kept has a table `{table}`")).hint(help))
}

/// A key's values in the order of its columns.
fn values(text: &str, record: &TableRecord) -> Result<Vec<String>> {
    let columns = &record.shape.key;
    let wrong = || {
        let pairs: Vec<String> = columns.iter().map(|column| format!("{column}=…")).collect();
        Error::new(
            ErrorKind::Usage,
            format!("`{text}` is no key of {}, which is {}", record.name, list(columns)),
        )
        .hint(format!("write --key \"{}\"", pairs.join(",")))
    };
    match columns.as_slice() {
        [] => Err(Error::new(ErrorKind::Usage, format!("{} has no key by which a row could be named", record.name))
            .hint("rows of a table without a key can only be forgotten with their snapshots: `starmill snapshots prune`")),
        [_] => Ok(vec![text.to_owned()]),
        columns => {
            let pairs: Vec<(&str, &str)> = text.split(',').filter_map(|pair| pair.split_once('=')).collect();
            let value = |column: &String| pairs.iter().find(|(name, _)| name.trim() == column).map(|(_, value)| (*value).to_owned());
            let values: Option<Vec<String>> = columns.iter().map(value).collect();
            values.filter(|_| pairs.len() == columns.len()).ok_or_else(wrong)
        }
    }
}

/// Where nobody is left to forget: takes away what a command that was killed had no time to.
pub fn settle(path: &Path) -> Result<()> {
    StoreWriter::for_command(&pipeline::deployment(path)?).map(drop)
}

/// Does it; what is done was decided under the lock.
pub async fn forget(path: &Path, request: &ForgetRequest) -> Result<ForgetPlan> {
    let pipeline = pipeline::read(path)?;
    let deployment = &pipeline.deployment;
    let writer = StoreWriter::for_command(deployment)?;
    let latest = writer.store().commit_point()?;
    let (mut plan, wish) = planned(&pipeline, writer.store(), &latest, request)?;
    writer.forget(&wish, &plan.found).await?;
    plan.done = true;
    if let Some(target) = &deployment.target {
        let record = Record::begin(deployment, writer.store(), Mode::Delivery);
        let delivered =
            deliver_published(deployment, target, writer.store(), Adopt::Refuse).await.map_err(|error| {
                let error = still_pending(error);
                let hint = error.help().unwrap_or_default().to_owned();
                Error::new(error.kind(), "they are forgotten in the store, but the target still has them")
                    .caused_by(error)
                    .hint(hint)
            });
        record.delivered(&latest.snapshot, delivered.as_ref());
        plan.delivery = Some(delivered?);
    }
    Ok(plan)
}
