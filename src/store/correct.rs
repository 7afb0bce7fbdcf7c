//! Changes a value that is kept as it was first seen, on purpose: the registry's row gets another, and the commit point says
//! who changed what, and why. The next run brings it into the star, and everything that is made of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Schema};

use super::compact::{TOGETHER, in_columns};
use super::forget::written;
use super::forgetting::{matching, require_columns};
use super::lock::StoreWriter;
use super::manifest::Latest;
use super::objects::Objects;
use super::value::{exact, plainly};
use super::{Store, keys_below};
use crate::clock;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, list, named, who};
use crate::pipeline::Encodings;
use crate::star::correction::Correction;
use crate::star::shelf;
use crate::star::table::{StarTable, TableWriter};

/// Rows that are looked at together.
const ROWS: usize = 8_192;

/// Which value is to be another, and why.
#[derive(Debug, Clone)]
pub struct Corrected {
    pub table: ModelName,
    /// The columns of the key, and their values.
    pub columns: Vec<String>,
    pub key: Vec<String>,
    /// The first-seen columns that change, with what they shall be; none is NULL.
    pub set: Vec<(String, Option<String>)>,
    pub because: String,
}

/// What a row of the registry holds of a table's first-seen values, in the words in which it is compared.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// `column=value` pairs.
    pub key: String,
    pub values: BTreeMap<String, Option<String>>,
}

impl Store {
    /// The first-seen values that are kept of one row; none where the registry doesn't know it.
    pub fn first_seen(
        &self,
        latest: &Latest,
        table: &ModelName,
        columns: &[String],
        key: &[String],
    ) -> Result<Option<Held>> {
        let Some(entry) = latest.keys.get(table).filter(|entry| !entry.files.is_empty()) else {
            return Ok(None);
        };
        let registry = self.keys(table, &entry.files)?;
        require_columns(table, registry.schema(), columns, &[key.to_vec()], "the registry")?;
        for batch in shelf::batches(&registry, None, ROWS) {
            let batch = in_columns(&batch?, &registry)?;
            let of_it = matching(&batch, columns, &[key.to_vec()])?;
            let Some(row) = of_it.iter().position(|is| is == Some(true)) else { continue };
            let (mut held, mut of_key) = (Held::default(), Vec::new());
            for (field, array) in registry.schema().fields().iter().zip(batch.columns()) {
                let plain = plainly(array, field.name())?;
                let value = plain.is_valid(row).then(|| text_at(&plain, row)).transpose()?;
                if entry.shape.first_seen.contains(field.name()) {
                    held.values.insert(field.name().clone(), value);
                } else if entry.shape.key.contains(field.name()) {
                    of_key.push(format!("{}={}", field.name(), value.unwrap_or_default()));
                }
            }
            held.key = of_key.join(", ");
            return Ok(Some(held));
        }
        Ok(None)
    }

    /// What a correction would change; nothing does.
    pub fn correcting(&self, latest: &Latest, wish: &Corrected) -> Result<Vec<Correction>> {
        let of_it = latest.keys.get(&wish.table).map(|entry| entry.shape.first_seen.clone());
        let first_seen = of_it.unwrap_or_default();
        for (column, _) in &wish.set {
            if !first_seen.contains(column) {
                let message = format!("{}.{column} is not kept as first seen", wish.table);
                let help = match first_seen.is_empty() {
                    true => {
                        "the table keeps no first-seen values: what the source says is changed in the source"
                            .to_owned()
                    }
                    false => format!("columns that are: {}", list(&first_seen)),
                };
                return Err(Error::new(ErrorKind::Usage, message).hint(help));
            }
        }
        let Some(held) = self.first_seen(latest, &wish.table, &wish.columns, &wish.key)? else {
            let row = named(&wish.columns, &wish.key).join(", ");
            let message = format!("{} has never had a row {row}", wish.table);
            return Err(
                Error::new(ErrorKind::Usage, message).hint("write the key as `starmill query` shows it")
            );
        };
        let entry = latest.keys.get(&wish.table).map(|entry| entry.files.clone()).unwrap_or_default();
        let registry = self.keys(&wish.table, &entry)?;
        let mut corrections = Vec::new();
        for (column, value) in &wish.set {
            let array = typed(registry.schema(), &wish.table, column, value.as_deref())?;
            let plain = plainly(&array, column)?;
            let new = plain.is_valid(0).then(|| text_at(&plain, 0)).transpose()?;
            let old = held.values.get(column).cloned().flatten();
            if old == new {
                continue;
            }
            corrections.push(Correction {
                at: clock::now(),
                by: who(),
                key: held.key.clone(),
                column: column.clone(),
                old,
                new,
                because: wish.because.clone(),
                snapshot: None,
            });
        }
        Ok(corrections)
    }
}

