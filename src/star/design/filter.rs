//! Which rows of a source table are read at all: those that the pipeline declares, less what every
//! scan of every model leaves out by itself.
//!
//! A model's condition may go to Postgres only where Postgres keeps every row that the engine would
//! keep; the engine still applies it. The audit's totals see the declared filters and no other: a
//! condition that all models share may be everybody's mistake, and must not hide from them.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::Designer;
use super::masks::misplaced;
use crate::diagnostic::Diagnostic;
use crate::error::Result;
use crate::name::{SourceTable, nearest, quote_identifier, quote_literal};
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::policy::{Extremes, FarDates, Special};
use crate::pipeline::Spanned;
use crate::pipeline::catalog::{Relation, SourceColumn};

impl Designer<'_> {
    /// Notes filters of tables that the source doesn't have.
    pub(super) fn check_filters(&mut self) {
        for filter in &self.pipeline.source.filters {
            let schemas = &self.pipeline.source.schemas;
            if self.catalog.named(schemas, &filter.table.value).is_none() {
                let name = &filter.table.value;
                let help = self.catalog.suggestion(schemas, name);
                let message = format!("[source.where] names `{name}`, which the source has not");
                self.error(filter.table.span.clone(), message, help);
            } else if !self.pipeline.source.url.is_postgres() {
                let message = "a folder of files has nobody to evaluate a condition".to_owned();
                let help = "leave [source.where] to a source in Postgres, or filter in the models".to_owned();
                self.error(filter.table.span.clone(), message, help);
            }
        }
        self.check_overrides();
        self.found.extend(misplaced(&self.pipeline.source, self.catalog));
        self.check_allowed();
    }

    /// A table that is allowed something must be there, or the allowance is a slip of the pen.
    fn check_allowed(&mut self) {
        let source = &self.pipeline.source;
        let lists = [("allow_empty", &source.allow_empty), ("allow_foreign", &source.allow_foreign)];
        let beneath = |name: &str| {
            let mut beneath = self.catalog.relations.values().flat_map(|relation| &relation.beneath);
            beneath.any(|beneath| beneath.table.to_string() == name)
        };
        let unknown: Vec<(&str, &Spanned<String>)> = lists
            .into_iter()
            .flat_map(|(key, names)| names.iter().map(move |name| (key, name)))
            .filter(|(_, name)| {
                self.catalog.named(&source.schemas, &name.value).is_none() && !beneath(&name.value)
            })
            .collect();
        for (key, name) in unknown {
            let help = self.catalog.suggestion(&source.schemas, &name.value);
            let message = format!("{key} in [source] names `{}`, which the source has not", name.value);
            self.error(name.span.clone(), message, help);
        }
    }

    /// Tables that only a condition reads are locked and confirmed with the others.
    pub(super) fn register_filters(&mut self) -> Result<()> {
        let schemas = &self.pipeline.source.schemas;
        let filters = self.pipeline.source.filters.iter().filter(|filter| {
            let table = self.catalog.named(schemas, &filter.table.value);
            table.is_some_and(|table| self.used.contains_key(&table))
        });
        let named = filters.flat_map(|filter| &filter.reads).filter_map(|name| match name.as_slice() {
            [table] => self.catalog.find(schemas, table),
            [.., schema, table] => {
                let table = SourceTable::new(schema.as_str(), table.as_str());
                self.catalog.relations.contains_key(&table).then_some(table)
            }
            [] => None,
        });
        let tables: BTreeSet<SourceTable> = named.collect();
        tables.iter().try_for_each(|table| self.register(table))
    }

    /// An override of a column that isn't there is a slip of the pen.
    fn check_overrides(&mut self) {
        for name in self.pipeline.source.types.columns.keys() {
            let mut tables = self.catalog.relations.iter();
            let known = tables.any(|(table, relation)| {
                let column = name.strip_prefix(&format!("{table}."));
                column.is_some_and(|column| relation.column(column).is_some())
            });
            if !known {
                let names = self.catalog.relations.iter().flat_map(|(table, relation)| {
                    relation.columns.iter().map(move |column| format!("{table}.{}", column.name))
                });
                let names: Vec<String> = names.collect();
                let near = nearest(name, names.iter().map(String::as_str));
                let help = near.map(|near| format!("did you mean `{near}`?"));
                let help = help.unwrap_or_else(|| "name it with schema, table and column".to_owned());
                let message = format!("[source.columns] names `{name}`, which the source has not");
                self.found.push(Diagnostic::error(message).help(help));
            }
        }
    }

    /// What of a scan's conditions Postgres may apply first.
    pub(super) fn pushable(&self, table: &SourceTable, conditions: &[Expr]) -> BTreeSet<String> {
        if !self.pipeline.source.url.is_postgres() {
            return BTreeSet::new();
        }
        let relation = &self.catalog.relations[table];
        let extremes = self.pipeline.source.types.extremes;
        let pushed = conditions.iter().filter_map(|condition| condition_sql(condition, relation, extremes));
        pushed.collect()
    }
}

/// What all scans of a table have in common.
pub fn shared(scans: &[BTreeSet<String>]) -> Option<String> {
    let (first, others) = scans.split_first()?;
    let common: Vec<String> = first
        .iter()
        .filter(|condition| others.iter().all(|scan| scan.contains(*condition)))
        .cloned()
        .collect();
    (!common.is_empty()).then(|| common.join(" AND "))
}

