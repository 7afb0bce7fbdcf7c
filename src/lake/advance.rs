//! Brings a catalog up to what its store keeps: a snapshot for every night that it does not have, one for a rollback, and
//! none for what was forgotten.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use chrono::{DateTime, TimeDelta, Utc};

use super::catalog::{
    Catalog, Definition, LakeColumn, LakeFile, LakeSnapshot, LakeTable, MappedName, Mapping, Origin,
    SchemaVersion, Span,
};
use super::{Night, NightColumn, NightTable, Shore};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{ModelName, SnapshotId};

/// Numbers of what lies inside of columns begin here; files have none for it.
const INSIDE: i64 = 1_000_000;
/// What files call that which is repeated in a list.
const IN_A_FILE: &str = "list";

impl Catalog {
    /// The catalog as it must be now.
    pub fn brought_up(&self, shore: &dyn Shore) -> Result<Catalog> {
        let mut catalog = Catalog { tables_in: shore.tables()?, ..self.clone() };
        catalog.replace(shore)?;
        let (published, since) = shore.published();
        let known: Vec<SnapshotId> = catalog
            .snapshots
            .iter()
            .filter(|one| one.of.store == shore.store())
            .map(|one| one.of.snapshot.clone())
            .collect();
        for id in shore.kept().iter().filter(|id| !known.contains(id)) {
            let mut next = catalog.clone();
            let added = match shore.night(id) {
                Ok(Some(night)) => next.add(&night, night.at, format!("run {id}"), shore),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match added {
                Ok(()) => catalog = next,
                Err(error) if id == published => return Err(error),
                // One that is damaged hides no other.
                Err(error) => {
                    tracing::warn!(snapshot = %id, error = error.in_full(), "the lake does not show it")
                }
            }
        }
        let shown = catalog
            .last()
            .is_some_and(|last| last.of.store == shore.store() && last.of.snapshot == *published);
        if !shown {
            match shore.night(published)? {
                Some(night) => catalog.add(&night, since, format!("rollback to {published}"), shore)?,
                // What there is of it is older, and stays so until the next run.
                None => tracing::warn!(
                    snapshot = %published,
                    "the lake does not show it: an older starmill wrote it, and the next run writes one that it can show"
                ),
            }
        }
        catalog.forget(shore.store(), shore.kept());
        Ok(catalog)
    }

    /// Shows the files that were written anew in the place of those that they replaced, in every snapshot.
    fn replace(&mut self, shore: &dyn Shore) -> Result<()> {
        for file in &mut self.files {
            let Some(table) = self.tables.iter().find(|table| table.id == file.table) else { continue };
            let mut by = None;
            let mut name = file.path.clone();
            while let Some(next) = shore.replaced().get(&format!("{}/{name}", table.name)) {
                name.clone_from(&next.name);
                by = Some(next);
            }
            let (Some(by), Some(model)) = (by, ModelName::parse(&table.name)) else { continue };
            let bare = NightTable { name: model, columns: Vec::new(), files: Vec::new() };
            file.facts = shore.facts(&bare, by)?;
            file.path = name;
            (file.rows, file.bytes) = (whole(by.rows)?, whole(by.bytes)?);
        }
        Ok(())
    }

    /// The catalog without what its store keeps no more.
    pub fn forgetting(&self, shore: &dyn Shore) -> Catalog {
        let mut catalog = self.clone();
        catalog.forget(shore.store(), shore.kept());
        catalog
    }

    fn add(&mut self, night: &Night, at: DateTime<Utc>, message: String, shore: &dyn Shore) -> Result<()> {
        let last = self.last();
        let id = last.map_or(1, |last| last.id + 1);
        let at = last.map_or(at, |last| at.max(last.at + TimeDelta::microseconds(1)));
        // Who is attached while a lake is begun anew remembers tables and columns by these numbers, which must be new ones.
        let anew = clock::now().timestamp_millis();
        let mut adding = Adding {
            id,
            next_catalog: last.map_or(anew, |last| last.next_catalog),
            next_file: last.map_or(0, |last| last.next_file),
            changes: Vec::new(),
            reshaped: Vec::new(),
            dropped: false,
        };
        let before = last.map_or(anew, |last| last.schema_version);
        let tables: Vec<&NightTable> =
            night.tables.iter().filter(|now| can_be_shown(now, &night.snapshot)).collect();
        for table in self.tables.iter_mut().filter(|table| table.span.is_open()) {
            if tables.iter().all(|now| now.name.as_str() != table.name) {
                table.span.end = Some(id);
                let own =
                    self.columns.iter_mut().filter(|one| one.table == table.id).map(|one| &mut one.span);
                let own = own.chain(
                    self.files.iter_mut().filter(|one| one.table == table.id).map(|one| &mut one.span),
                );
                own.filter(|span| span.is_open()).for_each(|span| span.end = Some(id));
                adding.changes.push(format!("dropped_table:{}", table.id));
                adding.dropped = true;
            }
        }
        for now in tables {
            let open =
                self.tables.iter().find(|table| table.span.is_open() && table.name == now.name.as_str());
            let (table, is_new) = match open {
                Some(table) => (table.id, false),
                None => (self.add_table(now, &mut adding), true),
            };
            let columns = definitions(&now.columns)?;
            self.shape(table, &columns, is_new, &mut adding);
            self.fill(table, now, &columns, shore, &mut adding)?;
        }
        let version = before + i64::from(adding.dropped || !adding.reshaped.is_empty());
        let versions =
            adding.reshaped.iter().map(|table| SchemaVersion { begin: id, version, table: *table });
        self.versions.extend(versions);
        self.snapshots.push(LakeSnapshot {
            id,
            at,
            schema_version: version,
            next_catalog: adding.next_catalog,
            next_file: adding.next_file,
            changes: adding.changes.join(","),
            message,
            of: Origin { store: shore.store().to_owned(), snapshot: night.snapshot.clone() },
        });
        Ok(())
    }

    fn add_table(&mut self, now: &NightTable, adding: &mut Adding) -> i64 {
        let id = adding.next_catalog;
        adding.next_catalog += 1;
        self.tables.push(LakeTable { id, span: Span::from(adding.id), name: now.name.to_string() });
        self.next_rows.insert(id, 0);
        adding.changes.push(format!("created_table:\"main\".\"{}\"", now.name.as_str().replace('"', "\"\"")));
        id
    }

    /// Makes a table's columns those of tonight.
    fn shape(&mut self, table: i64, now: &[Definition], is_new: bool, adding: &mut Adding) {
        let mut altered = is_new;
        let mut there = Vec::new();
        for column in self.columns.iter_mut().filter(|one| one.table == table && one.span.is_open()) {
            match now.contains(&column.definition) {
                true => there.push(column.definition.clone()),
                false => {
                    column.span.end = Some(adding.id);
                    altered = true;
                }
            }
        }
        for definition in now.iter().filter(|definition| !there.contains(definition)) {
            let (span, definition) = (Span::from(adding.id), definition.clone());
            self.columns.push(LakeColumn { table, span, definition });
            altered = true;
        }
        if altered {
            adding.reshaped.push(table);
            if !is_new {
                adding.changes.push(format!("altered_table:{table}"));
            }
        }
    }

    /// Makes a table's files those of tonight.
    fn fill(
        &mut self,
        table: i64,
        now: &NightTable,
        columns: &[Definition],
        shore: &dyn Shore,
        adding: &mut Adding,
    ) -> Result<()> {
        let (mut came, mut went) = (false, false);
        let mut there = BTreeMap::new();
        for file in self.files.iter_mut().filter(|one| one.table == table && one.span.is_open()) {
            match now.files.iter().any(|one| one.name == file.path) {
                true => drop(there.insert(file.path.clone(), ())),
                false => {
                    file.span.end = Some(adding.id);
                    went = true;
                }
            }
        }
        for file in now.files.iter().filter(|file| !there.contains_key(&file.name)) {
            let first_row = self.next_rows.get(&table).copied().unwrap_or(0);
            let rows = whole(file.rows)?;
            let mapping = self.mapping(table, columns);
            self.next_rows.insert(table, first_row + rows);
            self.files.push(LakeFile {
                id: adding.next_file,
                table,
                span: Span::from(adding.id),
                path: file.name.clone(),
                rows,
                bytes: whole(file.bytes)?,
                first_row,
                mapping,
                facts: shore.facts(now, file)?,
            });
            adding.next_file += 1;
            came = true;
        }
        if came {
            adding.changes.push(format!("inserted_into_table:{table}"));
        }
        if went {
            adding.changes.push(format!("deleted_from_table:{table}"));
        }
        Ok(())
    }

    /// How the columns of a table's files are told apart where their numbers do not suffice.
    fn mapping(&mut self, table: i64, columns: &[Definition]) -> Option<i64> {
        columns.iter().find(|column| column.parent.is_some())?;
        let name = |column: &Definition| MappedName {
            name: if column.parent.is_some() { IN_A_FILE.to_owned() } else { column.name.clone() },
            column: column.id,
            parent: column
                .parent
                .and_then(|parent| columns.iter().zip(0..).find(|(one, _)| one.id == parent))
                .map(|(_, at)| at),
        };
        let names: Vec<MappedName> = columns.iter().map(name).collect();
        if let Some(known) = self.mappings.iter().find(|one| one.table == table && one.names == names) {
            return Some(known.id);
        }
        let id = self.mappings.iter().map(|one| one.id + 1).max().unwrap_or(0);
        self.mappings.push(Mapping { id, table, names });
        Some(id)
    }

    /// Takes out snapshots that the store keeps no more, and what no other shows. The last stays: readers see it.
    fn forget(&mut self, store: &str, kept: &[SnapshotId]) {
        let last = self.last().map(|last| last.id);
        self.snapshots
            .retain(|one| Some(one.id) == last || (one.of.store == store && kept.contains(&one.of.snapshot)));
        let ids: Vec<i64> = self.snapshots.iter().map(|one| one.id).collect();
        let shown = |span: Span| ids.iter().any(|id| span.holds(*id));
        self.tables.retain(|one| shown(one.span));
        self.columns.retain(|one| shown(one.span));
        self.files.retain(|one| shown(one.span));
        self.mappings.retain(|one| self.files.iter().any(|file| file.mapping == Some(one.id)));
        let there = |table: i64| self.tables.iter().any(|one| one.id == table);
        self.versions.retain(|one| there(one.table));
        self.next_rows.retain(|table, _| self.tables.iter().any(|one| one.id == *table));
    }
}

/// Readers of lakes tell names apart by more than their case.
fn can_be_shown(table: &NightTable, snapshot: &SnapshotId) -> bool {
    let mut names: Vec<String> = table.columns.iter().map(|column| column.name.to_lowercase()).collect();
    names.sort_unstable();
    let clash = names.windows(2).find_map(|pair| (pair[0] == pair[1]).then(|| pair[0].clone()));
    if let Some(column) = &clash {
        tracing::warn!(%snapshot, table = %table.name, column, "the lake does not show it: two columns differ only in case");
    }
    clash.is_none()
}

/// A snapshot of the lake in the making.
struct Adding {
    id: i64,
    next_catalog: i64,
    next_file: i64,
    changes: Vec<String>,
    /// Tables that are new, or have other columns now.
    reshaped: Vec<i64>,
    dropped: bool,
}

fn whole(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|error| Error::new(ErrorKind::Bug, "a count of a lake").caused_by(error))
}

