//! A folder of CSV files beside a `schema.sql`: the sample on a fresh machine, an export, a test.

mod ddl;
mod held;
mod records;
mod typed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use datafusion::prelude::{cast, col};

use super::{Extracted, Order};
use crate::clock::{self, Stopwatch};
use crate::dialect::functions::array_text;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{SourceTable, quote_identifier};
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::catalog::{Catalog, Relation, RelationKind, SourceColumn};
use crate::pipeline::{Pipeline, TypePolicy};
use crate::progress::Event;
use crate::star::audit::one_number;
use crate::star::design::{Design, Read};
use crate::star::number::Number;
use crate::star::origin::{Altered, FileState, Position, ReadColumn, TableRead};
use crate::star::session::{Session, element_of, model_error, source_reference};
use crate::star::staged::StagedTable;
use crate::star::{ControlTotals, Extract};
use ddl::{DdlColumn, DdlTable, Rule};
use held::Held;
use records::open;
pub use records::value_error;
use typed::{TypedTable, raw_text};

pub struct Folder {
    path: PathBuf,
    tables: BTreeMap<SourceTable, DdlTable>,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Folder> {
        let schema = path.join("schema.sql");
        if !path.is_dir() {
            return Err(Error::new(
                ErrorKind::Source,
                format!("the source folder {} does not exist", path.display()),
            )
            .hint("give `url` in [source] a folder that exists, or postgres://…"));
        }
        let text = std::fs::read_to_string(&schema)
            .or_error(ErrorKind::Source, || format!("cannot read {}", schema.display()))
            .map_err(|error| {
                error.hint("CSV needs a schema.sql beside it: guessing types would turn money into floats")
            })?;
        let tables = ddl::parse(&text, &schema.display().to_string())?;
        let tables = tables.into_iter().map(|table| (table.name.clone(), table)).collect();
        let folder = Folder { path: path.to_owned(), tables };
        let mut files: BTreeMap<PathBuf, &SourceTable> = BTreeMap::new();
        for table in folder.tables.keys() {
            if let Some(other) = files.insert(folder.file(table), table) {
                let message = format!("{} could hold {other} or {table}", folder.file(table).display());
                return Err(
                    Error::new(ErrorKind::Fit, message).hint("leave one of the tables out of schema.sql")
                );
            }
        }
        Ok(folder)
    }

    pub fn catalog(&self, policy: &TypePolicy) -> Result<Catalog> {
        let mut relations = BTreeMap::new();
        for (name, table) in &self.tables {
            let kept = self.exported(table);
            let columns = (1..).zip(&kept).map(|(number, column)| {
                let full = format!("{name}.{}", column.name);
                let mask = policy.masks.of(&full).cloned();
                let rule = column.rule.as_ref().filter(|_| mask.is_none());
                SourceColumn {
                    name: column.name.clone(),
                    number,
                    type_name: column.type_name.to_lowercase(),
                    labels: rule.map(Rule::labels).unwrap_or_default(),
                    mapping: Mapping::of(&column.type_name, &full, policy),
                    not_null: column.not_null,
                    mask,
                }
            });
            let relation = Relation {
                kind: RelationKind::File,
                columns: columns.collect(),
                primary_key: table
                    .keys
                    .iter()
                    .find(|key| key.primary)
                    .map_or(Vec::new(), |key| key.columns.clone()),
                estimated_rows: None,
                bytes: std::fs::metadata(self.file(name)).ok().map(|meta| meta.len()),
                beneath: Vec::new(),
            };
            relations.insert(name.clone(), relation);
        }
        Ok(Catalog { relations })
    }

    /// The columns that a table's file may have. What Postgres computes itself an export leaves out.
    fn exported<'a>(&self, table: &'a DdlTable) -> Vec<&'a DdlColumn> {
        let header = || {
            let mut csv = open(&self.file(&table.name)).ok()?;
            let read = csv.advance().ok()?.then_some(0..csv.len())?;
            read.map(|index| Some(csv.field(index).ok()??.to_owned())).collect::<Option<Vec<String>>>()
        };
        match table.columns.iter().any(|column| column.generated).then(header).flatten() {
            Some(header) => {
                let kept = |column: &&DdlColumn| !column.generated || header.contains(&column.name);
                table.columns.iter().filter(kept).collect()
            }
            None => table.columns.iter().collect(),
        }
    }

    /// `table.csv` for the schema public, else `schema.table.csv`.
    fn file(&self, table: &SourceTable) -> PathBuf {
        let whole = self.path.join(format!("{}.{}.csv", table.schema, table.table));
        match table.schema == "public" && !whole.exists() {
            true => self.path.join(format!("{}.csv", table.table)),
            false => whole,
        }
    }

    /// What the rows of a table that is read are held against besides their types.
    fn held(&self, pipeline: &Pipeline, table: &SourceTable, read: &Read) -> Option<Held> {
        let zone = pipeline.deployment.timezone.name();
        Held::of(self.tables.get(table)?, &read.relation, zone, pipeline.source.types.numeric)
    }

    pub async fn require_judgeable(
        &self,
        pipeline: &Pipeline,
        design: &Design,
        session: &Session,
    ) -> Result<()> {
        for (table, read) in &design.reads {
            if let Some(held) = self.held(pipeline, table, read) {
                held.require_judgeable(session).await?;
            }
        }
        Ok(())
    }

    fn rules(&self, table: &SourceTable) -> BTreeMap<String, Rule> {
        let columns = self.tables.get(table).into_iter().flat_map(|table| &table.columns);
        columns.filter_map(|column| Some((column.name.clone(), column.rule.clone()?))).collect()
    }

    fn state(&self, table: &SourceTable) -> Result<FileState> {
        let path = self.file(table);
        let meta = std::fs::metadata(&path)
            .or_error(ErrorKind::Source, || format!("cannot read {}", path.display()))
            .map_err(|error| {
                error.hint("schema.sql declares the table; put its rows there, or remove it from the models")
            })?;
        let modified = meta.modified().ok().map(|time| DateTime::<Utc>::from(time).to_rfc3339());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(FileState { name, bytes: meta.len(), modified })
    }
}

