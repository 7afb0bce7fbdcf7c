//! One table of the star: what kind it is, what it is made of, what must hold of it.

use std::ops::Range;

use chrono::NaiveDate;

use super::Spanned;
use super::sql::SelectSql;
use crate::name::ModelName;

#[derive(Debug)]
pub struct Model {
    pub name: ModelName,
    pub role: Role,
    /// The business key; empty only for a summary that is compared by whole rows.
    pub key: Vec<Spanned<String>>,
    pub body: Body,
    /// What sorts the Parquet when it isn't the key.
    pub order_by: Vec<Spanned<String>>,
    /// Indexes that the target gets besides the key's.
    pub indexes: Vec<Vec<Spanned<String>>>,
    /// Columns that keep the value they had when their row was first seen.
    pub first_seen: Vec<Spanned<String>>,
    /// The models that this one reads.
    pub reads: Vec<ModelName>,
    /// Where it is declared.
    pub place: Range<usize>,
}

#[derive(Debug)]
pub enum Role {
    Dimension { surrogate: Spanned<String> },
    Fact { lookups: Vec<Lookup> },
    Summary,
}

impl Role {
    pub fn word(&self) -> &'static str {
        match self {
            Role::Dimension { .. } => "dimension",
            Role::Fact { .. } => "fact",
            Role::Summary => "summary",
        }
    }
}

#[derive(Debug)]
pub enum Body {
    Sql(SelectSql),
    /// The built-in calendar, both ends included.
    Calendar {
        from: NaiveDate,
        to: NaiveDate,
    },
}

/// A surrogate key that starmill adds to a fact: the dimension's row whose business key equals the
/// fact's columns, else the unknown member.
#[derive(Debug)]
pub struct Lookup {
    /// The column that is added.
    pub column: Spanned<String>,
    pub dimension: ModelName,
    /// The dimension's key column and the fact's column that it equals.
    pub on: Vec<(String, Spanned<String>)>,
}

impl Model {
    pub fn key_columns(&self) -> Vec<String> {
        self.key.iter().map(|column| column.value.clone()).collect()
    }

    /// What the rows of the published table are sorted by, made unique by the key.
    pub fn sort_columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for column in self.order_by.iter().chain(&self.key) {
            if !columns.contains(&column.value) {
                columns.push(column.value.clone());
            }
        }
        columns
    }

    pub fn surrogate(&self) -> Option<&str> {
        match &self.role {
            Role::Dimension { surrogate } => Some(&surrogate.value),
            _ => None,
        }
    }

    pub fn lookups(&self) -> &[Lookup] {
        match &self.role {
            Role::Fact { lookups } => lookups,
            _ => &[],
        }
    }

    /// Columns whose values are given once and kept in the registry: the surrogate key of a
    /// dimension, the first-seen columns of any model.
    pub fn registered(&self) -> bool {
        !self.first_seen.is_empty() || (self.surrogate().is_some() && matches!(self.body, Body::Sql(_)))
    }
}
