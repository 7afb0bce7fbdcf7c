//! Functions that give sets of rows, in a FROM and in a SELECT: each is an array that is taken apart, beside the row
//! that it is computed of.

use crate::dialect::visit;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind,
    Query, Select, SelectItem, SetExpr, Spanned as _, TableAlias, TableAliasColumnDef, TableFactor,
    UnaryOperator, Value, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::functions::arrays::OR_EMPTY;
use super::functions::json::MARK;
use super::functions::series::ORDINALS;
use super::reword::call;
use super::words::folded;
use super::written;

/// One column of a set: the array that holds it, and its name where Postgres gives it one.
struct Column {
    array: &'static str,
    name: Option<&'static str>,
    json: bool,
}

const fn own(array: &'static str) -> Column {
    Column { array, name: None, json: false }
}

const fn text(array: &'static str, name: &'static str) -> Column {
    Column { array, name: Some(name), json: false }
}

const fn json(array: &'static str, name: &'static str) -> Column {
    Column { array, name: Some(name), json: true }
}

type Set = (&'static str, &'static [Column]);

const SETS: [Set; 15] = [
    ("generate_series", &[own("generate_series")]),
    ("unnest", &[own("")]),
    ("string_to_table", &[own("string_to_array")]),
    ("regexp_split_to_table", &[own("regexp_split_to_array")]),
    ("generate_subscripts", &[own("generate_subscripts")]),
    ("jsonb_path_query", &[json("jsonb_path_query", "jsonb_path_query")]),
    ("jsonb_array_elements", &[json("jsonb_array_elements", "value")]),
    ("json_array_elements", &[json("jsonb_array_elements", "value")]),
    ("jsonb_array_elements_text", &[text("jsonb_array_elements_text", "value")]),
    ("json_array_elements_text", &[text("jsonb_array_elements_text", "value")]),
    ("jsonb_object_keys", &[own("jsonb_object_keys")]),
    ("json_object_keys", &[own("jsonb_object_keys")]),
    ("jsonb_each", &[text("jsonb_object_keys", "key"), json("starmill json values", "value")]),
    ("json_each", &[text("jsonb_object_keys", "key"), json("starmill json values", "value")]),
    ("jsonb_each_text", &[text("jsonb_object_keys", "key"), text("starmill json texts", "value")]),
];

fn set(name: &str) -> Option<&'static Set> {
    let name = if name == "json_each_text" { "jsonb_each_text" } else { name };
    SETS.iter().find(|(known, _)| *known == name)
}

/// Whether an expression makes rows of one, outside of its subqueries.
pub fn makes_rows(expr: &Expr) -> bool {
    struct Sets(usize);
    impl Visitor for Sets {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let called = match expr {
                Expr::Function(function) => function.name.0.last().and_then(ObjectNamePart::as_ident),
                _ => None,
            };
            match called.is_some_and(|name| self.0 == 0 && set(&folded(name)).is_some()) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    visit::see(expr, &mut Sets(0)).is_break()
}

/// Names that stand alone in a query: `elem` of `jsonb_array_elements(x) AS elem` is its only column there.
pub fn bare_names(query: &Query) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Identifier(ident) = expr {
                self.0.insert(folded(ident));
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(BTreeSet::new());
    let _ = visit::see(query, &mut names);
    names.0
}

/// A function in a FROM as a SELECT of the arrays that it stands for.
pub fn in_from(factor: &mut TableFactor, bare: &BTreeSet<String>) {
    if named_series(factor) {
        return;
    }
    let span = factor.span();
    let (called, args, ordinality, alias) = match factor {
        TableFactor::Table { name, args: Some(args), with_ordinality, alias, .. } => {
            let [ObjectNamePart::Identifier(called)] = name.0.as_slice() else { return };
            (folded(called), plain(&args.args), *with_ordinality, alias.take())
        }
        TableFactor::Function { name, args, with_ordinality, alias, .. } => {
            let [ObjectNamePart::Identifier(called)] = name.0.as_slice() else { return };
            (folded(called), plain(args), *with_ordinality, alias.take())
        }
        TableFactor::UNNEST { array_exprs, with_ordinality, alias, with_offset: false, .. } => {
            ("unnest".to_owned(), Some(array_exprs.clone()), *with_ordinality, alias.take())
        }
        TableFactor::Derived { lateral: true, subquery, alias, .. } => {
            unpivoted(subquery, alias.as_ref());
            return;
        }
        _ => return,
    };
    let back = |factor: &mut TableFactor, kept: Option<TableAlias>| match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => *alias = kept,
        _ => {}
    };
    let (Some((name, columns)), Some(mut args)) = (set(&called), args) else { return back(factor, alias) };
    args.iter_mut().take(1).for_each(|arg| as_json(&called, arg));
    let taken = |column: &Column| match column.array {
        "" => args.clone(),
        array => vec![call(array, span, &args.iter().collect::<Vec<_>>())],
    };
    let shown = alias.as_ref().map_or((*name).to_owned(), |alias| folded(&alias.name));
    let mut given: Vec<(Expr, Option<&str>, bool)> = Vec::new();
    for column in *columns {
        given.extend(taken(column).into_iter().map(|array| (array, column.name, column.json)));
    }
    if ordinality && let Some((first, ..)) = given.first() {
        let numbers = call(ORDINALS, span, &[first]);
        given.push((numbers, Some("ordinality"), false));
    }
    let only = given.len() == 1;
    let mut projection = Vec::new();
    for (at, (array, name, is_json)) in given.into_iter().enumerate() {
        let renamed = alias.as_ref().and_then(|alias| alias.columns.get(at));
        let known = name.filter(|_| !(only && bare.contains(&shown)));
        let ident = match renamed {
            Some(column) => column.name.clone(),
            None => Ident::with_quote('"', known.unwrap_or(&shown)),
        };
        let mut expr = call("unnest", span, &[&array]);
        if is_json {
            expr = call(MARK, span, &[&expr]);
        }
        projection.push(SelectItem::ExprWithAlias { expr, alias: ident });
    }
    let Some(subquery) = select(projection) else { return back(factor, alias) };
    let name = alias.map_or_else(|| Ident::with_quote('"', shown.as_str()), |alias| alias.name);
    let alias = TableAlias { explicit: true, name, columns: Vec::new(), at: None };
    *factor = TableFactor::Derived { lateral: true, subquery, alias: Some(alias), sample: None };
}

