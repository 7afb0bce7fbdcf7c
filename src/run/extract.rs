//! Tables of the source taken as they are, as of one instant: into Parquet, or only looked through.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::plan::{not_denied, plan};
use crate::clock::{self, Stopwatch};
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{RunId, SourceTable, nearest};
use crate::pipeline::catalog::{Catalog, Relation};
use crate::pipeline::{self, Pipeline, mistakes};
use crate::progress::{Event, Progress};
use crate::source::{self, Source, SourceSnapshot, Taken, ZONE, folder_name};
use crate::star::design::{Design, Read, masks};
use crate::star::origin::{Altered, Position, ReadColumn};
use crate::star::schema::published_type;
use crate::star::staged::require_folder;
use crate::star::table::{DataFile, in_zone};
use crate::store::{Scratch, put_folder};

/// What is taken, and where to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Tables to take whole; none are those that the pipeline's models read, with the columns that
    /// they use.
    pub tables: Vec<String>,
    /// A folder that isn't there yet; none keeps nothing.
    pub folder: Option<PathBuf>,
}

/// What was taken. `extract.json` in the folder says the same.
#[derive(Debug, Serialize)]
pub struct Extraction {
    pub pipeline: String,
    pub source: String,
    pub position: Position,
    pub taken_at: DateTime<Utc>,
    pub held_seconds: f64,
    pub seconds: f64,
    pub folder: Option<PathBuf>,
    pub tables: Vec<TakenTable>,
}

#[derive(Debug, Serialize)]
pub struct TakenTable {
    pub table: SourceTable,
    pub columns: Vec<ReadColumn>,
    /// Which rows were taken, when not all, in Postgres's SQL.
    pub filter: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub altered: Altered,
    pub rows: u64,
    pub bytes: u64,
    /// Below the folder of the table's name.
    pub files: Vec<DataFile>,
}

/// Takes tables of the source, all of them or none.
pub async fn extract(path: &Path, wanted: &Wanted, progress: Progress) -> Result<Extraction> {
    let watch = Stopwatch::start();
    let place = wanted.folder.as_deref().map(place).transpose()?;
    progress.tell(Event::Step("plan"));
    let (pipeline, design, source) = match wanted.tables.as_slice() {
        [] => {
            let plan = plan(pipeline::read(path)?, &[]).await?;
            (plan.pipeline, bare(&plan.design), plan.source)
        }
        names => whole_tables(pipeline::read_source(path)?, names).await?,
    };
    // Before the snapshot: what can be known without it holds up nobody's vacuum.
    published_columns(&design)?;
    let snapshot = match source.snapshot(&pipeline, &design).await? {
        SourceSnapshot::Postgres(snapshot) => *snapshot,
        SourceSnapshot::Folder(_) => {
            return Err(Error::new(ErrorKind::Usage, "the source is a folder of files already")
                .hint("give `url` in [source] a postgres://… to extract from"));
        }
    };
    progress.tell(Event::Step("extract"));
    let mut extraction = Extraction {
        pipeline: pipeline.deployment.name.clone(),
        source: pipeline.source.url.to_string(),
        position: snapshot.position.clone(),
        taken_at: clock::now(),
        held_seconds: 0.0,
        seconds: 0.0,
        folder: wanted.folder.clone(),
        tables: Vec::new(),
    };
    let Some(folder) = &place else {
        let counted = source::look_through(snapshot, &pipeline, &design, progress).await?;
        extraction.end(&design, counted, &watch, |rows| (rows.into_iter().sum(), Vec::new()));
        return Ok(extraction);
    };
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let scratch = Scratch::create(parent.unwrap_or(Path::new(".")), &RunId::new(clock::now()))?;
    let tables = scratch.folder().join("tables");
    require_folder(&tables)?;
    let written = source::take(snapshot, &pipeline, &design, progress, &tables).await?;
    extraction.end(&design, written, &watch, |mut files: Vec<DataFile>| {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        (files.iter().map(|file| file.rows).sum(), files)
    });
    extraction.write(&tables.join("extract.json"))?;
    put_folder(&tables, folder)?;
    Ok(extraction)
}

impl Extraction {
    /// Adds what was taken: `kept` tells the rows and the files of a table.
    fn end<K>(
        &mut self,
        design: &Design,
        mut taken: Taken<K>,
        watch: &Stopwatch,
        kept: impl Fn(Vec<K>) -> (u64, Vec<DataFile>),
    ) {
        self.held_seconds = taken.held_seconds;
        for (table, read) in &design.reads {
            let (rows, files) = kept(taken.tables.remove(table).unwrap_or_default());
            let altered = taken.altered.remove(table).unwrap_or_default();
            self.tables.push(taken_table(table, read, altered, rows, files));
        }
        self.seconds = watch.elapsed().as_secs_f64();
    }

    fn write(&self, path: &Path) -> Result<()> {
        let told = serde_json::to_vec_pretty(self).or_error(ErrorKind::Bug, || "extract.json".to_owned())?;
        std::fs::write(path, told).or_error(ErrorKind::Store, || format!("cannot write {}", path.display()))
    }
}

fn taken_table(
    table: &SourceTable,
    read: &Read,
    altered: Altered,
    rows: u64,
    files: Vec<DataFile>,
) -> TakenTable {
    let taken = |name: &str| read.columns.iter().any(|column| read.schema.field(*column).name() == name);
    let columns = read.relation.columns.iter().filter(|column| taken(&column.name)).map(ReadColumn::of);
    let bytes = files.iter().map(|file| file.bytes).sum();
    let filter = read.filter.clone();
    TakenTable { table: table.clone(), columns: columns.collect(), filter, altered, rows, bytes, files }
}

