//! First-seen values that a store restored from a backup holds otherwise than newer snapshots or the target do: somebody
//! corrected them since, and the backup knows nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::pipeline::model::Model;
use crate::star::diff::walk::cell;
use crate::star::{Registry, shelf};

/// Values that are told one by one.
const TOLD: usize = 10;

/// What is to be corrected again, in words; `given` are the rows that newer snapshots and the target have.
pub fn outdated(given: &[RecordBatch], known: &Registry, model: &Model) -> Result<Vec<String>> {
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
    let mut told: BTreeSet<String> = BTreeSet::new();
    for batch in given {
        for (row, (key, value)) in keys.rows(batch)?.into_iter().zip(values.rows(batch)?).enumerate() {
            let Some((_, texts)) = there.get(&key).filter(|(held, _)| *held != value) else { continue };
            let named = crate::name::named(&model.key_columns(), &keys.texts(batch, row)?).join(",");
            for ((column, newer), older) in columns.iter().zip(values.texts(batch, row)?).zip(texts) {
                if newer != *older {
                    told.insert(format!("{named}: {column} is {newer}, and {older} in the backup"));
                }
            }
        }
    }
    let more = told.len().saturating_sub(TOLD);
    let mut told: Vec<String> = told.into_iter().take(TOLD).collect();
    told.extend((more > 0).then(|| format!("and {more} more")));
    Ok(told)
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