/// A condition in Postgres's words, or none when it might keep fewer rows there than here.
fn condition_sql(condition: &Expr, relation: &Relation, extremes: Extremes) -> Option<String> {
    let of = |expr: &Expr| condition_sql(expr, relation, extremes);
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(format!("({} OR {})", of(left)?, of(right)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(format!("({} AND {})", of(left)?, of(right)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => {
                comparison(column_of(&column.name, relation)?, *op, value, extremes)
            }
            (Expr::Literal(value, _), Expr::Column(column)) => {
                comparison(column_of(&column.name, relation)?, op.swap()?, value, extremes)
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else { return None };
            let column = column_of(&column.name, relation)?;
            let equals = list.list.iter().map(|item| match item {
                Expr::Literal(value, _) => comparison(column, Operator::Eq, value, extremes),
                _ => None,
            });
            let equals: Vec<String> = equals.collect::<Option<_>>()?;
            (!equals.is_empty()).then(|| format!("({})", equals.join(" OR ")))
        }
        // A row of which a field is NULL is neither NULL nor NOT NULL to Postgres.
        Expr::IsNotNull(inner) => Some(format!("({} IS DISTINCT FROM NULL)", column_sql(inner, relation)?)),
        Expr::IsNull(inner) => {
            let Expr::Column(column) = inner.as_ref() else { return None };
            let column = column_of(&column.name, relation)?;
            // What the policy turns into NULL here is none there.
            let turned = may_change(column, extremes)
                || matches!(column.mapping, Ok(Mapping::Decimal(_)) if extremes.special == Special::Null);
            (!turned).then(|| format!("({} IS NULL)", quote_identifier(&column.name)))
        }
        Expr::Column(_) => boolean(condition, relation).map(|column| format!("({column})")),
        Expr::Not(inner) => boolean(inner, relation).map(|column| format!("(NOT {column})")),
        _ => None,
    }
}

fn boolean(expr: &Expr, relation: &Relation) -> Option<String> {
    let Expr::Column(column) = expr else { return None };
    let column = column_of(&column.name, relation)?;
    (column.mapping == Ok(Mapping::Boolean)).then(|| quote_identifier(&column.name))
}

fn column_sql(expr: &Expr, relation: &Relation) -> Option<String> {
    let Expr::Column(column) = expr else { return None };
    Some(quote_identifier(&column_of(&column.name, relation)?.name))
}

fn column_of<'a>(name: &str, relation: &'a Relation) -> Option<&'a SourceColumn> {
    // A model compares what stands in a value's place.
    relation.column(name).filter(|column| column.mapping.is_ok() && column.mask.is_none())
}

/// Whether a date of this column may be another one here than there.
fn may_change(column: &SourceColumn, extremes: Extremes) -> bool {
    let calendar = matches!(column.mapping, Ok(Mapping::Date | Mapping::Timestamp | Mapping::TimestampTz));
    let exact = extremes.special == Special::Refuse
        && matches!(extremes.far_dates, FarDates::Keep | FarDates::Refuse);
    calendar && !exact
}

fn comparison(
    column: &SourceColumn,
    op: Operator,
    value: &ScalarValue,
    extremes: Extremes,
) -> Option<String> {
    let sign = match op {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    };
    if may_change(column, extremes) {
        return None;
    }
    let literal = match (column.mapping.as_ref().ok()?, value) {
        (Mapping::Int16 | Mapping::Int32 | Mapping::Int64, _) => integer(value)?,
        (Mapping::Decimal(_), ScalarValue::Decimal128(Some(digits), _, scale)) if *scale >= 0 => {
            bigdecimal::BigDecimal::new((*digits).into(), i64::from(*scale)).to_plain_string()
        }
        (Mapping::Boolean, ScalarValue::Boolean(Some(value))) => value.to_string(),
        // A collation may order otherwise, and may call more texts equal, but never fewer.
        (Mapping::Text | Mapping::PaddedText, value) if op == Operator::Eq && compares_as_text(column) => {
            quote_literal(value.try_as_str()??)
        }
        (Mapping::Date, ScalarValue::Date32(Some(days))) => {
            let date = chrono::NaiveDate::from_epoch_days(*days)?;
            format!("date {}", quote_literal(&in_era(date)?))
        }
        (Mapping::Timestamp, ScalarValue::TimestampMicrosecond(Some(micros), None)) => {
            format!("timestamp {}", quote_literal(&instant(*micros)?))
        }
        (Mapping::TimestampTz, ScalarValue::TimestampMicrosecond(Some(micros), Some(_))) => {
            format!("timestamptz {}", quote_literal(&format!("{}+00", instant(*micros)?)))
        }
        _ => return None,
    };
    Some(format!("({} {sign} {literal})", quote_identifier(&column.name)))
}

/// json and xml have no equality.
fn compares_as_text(column: &SourceColumn) -> bool {
    let base = column.type_name.split('(').next().unwrap_or_default();
    matches!(base, "text" | "character varying" | "character")
}

fn integer(value: &ScalarValue) -> Option<String> {
    Some(match value {
        ScalarValue::Int8(Some(n)) => n.to_string(),
        ScalarValue::Int16(Some(n)) => n.to_string(),
        ScalarValue::Int32(Some(n)) => n.to_string(),
        ScalarValue::Int64(Some(n)) => n.to_string(),
        _ => return None,
    })
}

fn instant(micros: i64) -> Option<String> {
    let instant = chrono::DateTime::from_timestamp_micros(micros)?.naive_utc();
    Some(format!("{} {}", in_era(instant.date())?, instant.time().format("%H:%M:%S%.6f")))
}

/// A date of the years that both sides write alike.
fn in_era(date: chrono::NaiveDate) -> Option<String> {
    use chrono::Datelike;
    (1..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}
