//! What a folder's rows are held against besides their types: the keys and conditions of `schema.sql`. Postgres would
//! not have taken a row that breaks one.

use crate::dialect::visit;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr, Visitor};

use super::ddl::{Check, DdlTable, Key};
use super::records::is_wide;
use crate::diagnostic::Document;
use crate::dialect::refuse::{Purpose, Setting};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{SourceTable, list, quote_identifier};
use crate::pgcopy::ValueError;
use crate::pgcopy::column::Column;
use crate::pgcopy::decode::BATCH_ROWS;
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::policy::{Decimal, Extremes};
use crate::pipeline::catalog::Relation;
use crate::pipeline::sql::{SelectSql, folded};
use crate::star::design::told;
use crate::star::session::{SOURCE, Session, model_error};
use crate::star::staged::{PartWriter, Stage, StagedTable};

/// Where the lines of the file are kept: no column of Postgres's is called so by accident.
const LINE: &str = " line";
/// The schema, among the source's, of what is held.
const HELD: &str = " held";

/// The columns of a table that its keys and conditions are about.
#[derive(Debug, Clone)]
pub struct Held {
    table: SourceTable,
    keys: Vec<Key>,
    checks: Vec<Check>,
    /// A key of which equal values may be written in several ways, and the type that lets them.
    unheld: Option<(String, String)>,
    pub columns: Vec<(String, Mapping)>,
    schema: SchemaRef,
    /// What a numeric without a precision travels as.
    numeric: (u8, i8),
}

/// Types of which one value is written in several ways: `1 day` and `24:00:00`.
fn is_spelled_freely(type_name: &str) -> bool {
    let names = [
        "jsonb",
        "citext",
        "interval",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "timetz",
        "time with time zone",
        "xml",
    ];
    let bare = type_name.split('(').next().unwrap_or(type_name).trim();
    names.contains(&bare) || type_name.ends_with("[]") || type_name.ends_with("range")
}

impl Held {
    /// None for a table that asks for nothing.
    pub fn of(table: &DdlTable, relation: &Relation, zone: &str, numeric: Decimal) -> Option<Held> {
        // What is masked is held against nothing that needs its values.
        let has = |name: &String| relation.column(name).is_some_and(|column| column.mask.is_none());
        let keys: Vec<Key> = table.keys.iter().filter(|key| key.columns.iter().all(has)).cloned().collect();
        let mut names: BTreeSet<String> = keys.iter().flat_map(|key| key.columns.clone()).collect();
        let mut checks = Vec::new();
        for check in &table.checks {
            let named = columns_of(&check.condition, table);
            // One about what Postgres computes itself holds where Postgres computed it.
            if named.iter().all(has) {
                names.extend(named);
                checks.push(check.clone());
            }
        }
        let of = |name: &String| {
            let column = relation.column(name)?;
            let mapping = *column.mapping.as_ref().unwrap_or(&Mapping::TextForm);
            let field = Field::new(name, mapping.arrow_type(zone), true);
            Some(((name.clone(), mapping), told(field, mapping, column)))
        };
        let (columns, fields): (Vec<(String, Mapping)>, Vec<Field>) = names.iter().filter_map(of).unzip();
        if keys.is_empty() && checks.is_empty() {
            return None;
        }
        let unheld = keys.iter().find_map(|key| {
            let types = key.columns.iter().filter_map(|name| relation.column(name));
            let freely = |type_name: &&str| is_spelled_freely(type_name);
            let type_name = types.map(|column| column.type_name.as_str()).find(freely)?;
            Some((key.name.clone(), type_name.to_owned()))
        });
        let line = Field::new(LINE, DataType::Int64, false);
        let fields: Vec<Field> = fields.into_iter().chain([line]).collect();
        Some(Held {
            table: table.name.clone(),
            keys,
            checks,
            unheld,
            columns,
            schema: Arc::new(Schema::new(fields)),
            numeric: (numeric.precision, numeric.scale),
        })
    }

    fn reference(&self) -> TableReference {
        TableReference::full(SOURCE, HELD, self.table.to_string())
    }

