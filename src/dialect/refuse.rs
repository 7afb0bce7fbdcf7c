//! What a planned query must not do: operations that the engine would silently answer otherwise than
//! Postgres, or otherwise from run to run.
//!
//! Two walks: over the plan as it was written, for operands that Postgres would not let meet; and over the
//! plan as it will run, with its casts written out, into every corner: joins, windows, subqueries, CASE.

mod arguments;
mod before;
mod expressions;
pub mod kinds;
mod letters;
mod longest;
mod padding;
mod patterns;
mod scales;
mod signatures;
mod subqueries;
mod trace;
mod whole;
mod windows;

pub use arguments::is_one;
pub use trace::origins;

use std::collections::BTreeMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, Span, Spans};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::unparser::Unparser;
use datafusion::sql::unparser::dialect::PostgreSqlDialect;

use crate::dialect::functions::quotient;

/// What a SELECT is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It becomes a table of the star, or a number of its proof, and must be the same in every run.
    Model,
    /// Somebody wants to see an answer, and may well look at any ten rows.
    Question,
}

/// One refused operation: what is wrong, what to write instead, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub message: String,
    pub help: String,
    /// From the first column that it names to the last.
    pub span: Option<Span>,
}

/// What an operation is refused with.
#[derive(Debug)]
struct Refusal {
    message: String,
    help: String,
}

impl Refusal {
    fn new(message: String, help: impl Into<String>) -> Refusal {
        Refusal { message, help: help.into() }
    }
}

/// What is known of a query besides its plan.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    pub purpose: Purpose,
    /// The decimal that a numeric without a declared precision travels as.
    pub numeric: (u8, i8),
    /// Functions that are taken as the engine answers them.
    pub allow: &'a [String],
}

/// Every refused operation of a query, each once, in the order of its columns.
pub fn findings(written: &LogicalPlan, analyzed: &LogicalPlan, setting: Setting<'_>) -> Vec<Finding> {
    let mut found = Found::default();
    let _ = written.apply_with_subqueries(|node| {
        before::node(node, &mut found);
        whole::node(node, &mut found);
        subqueries::of_outer_rows(node, &mut found);
        subqueries::of_one_row(node, &mut found);
        scales::node(node, &mut found);
        let mut refused = |expr: &Expr, schema: &DFSchema| {
            let of_patterns = patterns::refused(expr);
            before::expression(expr, schema)
                .into_iter()
                .chain(before::unknown(expr, setting.allow))
                .chain(of_patterns)
                .collect()
        };
        walk(node, &mut refused, &mut found)
    });
    let _ = analyzed.apply_with_subqueries(|node| {
        subqueries::node(node, &mut found);
        expressions::node(node, &mut found);
        kinds::node(node, &mut found);
        padding::node(node, &mut found);
        let mut refused = |expr: &Expr, schema: &DFSchema| {
            let mut refused = expressions::refused(expr, schema, setting);
            refused.extend(kinds::refused(expr, schema));
            refused.extend(padding::refused(expr, schema));
            refused
        };
        walk(node, &mut refused, &mut found)
    });
    if found.0.is_empty() {
        // What is wrong otherwise is said in better words.
        let _ = written.apply_with_subqueries(|node| {
            let mut refused =
                |expr: &Expr, schema: &DFSchema| signatures::refused(expr, schema).into_iter().collect();
            walk(node, &mut refused, &mut found)
        });
    }
    found.in_order()
}

#[derive(Debug, Default)]
struct Found(BTreeMap<String, Finding>);

impl Found {
    fn add(&mut self, expr: &Expr, refusal: Refusal) {
        let Refusal { message, help } = refusal;
        let span = span_of(expr);
        self.0.entry(message.clone()).or_insert(Finding { message, help, span });
    }

    fn in_order(self) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.0.into_values().collect();
        found.sort_by_key(|finding| finding.span.map(|span| (span.start.line, span.start.column)));
        found
    }
}

/// Functions of bytes that are given a text.
const TAKES_BYTES: [&str; 7] = ["decode", "md5", "sha224", "sha256", "sha384", "sha512", "digest"];

/// Shows every expression of a node, inner ones too, with the schema that it stands in.
fn walk(
    node: &LogicalPlan,
    see: &mut dyn FnMut(&Expr, &DFSchema) -> Vec<Refusal>,
    found: &mut Found,
) -> Result<TreeNodeRecursion> {
    let mut schema = merge_schema(&node.inputs());
    if let LogicalPlan::TableScan(scan) = node {
        let own = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&own);
    }
    node.apply_expressions(|expr| walk_expression(expr, &schema, see, found))
}

