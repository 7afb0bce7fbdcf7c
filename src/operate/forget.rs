//! Takes a person out of every kept snapshot: first the plan, then the work, then the target, which gets what is left.

use std::path::Path;

use serde::Serialize;

use super::member::{named, pairs};
use crate::error::{Error, ErrorKind, Result};
use crate::load::{Adopt, Delivery};
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
    let told_as = lookups()
        .filter(|(_, lookup)| !lookup.is_combination)
        .flat_map(|(_, lookup)| lookup.on.iter())
        .filter_map(|(column, of)| {
            Some((columns.iter().position(|known| known == column)?, of.value.clone()))
        });
    let told_as = told_as.collect();
    let named_by = lookups().map(|(model, lookup)| (model, lookup.column.value.clone())).collect();
    let encodings = pipeline.deployment.store.encodings;
    let zone = pipeline.deployment.timezone.name();
    let respelled = store.respelled(latest, &named.table, &columns, &keys, zone)?;
    let wish = Wish {
        table: named.table.clone(),
        columns: columns.clone(),
        keys,
        respelled,
        told_as,
        named_by,
        encodings,
    };
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