    /// Whether every condition is one that is answered here as Postgres answers it.
    pub async fn require_judgeable(&self, session: &Session) -> Result<()> {
        let empty = MemTable::try_new(Arc::clone(&self.schema), vec![Vec::new()]);
        let empty = empty.or_error(ErrorKind::Bug, || self.table.to_string())?;
        session.add(self.reference(), Arc::new(empty))?;
        for check in &self.checks {
            self.broken_rows(check, session).await?;
        }
        match &self.unheld {
            None => Ok(()),
            Some((key, type_name)) => {
                let message = format!(
                    "schema.sql: the key {key} of {} is over {type_name}, of which equal values are written in several ways",
                    self.table
                );
                Err(Error::new(ErrorKind::Fit, message).hint(
                    "leave it out of schema.sql if the rows are known to keep it: it cannot be held here",
                ))
            }
        }
    }

    /// Holds the rows against the keys and conditions; the first that breaks one is told with its line.
    pub async fn hold(&self, rows: StagedTable, session: &Session, path: &Path) -> Result<()> {
        session.add(self.reference(), Arc::new(rows))?;
        for key in &self.keys {
            let names: Vec<String> = key.columns.iter().map(|name| quote_identifier(name)).collect();
            let line = quote_identifier(LINE);
            let whole: Vec<String> = match key.nulls_distinct {
                true => names.iter().map(|name| format!("{name} IS NOT NULL")).collect(),
                false => vec!["true".to_owned()],
            };
            let sql = format!(
                "SELECT min({line}), max({line}) FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1 ORDER BY 1 LIMIT 1",
                self.reference().to_quoted_string(),
                whole.join(" AND "),
                names.join(", ")
            );
            let failed = |error| {
                model_error(error, format!("cannot hold {} against its key {}", self.table, key.name))
            };
            let plan = session.plan_text(&sql).await.map_err(failed)?;
            if let Some(lines) = self.first(plan, session, &failed).await? {
                let message = format!(
                    "{}:{}: the same {} stands in line {}, and {} is unique ({})",
                    path.display(),
                    lines[1],
                    list(&key.columns),
                    lines[0],
                    if key.columns.len() == 1 { "it" } else { "their combination" },
                    key.name
                );
                return Err(Error::new(ErrorKind::Fit, message)
                    .hint("remove one of the rows, or correct the key in schema.sql"));
            }
        }
        for check in &self.checks {
            let failed = |error| {
                model_error(error, format!("cannot hold {} against its check {}", self.table, check.name))
            };
            let plan = self.broken_rows(check, session).await?;
            if let Some(lines) = self.first(plan, session, &failed).await? {
                let message = format!(
                    "{}:{}: this row breaks the check {} of {}",
                    path.display(),
                    lines[0],
                    check.name,
                    self.table
                );
                return Err(Error::new(ErrorKind::Fit, message)
                    .caused_by(format!("CHECK ({})", check.condition))
                    .hint("correct the row, or the check in schema.sql"));
            }
        }
        Ok(())
    }

    async fn first(
        &self,
        plan: LogicalPlan,
        session: &Session,
        failed: &impl Fn(datafusion::error::DataFusionError) -> Error,
    ) -> Result<Option<Vec<i64>>> {
        let frame = session.context().execute_logical_plan(plan).await.map_err(failed)?;
        let batches: Vec<RecordBatch> = frame.collect().await.map_err(failed)?;
        let row = batches.iter().find(|batch| batch.num_rows() > 0);
        Ok(row.and_then(|batch| {
            let lines = batch.columns().iter().map(|column| column.as_primitive_opt::<Int64Type>());
            lines
                .map(|column| column.filter(|column| column.is_valid(0)).map(|column| column.value(0)))
                .collect()
        }))
    }

