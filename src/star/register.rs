//! The registry of one model during a build: what its keys were given before, and what this run
//! gives for the first time. Surrogates are given in business-key order, and never again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, Int64Type, Schema, SchemaRef};
use datafusion::catalog::TableProvider;

use super::contract::TableContract;
use super::design::ModelDesign;
use super::memory::Memory;
use super::schema::publish_batch;
use super::staged::{require_folder, schema_only};
use super::table::{Provenance, StarTable, TableWriter};
use super::{Edited, Registration, Registry, shelf};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Encodings;
use crate::pipeline::model::Model;

pub struct Registrar<'a> {
    model: &'a Model,
    /// Columns of a history that the model gives no more.
    kept: Vec<String>,
    raw: SchemaRef,
    edited: Edited,
    numbers: Vec<StarTable>,
    zone: &'static str,
    memory: Memory,
    /// The registry as a session sees it, and as its files hold it.
    schema: SchemaRef,
    published: SchemaRef,
    known: Vec<StarTable>,
    highest: i64,
    folder: PathBuf,
    writer: Option<TableWriter>,
}

/// What tonight's rows are held against.
pub struct Known {
    pub memory: Memory,
    /// What the model's SELECT gives.
    pub raw: SchemaRef,
    pub highest: i64,
    pub edited: Edited,
    /// Columns of a history that the model gives no more.
    pub kept: Vec<String>,
    /// What members were called before they had a history.
    pub numbers: Option<Arc<dyn TableProvider>>,
}

impl<'a> Registrar<'a> {
    /// `folder` is the star's; new registrations are written below it until they are published.
    pub fn new(
        model: &'a Model,
        design: &ModelDesign,
        registry: Registry,
        folder: &Path,
        zone: &'static str,
    ) -> Registrar<'a> {
        let memory = design.contract.memory.clone();
        let (mut schema, mut published) =
            (memory.registry_schema(&design.raw, zone), memory.published_schema(&design.raw, zone));
        let mut kept = Vec::new();
        if memory.history.is_some() {
            // What the model gave once, and gives no more, is kept as it was.
            let fields = registry.tables.iter().rev().flat_map(|table| table.schema().fields());
            let mut given: Vec<FieldRef> = published.fields().iter().cloned().collect();
            for field in fields {
                if given.iter().all(|known| known.name() != field.name()) {
                    kept.push(Arc::clone(field));
                    given.push(Arc::clone(field));
                }
            }
            (schema, published) = (with(&schema, &kept), with(&published, &kept));
        }
        let tables = registry.tables.into_iter();
        let known = tables.map(|table| {
            let contract = table.contract.with_schema(Arc::clone(&schema));
            StarTable { contract, ..table }
        });
        let known = known.collect();
        Registrar {
            model,
            kept: kept.iter().map(|field| field.name().clone()).collect(),
            raw: Arc::clone(&design.raw),
            edited: registry.restatement,
            numbers: registry.numbers,
            zone,
            memory,
            schema,
            published,
            known,
            highest: registry.highest,
            folder: folder.join(".keys").join(model.name.as_str()),
            writer: None,
        }
    }

    /// What was given before this run.
    pub fn known(&self) -> Arc<dyn TableProvider> {
        match self.known.is_empty() {
            true => schema_only(Arc::clone(&self.schema)),
            false => shelf::union(&self.known, self.zone),
        }
    }

    /// All that the SQL of what is new depends on.
    pub fn known_so_far(&self) -> Known {
        Known {
            memory: self.memory.clone(),
            raw: Arc::clone(&self.raw),
            highest: self.highest,
            edited: self.edited,
            kept: self.kept.clone(),
            numbers: (!self.numbers.is_empty()).then(|| shelf::union(&self.numbers, self.zone)),
        }
    }

    /// The registry's columns, in its files' order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// Writes down rows that are registered for the first time.
    pub fn keep(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.writer.is_none() {
            require_folder(&self.folder)?;
            let path = self.folder.join("part-0.parquet");
            // Nobody but starmill reads it.
            self.writer =
                Some(TableWriter::create(&path, &self.published, &self.memory.key, Encodings::Delta)?);
        }
        if let Some(given) = self.memory.surrogate.as_ref().and_then(|name| rows.column_by_name(name)) {
            let given = given.as_primitive::<Int64Type>().iter().flatten().max();
            self.highest = self.highest.max(given.unwrap_or_default());
        }
        let rows = publish_batch(rows, &self.published).map_err(|reason| {
            Error::new(ErrorKind::Model, format!("a key of {} overflows", self.model.name)).caused_by(reason)
        })?;
        match &mut self.writer {
            Some(writer) => writer.write(rows),
            None => Ok(()),
        }
    }

    /// What this run gave, and the whole registry with it; none when nothing was new.
    pub fn finish(mut self) -> Result<Option<(Registration, Arc<dyn TableProvider>)>> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let file = writer.finish()?;
        let registration = Registration {
            model: self.model.name.clone(),
            folder: self.folder.clone(),
            file: file.clone(),
            highest: self.highest,
        };
        let new = StarTable {
            contract: Arc::new(TableContract::of_registry(&self.model.name, self.schema)),
            folder: self.folder,
            files: vec![file],
            provenance: Provenance::Written,
        };
        self.known.push(new);
        Ok(Some((registration, shelf::union(&self.known, self.zone))))
    }
}

fn with(schema: &Schema, further: &[FieldRef]) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().chain(further).cloned().collect::<Vec<_>>()))
}
