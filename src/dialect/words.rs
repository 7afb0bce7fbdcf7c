//! The SQL as it is written: what must not be said at all, because the engine would silently answer
//! otherwise than Postgres or from run to run, and what is said in other words before the engine plans it.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, JoinConstraint, JoinOperator, LimitClause, ObjectNamePart, Query, Select,
    SetExpr, Spanned as _, TableFactor, TypedString, UnaryOperator, Value, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::lists::elements;
use super::refuse::Purpose;
use super::reword::is_by_bytes;
use super::sets::makes_rows;
use super::shape::is_plain;
use super::{calls, foreign, outputs, using};

/// An unquoted identifier folds to lower case, as in Postgres.
pub fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Every refused construct of a query, and of it in other words, with its place and what to write instead.
pub fn refusals(query: &Query, said: &Query, purpose: Purpose) -> Vec<(Span, Refusal)> {
    let mut visitor = Refusals { purpose, found: Vec::new() };
    let _ = visit::see(query, &mut visitor);
    visitor.found.extend(left_over(said));
    visitor.found
}

/// What is still there once a query was said in other words, and is answered wrongly by the engine.
fn left_over(said: &Query) -> Vec<(Span, Refusal)> {
    struct LeftOver(Vec<(Span, Refusal)>);
    impl LeftOver {
        fn refuse(&mut self, span: Span, message: &str, help: &'static str) {
            self.0.push((span, Refusal { message: message.to_owned(), help }));
        }
    }
    impl Visitor for LeftOver {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if query.fetch.as_ref().is_some_and(|fetch| !is_plain(fetch)) {
                self.refuse(
                    query.span(),
                    "FETCH FIRST with percents, or with ties of more than one SELECT, is not read here",
                    "number the rows with rank() OVER (ORDER BY …) in a subquery, and keep those up to n",
                );
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            let mut joins = select.from.iter().flat_map(|from| &from.joins);
            if joins.any(|join| merges_outer(&join.join_operator)) {
                self.refuse(
                    select.span(),
                    "RIGHT and FULL JOIN with USING or NATURAL are answered here for two named tables, whose columns are named",
                    "write ON, and the merged column out: coalesce(l.id, r.id) AS id",
                );
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let (message, help) = match expr {
                Expr::Substring { substring_from: Some(from), .. } if is_quoted(from) => (
                    "substring with a pattern and an escape is not read here",
                    "write (regexp_match(x, '(pattern)'))[1]",
                ),
                Expr::SimilarTo { .. } => (
                    "SIMILAR TO is answered of a pattern that is written out, without another ESCAPE",
                    "use LIKE or a regular expression (~)",
                ),
                Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                    if matches!(right.as_ref(), Expr::Subquery(_)) =>
                {
                    (
                        "ANY and ALL over a subquery are answered here as conditions, not as values",
                        "use it as a condition of WHERE, or compare with a min or max",
                    )
                }
                _ => return ControlFlow::Continue(()),
            };
            self.refuse(expr.span(), message, help);
            ControlFlow::Continue(())
        }
    }
    let mut found = LeftOver(Vec::new());
    let _ = visit::see(said, &mut found);
    found.0
}

/// What a construct is refused with, and what to write instead.
pub struct Refusal {
    pub message: String,
    pub help: &'static str,
}

/// Operators in a row, `a || b || c`: the engine's time grows with the square of their number. Conditions
/// may be as many as they like.
const LONGEST: usize = 400;

/// Where an expression chains more of them than that.
pub fn too_long(query: &Query) -> Option<Span> {
    struct Chains(Option<Span>);
    impl Visitor for Chains {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let (mut length, mut at) = (0, expr);
            while let Expr::BinaryOp { left, op, .. } = at
                && !matches!(op, BinaryOperator::And | BinaryOperator::Or)
            {
                length += 1;
                at = left;
                if length > LONGEST {
                    self.0 = Some(at.span());
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut chains = Chains(None);
    let _ = visit::see(query, &mut chains);
    chains.0
}

/// `LIMIT 0` keeps the same rows in every run: none.
fn limit_zero(query: &Query) -> bool {
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit: Some(Expr::Value(value)), .. }) => {
            matches!(&value.value, Value::Number(number, _) if number == "0")
        }
        _ => false,
    }
}

/// An outer join whose right side may have rows of its own, by a column that both sides share.
fn merges_outer(join: &JoinOperator) -> bool {
    let constraint = match join {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => constraint,
        _ => return false,
    };
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
}

/// Whether what stands behind LIKE ANY or LIKE ALL is a text that is no array of patterns.
fn is_array_text(pattern: &Expr) -> bool {
    match pattern {
        Expr::Nested(inner) => is_array_text(inner),
        Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
            matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] if is_array_text(of))
        }
        _ => is_quoted(pattern) && elements(pattern).is_none_or(|all| all.is_empty()),
    }
}

