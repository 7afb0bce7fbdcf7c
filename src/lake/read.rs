//! The way from the rows of a catalog back to what they say.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::FileFacts;
use super::catalog::{
    Catalog, Definition, LakeColumn, LakeFile, LakeSnapshot, LakeTable, MappedName, Mapping, Row, Rows,
    SchemaVersion, Span, VERSION,
};
use super::facts::ColumnFacts;
use super::spec;

/// How an instant is written in a catalog, with or without fractions.
const INSTANT: &str = "%Y-%m-%d %H:%M:%S%.f%#z";

impl Catalog {
    /// What some rows say, or why they are none that a starmill wrote.
    pub fn of(rows: &Rows) -> Result<Catalog, String> {
        let read = Reader { rows };
        if read.table(spec::SNAPSHOT).next().is_none() {
            return match rows.values().all(BTreeSet::is_empty) {
                true => Ok(Catalog::default()),
                false => Err("it has no snapshots".to_owned()),
            };
        }
        let known: BTreeMap<&str, &str> = read
            .table(spec::METADATA)
            .filter_map(|row| Some((row.text("key")?, row.text("value")?)))
            .collect();
        match known.get("version") {
            Some(&VERSION) => {}
            version => return Err(format!("it is of DuckLake's version {}", version.unwrap_or(&"unknown"))),
        }
        let told = read.table(spec::CHANGES).map(|row| Ok((row.number("snapshot_id")?, row)));
        let told = told.collect::<Result<BTreeMap<i64, Read>, String>>()?;
        let mut catalog = Catalog {
            tables_in: known.get("data_path").map(|path| (*path).to_owned()).unwrap_or_default(),
            ..Catalog::default()
        };
        for row in read.table(spec::SNAPSHOT) {
            let id = row.number("snapshot_id")?;
            let told = told.get(&id);
            let of = told.and_then(|told| serde_json::from_str(told.text("commit_extra_info")?).ok());
            let of = of.ok_or_else(|| format!("its snapshot {id} is not starmill's"))?;
            let text = |name: &str| told.and_then(|told| told.text(name)).unwrap_or_default().to_owned();
            catalog.snapshots.push(LakeSnapshot {
                id,
                at: instant(row.text("snapshot_time").unwrap_or_default())?,
                schema_version: row.number("schema_version")?,
                next_catalog: row.number("next_catalog_id")?,
                next_file: row.number("next_file_id")?,
                changes: text("changes_made"),
                message: text("commit_message"),
                of,
            });
        }
        catalog.snapshots.sort_by_key(|one| one.id);
        for row in read.table(spec::SCHEMA_VERSIONS) {
            let (begin, version) = (row.number("begin_snapshot")?, row.number("schema_version")?);
            catalog.versions.push(SchemaVersion { begin, version, table: row.number("table_id")? });
        }
        for row in read.table(spec::TABLE) {
            let name = row.text("table_name").unwrap_or_default().to_owned();
            catalog.tables.push(LakeTable { id: row.number("table_id")?, span: row.span()?, name });
        }
        for row in read.table(spec::COLUMN) {
            let definition = Definition {
                id: row.number("column_id")?,
                order: row.number("column_order")?,
                name: row.text("column_name").unwrap_or_default().to_owned(),
                data_type: row.text("column_type").unwrap_or_default().to_owned(),
                parent: row.maybe("parent_column")?,
            };
            catalog.columns.push(LakeColumn {
                table: row.number("table_id")?,
                span: row.span()?,
                definition,
            });
        }
        catalog.files = read.files()?;
        catalog.mappings = read.mappings()?;
        for row in read.table(spec::TABLE_STATS) {
            catalog.next_rows.insert(row.number("table_id")?, row.number("next_row_id")?);
        }
        Ok(catalog)
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let read = DateTime::parse_from_str(text, INSTANT);
    read.map(|at| at.to_utc()).map_err(|_| format!("`{}` is no instant", text.escape_debug()))
}

struct Reader<'a> {
    rows: &'a Rows,
}

#[derive(Clone, Copy)]
struct Read<'a> {
    table: &'static str,
    row: &'a Row,
}

impl<'a> Reader<'a> {
    fn table(&self, table: &'static str) -> impl Iterator<Item = Read<'a>> + use<'a> {
        self.rows.get(table).into_iter().flatten().map(move |row| Read { table, row })
    }

    fn files(&self) -> Result<Vec<LakeFile>, String> {
        let mut columns: BTreeMap<i64, Vec<ColumnFacts>> = BTreeMap::new();
        for row in self.table(spec::FILE_STATS) {
            columns.entry(row.number("data_file_id")?).or_default().push(ColumnFacts {
                id: row.number("column_id")?,
                bytes: row.number("column_size_bytes")?,
                nulls: row.maybe("null_count")?,
                min: row.text("min_value").map(str::to_owned),
                max: row.text("max_value").map(str::to_owned),
            });
        }
        let file = |row: Read| {
            let id = row.number("data_file_id")?;
            let mut columns = columns.remove(&id).unwrap_or_default();
            columns.sort_by_key(|column| column.id);
            Ok(LakeFile {
                id,
                table: row.number("table_id")?,
                span: row.span()?,
                path: row.text("path").unwrap_or_default().to_owned(),
                rows: row.number("record_count")?,
                bytes: row.number("file_size_bytes")?,
                first_row: row.number("row_id_start")?,
                mapping: row.maybe("mapping_id")?,
                facts: FileFacts { footer: row.number("footer_size")?, columns },
            })
        };
        self.table(spec::DATA_FILE).map(file).collect()
    }
}

impl Reader<'_> {
    fn mappings(&self) -> Result<Vec<Mapping>, String> {
        let mut names: BTreeMap<i64, BTreeMap<i64, MappedName>> = BTreeMap::new();
        for row in self.table(spec::MAPPED_NAME) {
            let name = MappedName {
                name: row.text("source_name").unwrap_or_default().to_owned(),
                column: row.number("target_field_id")?,
                parent: row.maybe("parent_column")?,
            };
            names.entry(row.number("mapping_id")?).or_default().insert(row.number("column_id")?, name);
        }
        let mapping = |row: Read| {
            let id = row.number("mapping_id")?;
            let names = names.remove(&id).unwrap_or_default().into_values().collect();
            Ok(Mapping { id, table: row.number("table_id")?, names })
        };
        self.table(spec::MAPPING).map(mapping).collect()
    }
}

impl<'a> Read<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        spec::place(self.table, column).and_then(|place| self.row.get(place)?.as_deref())
    }

    fn maybe(&self, column: &str) -> Result<Option<i64>, String> {
        let text = self.text(column);
        let number =
            |text: &str| text.parse().map_err(|_| format!("its {} has no number in {column}", self.table));
        text.map(number).transpose()
    }

    fn number(&self, column: &str) -> Result<i64, String> {
        self.maybe(column)?.ok_or_else(|| format!("its {} has nothing in {column}", self.table))
    }

    fn span(&self) -> Result<Span, String> {
        Ok(Span { begin: self.number("begin_snapshot")?, end: self.maybe("end_snapshot")? })
    }
}