/// Whether a series is of numbers that are written out, which the engine gives in batches; its column has its name.
fn named_series(factor: &mut TableFactor) -> bool {
    let TableFactor::Table { name, args: Some(args), with_ordinality: false, alias, .. } = factor else {
        return false;
    };
    let [ObjectNamePart::Identifier(called)] = name.0.as_slice() else { return false };
    let number = |arg: &Expr| match arg {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_integer(expr),
        arg => is_integer(arg),
    };
    let written_out = plain(&args.args).is_some_and(|args| args.iter().all(number));
    if folded(called) != "generate_series" || !written_out {
        return false;
    }
    let column = |name: Ident| TableAliasColumnDef { name, data_type: None };
    match alias {
        Some(alias) if alias.columns.is_empty() => alias.columns.push(column(alias.name.clone())),
        Some(_) => {}
        None => {
            let name = Ident::with_span(called.span, "generate_series");
            let columns = vec![column(name.clone())];
            *alias = Some(TableAlias { explicit: true, name, columns, at: None });
        }
    }
    true
}

fn is_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(number, _) if number.parse::<i64>().is_ok()))
}

/// Arguments without names.
pub fn plain(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    args.iter().map(plain).collect()
}

/// A SELECT of expressions and of no table.
pub fn select(projection: Vec<SelectItem>) -> Option<Box<Query>> {
    let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql("SELECT 1").ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = projection;
    Some(query)
}

/// `LATERAL (VALUES (a), (b)) AS u (x)`: a row for each, of columns that are arrays.
fn unpivoted(subquery: &mut Box<Query>, alias: Option<&TableAlias>) {
    let span = subquery.span();
    let plain = subquery.with.is_none()
        && subquery.order_by.is_none()
        && subquery.limit_clause.is_none()
        && subquery.fetch.is_none();
    let SetExpr::Values(values) = subquery.body.as_ref() else { return };
    let rows: Vec<&Vec<Expr>> = values.rows.iter().map(|row| &row.content).collect();
    let Some(width) = rows.first().map(|row| row.len()) else { return };
    if !plain || rows.iter().any(|row| row.len() != width) {
        return;
    }
    let column = |at: usize| {
        let cells: Vec<&Expr> = rows.iter().filter_map(|row| row.get(at)).collect();
        let array = call("make_array", span, &cells);
        let named = alias.and_then(|alias| alias.columns.get(at)).map(|column| column.name.clone());
        let alias = named.unwrap_or_else(|| Ident::new(format!("column{}", at + 1)));
        SelectItem::ExprWithAlias { expr: call("unnest", span, &[&array]), alias }
    };
    if let Some(taken_apart) = select((0..width).map(column).collect()) {
        *subquery = taken_apart;
    }
}

