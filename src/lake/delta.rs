//! A table's Delta log: one file of JSON lines for every change of the table's files, which its readers replay, and at times a
//! checkpoint that spares them most of it. (Source: the Delta transaction log protocol; readers of version 1, or of version 3
//! where a timestamp has no zone.)
//!
//! Each version says in its commit's `userMetadata` which snapshot it is and which files the table has then, so that the next
//! one is made from the last alone.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::ReaderBuilder;
use chrono::{DateTime, Utc};
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catalog::uuid;
use super::{NightColumn, NightTable};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::SnapshotId;
use crate::star::shelf::hash;

/// After so many versions a checkpoint spares readers those before it.
const CHECKPOINT_EVERY: i64 = 10;
/// Files that left are those of kept snapshots; nobody's clean-up may take them.
const FOR_EVER: &str = "interval 100000 weeks";

/// What a version of the log says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub store: String,
    pub snapshot: SnapshotId,
    /// Hash of what the table's columns are.
    pub columns: String,
    pub files: Vec<Active>,
}

/// A file of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    /// Since when, in milliseconds.
    pub since: i64,
}

/// The last version of a log.
#[derive(Debug, Clone)]
pub struct Version {
    pub number: i64,
    pub told: Told,
}

impl Version {
    /// What its file says, or why it is none that a starmill wrote.
    pub fn read(number: i64, text: &str) -> Result<Version, String> {
        let line = text.lines().find_map(|line| {
            let action: Value = serde_json::from_str(line).ok()?;
            action.get("commitInfo")?.get("userMetadata")?.as_str().map(str::to_owned)
        });
        let told = line.and_then(|line| serde_json::from_str(&line).ok());
        let told = told.ok_or_else(|| format!("its version {number} is not starmill's"))?;
        Ok(Version { number, told })
    }

    /// The name of its file.
    pub fn file(number: i64) -> String {
        format!("{number:020}.json")
    }

    /// The number of the version whose file has a name.
    pub fn number_of(name: &str) -> Option<i64> {
        let number = name.strip_suffix(".json")?;
        (number.len() == 20).then(|| number.parse().ok())?
    }
}

/// The snapshot that a log is brought to.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub store: &'a str,
    pub snapshot: &'a SnapshotId,
    pub at: DateTime<Utc>,
}

/// What is written for the next version.
pub struct Next {
    pub number: i64,
    /// The version's file.
    pub lines: String,
    pub checkpoint: Option<Checkpoint>,
}

pub struct Checkpoint {
    pub name: String,
    pub parquet: Vec<u8>,
    /// The file that points to it.
    pub last: String,
}

/// What a Delta table cannot have, if there is something.
pub fn unsuited(table: &NightTable) -> Option<&str> {
    let suited = |column: &&NightColumn| type_of(&column.data_type).is_none();
    table.columns.iter().find(suited).map(|column| column.name.as_str())
}

/// The next version of a table's log, unless the last one says it already. A table that the star has no more has no files.
pub fn next(last: Option<&Version>, table: Option<&NightTable>, moment: Moment<'_>) -> Result<Option<Next>> {
    let millis = moment.at.timestamp_millis();
    let columns = match (table, last) {
        (Some(table), _) => hash(schema_of(&table.columns).to_string().as_bytes()),
        (None, Some(last)) => last.told.columns.clone(),
        (None, None) => return Ok(None),
    };
    let before: &[Active] = last.map_or(&[], |last| &last.told.files);
    let of = |name: &str| before.iter().find(|one| one.name == name);
    let files: Vec<Active> = table
        .map_or(&[][..], |table| &table.files)
        .iter()
        .map(|file| {
            let since = of(&file.name).map_or(millis, |one| one.since);
            Active { name: file.name.clone(), rows: file.rows, bytes: file.bytes, since }
        })
        .collect();
    let same = |last: &Version| {
        last.told.columns == columns && last.told.store == moment.store && names(before) == names(&files)
    };
    if last.is_some_and(same) {
        return Ok(None);
    }
    let number = last.map_or(0, |last| last.number + 1);
    let told = Told { store: moment.store.to_owned(), snapshot: moment.snapshot.clone(), columns, files };
    let mut lines = vec![commit(&told, millis)?];
    let reshaped = last.is_none_or(|last| last.told.columns != told.columns);
    if let (true, Some(table)) = (reshaped, table) {
        lines.extend([protocol(&table.columns), metadata(table, moment)]);
    }
    let stays = |name: &str| told.files.iter().any(|one| one.name == name);
    for gone in before.iter().filter(|one| !stays(&one.name)) {
        lines.push(json!({"remove": {"path": gone.name, "deletionTimestamp": millis, "dataChange": true,
            "extendedFileMetadata": true, "partitionValues": {}, "size": gone.bytes}}));
    }
    lines.extend(told.files.iter().filter(|one| of(&one.name).is_none()).map(|one| add(one, true)));
    let checkpoint = match table {
        Some(table) if number > 0 && number % CHECKPOINT_EVERY == 0 => {
            Some(checkpoint(number, table, &told, moment)?)
        }
        _ => None,
    };
    let lines = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(Some(Next { number, lines, checkpoint }))
}

