//! `schema.sql`: Postgres DDL that gives a folder of CSV its types.

use datafusion::sql::sqlparser::ast::{ColumnOption, ObjectNamePart, Statement, TableConstraint};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::sql::folded;

pub struct DdlTable {
    pub name: String,
    pub columns: Vec<DdlColumn>,
}

pub struct DdlColumn {
    pub name: String,
    pub type_name: String,
    pub not_null: bool,
}

/// The tables of the CREATE TABLE statements; other statements (indexes, comments) say nothing
/// about types and are passed over.
pub fn parse(text: &str, path: &str) -> Result<Vec<DdlTable>> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|error| {
        Error::new(ErrorKind::Fit, format!("{path} does not parse"))
            .caused_by(error)
            .hint("it holds Postgres DDL: CREATE TABLE with types and keys")
    })?;
    let mut tables = Vec::new();
    for statement in statements {
        let Statement::CreateTable(table) = statement else { continue };
        let Some(name) = table.name.0.last().and_then(ObjectNamePart::as_ident).map(folded) else { continue };
        let mut columns: Vec<DdlColumn> = Vec::new();
        for column in &table.columns {
            let not_null = column
                .options
                .iter()
                .any(|option| matches!(option.option, ColumnOption::NotNull | ColumnOption::PrimaryKey(_)));
            let name = folded(&column.name);
            columns.push(DdlColumn { name, type_name: column.data_type.to_string(), not_null });
        }
        for constraint in &table.constraints {
            let TableConstraint::PrimaryKey(key) = constraint else { continue };
            let keys: Vec<String> =
                key.columns.iter().map(|column| column.to_string().to_lowercase()).collect();
            columns
                .iter_mut()
                .filter(|column| keys.contains(&column.name))
                .for_each(|column| column.not_null = true);
        }
        tables.push(DdlTable { name, columns });
    }
    Ok(tables)
}