/// Where the files of a table lie.
pub fn files_of(folder: &Path, table: &SourceTable) -> PathBuf {
    folder.join(folder_name(table))
}

/// Where a folder really is, which must be new or empty: what is there already is somebody's.
fn place(folder: &Path) -> Result<PathBuf> {
    let shown = folder.display();
    let unusable =
        |reason: &str, hint: &str| Error::new(ErrorKind::Usage, format!("{shown} {reason}")).hint(hint);
    if shown.to_string().contains("://") {
        return Err(unusable("is no folder", "tables are extracted into a folder of this machine"));
    }
    let real = match folder.is_symlink() {
        // The link stays, and leads to what is put there.
        true => folder.canonicalize().map_err(|error| {
            unusable("is a link that leads nowhere", "name a folder that is new").caused_by(error)
        })?,
        false => folder.to_owned(),
    };
    match std::fs::read_dir(&real).map(|mut entries| entries.next().is_none()) {
        Ok(true) if is_mount_point(&real) => {
            Err(unusable("is a mount point, onto which nothing can be moved", "name a folder below it"))
        }
        Ok(true) => Ok(real),
        Ok(false) => {
            Err(unusable("is there already", "name a folder that is new or empty, or remove that one"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(real),
        Err(error) => Err(unusable("cannot be a folder", "name a folder that is new").caused_by(error)),
    }
}

/// Whether a folder is on another device than the one that it is in.
fn is_mount_point(folder: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    device(folder) != device(&folder.join(".."))
}

/// The same columns of all rows that the pipeline declares, and no totals, which nobody is going to
/// compare. What models leave out by themselves is a night's affair.
fn bare(design: &Design) -> Arc<Design> {
    let read = |read: &Read| Read {
        schema: in_zone(&read.schema, ZONE),
        filter: read.declared_filter.clone(),
        ..read.clone()
    };
    let reads = design.reads.iter().map(|(table, whole)| (table.clone(), read(whole))).collect();
    Arc::new(Design { reads, models: Vec::new(), controls: Vec::new(), warnings: Vec::new() })
}

/// Some tables with all their columns.
async fn whole_tables(pipeline: Pipeline, names: &[String]) -> Result<(Arc<Pipeline>, Arc<Design>, Source)> {
    let source = Source::open(&pipeline).await?;
    let catalog = source.catalog(&pipeline).await?;
    let mut reads = BTreeMap::new();
    for name in names {
        let table = find(&pipeline, &catalog, name)?;
        let relation = catalog.relations[&table].clone();
        let declared = pipeline.source.declared_filter(&catalog, &table);
        let read = whole_table(&pipeline, &table, relation, declared)?;
        reads.insert(table, read);
    }
    let mut found = masks::misplaced(&pipeline.source, &catalog);
    found.extend(masks::bare(&pipeline.source, &catalog, &reads));
    found.iter().filter(|one| !one.is_error()).for_each(|one| tracing::warn!("{}", one.message));
    found.retain(Diagnostic::is_error);
    if !found.is_empty() {
        return Err(mistakes(&pipeline.deployment.document.path, found));
    }
    let design = Design { reads, models: Vec::new(), controls: Vec::new(), warnings: Vec::new() };
    not_denied(&source, &design).await?;
    Ok((Arc::new(pipeline), Arc::new(design), source))
}

/// `orders`, found in the pipeline's schemas, or `public.orders`.
fn find(pipeline: &Pipeline, catalog: &Catalog, name: &str) -> Result<SourceTable> {
    let schemas = &pipeline.source.schemas;
    catalog.named(schemas, name).ok_or_else(|| {
        let names: Vec<String> = catalog.relations.keys().map(ToString::to_string).collect();
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => catalog.suggestion(schemas, name),
        };
        Error::new(ErrorKind::Fit, format!("the source has no table `{name}`")).hint(hint)
    })
}

fn whole_table(
    pipeline: &Pipeline,
    table: &SourceTable,
    relation: Relation,
    declared: Option<String>,
) -> Result<Read> {
    let mut fields = Vec::new();
    for column in &relation.columns {
        let mapping = column.mapping.as_ref().map_err(|unmappable| {
            let message = format!("{table}.{}: {}", column.name, unmappable.reason);
            Error::new(ErrorKind::Fit, message).hint(unmappable.remedy.clone())
        })?;
        fields.push(Field::new(&column.name, mapping.arrow_type(ZONE), true));
    }
    if let Some(refusal) = pipeline.source.foreign_below(table, &relation).next() {
        return Err(Error::new(ErrorKind::Pipeline, refusal.message).hint(refusal.help));
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let columns = (0..relation.columns.len()).collect();
    Ok(Read {
        relation,
        schema,
        columns,
        filter: declared.clone(),
        declared_filter: declared,
        used_by: BTreeMap::new(),
    })
}

/// Every column has a type that readers of Parquet have.
fn published_columns(design: &Design) -> Result<()> {
    let mut lines = Vec::new();
    for (table, read) in &design.reads {
        let fields = read.columns.iter().map(|column| read.schema.field(*column));
        let wide = fields.filter(|field| published_type(field.data_type()).is_err());
        lines.extend(wide.map(|field| format!("\"{table}.{}\" = {{ as = \"text\" }}", field.name())));
    }
    match lines.as_slice() {
        [] => Ok(()),
        _ => Err(Error::new(ErrorKind::Fit, "some columns have more digits than readers of Parquet hold")
            .hint(format!(
                "set below [source.columns]: {}; or as = \"decimal(38,…)\" where the values fit",
                lines.join(" and ")
            ))),
    }
}