/// Reads the files twice: once exactly into Arrow for the models, once more as raw text for the
/// controls, whose values the engine converts. So a mistake in the one shows against the other.
pub async fn extract(folder: Folder, order: Order<'_>) -> Result<Extracted> {
    let watch = Stopwatch::start();
    let states = |folder: &Folder| {
        order.design.reads.keys().map(|table| folder.state(table)).collect::<Result<Vec<_>>>()
    };
    let before = states(&folder)?;
    let position = Position::Folder { files: before.clone() };
    let at = position.at().unwrap_or_else(clock::now);
    order.session.runs_at(order.pipeline.deployment.timezone, at);
    let (mut tables, mut reads) = (BTreeMap::new(), Vec::new());
    for (table, read) in &order.design.reads {
        fault::at(Point::ExtractTable).or_error(ErrorKind::Source, || format!("cannot read {table}"))?;
        let held = folder.held(order.pipeline, table, read);
        let mut typed = TypedTable::new(
            read,
            order.pipeline.deployment.timezone.name(),
            order.pipeline.source.types.extremes,
        );
        typed.held.clone_from(&held);
        typed.rules = folder.rules(table);
        let (name, path, stage) = (table.clone(), folder.file(table), Arc::clone(order.stage));
        let task = tokio::task::spawn_blocking(move || typed.read(&name, &path, &stage));
        let (staged, altered, rows) =
            task.await.or_error(ErrorKind::Bug, || "a reader ended by itself".to_owned())??;
        if let (Some(held), Some(rows)) = (held, rows) {
            held.hold(rows, &order.session, &folder.file(table)).await?;
        }
        order.progress.tell(Event::Table { table: table.to_string(), rows: staged.rows() });
        let stored = std::fs::metadata(folder.file(table)).ok().map(|file| file.len());
        reads.push(table_read(table, read, &staged, altered, stored));
        tables.insert(table.clone(), staged);
    }
    let totals = totals(&folder, &order).await?;
    let after = states(&folder)?;
    if before != after {
        return Err(Error::new(ErrorKind::Source, "the source's files changed while they were read")
            .hint("run again when nobody writes them"));
    }
    fault::at(Point::ExtractDone).or_error(ErrorKind::Source, || "the extraction failed".to_owned())?;
    Ok(Extracted {
        extract: Extract { at, tables, unmet: BTreeSet::new(), totals },
        reads,
        position,
        held_seconds: watch.elapsed().as_secs_f64(),
    })
}

/// What was read of a table, for the report.
pub fn table_read(
    table: &SourceTable,
    read: &Read,
    staged: &StagedTable,
    altered: Altered,
    stored: Option<u64>,
) -> TableRead {
    let columns = read.columns.iter().map(|column| read.schema.field(*column).name().clone()).collect();
    let schema = read.relation.columns.iter().map(|column| ReadColumn {
        used_by: read.used_by.get(&column.name).cloned().unwrap_or_default(),
        ..ReadColumn::of(column)
    });
    TableRead {
        masked: read.masked(),
        table: table.clone(),
        columns,
        rows: staged.rows(),
        bytes: staged.bytes(),
        stored: stored.filter(|bytes| *bytes > 0),
        filter: read.filter.clone(),
        altered,
        schema: schema.collect(),
    }
}

/// The controls' source side, over the raw text of the files.
async fn totals(folder: &Folder, order: &Order<'_>) -> Result<ControlTotals> {
    let mut registered: Vec<&SourceTable> = Vec::new();
    for control in &order.design.controls {
        for table in &control.tables {
            if registered.contains(&table) {
                continue;
            }
            registered.push(table);
            let read = &order.design.reads[table];
            let (name, path, stage, declared) =
                (table.clone(), folder.file(table), Arc::clone(order.stage), read.relation.columns.clone());
            let task = tokio::task::spawn_blocking(move || raw_text(&name, &path, &declared, &stage));
            let raw = task.await.or_error(ErrorKind::Bug, || "a reader ended by itself".to_owned())??;
            let failed = |error| model_error(error, format!("cannot measure {table}"));
            let frame = order.session.context().read_table(Arc::new(raw)).map_err(failed)?;
            let casts = read.schema.fields().iter().map(|field| {
                let text = col(quote_identifier(field.name()));
                if let Some(element) = element_of(field) {
                    return array_text::read(text, element).alias(field.name());
                }
                match field.data_type() {
                    DataType::Utf8 => text,
                    data_type => cast(text, data_type.clone()).alias(field.name()),
                }
            });
            let typed = frame.select(casts.collect::<Vec<_>>()).map_err(failed)?;
            order.session.add(source_reference(table), typed.into_view())?;
        }
    }
    let mut numbers: Vec<Number> = Vec::new();
    for (control, design) in order.pipeline.controls.iter().zip(&order.design.controls) {
        let failed =
            |error| model_error(error, format!("the source side of the control \"{}\" failed", control.name));
        let plan = order.session.plan(design.engine.clone()).await.map_err(failed)?;
        let frame = order.session.context().execute_logical_plan(plan).await.map_err(failed)?;
        numbers.push(one_number(frame.collect().await.map_err(failed)?, &control.name)?);
    }
    Ok(ControlTotals(numbers))
}
