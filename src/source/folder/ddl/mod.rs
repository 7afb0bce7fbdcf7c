//! `schema.sql`: Postgres DDL that gives a folder of CSV its types, and what its rows are held against. It may be
//! what `pg_dump --schema-only` prints.

mod altered;
mod statements;
mod types;

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTableOperation, ColumnDef, ColumnOption, CreateIndex, CreateTable, Expr,
    IndexColumn, NullsDistinctOption, ObjectName, ObjectNamePart, Statement, TableConstraint,
};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::dialect::spelled;
use crate::error::{Error, ErrorKind, Result};
use crate::name::SourceTable;
use crate::pipeline::sql::folded;
use altered::Says;
use statements::{Piece, split};
pub use types::Rule;
use types::Types;

#[derive(Debug)]
pub struct DdlTable {
    pub name: SourceTable,
    pub columns: Vec<DdlColumn>,
    pub keys: Vec<Key>,
    pub checks: Vec<Check>,
}

#[derive(Debug, Clone)]
pub struct DdlColumn {
    pub name: String,
    pub type_name: String,
    pub not_null: bool,
    /// Computed by Postgres from the others: an export may leave it out.
    pub generated: bool,
    /// What the type asks of a value beyond what its Arrow type does.
    pub rule: Option<Rule>,
}

/// Columns whose values no two rows share.
#[derive(Debug, Clone)]
pub struct Key {
    pub name: String,
    pub columns: Vec<String>,
    /// Whether rows with a NULL among them are different.
    pub nulls_distinct: bool,
    pub primary: bool,
}

/// A condition that holds, or is NULL, for every row.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: String,
    pub condition: Expr,
}

/// The tables of the CREATE TABLE statements, with the types and keys that other statements give them. What says
/// nothing of either, such as views and functions, is passed over.
pub fn parse(text: &str, path: &str) -> Result<Vec<DdlTable>> {
    let mut schema =
        Schema { path, search: "public".to_owned(), types: Types::default(), tables: BTreeMap::new() };
    for piece in split(text) {
        schema.take(&piece)?;
    }
    Ok(schema.tables.into_values().collect())
}

struct Schema<'a> {
    path: &'a str,
    /// The schema of names without one.
    search: String,
    types: Types,
    tables: BTreeMap<SourceTable, DdlTable>,
}