impl StoreWriter {
    /// Does it, and says what was changed.
    pub async fn correct(&self, wish: &Corrected) -> Result<Vec<Correction>> {
        let store = self.store();
        let latest = store.commit_point()?;
        let corrections = store.correcting(&latest, wish)?;
        let mut next = latest.clone();
        let Some(entry) = next.keys.get_mut(&wish.table).filter(|_| !corrections.is_empty()) else {
            return Ok(corrections);
        };
        let table = store.keys(&wish.table, &entry.files)?;
        let below = keys_below(&wish.table);
        let (name, folder) = (format!("{}{TOGETHER}.parquet", self.run()), store.objects.local(&below));
        let path = folder.join(&name);
        let writer = TableWriter::create(&path, table.schema(), &[], Encodings::Delta)?;
        let file =
            written(&table, writer, &path, |batch| changed(&in_columns(&batch, &table)?, &table, wish))?;
        let gone: Vec<String> = entry.files.iter().map(|file| format!("{below}/{}", file.name)).collect();
        entry.files = vec![file];
        entry.corrections.extend(corrections.iter().cloned());
        if let Objects::Bucket(bucket) = &store.objects {
            let sent: Vec<(PathBuf, String)> = vec![(path, format!("{below}/{name}"))];
            bucket.send(sent).await?;
        }
        self.commit(&next)?;
        // What the commit point names no more, the next run would sweep as well.
        if let Objects::Folder(_) = &store.objects {
            for name in gone {
                let _ = std::fs::remove_file(store.objects.local(&name));
            }
        }
        Ok(corrections)
    }
}

/// Rows of a registry with the values that they shall have.
fn changed(batch: &RecordBatch, table: &StarTable, wish: &Corrected) -> Result<RecordBatch> {
    let of_it = matching(batch, &wish.columns, std::slice::from_ref(&wish.key))?;
    let schema = batch.schema();
    let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
    for (column, value) in &wish.set {
        let Some((place, _)) = schema.column_with_name(column) else { continue };
        let value = typed(table.schema(), &wish.table, column, value.as_deref())?;
        let value = arrow::array::Scalar::new(value);
        if let Some(array) = arrays.get_mut(place) {
            *array = zip(&of_it, &value, array).or_error(ErrorKind::Bug, || column.clone())?;
        }
    }
    RecordBatch::try_new(schema, arrays).or_error(ErrorKind::Bug, || "rows of a registry".to_owned())
}

/// A value of a column, as one row of its type. What the type could only hold by rounding is none.
fn typed(schema: &Schema, table: &ModelName, column: &str, value: Option<&str>) -> Result<ArrayRef> {
    let field = schema.field_with_name(column).or_error(ErrorKind::Bug, || column.to_owned())?;
    let data_type = field.data_type();
    let Some(value) = value else { return Ok(new_null_array(data_type, 1)) };
    let refused = || {
        let message = format!("`{value}` is no value of {table}.{column}");
        Error::new(ErrorKind::Usage, message)
            .hint("write it as `starmill query` shows such values; --set-null sets NULL")
    };
    if data_type.is_nested() {
        let message = format!("{table}.{column} is a list, which cannot be corrected here");
        return Err(Error::new(ErrorKind::Usage, message).hint(
            "correct it in the source, and give the column another name with AS, under which it begins anew",
        ));
    }
    // Of a value that is written, its digits alone could be a text that somebody meant.
    let is_whole = *data_type != DataType::Binary || value.starts_with("\\x");
    exact(value, data_type).filter(|_| is_whole).ok_or_else(refused)
}

fn text_at(plain: &ArrayRef, row: usize) -> Result<String> {
    let texts = plain.as_any().downcast_ref::<StringArray>();
    let texts = texts.ok_or_else(|| Error::new(ErrorKind::Bug, "a value that is no text"))?;
    Ok(texts.value(row).to_owned())
}