fn walk_expression(
    expr: &Expr,
    schema: &DFSchema,
    see: &mut dyn FnMut(&Expr, &DFSchema) -> Vec<Refusal>,
    found: &mut Found,
) -> Result<TreeNodeRecursion> {
    expr.apply(|expr| {
        for refusal in see(expr, schema) {
            found.add(expr, refusal);
        }
        match expr {
            // A text's own bytes are what these take.
            Expr::ScalarFunction(function) if TAKES_BYTES.contains(&function.func.name()) => {
                for arg in &function.args {
                    let text = match arg {
                        Expr::Cast(cast) if !cast.field.data_type().is_string() => &cast.expr,
                        other => other,
                    };
                    walk_expression(text, schema, see, found)?;
                }
                Ok(TreeNodeRecursion::Jump)
            }
            _ => Ok(TreeNodeRecursion::Continue),
        }
    })
}

/// From the first column that an expression names to the last, as far as they stand in the query.
fn span_of(expr: &Expr) -> Option<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let _ = expr.apply(|expr| {
        let of: Option<&Spans> = match expr {
            Expr::Column(column) => Some(&column.spans),
            Expr::OuterReferenceColumn(_, column) => Some(&column.spans),
            _ => None,
        };
        spans.extend(of.and_then(Spans::first));
        Ok(TreeNodeRecursion::Continue)
    });
    let start = spans.iter().map(|span| span.start).min_by_key(|at| (at.line, at.column))?;
    let end = spans.iter().map(|span| span.end).max_by_key(|at| (at.line, at.column))?;
    Some(Span { start, end })
}

/// An expression in words of SQL, without the names of the tables that its columns come from.
fn shown(expr: &Expr) -> String {
    use datafusion::common::Column;
    use datafusion::common::tree_node::Transformed;
    let bare = expr.clone().transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(without_qualifiers(&column.name))))
            }
            // A literal that was made to fit the other side is what was written.
            Expr::Cast(cast) if matches!(cast.expr.as_ref(), Expr::Literal(..)) => {
                Transformed::yes(*cast.expr)
            }
            Expr::OuterReferenceColumn(_, column) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            Expr::ScalarSubquery(_) => Transformed::yes(Expr::Column(Column::new_unqualified("(SELECT …)"))),
            Expr::ScalarFunction(function)
                if quotient::of(&Expr::ScalarFunction(function.clone())).is_some() =>
            {
                let whole = Expr::ScalarFunction(function.clone());
                Transformed::yes(quotient::of(&whole).map_or(whole.clone(), |of| of.shown(&function.args)))
            }
            Expr::ScalarFunction(mut function) if function.func.name().starts_with("starmill ") => {
                match operands(&function.args, function.func.name()) {
                    Some(plain) => Transformed::yes(plain),
                    None => match function.args.len() {
                        1 => Transformed::yes(function.args.remove(0)),
                        _ => Transformed::no(Expr::ScalarFunction(function)),
                    },
                }
            }
            other => Transformed::no(other),
        })
    });
    let bare = bare.map_or_else(|_| expr.clone(), |bare| bare.data);
    let dialect = PostgreSqlDialect {};
    let text = match Unparser::new(&dialect).expr_to_sql(&bare) {
        Ok(sql) => sql.to_string(),
        Err(_) => bare.to_string(),
    };
    // A name that needs no quotes is read more easily without.
    let plain = |name: &str| {
        name.contains('(') || name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
    };
    let mut words = text.split('"');
    let mut shown = words.next().unwrap_or_default().to_owned();
    while let (Some(name), Some(rest)) = (words.next(), words.next()) {
        shown.push_str(&if plain(name) { name.to_owned() } else { format!("\"{name}\"") });
        shown.push_str(rest);
    }
    shown
}

/// An expression that became a column's name, such as `sum(star.star.daily_sales.revenue)`, without the
/// names of tables in it.
fn without_qualifiers(name: &str) -> String {
    if !name.contains('(') {
        return name.to_owned();
    }
    let name = &plain_literals(name);
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let (mut bare, mut word) = (String::new(), String::new());
    for c in name.chars().chain(std::iter::once('\0')) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        let number = word.starts_with(|c: char| c.is_ascii_digit());
        bare.push_str(if number { &word } else { word.rsplit('.').next().unwrap_or_default() });
        word.clear();
        bare.extend(Some(c).filter(|c| *c != '\0'));
    }
    bare
}

/// Literals in a name, which the engine writes with their types: `Int64(1)`, `Utf8("x")`.
fn plain_literals(name: &str) -> String {
    let mut plain = name.to_owned();
    for kind in ["Int64(", "Int32(", "UInt64(", "Float64(", "Boolean(", "Utf8("] {
        while let Some(at) = plain.find(kind) {
            let from = at + kind.len();
            let Some(end) = plain[from..].find(')') else { return plain };
            let value = plain[from..from + end].replace('"', "'");
            plain.replace_range(at..=from + end, &value);
        }
    }
    plain
}

/// The operation that one of our own functions stands for.
fn operands(args: &[Expr], name: &str) -> Option<Expr> {
    use datafusion::logical_expr::{Operator, binary_expr};
    let op = match name.strip_prefix("starmill ")? {
        "+" => Operator::Plus,
        "-" | "difference" => Operator::Minus,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        "%" => Operator::Modulo,
        _ => return None,
    };
    match args {
        [left, right] => Some(binary_expr(left.clone(), op, right.clone())),
        _ => None,
    }
}