impl Schema<'_> {
    fn take(&mut self, piece: &Piece) -> Result<()> {
        let words: Vec<String> = piece.text.split_whitespace().take(6).map(str::to_ascii_uppercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["CREATE", "DOMAIN", ..] => {
                self.types.domain(piece.text, &self.search).map_err(|error| self.unread(piece, error))
            }
            ["SET", ..] => {
                if let Some(first) = searched_first(piece.text) {
                    self.search = first;
                }
                Ok(())
            }
            ["CREATE", "TYPE", ..] if piece.text.to_ascii_uppercase().contains(" AS ENUM") => {
                self.statement(piece)
            }
            ["CREATE", "TABLE" | "UNLOGGED", ..] | ["CREATE", "UNIQUE", "INDEX", ..] => self.statement(piece),
            ["ALTER", "TABLE", ..] => {
                match altered::says(piece.text).map_err(|error| self.unread(piece, error.to_string()))? {
                    Says::Nothing => Ok(()),
                    Says::Constraint => self.statement(piece),
                    Says::Change => {
                        let message =
                            format!("{}:{}: a table is changed after it was made", self.path, piece.line);
                        Err(Error::new(ErrorKind::Fit, message).hint(
                            "write it as it is now, in its CREATE TABLE, and leave the ALTER out; or take what pg_dump --schema-only prints",
                        ))
                    }
                }
            }
            ["ALTER", "DOMAIN" | "TYPE", ..] if changes_a_type(piece.text) => {
                let message = format!("{}:{}: a type is changed after it was made", self.path, piece.line);
                Err(Error::new(ErrorKind::Fit, message).hint(
                    "write it as it is now, in its CREATE TYPE or CREATE DOMAIN, and leave the ALTER out",
                ))
            }
            _ => Ok(()),
        }
    }

    fn statement(&mut self, piece: &Piece) -> Result<()> {
        // The engine's parser doesn't know that a table can be unlogged, which says nothing of its rows.
        let text = piece.text.trim_start();
        let unlogged = text.to_ascii_uppercase().starts_with("CREATE UNLOGGED");
        let text =
            if unlogged { format!("CREATE{}", &text["CREATE UNLOGGED".len()..]) } else { text.to_owned() };
        let parsed = plainer(&text).and_then(|tokens| spelled::of_tokens(tokens).parse_statements());
        for statement in parsed.map_err(|error| self.unread(piece, error.to_string()))? {
            match statement {
                Statement::CreateTable(table) => self.table(&table, piece)?,
                Statement::CreateType { name, representation } => {
                    self.types.labels(&qualified(&name, &self.search), representation);
                }
                Statement::CreateIndex(index) => self.index(&index),
                Statement::AlterTable(altered) => {
                    for operation in altered.operations {
                        self.altered(&altered.name, operation);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn unread(&self, piece: &Piece, error: String) -> Error {
        Error::new(ErrorKind::Fit, format!("{}:{}: this statement does not parse", self.path, piece.line))
            .caused_by(error)
            .hint("it holds Postgres DDL: CREATE TABLE with types and keys, by hand or from pg_dump --schema-only")
    }

    fn table(&mut self, table: &CreateTable, piece: &Piece) -> Result<()> {
        let name = qualified(&table.name, &self.search);
        let mut made =
            DdlTable { name: name.clone(), columns: Vec::new(), keys: Vec::new(), checks: Vec::new() };
        let parents = table.inherits.iter().flatten().chain(&table.partition_of);
        for parent in parents {
            // Its columns and conditions are inherited; its keys are not.
            let Some(parent) = self.tables.get(&qualified(parent, &self.search)) else { continue };
            made.columns.extend(parent.columns.iter().cloned());
            made.checks.extend(parent.checks.iter().cloned());
        }
        for column in &table.columns {
            let made_column = self.column(column, &mut made);
            match made.columns.iter_mut().find(|known| known.name == made_column.name) {
                Some(known) => *known = made_column,
                None => made.columns.push(made_column),
            }
        }
        for constraint in &table.constraints {
            constrain(&mut made, constraint.clone());
        }
        if self.tables.contains_key(&name) {
            let message = format!("{}:{}: {name} is declared a second time", self.path, piece.line);
            return Err(Error::new(ErrorKind::Fit, message).hint("leave one of them"));
        }
        self.tables.insert(name, made);
        Ok(())
    }

    fn column(&self, column: &ColumnDef, table: &mut DdlTable) -> DdlColumn {
        let name = folded(&column.name);
        let known = self.types.known(&column.data_type, &self.search);
        let mut made = DdlColumn {
            name: name.clone(),
            type_name: known.type_name,
            not_null: known.not_null,
            generated: false,
            rule: known.rule,
        };
        for check in known.checks {
            let condition = types::about(check.condition, &column.name);
            table.checks.push(Check { name: check.name, condition });
        }
        for option in &column.options {
            let named = |kind: &str| {
                option.name.as_ref().map_or_else(|| format!("{}_{name}_{kind}", table.name.table), folded)
            };
            match &option.option {
                ColumnOption::NotNull => made.not_null = true,
                ColumnOption::PrimaryKey(_) => {
                    made.not_null = true;
                    let key = format!("{}_pkey", table.name.table);
                    table.keys.push(Key {
                        name: key,
                        columns: vec![name.clone()],
                        nulls_distinct: true,
                        primary: true,
                    });
                }
                ColumnOption::Unique(unique) => table.keys.push(Key {
                    name: named("key"),
                    columns: vec![name.clone()],
                    nulls_distinct: unique.nulls_distinct != NullsDistinctOption::NotDistinct,
                    primary: false,
                }),
                ColumnOption::Check(check) => {
                    table.checks.push(Check { name: named("check"), condition: (*check.expr).clone() });
                }
                ColumnOption::Generated { generation_expr: Some(_), .. } => made.generated = true,
                ColumnOption::Identity(_) | ColumnOption::Generated { .. } => made.not_null = true,
                _ => {}
            }
        }
        made
    }

    fn index(&mut self, index: &CreateIndex) {
        let Some(table) = self.tables.get_mut(&qualified(&index.table_name, &self.search)) else { return };
        // One over expressions or some of the rows is no key of the table.
        if let (true, None, Some(columns)) = (index.unique, &index.predicate, plain(&index.columns)) {
            let name = index.name.as_ref().map_or("a unique index".to_owned(), ToString::to_string);
            let nulls_distinct = index.nulls_distinct != Some(false);
            table.keys.push(Key { name, columns, nulls_distinct, primary: false });
        }
    }

    fn altered(&mut self, table: &ObjectName, operation: AlterTableOperation) {
        let Some(table) = self.tables.get_mut(&qualified(table, &self.search)) else { return };
        match operation {
            AlterTableOperation::AddConstraint { constraint, .. } => constrain(table, constraint),
            AlterTableOperation::AlterColumn { column_name, op: AlterColumnOperation::SetNotNull } => {
                let name = folded(&column_name);
                for column in table.columns.iter_mut().filter(|column| column.name == name) {
                    column.not_null = true;
                }
            }
            _ => {}
        }
    }
}

/// A statement without what says nothing of its rows and the parser does not read: `NO INHERIT` and `NOT VALID` of a
/// CHECK, and the columns that a key's index has besides its own.
fn plainer(text: &str) -> std::result::Result<Vec<TokenWithSpan>, ParserError> {
    let mut kept: Vec<TokenWithSpan> = Vec::new();
    let mut included = 0;
    let said =
        spelled::tokens(text)?.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    for token in said {
        let is = |wanted| spelled::is_word(Some(&token), wanted);
        let before = |wanted| spelled::is_word(kept.last(), wanted);
        if included > 0 {
            included += usize::from(token.token == Token::LParen);
            included -= usize::from(token.token == Token::RParen);
            // The parenthesis that it began with is its own.
            included -= usize::from(included == 1);
        } else if (is("inherit") && before("no")) || (is("valid") && before("not")) {
            kept.pop();
        } else if is("include") && kept.last().is_some_and(|token| token.token == Token::RParen) {
            included = 1;
        } else {
            kept.push(token);
        }
    }
    Ok(kept)
}

/// The first schema of a `SET search_path`, in any of its spellings.
fn searched_first(text: &str) -> Option<String> {
    let tokens = spelled::tokens(text).ok()?;
    let said: Vec<&Token> = tokens.iter().map(|token| &token.token).collect();
    let mut said = said.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).skip(1);
    let is = |token: &Token, wanted: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(wanted));
    let mut next = said.next()?;
    if is(next, "session") || is(next, "local") {
        next = said.next()?;
    }
    if !is(next, "search_path") {
        return None;
    }
    // `=` or `TO`.
    said.next()?;
    let first = match said.next()? {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(name) => name.clone(),
        _ => return None,
    };
    (!first.is_empty() && first != "pg_catalog").then_some(first)
}

/// Whether an ALTER of a type changes what a value may be. Whose it is changes nothing.
fn changes_a_type(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    // A condition that was never held against the rows that are there may be broken by them.
    if upper.contains(" NOT VALID") {
        return false;
    }
    [" ADD ", " RENAME VALUE ", " SET NOT NULL", " DROP "].iter().any(|word| upper.contains(word))
}

fn constrain(table: &mut DdlTable, constraint: TableConstraint) {
    let name = |name: &Option<_>, kind: &str| {
        name.as_ref().map_or_else(|| format!("{}_{kind}", table.name.table), folded)
    };
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            let Some(columns) = plain(&key.columns) else { return };
            let name = name(&key.name, "pkey");
            for column in table.columns.iter_mut().filter(|column| columns.contains(&column.name)) {
                column.not_null = true;
            }
            table.keys.push(Key { name, columns, nulls_distinct: true, primary: true });
        }
        TableConstraint::Unique(key) => {
            let Some(columns) = plain(&key.columns) else { return };
            let nulls_distinct = key.nulls_distinct != NullsDistinctOption::NotDistinct;
            let name = name(&key.name, "key");
            table.keys.push(Key { name, columns, nulls_distinct, primary: false });
        }
        TableConstraint::Check(check) => {
            table.checks.push(Check { name: name(&check.name, "check"), condition: *check.expr });
        }
        _ => {}
    }
}

/// The names of an index's columns, when they are nothing else.
fn plain(columns: &[IndexColumn]) -> Option<Vec<String>> {
    let name = |column: &IndexColumn| match &column.column.expr {
        Expr::Identifier(name) => Some(folded(name)),
        _ => None,
    };
    columns.iter().map(name).collect()
}

fn qualified(name: &ObjectName, search: &str) -> SourceTable {
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
    match parts.as_slice() {
        [.., schema, name] => SourceTable::new(schema.as_str(), name.as_str()),
        [name] => SourceTable::new(search, name.as_str()),
        [] => SourceTable::new(search, ""),
    }
}
