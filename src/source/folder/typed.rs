//! A file read twice: into the types of its columns for the models, and as the text that stands there for the
//! controls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::ddl::Rule;
use super::held::{Held, HeldRows};
use super::records::{advance, check_width, csv_error, cut, header, is_wide, open, value_error};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::SourceTable;
use crate::pgcopy::column::Column;
use crate::pgcopy::decode::BATCH_ROWS;
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::mask::Mask;
use crate::pgcopy::policy::Extremes;
use crate::pipeline::catalog::SourceColumn;
use crate::star::design::Read;
use crate::star::origin::Altered;
use crate::star::staged::{PartWriter, Stage, StagedTable};

/// The columns that the models use, each with its mapping.
pub struct TypedTable {
    whole: SchemaRef,
    positions: Vec<usize>,
    columns: Vec<(String, Mapping, Option<Mask>)>,
    /// Every column that the file has, and whether it may be NULL, read or not: Postgres would have looked at all.
    declared: Vec<(String, bool)>,
    /// Columns whose values nobody may see.
    masked: BTreeSet<String>,
    zone: String,
    extremes: Extremes,
    pub rules: BTreeMap<String, Rule>,
    pub held: Option<Held>,
}

/// A table's rows, how many values the policy changed, and what its keys and conditions are about.
pub type Typed = (StagedTable, Altered, Option<StagedTable>);

impl TypedTable {
    pub fn new(read: &Read, zone: &str, extremes: Extremes) -> TypedTable {
        let columns = read.columns.iter().filter_map(|position| {
            let name = read.schema.field(*position).name();
            let column = read.relation.column(name)?;
            Some((name.clone(), column.mapping.clone().ok()?, column.mask.clone()))
        });
        TypedTable {
            columns: columns.collect(),
            whole: Arc::clone(&read.schema),
            positions: read.columns.clone(),
            declared: read
                .relation
                .columns
                .iter()
                .map(|column| (column.name.clone(), column.not_null))
                .collect(),
            masked: {
                let masked = read.relation.columns.iter().filter(|column| column.mask.is_some());
                masked.map(|column| column.name.clone()).collect()
            },
            zone: zone.to_owned(),
            extremes,
            rules: BTreeMap::new(),
            held: None,
        }
    }

    pub fn read(&self, table: &SourceTable, path: &Path, stage: &Arc<Stage>) -> Result<Typed> {
        let mut csv = open(path)?;
        let declared: Vec<String> = self.declared.iter().map(|(name, _)| name.clone()).collect();
        let header = header(&mut csv, path, &declared)?;
        let place = |name: &String| header.iter().position(|known| known == name);
        let fields: Vec<usize> = self.columns.iter().filter_map(|(name, ..)| place(name)).collect();
        // What is read is held against its type where it is read.
        let is_read = |name: &String| self.columns.iter().any(|(read, ..)| read == name);
        let asked: Vec<(usize, &str, bool, bool)> = self
            .declared
            .iter()
            .map(|(name, not_null)| (name, *not_null, self.rules.contains_key(name) && !is_read(name)))
            .filter(|(_, not_null, ruled)| *not_null || *ruled)
            .filter_map(|(name, not_null, ruled)| Some((place(name)?, name.as_str(), not_null, ruled)))
            .collect();
        let schema =
            Arc::new(self.whole.project(&self.positions).or_error(ErrorKind::Bug, || table.to_string())?);
        let mut columns: Vec<Column> = self
            .columns
            .iter()
            .map(|(_, mapping, mask)| {
                Column::new(*mapping, &self.zone, self.extremes, BATCH_ROWS).masked(mask.as_ref())
            })
            .collect();
        let mut writer = PartWriter::new(stage, Arc::clone(&schema));
        let mut held =
            self.held.as_ref().map(|held| HeldRows::new(held, &header, stage, &self.zone, self.extremes));
        let mut rows = 0;
        while advance(&mut csv, path)? {
            check_width(&csv, header.len(), path)?;
            let field = |index: usize| csv.field(index).map_err(|error| csv_error(error, path));
            let taken = |index: usize, name: &str| match field(index)? {
                Some(text) => self.held_value(text, name, table, path, csv.line()).map(Some),
                None => Ok(None),
            };
            for (index, name, not_null, ruled) in &asked {
                let value = if *ruled { taken(*index, name)? } else { field(*index)? };
                if *not_null && value.is_none() {
                    let message =
                        format!("{}:{}: {name} is NULL, but declared NOT NULL", path.display(), csv.line());
                    return Err(Error::new(ErrorKind::Fit, message)
                        .hint("an unquoted empty field is NULL; write \"\" for the empty string"));
                }
            }
            for ((column, index), (name, ..)) in columns.iter_mut().zip(&fields).zip(&self.columns) {
                match taken(*index, name)? {
                    None => column.push_null(),
                    Some(text) => column
                        .push_text(text)
                        .map_err(|error| value_error(error, table, name, Some((path, csv.line()))))?,
                }
            }
            if let Some(held) = &mut held {
                let wrong = |error, name: &str| value_error(error, table, name, Some((path, csv.line())));
                held.push(csv.line(), taken, wrong)?;
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
        let held = held.map(HeldRows::finish).transpose()?;
        Ok((
            StagedTable::new(Arc::clone(&self.whole), &self.positions, vec![writer.finish()?]),
            altered,
            held,
        ))
    }

    /// The value as the type of its column takes it.
    fn held_value<'a>(
        &self,
        text: &'a str,
        column: &str,
        table: &SourceTable,
        path: &Path,
        line: u64,
    ) -> Result<&'a str> {
        let Some(rule) = self.rules.get(column) else { return Ok(text) };
        rule.hold(text).map_err(|(wrong, help)| {
            let shown: String = match self.masked.contains(column) {
                true => "the value that is masked".to_owned(),
                false => format!("`{}`", text.chars().take(60).collect::<String>()),
            };
            let message = format!("{}:{line}: {table}.{column}: {shown} {wrong}", path.display());
            Error::new(ErrorKind::Fit, message).hint(help)
        })
    }
}

/// A column as the text that stands in a file, or as what stands in that text's place.
fn raw_column(declared: Option<&SourceColumn>) -> Column {
    let (mapping, mask) = match declared {
        Some(SourceColumn { mapping: Ok(mapping @ Mapping::Masked(_)), mask, .. }) => {
            (*mapping, mask.as_ref())
        }
        Some(SourceColumn { mask, .. }) => (Mapping::Text, mask.as_ref()),
        None => (Mapping::Text, None),
    };
    Column::new(mapping, "UTC", Extremes::EXACT, BATCH_ROWS).masked(mask)
}

/// All columns of a file as the text that stands there.
pub fn raw_text(
    table: &SourceTable,
    path: &Path,
    declared: &[SourceColumn],
    stage: &Arc<Stage>,
) -> Result<StagedTable> {
    let names: Vec<String> = declared.iter().map(|column| column.name.clone()).collect();
    let mut csv = open(path)?;
    let header = header(&mut csv, path, &names)?;
    let fields: Vec<Field> = header.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut columns: Vec<Column> =
        header.iter().map(|name| raw_column(declared.iter().find(|column| column.name == *name))).collect();
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
                        value_error(error, table, &header[index], Some((path, csv.line())))
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
