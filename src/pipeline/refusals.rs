//! What a model's SQL must not say: constructs to which the engine would silently answer otherwise
//! than Postgres, or differently from run to run.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CharacterLength, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, ObjectNamePart, Query, Select, SetExpr, Spanned as _, Value,
    Visit, Visitor, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::sql::{SelectSql, folded};
use crate::diagnostic::Diagnostic;

/// What a SELECT is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It becomes a table of the star, and must give the same rows in every run.
    Model,
    /// Somebody wants to see an answer, and may well look at any ten rows.
    Question,
}

/// Every refused construct of a query, with its place and what to write instead.
pub fn refusals(sql: &SelectSql, query: &Query, purpose: Purpose) -> Vec<Diagnostic> {
    let mut visitor = Refusals { sql, purpose, found: Vec::new() };
    let _ = query.visit(&mut visitor);
    visitor.found
}

struct Refusals<'a> {
    sql: &'a SelectSql,
    purpose: Purpose,
    found: Vec<Diagnostic>,
}

impl Refusals<'_> {
    fn refuse(&mut self, span: Span, message: impl Into<String>, help: &str) {
        let place = self.sql.place(span);
        self.found.push(Diagnostic::error(message).at(&self.sql.document, place).help(help));
    }

    /// Refuses what may give other rows in every run, where that matters.
    fn unsteady(&mut self, span: Span, message: impl Into<String>, help: &str) {
        if self.purpose == Purpose::Model {
            self.refuse(span, message, help);
        }
    }

    fn check_function(&mut self, function: &Function, span: Span) {
        let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
        let Some(name) = name else { return };
        let ordered_inside = match &function.args {
            FunctionArguments::List(list) => {
                list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
            }
            _ => false,
        };
        let ordered = ordered_inside || !function.within_group.is_empty();
        match &function.over {
            None if ORDERED_AGGREGATES.contains(&name.as_str()) && !ordered => self.unsteady(
                span,
                format!("{name} depends on the order of its rows, and states none"),
                "state one inside: string_agg(name, ', ' ORDER BY name)",
            ),
            Some(WindowType::WindowSpec(window))
                if ORDERED_WINDOWS.contains(&name.as_str())
                    && window.order_by.is_empty()
                    && window.window_name.is_none() =>
            {
                self.unsteady(
                    span,
                    format!("{name} depends on the order of its rows, and states none"),
                    "add ORDER BY inside OVER (…)",
                );
            }
            _ => {}
        }
        if RANDOM.contains(&name.as_str()) {
            self.unsteady(
                span,
                format!("{name} gives another answer in every run"),
                "the same source must give the same star; derive the value from a column",
            );
        }
        if PATTERNS.contains(&name.as_str())
            && let FunctionArguments::List(list) = &function.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(pattern)))) = list.args.get(1)
            && let Value::SingleQuotedString(pattern) = &pattern.value
            && !pattern.contains('%')
        {
            self.refuse(
                span,
                format!("{name} takes no Postgres pattern here, and would return it as it stands"),
                "use strftime's: 'YYYY-MM-DD' is '%Y-%m-%d'",
            );
        }
    }
}

const ORDERED_AGGREGATES: [&str; 6] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value", "any_value"];
const ORDERED_WINDOWS: [&str; 9] =
    ["row_number", "rank", "dense_rank", "ntile", "lag", "lead", "first_value", "last_value", "nth_value"];
const RANDOM: [&str; 4] = ["random", "uuid", "gen_random_uuid", "clock_timestamp"];
const PATTERNS: [&str; 3] = ["to_char", "to_date", "to_timestamp"];

impl Visitor for Refusals<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if !query.locks.is_empty() {
            self.refuse(query.span(), "nothing here takes row locks", "remove FOR UPDATE or FOR SHARE");
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse(query.span(), "this writes", "write one SELECT and nothing else")
            }
            SetExpr::Table(_) => {
                self.refuse(query.span(), "TABLE is not read here", "write SELECT * FROM …");
            }
            _ => {}
        }
        let distinct_on = match query.body.as_ref() {
            SetExpr::Select(select) => matches!(select.distinct, Some(Distinct::On(_))),
            _ => false,
        };
        if distinct_on && query.order_by.is_none() {
            self.unsteady(
                query.span(),
                "DISTINCT ON without ORDER BY keeps other rows in every run",
                "add an ORDER BY that says which row of each group stays",
            );
        }
        if query.limit_clause.is_some() && query.order_by.is_none() {
            self.unsteady(
                query.span(),
                "LIMIT without ORDER BY keeps other rows in every run",
                "add an ORDER BY that is unique",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.into.is_some() {
            self.refuse(select.span(), "SELECT INTO writes a table", "remove INTO");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                if matches!(right.as_ref(), Expr::Subquery(_)) =>
            {
                self.refuse(
                    expr.span(),
                    "ANY and ALL over a subquery are answered wrongly by the engine",
                    "use IN, EXISTS, or compare with a min or max",
                );
            }
            Expr::SimilarTo { .. } => self.refuse(
                expr.span(),
                "SIMILAR TO means something else to the engine",
                "use LIKE or a regular expression (~)",
            ),
            Expr::Cast { data_type, .. } if has_length(data_type) => self.refuse(
                expr.span(),
                "a cast to a text of limited length does not cut it here",
                "use left(x, n)",
            ),
            Expr::Function(function) => self.check_function(function, expr.span()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn has_length(data_type: &DataType) -> bool {
    let length = match data_type {
        DataType::Varchar(length)
        | DataType::CharacterVarying(length)
        | DataType::Char(length)
        | DataType::Character(length) => length,
        _ => return matches!(data_type, DataType::Char(None) | DataType::Character(None)),
    };
    matches!(length, Some(CharacterLength::IntegerLength { .. }))
}
