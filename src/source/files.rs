//! A folder of CSV files beside a `schema.sql`: the sample on a fresh machine, an export, a test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::prelude::{cast, col};

use super::{Extracted, Order, ddl};
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{SourceTable, list, quote_identifier};
use crate::pgcopy::ValueError;
use crate::pgcopy::column::Column;
use crate::pgcopy::csv::{CsvError, CsvReader};
use crate::pgcopy::decode::BATCH_ROWS;
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::policy::Extremes;
use crate::pipeline::TypePolicy;
use crate::pipeline::catalog::{Catalog, Relation, RelationKind, SourceColumn};
use crate::progress::Event;
use crate::star::audit::one_number;
use crate::star::design::Read;
use crate::star::number::Number;
use crate::star::origin::{Altered, FileState, Position, ReadColumn, TableRead};
use crate::star::session::{model_error, source_reference};
use crate::star::staged::{PartWriter, Stage, StagedTable};
use crate::star::{ControlTotals, Extract};

pub struct Folder {
    path: PathBuf,
    tables: Vec<ddl::DdlTable>,
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
        Ok(Folder { path: path.to_owned(), tables })
    }

    pub fn catalog(&self, policy: &TypePolicy) -> Result<Catalog> {
        let mut relations = BTreeMap::new();
        for table in &self.tables {
            let name = SourceTable::new("public", table.name.as_str());
            let columns = (1..).zip(&table.columns).map(|(number, column)| SourceColumn {
                name: column.name.clone(),
                number,
                type_name: column.type_name.to_lowercase(),
                mapping: Mapping::of(&column.type_name, &format!("{name}.{}", column.name), policy),
                not_null: column.not_null,
            });
            let relation = Relation {
                kind: RelationKind::File,
                columns: columns.collect(),
                estimated_rows: None,
                bytes: std::fs::metadata(self.file(&name)).ok().map(|meta| meta.len()),
                beneath: Vec::new(),
            };
            relations.insert(name, relation);
        }
        Ok(Catalog { relations })
    }

    fn file(&self, table: &SourceTable) -> PathBuf {
        self.path.join(format!("{}.csv", table.table))
    }

    fn state(&self, table: &SourceTable) -> Result<FileState> {
        let path = self.file(table);
        let meta = std::fs::metadata(&path)
            .or_error(ErrorKind::Source, || format!("cannot read {}", path.display()))
            .map_err(|error| {
                error.hint("schema.sql declares the table; put its rows there, or remove it from the models")
            })?;
        let modified = meta.modified().ok().map(|time| DateTime::<Utc>::from(time).to_rfc3339());
        Ok(FileState { name: format!("{}.csv", table.table), bytes: meta.len(), modified })
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
    let (mut tables, mut reads) = (BTreeMap::new(), Vec::new());
    for (table, read) in &order.design.reads {
        fault::at(Point::ExtractTable).or_error(ErrorKind::Source, || format!("cannot read {table}"))?;
        let typed = TypedTable::new(
            read,
            order.pipeline.deployment.timezone.name(),
            order.pipeline.source.types.extremes,
        );
        let (name, path, stage) = (table.clone(), folder.file(table), Arc::clone(order.stage));
        let task = tokio::task::spawn_blocking(move || typed.read(&name, &path, &stage));
        let (staged, altered) =
            task.await.or_error(ErrorKind::Bug, || "a reader ended by itself".to_owned())??;
        order.progress.tell(Event::Table { table: table.to_string(), rows: staged.rows() });
        reads.push(table_read(table, read, &staged, altered));
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
        extract: Extract { tables, totals },
        reads,
        position: Position::Folder { files: before },
        held_seconds: watch.elapsed().as_secs_f64(),
    })
}

/// What was read of a table, for the report.
pub fn table_read(table: &SourceTable, read: &Read, staged: &StagedTable, altered: Altered) -> TableRead {
    let columns = read.columns.iter().map(|column| read.schema.field(*column).name().clone()).collect();
    let schema = read.relation.columns.iter().map(|column| ReadColumn {
        used_by: read.used_by.get(&column.name).cloned().unwrap_or_default(),
        ..ReadColumn::of(column)
    });
    TableRead {
        table: table.clone(),
        columns,
        rows: staged.rows(),
        bytes: staged.bytes(),
        filter: read.filter.clone(),
        altered,
        schema: schema.collect(),
    }
}

/// The columns that the models use, each with its mapping.
struct TypedTable {
    whole: SchemaRef,
    positions: Vec<usize>,
    columns: Vec<(String, Mapping, bool)>,
    declared: Vec<String>,
    zone: String,
    extremes: Extremes,
}

