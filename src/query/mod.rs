//! Questions about a published star, in SQL. Nothing is written, and nothing that is not kept is read.
//!
//! The star's tables have their own names; `starmill.runs`, `starmill.tables` and `starmill.controls`
//! tell of the runs.

mod history;
pub mod statements;
pub mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::diagnostic::{Diagnostic, Document};
use crate::dialect::Purpose;
use crate::dialect::refuse::Setting;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{SnapshotId, nearest};
use crate::pipeline::sql::{Relation, SelectSql};
use crate::pipeline::{self, Deployment};
use crate::run::readers_engine;
use crate::star::contract::ColumnNote;
use crate::star::session::{Effort, STAR, Session, model_error, plan_diagnostics, star_reference};
use crate::star::shelf;
use crate::store::{Published, Scratch, Store};

pub use history::HISTORY;

/// The schema of the tables that tell of the runs.
pub const OURS: &str = "starmill";

/// The decimal of a numeric without a declared precision, unless the pipeline says otherwise.
const UNDECLARED: (u8, i8) = (38, 10);

/// A published star, opened for questions.
pub struct Reading {
    deployment: Deployment,
    store: Store,
    published: Published,
    session: Session,
    /// Where large sorts and joins spill; gone with the reading.
    _scratch: Scratch,
}

/// The rows that answer a question, as they come.
pub struct Answer {
    pub schema: SchemaRef,
    pub rows: SendableRecordBatchStream,
}

/// A table that can be asked about.
pub struct Listed {
    /// As it is written in a question.
    pub name: String,
    pub role: String,
    pub rows: Option<u64>,
    pub schema: SchemaRef,
    /// What is known of its columns besides their types.
    pub notes: BTreeMap<String, ColumnNote>,
}

impl Reading {
    /// Opens the published snapshot, or another that is kept. Readers keep it while they read: a
    /// snapshot is only pruned some time after it was superseded.
    pub fn open(path: &Path, at: Option<&str>) -> Result<Reading> {
        let deployment = pipeline::deployment(path)?;
        let store = Store::there(&deployment)?;
        let id = match at {
            Some(reference) => store.find(reference, deployment.timezone)?,
            None => store.commit_point()?.snapshot,
        };
        let published = store.snapshot(&id)?;
        let (scratch, runtime) = readers_engine(&deployment)?;
        let session = Session::new(deployment.timezone, &runtime, Effort::Full)?;
        let manifest = &published.manifest;
        session.runs_at(deployment.timezone, manifest.position.at().unwrap_or(manifest.created_at));
        for table in &published.star.tables {
            session.add(star_reference(table.name()), shelf::provider(table, deployment.timezone.name()))?;
        }
        Ok(Reading { deployment, store, published, session, _scratch: scratch })
    }

    pub fn snapshot(&self) -> &SnapshotId {
        &self.published.star.snapshot
    }

    pub fn pipeline(&self) -> &str {
        &self.deployment.name
    }

    /// Every table that can be asked about.
    pub fn tables(&self) -> Vec<Listed> {
        let star = &self.published.star;
        let ours = HISTORY.iter().map(|table| Listed {
            name: format!("{OURS}.{}", table.name),
            role: "history".to_owned(),
            rows: None,
            schema: table.schema(),
            notes: BTreeMap::new(),
        });
        let published = star.tables.iter().map(|table| Listed {
            name: table.name().to_string(),
            role: table.contract.role.clone(),
            rows: Some(table.rows()),
            schema: table.schema().clone(),
            notes: table.contract.notes.clone(),
        });
        published.chain(ours).collect()
    }

    /// Plans and starts one SELECT.
    pub async fn ask(&self, text: &str) -> Result<Answer> {
        let document = Document::new("query", text);
        let sql = SelectSql::question(document).map_err(refused)?;
        let mut unknown = Vec::new();
        let mut asked = Vec::new();
        let statement = sql.rewritten(&mut |relation| match self.target(relation) {
            Ok(target) => {
                if target[1] == OURS {
                    asked.push(relation.table.clone());
                }
                Some(target)
            }
            Err(diagnostic) => {
                unknown.push(diagnostic.at(&sql.document, relation.span.clone()));
                None
            }
        });
        if !unknown.is_empty() {
            return Err(refused(unknown));
        }
        for table in HISTORY.iter().filter(|table| asked.iter().any(|name| name == table.name)) {
            self.session.add(TableReference::full(STAR, OURS, table.name), table.read(&self.store)?)?;
        }
        let plan = self.session.plan(statement).await;
        let plan = plan.map_err(|error| refused(plan_diagnostics(&error, &sql)))?;
        let setting =
            Setting { purpose: Purpose::Question, numeric: UNDECLARED, allow: &self.deployment.allow };
        let found = self.session.refused(&plan, setting);
        let found = found.map_err(|error| refused(plan_diagnostics(&error, &sql)))?;
        if !found.is_empty() {
            return Err(refused(found.into_iter().map(|finding| sql.refused(finding)).collect()));
        }
        let failed = |error| model_error(error, "the query failed".to_owned());
        let frame = self.session.context().execute_logical_plan(plan).await.map_err(failed)?;
        let rows = frame.execute_stream().await.map_err(failed)?;
        let rows = named(rows);
        Ok(Answer { schema: rows.schema(), rows })
    }

    /// The engine's name of a table that a question names.
    fn target(&self, relation: &Relation) -> Result<Vec<String>, Diagnostic> {
        let full = |schema: &str| Ok(vec![STAR.to_owned(), schema.to_owned(), relation.table.clone()]);
        let published =
            || self.published.star.tables.iter().any(|table| table.name().as_str() == relation.table);
        match relation.schema.as_deref() {
            None if published() => full("star"),
            Some(OURS) if HISTORY.iter().any(|table| table.name == relation.table) => full(OURS),
            _ => {
                let asked = match &relation.schema {
                    Some(schema) => format!("{schema}.{}", relation.table),
                    None => relation.table.clone(),
                };
                let valid: Vec<String> = self.tables().into_iter().map(|table| table.name).collect();
                let help = match nearest(&asked, valid.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("tables here: {}", valid.join(", ")),
                };
                Err(Diagnostic::error(format!("there is no table {asked} in this snapshot")).help(help))
            }
        }
    }
}

/// The rows under headings without the engine's own names of the tables.
fn named(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let bare = |field: &Arc<Field>| {
        let name = field.name().replace("star.star.", "").replace("star.starmill.", "starmill.");
        Arc::new(field.as_ref().clone().with_name(name))
    };
    let named: SchemaRef = Arc::new(Schema::new(schema.fields().iter().map(bare).collect::<Vec<_>>()));
    let to = named.clone();
    let rows = rows.map(move |batch| {
        let batch = batch?;
        // A batch without columns still has a number of rows.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(to.clone(), batch.columns().to_vec(), &options)?)
    });
    Box::pin(RecordBatchStreamAdapter::new(named, rows))
}

fn refused(found: Vec<Diagnostic>) -> Error {
    Error::new(ErrorKind::Usage, "the query was not run").with_diagnostics(found)
}

/// An engine's error while the rows came.
pub fn failed(error: datafusion::error::DataFusionError) -> Error {
    model_error(error, "the query failed".to_owned())
}