/// Functions of one column among what is selected, alone or within an expression.
pub fn in_select(select: &mut Select) {
    /// How many calls stand around that take an array apart already.
    struct Within(usize);
    impl VisitorMut for Within {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            self.0 += usize::from(takes_apart(expr));
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            self.0 = self.0.saturating_sub(usize::from(takes_apart(expr)));
            if let (0, Some((taken, _))) = (self.0, taken_apart(expr)) {
                *expr = taken;
            }
            ControlFlow::Continue(())
        }
    }
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => match taken_apart(expr) {
                Some((taken, name)) => {
                    *item = SelectItem::ExprWithAlias { expr: taken, alias: Ident::with_quote('"', name) };
                }
                None => {
                    let _ = visit::change(expr, &mut Within(0));
                }
            },
            SelectItem::ExprWithAlias { expr, .. } => {
                let _ = visit::change(expr, &mut Within(0));
            }
            _ => {}
        }
    }
}

/// A text that is written out as the json that a function takes.
fn as_json(called: &str, arg: &mut Expr) {
    let data_type = match called.split('_').next() {
        Some("jsonb") => DataType::JSONB,
        Some("json") => DataType::JSON,
        _ => return,
    };
    if let Expr::Value(value) = &*arg
        && matches!(value.value, Value::SingleQuotedString(_))
    {
        let expr = Box::new(arg.clone());
        *arg = Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None };
        written::json(arg);
    }
}

fn takes_apart(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if function.name.to_string() == "unnest")
}

/// A set as an array that is taken apart, and the name of its column.
fn taken_apart(expr: &Expr) -> Option<(Expr, &'static str)> {
    let Expr::Function(function) = expr else { return None };
    let [ObjectNamePart::Identifier(called)] = function.name.0.as_slice() else { return None };
    let (name, [column]) = set(&folded(called))? else { return None };
    if column.array.is_empty() || function.over.is_some() || function.filter.is_some() {
        return None;
    }
    let span = expr.span();
    let mut array = function.clone();
    if let FunctionArguments::List(list) = &mut array.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut()
    {
        as_json(&folded(called), first);
    }
    array.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_span(span, column.array))]);
    let taken = call("unnest", span, &[&Expr::Function(array)]);
    Some((if column.json { call(MARK, span, &[&taken]) } else { taken }, name))
}

/// The arguments of a call that has no more than those.
pub fn arguments(function: &Function) -> Option<Vec<Expr>> {
    match &function.args {
        FunctionArguments::List(list) if list.clauses.is_empty() => plain(&list.args),
        _ => None,
    }
}

/// `ARRAY(SELECT x … ORDER BY y)` as an aggregate of its rows; of none it is an array without elements.
pub fn array_of(expr: &mut Expr) {
    let Expr::Function(function) = &*expr else { return };
    let FunctionArguments::Subquery(query) = &function.args else { return };
    if !function.name.to_string().eq_ignore_ascii_case("array") {
        return;
    }
    let (span, mut query) = (expr.span(), query.clone());
    let limited = query.limit_clause.is_some() || query.fetch.is_some();
    let order = query.order_by.take();
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_slice()
    else {
        return;
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if limited || grouped || select.distinct.is_some() || select.having.is_some() {
        return;
    }
    let mut aggregate = call("array_agg", span, &[item]);
    if let (Expr::Function(function), Some(OrderBy { kind: OrderByKind::Expressions(keys), .. })) =
        (&mut aggregate, order)
        && let FunctionArguments::List(list) = &mut function.args
    {
        // `ORDER BY 1` is what is selected.
        let keys = keys.into_iter().map(|key| match &key.expr {
            Expr::Value(value) if value.to_string() == "1" => OrderByExpr { expr: item.clone(), ..key },
            _ => key,
        });
        list.clauses.push(FunctionArgumentClause::OrderBy(keys.collect()));
    }
    select.projection = vec![SelectItem::UnnamedExpr(aggregate)];
    *expr = call(OR_EMPTY, span, &[&Expr::Subquery(query)]);
}

/// `ARRAY[a, b]` as a call, which may name what stands outside of a subquery.
pub fn array_written_out(expr: &mut Expr) {
    if let Expr::Array(Array { elem, .. }) = &*expr
        && !elem.is_empty()
        && !elem.iter().any(|elem| matches!(elem, Expr::Array(_)))
    {
        *expr = call("make_array", expr.span(), &elem.iter().collect::<Vec<_>>());
    }
}