struct Refusals {
    purpose: Purpose,
    found: Vec<(Span, Refusal)>,
}

impl Refusals {
    fn refuse(&mut self, span: Span, message: impl Into<String>, help: &'static str) {
        self.found.push((span, Refusal { message: message.into(), help }));
    }

    fn refuse_foreign(&mut self, found: impl IntoIterator<Item = foreign::Foreign>) {
        found.into_iter().for_each(|(span, what, help)| self.refuse(span, what, help));
    }

    /// Refuses what may give other rows in every run, where that matters.
    fn unsteady(&mut self, span: Span, message: impl Into<String>, help: &'static str) {
        if self.purpose == Purpose::Model {
            self.refuse(span, message, help);
        }
    }

    fn check_function(&mut self, function: &Function, span: Span) {
        let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
        let Some(name) = name else { return };
        if let Some((message, help)) = calls::wrong(function) {
            self.refuse(span, message, help);
        }
        let whole = match &function.args {
            FunctionArguments::List(list) => list
                .args
                .iter()
                .any(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)))),
            _ => false,
        };
        if whole {
            self.refuse(
                span,
                "a whole row, t.*, is not read within a call",
                "count(*) counts rows; of an outer join, count its key: count(t.id)",
            );
        }
        let ordered_inside = match &function.args {
            FunctionArguments::List(list) => {
                list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
            }
            _ => false,
        };
        // Postgres sorts what it keeps once.
        let distinct =
            matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment.is_some());
        let ordered = ordered_inside || distinct || !function.within_group.is_empty();
        match &function.over {
            None if ORDERED_AGGREGATES.contains(&name.as_str()) && !ordered => self.unsteady(
                span,
                format!("{name} depends on the order of its rows, and states none"),
                "state one inside: string_agg(name, ', ' ORDER BY name)",
            ),
            _ => {}
        }
    }
}

