//! First-seen values that a store restored from a backup holds otherwise than newer snapshots or the target do: somebody
//! corrected them since, and the backup knows nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{OwnedRow, RowConverter, SortField};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::pipeline::model::Model;
use crate::star::diff::walk::cell;
use crate::star::{Registry, shelf};

/// A value that was corrected after a backup was made, and is to be corrected again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LostCorrection {
    pub table: String,
    /// Whose it is, as `column=value`.
    pub key: String,
    pub column: String,
    /// As newer snapshots or the target have it, and as the backup does.
    pub newer: String,
    pub older: String,
}

impl fmt::Display for LostCorrection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LostCorrection { table, key, column, newer, older } = self;
        write!(f, "{table} {key}: {column} is {newer}, and {older} in the backup")
    }
}

/// What is to be corrected again; `given` are the rows that newer snapshots and the target have.
pub fn outdated(given: &[RecordBatch], known: &Registry, model: &Model) -> Result<Vec<LostCorrection>> {
    let columns: Vec<String> = model.first_seen.iter().map(|column| column.value.clone()).collect();
    let Some(first) = given.first().filter(|_| !columns.is_empty() && model.history().is_none()) else {
        return Ok(Vec::new());
    };
    let keys = Side::of(first, &model.key_columns())?;
    let values = Side::of(first, &columns)?;
    let mut there: BTreeMap<OwnedRow, (OwnedRow, Vec<String>)> = BTreeMap::new();
    for table in &known.tables {
        for batch in shelf::batches(table, None, 8_192) {
            let batch = batch?;
            let kept = keys.rows(&batch)?.into_iter().zip(values.rows(&batch)?).enumerate();
            for (row, (key, value)) in kept {
                there.insert(key, (value, values.texts(&batch, row)?));
            }
        }
    }
    let mut told: BTreeSet<LostCorrection> = BTreeSet::new();
    for batch in given {
        for (row, (key, value)) in keys.rows(batch)?.into_iter().zip(values.rows(batch)?).enumerate() {
            let Some((_, texts)) = there.get(&key).filter(|(held, _)| *held != value) else { continue };
            let named = crate::name::named(&model.key_columns(), &keys.texts(batch, row)?).join(", ");
            for ((column, newer), older) in columns.iter().zip(values.texts(batch, row)?).zip(texts) {
                if newer != *older {
                    let (key, column) = (named.clone(), column.clone());
                    let table = model.name.to_string();
                    told.insert(LostCorrection { table, key, column, newer, older: older.clone() });
                }
            }
        }
    }
    Ok(told.into_iter().collect())
}

/// Some columns of batches, as rows that can be compared.
pub struct Side {
    names: Vec<String>,
    converter: RowConverter,
}

impl Side {
    pub fn of(batch: &RecordBatch, names: &[String]) -> Result<Side> {
        let field = |name: &String| {
            let field = batch.schema().field_with_name(name).cloned();
            Ok(SortField::new(field.or_error(ErrorKind::Bug, || name.clone())?.data_type().clone()))
        };
        let fields = names.iter().map(field).collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(fields).or_error(ErrorKind::Bug, || "rows".to_owned())?;
        Ok(Side { names: names.to_vec(), converter })
    }

    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |name: &String| {
            let column = batch.column_by_name(name).cloned();
            column.ok_or_else(|| Error::new(ErrorKind::Bug, format!("a registry without {name}")))
        };
        self.names.iter().map(column).collect()
    }

    pub fn rows(&self, batch: &RecordBatch) -> Result<Vec<OwnedRow>> {
        let rows = self.converter.convert_columns(&self.columns(batch)?);
        let rows = rows.or_error(ErrorKind::Bug, || "rows of a registry".to_owned())?;
        Ok(rows.iter().map(|row| row.owned()).collect())
    }

    fn texts(&self, batch: &RecordBatch, row: usize) -> Result<Vec<String>> {
        Ok(self.columns(batch)?.iter().map(|column| cell(column, row)).collect())
    }
}