fn names(files: &[Active]) -> Vec<&str> {
    let mut names: Vec<&str> = files.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn commit(told: &Told, millis: i64) -> Result<Value> {
    let own =
        serde_json::to_string(told).or_error(ErrorKind::Bug, || "a commit of a Delta log".to_owned())?;
    Ok(
        json!({"commitInfo": {"timestamp": millis, "operation": "WRITE", "operationParameters": {"mode": "Overwrite"},
        "isBlindAppend": false, "engineInfo": concat!("starmill/", env!("CARGO_PKG_VERSION")), "userMetadata": own}}),
    )
}

fn protocol(columns: &[NightColumn]) -> Value {
    fn has_local(data_type: &DataType) -> bool {
        match data_type {
            DataType::Timestamp(_, None) => true,
            DataType::List(field) => has_local(field.data_type()),
            _ => false,
        }
    }
    match columns.iter().any(|column| has_local(&column.data_type)) {
        true => {
            json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"],
            "writerFeatures": ["timestampNtz"]}})
        }
        false => json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
    }
}

fn metadata(table: &NightTable, moment: Moment<'_>) -> Value {
    json!({"metaData": {"id": uuid(&format!("{}/{}", moment.store, table.name)), "name": table.name.as_str(),
        "format": {"provider": "parquet", "options": {}}, "schemaString": schema_of(&table.columns).to_string(),
        "partitionColumns": [], "createdTime": moment.at.timestamp_millis(),
        "configuration": {"delta.deletedFileRetentionDuration": FOR_EVER}}})
}

fn add(file: &Active, changes: bool) -> Value {
    let stats = json!({"numRecords": file.rows}).to_string();
    json!({"add": {"path": file.name, "partitionValues": {}, "size": file.bytes, "modificationTime": file.since,
        "dataChange": changes, "stats": stats}})
}

fn schema_of(columns: &[NightColumn]) -> Value {
    let field = |column: &NightColumn| {
        let data_type = type_of(&column.data_type).unwrap_or(Value::Null);
        json!({"name": column.name, "type": data_type, "nullable": true, "metadata": {}})
    };
    json!({"type": "struct", "fields": columns.iter().map(field).collect::<Vec<_>>()})
}

/// A published type's name in a Delta log; none for what it has not.
fn type_of(data_type: &DataType) -> Option<Value> {
    Some(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int16 => json!("short"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("binary"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(_, Some(_)) => json!("timestamp"),
        DataType::Timestamp(_, None) => json!("timestamp_ntz"),
        DataType::List(field) => {
            json!({"type": "array", "elementType": type_of(field.data_type())?, "containsNull": true})
        }
        _ => return None,
    })
}

/// All that the log says up to a version, in one file.
fn checkpoint(number: i64, table: &NightTable, told: &Told, moment: Moment<'_>) -> Result<Checkpoint> {
    let failed = || "a checkpoint of a Delta log".to_owned();
    let mut lines = vec![protocol(&table.columns), metadata(table, moment)];
    lines.extend(told.files.iter().map(|one| add(one, false)));
    let size = lines.len();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let schema = Arc::new(actions());
    let reader =
        ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(size.max(1)).build(Cursor::new(text));
    let batches = reader.and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let batches = batches.or_error(ErrorKind::Bug, failed)?;
    let mut parquet = Vec::new();
    let written = ArrowWriter::try_new(&mut parquet, schema, None).and_then(|mut writer| {
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.close().map(drop)
    });
    written.map_err(|error| Error::new(ErrorKind::Bug, failed()).caused_by(error))?;
    let last = json!({"version": number, "size": size}).to_string();
    Ok(Checkpoint { name: format!("{number:020}.checkpoint.parquet"), parquet, last })
}

/// The columns of a checkpoint.
fn actions() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let texts = |name: &str| Field::new_list(name, Field::new("element", DataType::Utf8, true), true);
    let map = |name: &str| {
        let (key, value) =
            (Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true));
        Field::new_map(name, "key_value", key, value, false, true)
    };
    let of = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    let format = of("format", vec![text("provider"), map("options")]);
    Schema::new(vec![
        of("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        of(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text("stats"),
                map("tags"),
            ],
        ),
        of(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
                map("tags"),
            ],
        ),
        of(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                format,
                text("schemaString"),
                texts("partitionColumns"),
                long("createdTime"),
                map("configuration"),
            ],
        ),
        of(
            "protocol",
            vec![
                int("minReaderVersion"),
                int("minWriterVersion"),
                texts("readerFeatures"),
                texts("writerFeatures"),
            ],
        ),
    ])
}