impl TypedTable {
    fn new(read: &Read, zone: &str, extremes: Extremes) -> TypedTable {
        let columns = read.columns.iter().filter_map(|position| {
            let name = read.schema.field(*position).name();
            let column = read.relation.column(name)?;
            Some((name.clone(), column.mapping.clone().ok()?, column.not_null))
        });
        TypedTable {
            columns: columns.collect(),
            whole: Arc::clone(&read.schema),
            positions: read.columns.clone(),
            declared: read.relation.columns.iter().map(|column| column.name.clone()).collect(),
            zone: zone.to_owned(),
            extremes,
        }
    }

    fn read(&self, table: &SourceTable, path: &Path, stage: &Arc<Stage>) -> Result<(StagedTable, Altered)> {
        let mut csv = open(path)?;
        let header = header(&mut csv, path, &self.declared)?;
        let fields: Vec<usize> =
            self.columns.iter().filter_map(|(name, ..)| header.iter().position(|h| h == name)).collect();
        let schema =
            Arc::new(self.whole.project(&self.positions).or_error(ErrorKind::Bug, || table.to_string())?);
        let mut columns: Vec<Column> = self
            .columns
            .iter()
            .map(|(_, mapping, _)| Column::new(*mapping, &self.zone, self.extremes, BATCH_ROWS))
            .collect();
        let mut writer = PartWriter::new(stage, Arc::clone(&schema));
        let mut rows = 0;
        while advance(&mut csv, path)? {
            check_width(&csv, header.len(), path)?;
            for ((column, field), (name, _, not_null)) in columns.iter_mut().zip(&fields).zip(&self.columns) {
                match csv.field(*field).map_err(|error| csv_error(error, path))? {
                    None if *not_null => {
                        return Err(Error::new(
                            ErrorKind::Fit,
                            format!(
                                "{}:{}: {name} is NULL, but declared NOT NULL",
                                path.display(),
                                csv.line()
                            ),
                        )
                        .hint("an unquoted empty field is NULL; write \"\" for the empty string"));
                    }
                    None => column.push_null(),
                    Some(text) => column
                        .push_text(text)
                        .map_err(|error| value_error(error, table, name, Some((path, csv.line()))))?,
                }
            }
            rows += 1;
            if rows == BATCH_ROWS || is_wide(&columns) {
                writer.write(cut(&schema, &mut columns, rows)?)?;
                rows = 0;
            }
        }
        if rows > 0 {
            writer.write(cut(&schema, &mut columns, rows)?)?;
        }
        let counted = self.columns.iter().zip(&columns).filter(|(_, column)| column.altered() > 0);
        let altered = counted.map(|((name, ..), column)| (name.clone(), column.altered())).collect();
        Ok((StagedTable::new(Arc::clone(&self.whole), &self.positions, vec![writer.finish()?]), altered))
    }
}

/// Texts of this size are cut into a batch early, so that wide values don't pile up.
fn is_wide(columns: &[Column]) -> bool {
    columns.iter().map(Column::pending_bytes).sum::<usize>() >= 8 << 20
}

fn cut(schema: &SchemaRef, columns: &mut [Column], rows: usize) -> Result<arrow::array::RecordBatch> {
    let arrays =
        columns.iter_mut().map(|column| column.finish(rows)).collect::<std::result::Result<_, ValueError>>();
    // The reader has seen to it that every record is UTF-8.
    let arrays = arrays.or_error(ErrorKind::Bug, || "a text".to_owned())?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    arrow::array::RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .or_error(ErrorKind::Bug, || "a batch".to_owned())
}

/// A value that doesn't fit, with its table, column, place and the line that helps.
pub fn value_error(
    error: ValueError,
    table: &SourceTable,
    column: &str,
    place: Option<(&Path, u64)>,
) -> Error {
    let message = match place {
        Some((path, line)) => format!("{}:{line}: {table}.{column}: {error}", path.display()),
        None => format!("{table}.{column}: {error}"),
    };
    let ours = Error::new(ErrorKind::Fit, message);
    match error.remedy {
        Some(remedy) if remedy.starts_with("as = ") => {
            ours.hint(format!("set below [source.columns]: \"{table}.{column}\" = {{ {remedy} }}"))
        }
        Some(remedy) => ours.hint(remedy),
        None => ours.hint("correct the value in the source"),
    }
}

fn open(path: &Path) -> Result<CsvReader<BufReader<File>>> {
    let file = File::open(path).or_error(ErrorKind::Source, || format!("cannot read {}", path.display()))?;
    Ok(CsvReader::new(BufReader::with_capacity(1 << 18, file)))
}

