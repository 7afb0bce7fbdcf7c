//! Which rows of a source table belong to the source, as the pipeline declares below `[source.where]`.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, ObjectNamePart, Value, Visitor};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::catalog::{Catalog, Relation, SourceColumn};
use super::file::Text;
use super::section::Notes;
use super::sql::folded;
use super::{Extremes, FarDates, SourceSettings, Special};
use crate::diagnostic::Document;
use crate::dialect::spelled;
use crate::name::{SourceTable, quote_identifier, quote_literal};
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::mask::Mask;

/// A condition in Postgres's SQL over one table's columns. The server evaluates it: for the rows that
/// are read, and for the totals that they are held against.
#[derive(Debug, Clone)]
pub struct SourceFilter {
    /// As the pipeline names it: `orders`, or `public.orders`.
    pub table: Text,
    pub condition: Text,
    /// Other relations that the condition reads, schema first if it has one.
    pub reads: Vec<Vec<String>>,
    /// The functions that it calls.
    pub calls: Vec<String>,
}

impl SourceFilter {
    /// Takes one condition, and notes what is wrong with it.
    pub fn resolve(table: &Text, condition: &Text, notes: &Notes) -> Option<SourceFilter> {
        let parsed = spelled::parser(&condition.value).and_then(|mut parser| {
            let expression = parser.parse_expr()?;
            parser.expect_token(&Token::EOF)?;
            Ok(expression)
        });
        let expression = match parsed {
            Ok(expression) => expression,
            Err(error) => {
                let message = format!("this condition does not parse: {error}");
                notes.error(
                    condition.span.clone(),
                    message,
                    "write what follows WHERE: \"deleted_at IS NULL\"",
                );
                return None;
            }
        };
        if let Some(word) = unsteady(&expression) {
            let message = format!("`{word}` is another value in every session and every run");
            let help = "write a fixed value, or let the scheduler give one: \"ordered_at >= '${SINCE}'\"";
            notes.error(condition.span.clone(), message, help);
            return None;
        }
        let mut found = Mentioned::default();
        let _ = visit::see(&expression, &mut found);
        let (reads, calls) = (found.relations, found.functions);
        Some(SourceFilter { table: table.clone(), condition: condition.clone(), reads, calls })
    }
}

impl SourceSettings {
    /// The filters that a table has, which are rarely more than one.
    pub fn filters_of<'a>(
        &'a self,
        catalog: &'a Catalog,
        table: &'a SourceTable,
    ) -> impl Iterator<Item = &'a SourceFilter> {
        let own = move |filter: &&SourceFilter| {
            catalog.named(&self.schemas, &filter.table.value).as_ref() == Some(table)
        };
        self.filters.iter().filter(own)
    }

    /// Their conditions as one.
    pub fn declared_filter(&self, catalog: &Catalog, table: &SourceTable) -> Option<String> {
        let filters = self.filters_of(catalog, table);
        // A comment at its end must not take the parenthesis along.
        let conditions: Vec<String> =
            filters.map(|filter| format!("({}\n)", by_table(&filter.condition.value, table))).collect();
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }

    /// What the models see of a table, in Postgres's SQL, when that is not the table itself: the declared
    /// rows, and numbers and times as the policy for those at their ends makes them, so that totals count what is left.
    pub fn seen(&self, table: &SourceTable, relation: &Relation, declared: Option<&str>) -> Option<String> {
        let kept = declared.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        let seen: Vec<Option<String>> =
            relation.columns.iter().map(|column| otherwise(column, self.types.extremes)).collect();
        let columns: Vec<String> = relation
            .columns
            .iter()
            .zip(&seen)
            .map(|(column, seen)| {
                let name = quote_identifier(&column.name);
                seen.as_ref().map_or_else(|| name.clone(), |value| format!("{value} AS {name}"))
            })
            .collect();
        match seen.iter().any(Option::is_some) {
            true => Some(format!("SELECT {} FROM {}{kept}", columns.join(", "), table.quoted())),
            false => declared.map(|_| format!("SELECT * FROM {}{kept}", table.quoted())),
        }
    }
}