const ORDERED_AGGREGATES: [&str; 6] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value", "any_value"];
impl Visitor for Refusals {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.refuse_foreign(foreign::of_query(query));
        for select in using::by_place(query) {
            self.refuse(select.span(), using::OTHER_COLUMNS, "name the columns");
        }
        if let Some(name) = outputs::spread(query) {
            self.refuse(
                query.span(),
                format!("in HAVING, and where ORDER BY computes something, {name} is a column of the tables, and not the SELECT's own"),
                "name the columns in place of *, or compute it in a subquery of FROM",
            );
        }
        if outputs::sorts_by_more_than_columns(query) {
            self.refuse(
                query.span(),
                "the rows of a UNION, INTERSECT or EXCEPT are sorted by columns, not by what is computed of them",
                "make it a subquery of FROM: SELECT * FROM (… UNION …) AS t ORDER BY …",
            );
        }
        if !query.locks.is_empty() {
            self.refuse(query.span(), "nothing here takes row locks", "remove FOR UPDATE or FOR SHARE");
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse(query.span(), "this writes", "write one SELECT and nothing else")
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
        let limited = query.limit_clause.is_some() || query.fetch.is_some();
        if limited && query.order_by.is_none() && !limit_zero(query) {
            self.unsteady(
                query.span(),
                "LIMIT without ORDER BY keeps other rows in every run",
                "add an ORDER BY that is unique",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.refuse_foreign(foreign::of_select(select));
        if select.into.is_some() {
            self.refuse(select.span(), "SELECT INTO writes a table", "remove INTO");
        }
        if using::spreads(select, using::is_outer) {
            self.refuse(select.span(), using::OTHER_COLUMNS, "name the columns");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.refuse_foreign(foreign::of_table(factor));
        if let TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } =
            factor
        {
            self.refuse(
                factor.span(),
                "TABLESAMPLE keeps other rows in every run",
                "keep rows by a condition of their own: WHERE order_id % 100 = 0",
            );
        }
        if let TableFactor::Table { name, args: Some(_), .. } = factor
            && let [ObjectNamePart::Identifier(word)] = name.0.as_slice()
            && folded(word) == "only"
        {
            self.refuse(
                factor.span(),
                "ONLY is not read here",
                "name the table without it, or a view of those rows",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.refuse_foreign(foreign::of_expr(expr));
        match expr {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner }
                if matches!(inner.as_ref(), Expr::BinaryOp { op: BinaryOperator::PGExp, .. }) =>
            {
                self.refuse(
                    expr.span(),
                    "-a ^ b is -(a ^ b) here, and (-a) ^ b in Postgres",
                    "write the parentheses: (-a) ^ b",
                )
            }
            Expr::TypedString(typed) if matches!(typed.value.value, Value::DoubleQuotedString(_)) => self.refuse(
                expr.span(),
                "a column with the name of a type and an alias in quotes is read as a constant of that type here",
                "write AS before the alias: text AS \"name\"",
            ),
            Expr::Value(value) if matches!(value.value, Value::HexStringLiteral(_)) => self.refuse(
                expr.span(),
                "x'…' is bytes to the engine, and bits to Postgres",
                "write decode('ff', 'hex')",
            ),
            Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. }
                if (*any
                    || matches!(pattern.as_ref(), Expr::Function(of) if of.name.to_string().eq_ignore_ascii_case("all")))
                    && is_array_text(pattern) =>
            {
                self.refuse(
                    expr.span(),
                    "an array that is written as a text would be one pattern here",
                    "write ARRAY['a%', 'b%']",
                )
            }
            Expr::Collate { collation, .. } if !is_by_bytes(collation) => self.refuse(
                expr.span(),
                format!("text is ordered by bytes here, and not by {collation}"),
                "leave COLLATE out, or write COLLATE \"C\"",
            ),
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })
                if has_length(data_type) =>
            {
                self.refuse(
                expr.span(),
                "a cast to a text of limited length does not cut it here",
                "use left(x, n)",
            )
            }
            Expr::BinaryOp { op: BinaryOperator::AtAt | BinaryOperator::AtQuestion, .. } => self.refuse(
                expr.span(),
                "json paths are not asked by @? and @@ here",
                "ask jsonb_path_exists(x, '$.a'), or compare what x #>> '{a}' gives",
            ),
            Expr::Case { .. } if makes_rows(expr) => {
                self.refuse(expr.span(), "a CASE makes rows of one, which Postgres refuses", ROWS_FIRST)
            }
            Expr::Function(function) => {
                if is_coalesce(function) && makes_rows(expr) {
                    self.refuse(
                        expr.span(),
                        "coalesce makes rows of one, which Postgres refuses",
                        ROWS_FIRST,
                    );
                }
                self.check_function(function, expr.span());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

const ROWS_FIRST: &str = "make the rows in FROM, and choose among them: FROM t, unnest(t.tags) AS x";

fn is_coalesce(function: &Function) -> bool {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident);
    name.is_some_and(|name| folded(name) == "coalesce")
}

fn is_quoted(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

fn has_length(data_type: &DataType) -> bool {
    match data_type {
        // Of no stated length it is one character long.
        DataType::Char(_) | DataType::Character(_) => true,
        _ => false,
    }
}
