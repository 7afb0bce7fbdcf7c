//! A control compares one number of the source with one of the star.

use super::sql::SelectSql;
use crate::name::ModelName;

#[derive(Debug)]
pub struct Control {
    pub model: ModelName,
    pub name: String,
    pub source: SourceSide,
    pub star: StarSide,
}

/// The source's number.
#[derive(Debug)]
pub enum SourceSide {
    /// An aggregate over one table. All aggregates of one table and filter are measured by one
    /// statement. `sql` is the whole SELECT, from which names and mistakes are told.
    Aggregate { expression: String, filter: Option<String>, sql: SelectSql },
    /// Any SELECT of one number.
    Query { sql: SelectSql },
}

impl SourceSide {
    pub fn sql(&self) -> &SelectSql {
        match self {
            SourceSide::Aggregate { sql, .. } | SourceSide::Query { sql } => sql,
        }
    }
}

/// The star's number.
#[derive(Debug)]
pub enum StarSide {
    /// The model's row count.
    Rows,
    /// The sum of one of the model's columns.
    Sum { column: String },
    /// Any SELECT of one number over the star's tables.
    Query { sql: SelectSql },
}