/// What a column's values become by the policy for those that a star does not hold. None where they stay.
fn otherwise(column: &SourceColumn, extremes: Extremes) -> Option<String> {
    let name = quote_identifier(&column.name);
    match &column.mask {
        Some(Mask::Null) => return Some(format!("NULL::{}", column.type_name)),
        Some(Mask::Text(text)) => {
            return Some(format!("CASE WHEN {name} IS DISTINCT FROM NULL THEN {} END", quote_literal(text)));
        }
        // Postgres is not given the key.
        Some(Mask::Hmac(_)) => return Some(format!("{name}::text COLLATE \"C\"")),
        None => {}
    }
    let (of, first, last) = match column.mapping {
        Ok(Mapping::Decimal(_)) if extremes.special == Special::Null => {
            return Some(format!(
                "CASE WHEN {name}::text NOT IN ('NaN', 'Infinity', '-Infinity') THEN {name} END"
            ));
        }
        Ok(Mapping::Date) => ("date", "0001-01-01", "9999-12-31"),
        Ok(Mapping::Timestamp) => ("timestamp", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"),
        Ok(Mapping::TimestampTz) => {
            ("timestamptz", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00")
        }
        _ => return None,
    };
    let mut whens = String::new();
    let mut when = |condition: &str, end: &str, moves: bool| {
        let becomes = if moves { format!("{of} '{end}'") } else { "NULL".to_owned() };
        whens.push_str(&format!(" WHEN {name} {condition} THEN {becomes}"));
    };
    if matches!(extremes.special, Special::Null | Special::Clamp) {
        let moves = extremes.special == Special::Clamp;
        when("= 'infinity'", last, moves);
        when("= '-infinity'", first, moves);
    }
    if matches!(extremes.far_dates, FarDates::Null | FarDates::Clamp) {
        let moves = extremes.far_dates == FarDates::Clamp;
        // Infinity has a policy of its own.
        when(&format!("< {of} '{first}' AND isfinite({name})"), first, moves);
        when(&format!("> {of} '{last}' AND isfinite({name})"), last, moves);
    }
    (!whens.is_empty()).then(|| format!("CASE{whens} ELSE {name} END"))
}

/// A condition whose columns go by the table's bare name: which of its partitions is read, it doesn't know.
fn by_table(condition: &str, table: &SourceTable) -> String {
    struct Schemas<'a>(&'a SourceTable, Vec<(Location, Location)>);
    impl Visitor for Schemas<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(names) = expr
                && let [schema, name, _] = names.as_slice()
                && folded(schema) == self.0.schema
                && folded(name) == self.0.table
            {
                self.1.push((schema.span.start, name.span.start));
            }
            ControlFlow::Continue(())
        }
    }
    let parsed = spelled::parser(condition).and_then(|mut parser| parser.parse_expr());
    let Ok(parsed) = parsed else { return condition.to_owned() };
    let mut schemas = Schemas(table, Vec::new());
    let _ = visit::see(&parsed, &mut schemas);
    let document = Document::new("", condition);
    let offset = |at: Location| document.offset(at.line, at.column);
    let mut text = condition.to_owned();
    schemas.1.sort_by_key(|(from, _)| std::cmp::Reverse((from.line, from.column)));
    for (from, to) in schemas.1 {
        text.replace_range(offset(from)..offset(to), "");
    }
    text
}

/// The relations and functions that an expression names.
#[derive(Default)]
struct Mentioned {
    relations: Vec<Vec<String>>,
    functions: Vec<String>,
}

impl Visitor for Mentioned {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.relations.push(name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.functions.extend(function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded));
        }
        ControlFlow::Continue(())
    }
}

/// A function whose answer depends on when or how often it is asked: the sessions of one snapshot
/// begin at different instants, so that they would read different rows.
fn unsteady(expression: &Expr) -> Option<String> {
    struct Unsteady(Option<String>);
    impl Visitor for Unsteady {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let name = match expr {
                Expr::Function(function) => {
                    function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded)
                }
                Expr::Identifier(ident) if ident.quote_style.is_none() => Some(folded(ident)),
                // Dates that Postgres reads anew each time.
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(text) => Some(text.trim().to_lowercase()),
                    _ => None,
                },
                _ => None,
            };
            if let Some(name) = name.filter(|name| UNSTEADY.contains(&name.as_str())) {
                self.0 = Some(name);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Unsteady(None);
    let _ = visit::see(expression, &mut found);
    found.0
}

const UNSTEADY: [&str; 19] = [
    "now",
    "today",
    "tomorrow",
    "yesterday",
    "age",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "clock_timestamp",
    "timeofday",
    "random",
    "gen_random_uuid",
    "txid_current",
    "pg_backend_pid",
    "nextval",
];
