//! Takes a person out of every kept snapshot: first the plan, then the work, then the target, which gets what is left.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::load::{Adopt, Delivery};
use crate::name::{ModelName, list, nearest};
use crate::pipeline::{self, Deployment, Pipeline};
use crate::run::delivery::{deliver_published, owes_rewritten, still_pending};
use crate::run::record::Record;
use crate::run::report::Mode;
use crate::store::forgetting::{Forgetting, Wish};
use crate::store::manifest::Latest;
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
    let named = named(store, latest, &request.table)?;
    let mut columns = named.key.clone();
    let mut keys = Vec::new();
    for key in &request.keys {
        let (of, values) = pairs(key, &named)?;
        if of != columns && !keys.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "not all keys are named by the same columns")
                .hint("ask for them in commands of their own"));
        }
        columns = of;
        keys.push(values);
    }
    let lookups = || {
        pipeline.models.iter().flat_map(|model| {
            let lookups = model.lookups().iter().filter(|lookup| lookup.dimension == named.table);
            lookups.map(move |lookup| (model.name.clone(), lookup))
        })
    };
    let told_as = lookups().flat_map(|(_, lookup)| lookup.on.iter()).filter_map(|(column, of)| {
        Some((columns.iter().position(|known| known == column)?, of.value.clone()))
    });
    let told_as = told_as.collect();
    let named_by = lookups().map(|(model, lookup)| (model, lookup.column.value.clone())).collect();
    let encodings = pipeline.deployment.store.encodings;
    let wish =
        Wish { table: named.table.clone(), columns: columns.clone(), keys, told_as, named_by, encodings };
    let found = store.forgetting(latest, &wish)?;
    let target = pipeline.deployment.target.as_ref();
    let plan = ForgetPlan {
        pipeline: pipeline.deployment.name.clone(),
        table: named.table.to_string(),
        key: columns,
        found,
        target: target.map(|target| format!("schema {} of {}", target.schema, target.url)),
        delivery: None,
        done: false,
    };
    Ok((plan, wish))
}

/// A table, the columns of its key, and all that it has.
struct Named {
    table: ModelName,
    key: Vec<String>,
    columns: Vec<String>,
}

/// The table as the newest snapshot has it that has it; or as the registry does, which remembers longer.
fn named(store: &Store, latest: &Latest, table: &str) -> Result<Named> {
    let mut known: Vec<ModelName> = latest.keys.keys().cloned().collect();
    for id in latest.snapshots.iter().rev() {
        let manifest = store.manifest(id)?;
        if let Some(record) = manifest.tables.iter().find(|record| record.name.as_str() == table) {
            let columns = record.columns.iter().map(|column| column.name.clone()).collect();
            return Ok(Named { table: record.name.clone(), key: record.memory.key.clone(), columns });
        }
        known.extend(manifest.tables.into_iter().map(|record| record.name));
    }
    if let Some((name, entry)) = latest.keys.iter().find(|(name, _)| name.as_str() == table) {
        let key = entry.shape.key.clone();
        return Ok(Named { table: name.clone(), columns: key.clone(), key });
    }
    known.sort();
    known.dedup();
    let help = match nearest(table, known.iter().map(ModelName::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its tables: {}", list(&known)),
    };
    Err(Error::new(ErrorKind::Usage, format!("no snapshot that is kept has a table `{table}`")).hint(help))
}

/// The columns that name a row, with their values: of a key of one column its value, else `column=value,column=value`. A
/// value may have commas, since only what a column's name follows begins the next one.
fn pairs(text: &str, named: &Named) -> Result<(Vec<String>, Vec<String>)> {
    match named.key.as_slice() {
        [] => {
            return Err(Error::new(ErrorKind::Usage, format!("{} has no key by which a row could be named", named.table)).hint(
                "rows of a table without a key can only be forgotten with their snapshots: `starmill snapshots prune`",
            ));
        }
        [column] => return Ok((vec![column.clone()], vec![text.to_owned()])),
        _ => {}
    }
    let mut begins: Vec<(usize, &String)> = Vec::new();
    for column in &named.columns {
        let begin = format!("{column}=");
        let at = text.match_indices(&begin).map(|(at, _)| at);
        begins.extend(
            at.filter(|at| *at == 0 || text.get(..*at).is_some_and(|before| before.ends_with(',')))
                .map(|at| (at, column)),
        );
    }
    begins.sort();
    let ends = begins.iter().skip(1).map(|(at, _)| at - 1).chain([text.len()]);
    let found: Vec<(&String, String)> = begins
        .iter()
        .zip(ends)
        .map(|((at, column), end)| {
            (*column, text.get(at + column.len() + 1..end).unwrap_or_default().to_owned())
        })
        .collect();
    let whole = begins.first().is_some_and(|(at, _)| *at == 0);
    let once = |column: &String| found.iter().filter(|(name, _)| *name == column).count() == 1;
    if !whole || !named.key.iter().all(once) || found.len() != named.key.len() {
        let wanted: Vec<String> = named.key.iter().map(|column| format!("{column}=…")).collect();
        let message = format!("`{text}` is no key of {}, which is {}", named.table, list(&named.key));
        return Err(
            Error::new(ErrorKind::Usage, message).hint(format!("write --key \"{}\"", wanted.join(",")))
        );
    }
    let value =
        |column: &String| found.iter().find(|(name, _)| *name == column).map(|(_, value)| value.clone());
    Ok((named.key.clone(), named.key.iter().filter_map(value).collect()))
}

/// Where nobody is left to forget: ends what a command that was killed had no time to, in the target too.
pub async fn settle(path: &Path) -> Result<()> {
    let deployment = pipeline::deployment(path)?;
    let writer = StoreWriter::for_command(&deployment)?;
    writer.store().forget_copies();
    if !owes_rewritten(&deployment, writer.store())? {
        return Ok(());
    }
    deliver(&deployment, &writer).await.map(drop)
}

/// Brings the target what is left.
async fn deliver(deployment: &Deployment, writer: &StoreWriter) -> Result<Option<Delivery>> {
    let Some(target) = &deployment.target else { return Ok(None) };
    let snapshot = writer.store().commit_point()?.snapshot;
    let record = Record::begin(deployment, writer.store(), Mode::Delivery);
    let delivered =
        deliver_published(deployment, target, writer.store(), Adopt::Refuse).await.map_err(|error| {
            let error = still_pending(error);
            let hint = error.help().unwrap_or_default().to_owned();
            Error::new(error.kind(), "they are forgotten in the store, but the target still has them")
                .caused_by(error)
                .hint(hint)
        });
    record.delivered(&snapshot, delivered.as_ref());
    delivered.map(Some)
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
    plan.delivery = deliver(deployment, &writer).await?;
    Ok(plan)
}
