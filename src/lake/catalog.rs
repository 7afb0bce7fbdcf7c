//! A lake's catalog in memory: what the tables that we fill hold, and its way to their rows and back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::FileFacts;
use super::spec;
use crate::name::SnapshotId;
use crate::star::shelf::hash;

/// The version of the specification that catalogs follow.
pub(super) const VERSION: &str = "1.0";
const AUTHOR: &str = "starmill";
/// How an instant is written in a catalog.
const INSTANT: &str = "%Y-%m-%d %H:%M:%S%.6f+00";

/// A row as its values are written; none for NULL.
pub type Row = Vec<Option<String>>;
/// The rows of all tables that are filled.
pub type Rows = BTreeMap<&'static str, BTreeSet<Row>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// What the tables' folders lie in.
    pub tables_in: String,
    pub(super) snapshots: Vec<LakeSnapshot>,
    pub(super) tables: Vec<LakeTable>,
    pub(super) columns: Vec<LakeColumn>,
    pub(super) files: Vec<LakeFile>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) versions: Vec<SchemaVersion>,
    /// The first row number that no row of a table has had yet.
    pub(super) next_rows: BTreeMap<i64, i64>,
}

/// From which snapshot of the lake on something is in it, and from which on no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub begin: i64,
    pub end: Option<i64>,
}

impl Span {
    pub fn from(begin: i64) -> Span {
        Span { begin, end: None }
    }

    pub fn is_open(self) -> bool {
        self.end.is_none()
    }

    pub fn holds(self, snapshot: i64) -> bool {
        self.begin <= snapshot && self.end.is_none_or(|end| snapshot < end)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct LakeSnapshot {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub schema_version: i64,
    pub next_catalog: i64,
    pub next_file: i64,
    pub changes: String,
    pub message: String,
    pub of: Origin,
}

/// Which snapshot of which store one of the lake's is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub store: String,
    pub snapshot: SnapshotId,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LakeTable {
    pub id: i64,
    pub span: Span,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LakeColumn {
    pub table: i64,
    pub span: Span,
    pub definition: Definition,
}

/// What a column is, besides since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub id: i64,
    pub order: i64,
    pub name: String,
    pub data_type: String,
    pub parent: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LakeFile {
    pub id: i64,
    pub table: i64,
    pub span: Span,
    pub path: String,
    pub rows: i64,
    pub bytes: i64,
    pub first_row: i64,
    /// How its columns are told apart where their numbers do not suffice.
    pub mapping: Option<i64>,
    pub facts: FileFacts,
}

/// Tells the columns of files apart by their names, those inside of others too: inside of a list files have no numbers, and
/// a reader would show NULLs.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    pub id: i64,
    pub table: i64,
    pub names: Vec<MappedName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedName {
    pub name: String,
    /// The column's number in the lake.
    pub column: i64,
    /// The place of the one that it is inside of.
    pub parent: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SchemaVersion {
    pub begin: i64,
    pub version: i64,
    pub table: i64,
}

/// A number that is one of its own among all.
pub(super) fn uuid(of: &str) -> String {
    let hash = hash(of.as_bytes());
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    // Version 8 is for what its maker makes of it.
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn number(value: Option<i64>) -> Option<String> {
    value.map(|value| value.to_string())
}

const YES: &str = "1";
const NO: &str = "0";

impl Catalog {
    /// The newest of its snapshots, which readers see who name none.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    pub fn last(&self) -> Option<&LakeSnapshot> {
        self.snapshots.last()
    }

    /// The store that it follows.
    pub fn store(&self) -> Option<&str> {
        self.last().map(|last| last.of.store.as_str())
    }

    pub fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        let mut put = |table: &'static str, row: Row| {
            rows.entry(table).or_default().insert(row);
        };
        let Some(first) = self.snapshots.first() else { return Rows::new() };
        for (key, value) in [
            ("version", VERSION),
            ("created_by", AUTHOR),
            ("data_path", &self.tables_in),
            ("encrypted", "false"),
        ] {
            put(spec::METADATA, vec![some(key), some(value), None, None]);
        }
        let store = first.of.store.as_str();
        let main = vec![some(0), some(uuid(store)), some(1), None, some("main"), some(""), some(YES)];
        put(spec::SCHEMA, main);
        for one in &self.snapshots {
            let at = one.at.format(INSTANT).to_string();
            let row = vec![
                some(one.id),
                Some(at),
                some(one.schema_version),
                some(one.next_catalog),
                some(one.next_file),
            ];
            put(spec::SNAPSHOT, row);
            let of = serde_json::to_string(&one.of).unwrap_or_default();
            let told = vec![some(one.id), some(&one.changes), some(AUTHOR), some(&one.message), Some(of)];
            put(spec::CHANGES, told);
        }
        for one in &self.versions {
            put(spec::SCHEMA_VERSIONS, vec![some(one.begin), some(one.version), some(one.table)]);
        }
        for one in &self.tables {
            let (begin, end) = (some(one.span.begin), number(one.span.end));
            let own = some(uuid(&format!("{store}/{}", one.id)));
            let path = format!("{}/", one.name);
            put(
                spec::TABLE,
                vec![some(one.id), own, begin, end, some(0), some(&one.name), Some(path), some(YES)],
            );
        }
        for one in &self.columns {
            let (begin, end, of) = (some(one.span.begin), number(one.span.end), &one.definition);
            let mut row = vec![some(of.id), begin, end, some(one.table), some(of.order), some(&of.name)];
            row.extend([some(&of.data_type), None, None, some(YES), number(of.parent), None, None]);
            put(spec::COLUMN, row);
        }
        for one in &self.files {
            let (begin, end) = (some(one.span.begin), number(one.span.end));
            let mut row = vec![some(one.id), some(one.table), begin, end, None, some(&one.path), some(YES)];
            row.extend([
                some("parquet"),
                some(one.rows),
                some(one.bytes),
                some(one.facts.footer),
                some(one.first_row),
            ]);
            row.extend([None, None, number(one.mapping), None]);
            put(spec::DATA_FILE, row);
            for of in &one.facts.columns {
                let mut row =
                    vec![some(one.id), some(one.table), some(of.id), some(of.bytes), some(one.rows)];
                row.extend([number(of.nulls), of.min.clone(), of.max.clone(), None, None]);
                put(spec::FILE_STATS, row);
            }
        }
        for one in &self.mappings {
            put(spec::MAPPING, vec![some(one.id), some(one.table), some("map_by_name")]);
            for (place, of) in one.names.iter().enumerate() {
                let (name, column) = (some(&of.name), some(of.column));
                put(
                    spec::MAPPED_NAME,
                    vec![some(one.id), some(place), name, column, number(of.parent), some(NO)],
                );
            }
        }
        for (table, next) in &self.next_rows {
            let open = self.files.iter().filter(|file| file.table == *table && file.span.is_open());
            let (rows, bytes) =
                open.fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
            put(spec::TABLE_STATS, vec![some(*table), some(rows), some(*next), some(bytes)]);
        }
        rows
    }
}