    /// The plan of the first row that breaks a condition.
    async fn broken_rows(&self, check: &Check, session: &Session) -> Result<LogicalPlan> {
        let unjudged = |cause: String| {
            Error::new(
                ErrorKind::Fit,
                format!("schema.sql: the check {} of {} cannot be judged here", check.name, self.table),
            )
            .caused_by(cause)
            .hint("leave it out of schema.sql if the rows are known to keep it")
        };
        let text =
            format!("SELECT min({}) FROM held WHERE NOT ({})", quote_identifier(LINE), check.condition);
        let document = Document::new("schema.sql", text);
        let in_words = |found: Vec<crate::diagnostic::Diagnostic>| {
            let help = found.first().and_then(|first| first.help.clone());
            let first = found.first().map(|first| first.message.clone()).unwrap_or_default();
            help.map_or(first.clone(), |help| format!("{first}: {help}"))
        };
        let sql = SelectSql::question(document).map_err(|found| unjudged(in_words(found)))?;
        let reference = self.reference();
        let statement = sql
            .rewritten(&mut |_| Some(vec![SOURCE.to_owned(), HELD.to_owned(), reference.table().to_owned()]));
        let plan = session.plan(statement).await.map_err(|error| unjudged(error.strip_backtrace()))?;
        let setting = Setting { purpose: Purpose::Model, numeric: self.numeric, allow: &[] };
        let refused = session.refused(&plan, setting).map_err(|error| unjudged(error.strip_backtrace()))?;
        match refused.into_iter().next() {
            Some(finding) => Err(unjudged(finding.message)),
            None => Ok(plan),
        }
    }
}

/// The table's columns that a condition names.
fn columns_of(condition: &Expr, table: &DdlTable) -> BTreeSet<String> {
    struct Names<'a>(&'a DdlTable, BTreeSet<String>);
    impl Visitor for Names<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let name = match expr {
                Expr::Identifier(name) => Some(name),
                Expr::CompoundIdentifier(names) => names.last(),
                _ => None,
            };
            let name =
                name.map(folded).filter(|name| self.0.columns.iter().any(|column| column.name == *name));
            self.1.extend(name);
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(table, BTreeSet::new());
    let _ = visit::see(condition, &mut names);
    names.1
}

/// The rows of a file as their keys and conditions see them, while it is read.
pub struct HeldRows {
    fields: Vec<usize>,
    names: Vec<String>,
    columns: Vec<Column>,
    lines: Vec<i64>,
    schema: SchemaRef,
    writer: PartWriter,
}

impl HeldRows {
    pub fn new(
        held: &Held,
        header: &[String],
        stage: &Arc<Stage>,
        zone: &str,
        extremes: Extremes,
    ) -> HeldRows {
        let place = |name: &String| header.iter().position(|known| known == name);
        let column = |mapping: &Mapping| Column::new(*mapping, zone, extremes, BATCH_ROWS);
        HeldRows {
            fields: held.columns.iter().filter_map(|(name, _)| place(name)).collect(),
            names: held.columns.iter().map(|(name, _)| name.clone()).collect(),
            columns: held.columns.iter().map(|(_, mapping)| column(mapping)).collect(),
            lines: Vec::new(),
            schema: Arc::clone(&held.schema),
            writer: PartWriter::new(stage, Arc::clone(&held.schema)),
        }
    }

    /// Takes the values of the record at hand.
    pub fn push<'a>(
        &mut self,
        line: u64,
        value: impl Fn(usize, &str) -> Result<Option<&'a str>>,
        wrong: impl Fn(ValueError, &str) -> Error,
    ) -> Result<()> {
        for ((column, field), name) in self.columns.iter_mut().zip(&self.fields).zip(&self.names) {
            match value(*field, name)? {
                Some(text) => column.push_text(text).map_err(|error| wrong(error, name))?,
                None => column.push_null(),
            }
        }
        self.lines.push(i64::try_from(line).unwrap_or(i64::MAX));
        if self.lines.len() == BATCH_ROWS || is_wide(&self.columns) {
            self.cut()?;
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        let (rows, bug) = (self.lines.len(), || "a batch of keys".to_owned());
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for column in &mut self.columns {
            arrays.push(column.finish(rows).or_error(ErrorKind::Bug, bug)?);
        }
        arrays.push(Arc::new(Int64Array::from(std::mem::take(&mut self.lines))));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).or_error(ErrorKind::Bug, bug)?;
        self.writer.write(batch)
    }

    pub fn finish(mut self) -> Result<StagedTable> {
        if !self.lines.is_empty() {
            self.cut()?;
        }
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        Ok(StagedTable::new(Arc::clone(&self.schema), &all, vec![self.writer.finish()?]))
    }
}