/// A table's columns as a lake defines them, those inside of others too.
fn definitions(columns: &[NightColumn]) -> Result<Vec<Definition>> {
    let mut found = Vec::new();
    for (column, order) in columns.iter().zip(1..) {
        let id = i64::from(column.id);
        define(
            &column.data_type,
            Definition { id, order, name: column.name.clone(), data_type: String::new(), parent: None },
            &mut found,
        )?;
    }
    Ok(found)
}

fn define(data_type: &DataType, of: Definition, found: &mut Vec<Definition>) -> Result<()> {
    let inside = match data_type {
        DataType::List(field) => Some(field),
        _ => None,
    };
    let (id, data_type) = (of.id, named(data_type)?);
    found.push(Definition { data_type, ..of });
    match inside {
        Some(field) => {
            let id_inside = INSIDE + id;
            let element = Definition {
                id: id_inside,
                order: 1,
                name: "element".to_owned(),
                data_type: String::new(),
                parent: Some(id),
            };
            define(field.data_type(), element, found)
        }
        None => Ok(()),
    }
}

/// A published type's name in a lake.
fn named(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int16 => "int16".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::Float32 => "float32".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 => "varchar".to_owned(),
        DataType::Binary => "blob".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::List(_) => "list".to_owned(),
        other => return Err(Error::new(ErrorKind::Bug, format!("a lake has no name for {other}"))),
    })
}