fn advance(csv: &mut CsvReader<BufReader<File>>, path: &Path) -> Result<bool> {
    csv.advance().map_err(|error| csv_error(error, path))
}

fn csv_error(error: CsvError, path: &Path) -> Error {
    match error {
        CsvError::Io(error) => {
            Error::new(ErrorKind::Source, format!("cannot read {}", path.display())).caused_by(error)
        }
        CsvError::OpenQuote(line) => Error::new(
            ErrorKind::Fit,
            format!("{}:{line}: a quote opens here and never closes", path.display()),
        )
        .hint("double a quote that belongs to the value: \"\""),
        CsvError::NotUtf8(line) => {
            Error::new(ErrorKind::Fit, format!("{}:{line}: this record is not UTF-8", path.display()))
                .hint("export the file in UTF-8")
        }
    }
}

fn check_width(csv: &CsvReader<BufReader<File>>, expected: usize, path: &Path) -> Result<()> {
    if csv.len() == expected {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Fit,
        format!("{}:{}: {} fields, but the header has {expected}", path.display(), csv.line(), csv.len()),
    )
    .hint("quote values that hold commas or newlines"))
}

/// The header, which names every declared column and no other.
fn header(csv: &mut CsvReader<BufReader<File>>, path: &Path, declared: &[String]) -> Result<Vec<String>> {
    if !advance(csv, path)? {
        return Err(Error::new(ErrorKind::Fit, format!("{} is empty: not even a header", path.display()))
            .hint(format!("its first line names the columns: {}", declared.join(","))));
    }
    let mut names = Vec::new();
    for index in 0..csv.len() {
        let name = csv.field(index).map_err(|error| csv_error(error, path))?.unwrap_or_default();
        names.push(name.trim_start_matches('\u{feff}').to_owned());
    }
    let missing: Vec<&String> = declared.iter().filter(|name| !names.contains(name)).collect();
    let unknown: Vec<&String> = names.iter().filter(|name| !declared.contains(name)).collect();
    if missing.is_empty() && unknown.is_empty() && names.len() == declared.len() {
        return Ok(names);
    }
    let mut message = format!("{}:1: the header does not fit schema.sql", path.display());
    if !missing.is_empty() {
        message.push_str(&format!("; missing: {}", list(missing)));
    }
    if !unknown.is_empty() {
        message.push_str(&format!("; not declared: {}", list(unknown)));
    }
    Err(Error::new(ErrorKind::Fit, message).hint("declare the columns that the file has, in schema.sql"))
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
            let (path, stage, declared) =
                (folder.file(table), Arc::clone(order.stage), read.relation.columns.clone());
            let task = tokio::task::spawn_blocking(move || raw_text(&path, &declared, &stage));
            let raw = task.await.or_error(ErrorKind::Bug, || "a reader ended by itself".to_owned())??;
            let failed = |error| model_error(error, format!("cannot measure {table}"));
            let frame = order.session.context().read_table(Arc::new(raw)).map_err(failed)?;
            let casts = read.schema.fields().iter().map(|field| {
                let text = col(quote_identifier(field.name()));
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

/// All columns of a file as the text that stands there.
fn raw_text(path: &Path, declared: &[SourceColumn], stage: &Arc<Stage>) -> Result<StagedTable> {
    let names: Vec<String> = declared.iter().map(|column| column.name.clone()).collect();
    let mut csv = open(path)?;
    let header = header(&mut csv, path, &names)?;
    let fields: Vec<Field> = header.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut columns: Vec<Column> =
        header.iter().map(|_| Column::new(Mapping::Text, "UTC", Extremes::EXACT, BATCH_ROWS)).collect();
    let mut writer = PartWriter::new(stage, Arc::clone(&schema));
    let mut rows = 0;
    let mut more = true;
    while more {
        more = advance(&mut csv, path)?;
        if more {
            check_width(&csv, header.len(), path)?;
            for (index, column) in columns.iter_mut().enumerate() {
                match csv.field(index).map_err(|error| csv_error(error, path))? {
                    Some(text) => column.push_text(text).map_err(|error| {
                        Error::new(ErrorKind::Bug, format!("{}: {error}", path.display()))
                    })?,
                    None => column.push_null(),
                }
            }
            rows += 1;
        }
        if rows == BATCH_ROWS || (rows > 0 && (!more || is_wide(&columns))) {
            writer.write(cut(&schema, &mut columns, rows)?)?;
            rows = 0;
        }
    }
    let all: Vec<usize> = (0..header.len()).collect();
    Ok(StagedTable::new(schema, &all, vec![writer.finish()?]))
}
