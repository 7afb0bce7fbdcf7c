//! One SELECT of a user: parsed, its table names found and rewritten, its traps refused.

use crate::dialect::visit;
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, ObjectNamePart, Query, SelectItem, SetExpr, Spanned as _, Statement, TableFactor,
    Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::relations::{Filtered, Relations};
use crate::diagnostic::{Diagnostic, Document};
use crate::dialect::foreign::double_equals;
use crate::dialect::functions::run_at;
use crate::dialect::{Finding, Purpose, reword, spelled, words};
pub use words::folded;

/// A table name as written in a query: `orders` or `public.orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub schema: Option<String>,
    pub table: String,
    pub span: Range<usize>,
}

/// What a relation is replaced by: catalog, schema and table for the engine, or schema and table
/// for Postgres.
pub type Target = Vec<String>;

/// Exactly one SELECT (or VALUES, or set operation), parsed as Postgres would.
#[derive(Debug, Clone)]
pub struct SelectSql {
    pub document: Document,
    query: Box<Query>,
    /// The same in words that the engine plans with Postgres's meaning.
    said: Box<Query>,
    /// Where the query's text begins inside the document, for SQL that is a TOML string.
    offset: usize,
    /// The words of the document that it was composed of, where it stands there nowhere as it is.
    composed_of: Option<Range<usize>>,
}

/// A SELECT, and what of it is refused as it is written.
pub type Parsed = (SelectSql, Vec<Diagnostic>);

impl SelectSql {
    /// Parses a file that holds one SELECT. What it says that cannot be answered stands beside it, so that
    /// its other mistakes can be found in the same round.
    pub fn parse(document: Document) -> Result<Parsed, Vec<Diagnostic>> {
        let text = document.text.clone();
        SelectSql::parse_part(document, &text, 0)
    }

    /// Parses what somebody asks of a published star.
    pub fn question(document: Document) -> Result<SelectSql, Vec<Diagnostic>> {
        let text = document.text.clone();
        let (sql, refused) = SelectSql::parse_for(Purpose::Question, document, &text, 0)?;
        if refused.is_empty() { Ok(sql) } else { Err(refused) }
    }

    /// The query as it was parsed, without comments.
    pub fn plain(&self) -> String {
        self.query.to_string()
    }

    /// Parses a query that stands in `document` from byte `offset` on.
    pub fn parse_part(document: Document, text: &str, offset: usize) -> Result<Parsed, Vec<Diagnostic>> {
        SelectSql::parse_for(Purpose::Model, document, text, offset)
    }

    /// Parses what was composed of some words of `document`, where its mistakes are shown.
    pub fn composed(document: &Document, text: &str, words: Range<usize>) -> Result<Parsed, Vec<Diagnostic>> {
        let (sql, refused) = SelectSql::parse(Document::new(document.path.clone(), text.to_owned()))?;
        Ok((SelectSql { document: document.clone(), composed_of: Some(words), ..sql }, refused))
    }

    fn parse_for(
        purpose: Purpose,
        document: Document,
        text: &str,
        offset: usize,
    ) -> Result<Parsed, Vec<Diagnostic>> {
        let (only, apart) = match purpose {
            Purpose::Model => (
                "a model is one SELECT and nothing else; starmill writes the tables",
                "one SELECT a model: use a CTE (WITH … AS), or a model of its own",
            ),
            Purpose::Question => (
                "a published star is only read: write one SELECT; at the prompt, \\d lists tables and columns",
                "ask one after the other",
            ),
        };
        let whole = offset..offset + text.len();
        if let Some(too_deep) = spelled::too_deep(text) {
            let span = span_of(&document, text, offset, too_deep);
            let message = format!(
                "this SQL nests too deeply: parentheses and brackets go {} levels deep at most, brackets {}",
                spelled::DEEPEST,
                spelled::DEEPEST_BRACKETS
            );
            let help = "give inner parts a name of their own: WITH part AS (SELECT …)";
            return Err(vec![Diagnostic::error(message).at(&document, span).help(help)]);
        }
        if let Some(double) = double_equals(text) {
            let span = span_of(&document, text, offset, double);
            let message = "== is no operator of Postgres";
            return Err(vec![Diagnostic::error(message).at(&document, span).help("write =")]);
        }
        let statements = spelled::parser(text)
            .and_then(|mut parser| parser.parse_statements())
            .map_err(|error| vec![syntax_error(&document, text, offset, &error.to_string())])?;
        let mut statements = statements.into_iter();
        let (query, more) = (statements.next(), statements.next());
        match (query, more) {
            (Some(Statement::Query(mut query)), None) => {
                spelled::settled(&mut query);
                if let Some(span) = words::too_long(&query) {
                    let span = span_of(&document, text, offset, span);
                    let message = "this expression chains more than 400 operators";
                    let help = "take it apart in a subquery, or write concat(a, b, …)";
                    return Err(vec![Diagnostic::error(message).at(&document, span).help(help)]);
                }
                let mut said = query.clone();
                reword::reworded(&mut said);
                let refused = words::refusals(&query, &said, purpose);
                run_at::for_postgres(&mut query);
                let sql = SelectSql { document, query, said, offset, composed_of: None };
                let diagnostic = |(span, refused): (Span, words::Refusal)| {
                    Diagnostic::error(refused.message).at(&sql.document, sql.place(span)).help(refused.help)
                };
                let refused: Vec<Diagnostic> = refused.into_iter().map(diagnostic).collect();
                Ok((sql, refused))
            }
            (None, _) => Err(vec![
                Diagnostic::error("there is no SQL here").at(&document, whole).help("write one SELECT"),
            ]),
            (Some(other), None) => {
                let span = self::span_of(&document, text, offset, other.span());
                let word = other.to_string().split(' ').next().unwrap_or_default().to_owned();
                Err(vec![Diagnostic::error(format!("{word} is not a SELECT")).at(&document, span).help(only)])
            }
            (Some(_), Some(second)) => Err(vec![
                Diagnostic::error("a second statement follows the SELECT")
                    .at(&document, self::span_of(&document, text, offset, second.span()))
                    .help(apart),
            ]),
        }
    }

    /// The tables that the query reads, each place it names them; CTEs and table functions aren't.
    pub fn relations(&self) -> Vec<Relation> {
        let mut found = Vec::new();
        let mut query = self.query.clone();
        self.visit_relations(&mut query, &mut |relation| {
            found.push(relation.clone());
            None
        });
        found
    }

    /// The query in the engine's words, every table name replaced by what `resolve` says.
    pub fn rewritten(&self, resolve: &mut dyn FnMut(&Relation) -> Option<Target>) -> Statement {
        let mut query = self.said.clone();
        self.visit_relations(&mut query, resolve);
        Statement::Query(query)
    }

    /// The query for Postgres, as it was written, and in a table's place what is seen of it.
    pub fn filtered(
        &self,
        seen: &dyn Fn(&[String]) -> Option<String>,
        resolve: &mut dyn FnMut(&Relation) -> Option<Target>,
    ) -> Statement {
        let mut query = self.query.clone();
        self.visit_relations(&mut query, resolve);
        let _: ControlFlow<()> = visit::change(&mut query, &mut Filtered { seen });
        Statement::Query(query)
    }

    fn visit_relations(&self, query: &mut Query, resolve: &mut dyn FnMut(&Relation) -> Option<Target>) {
        let mut visitor = Relations::new(self, resolve);
        let _: ControlFlow<()> = visit::change(query, &mut visitor);
    }

    /// The column names that the query mentions anywhere, for what a control covers.
    pub fn mentioned_columns(&self) -> BTreeSet<String> {
        struct Columns(BTreeSet<String>);
        impl Visitor for Columns {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                match expr {
                    Expr::Identifier(ident) => self.0.insert(folded(ident)),
                    Expr::CompoundIdentifier(parts) => {
                        parts.last().is_some_and(|ident| self.0.insert(folded(ident)))
                    }
                    _ => false,
                };
                ControlFlow::Continue(())
            }
        }
        let mut columns = Columns(BTreeSet::new());
        let _ = visit::see(&self.query, &mut columns);
        columns.0
    }

    /// The aggregate and the filter of `SELECT count(*) FROM t WHERE …`: one call over one table and
    /// nothing else, so that many of them can share a statement.
    pub fn plain_aggregate(&self) -> Option<(String, Option<String>)> {
        let query = &self.query;
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
            select.projection.first()?
        else {
            return None;
        };
        let Expr::Function(function) = expr else { return None };
        let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded)?;
        let from = select.from.first()?;
        let plain_table =
            matches!(&from.relation, TableFactor::Table { alias: None, args: None, sample: None, .. });
        let no_groups = matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
        let plain = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && select.projection.len() == 1
            && select.distinct.is_none()
            && select.from.len() == 1
            && from.joins.is_empty()
            && plain_table
            && no_groups
            && select.having.is_none()
            && select.qualify.is_none()
            && PLAIN_AGGREGATES.contains(&name.as_str())
            && function.filter.is_none()
            && function.over.is_none()
            && self.relations().len() == 1;
        plain.then(|| (expr.to_string(), select.selection.as_ref().map(ToString::to_string)))
    }

    /// How many columns the SELECT lists, if it can be told without knowing the tables.
    pub fn column_count(&self) -> Option<usize> {
        let SetExpr::Select(select) = self.query.body.as_ref() else { return None };
        let plain =
            |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
        select.projection.iter().all(plain).then_some(select.projection.len())
    }

    /// The place in the document of a span that the parser or the planner gave.
    pub fn place(&self, span: Span) -> Range<usize> {
        if let Some(words) = &self.composed_of {
            return words.clone();
        }
        span_of(&self.document, self.text(), self.offset, span)
    }

    /// A refused operation under its own place, or under the whole query where it names no column.
    pub fn refused(&self, finding: Finding) -> Diagnostic {
        let at = |at: datafusion::common::Location| Location { line: at.line, column: at.column };
        let place = finding.span.map(|span| self.place(Span { start: at(span.start), end: at(span.end) }));
        let place = place.unwrap_or_else(|| self.whole());
        Diagnostic::error(finding.message).at(&self.document, place).help(finding.help)
    }

    /// The place of the whole query.
    pub fn whole(&self) -> Range<usize> {
        let span = self.place(self.query.span());
        if span.is_empty() { self.offset..self.document.text.len() } else { span }
    }

    fn text(&self) -> &str {
        &self.document.text[self.offset.min(self.document.text.len())..]
    }
}

const PLAIN_AGGREGATES: [&str; 5] = ["count", "sum", "min", "max", "avg"];

fn span_of(document: &Document, text: &str, offset: usize, span: Span) -> Range<usize> {
    if span.start.line == 0 {
        return offset..(offset + text.len()).min(document.text.len());
    }
    let part = Document::new("", text);
    let at = |location: Location| offset + part.offset(location.line, location.column);
    at(span.start)..at(span.end).max(at(span.start))
}

fn syntax_error(document: &Document, text: &str, offset: usize, error: &str) -> Diagnostic {
    let message = error.trim_start_matches("sql parser error: ");
    let (message, place) = match message.rfind(" at Line: ") {
        Some(at) => (&message[..at], &message[at..]),
        None => (message, ""),
    };
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok());
    let span = match (numbers.next(), numbers.next()) {
        (Some(line), Some(column)) => {
            let start = Document::new("", text).offset(line, column);
            let word = text[start..].find(|c: char| c.is_whitespace()).unwrap_or(text.len() - start);
            offset + start..offset + start + word.max(1).min(text.len() - start)
        }
        _ => offset + text.trim_end().len()..offset + text.len(),
    };
    let unread = message
        .strip_prefix("No infix parser for token Word(Word { value: \"")
        .and_then(|rest| rest.split('"').next());
    let operator = unread.map(|word| format!("{word} is no operator"));
    let message = operator.as_deref().unwrap_or(message);
    let (message, help) = match message.ends_with("found: EXCLUDE") {
        true => (
            "frames with EXCLUDE are not read here".to_owned(),
            "ask for the rows of each frame in a subquery: (SELECT sum(o.x) FROM t AS o WHERE o.y BETWEEN t.y - 1 AND t.y + 1 AND o.id <> t.id)",
        ),
        false => (format!("this SQL does not parse: {message}"), "write one SELECT in Postgres's dialect"),
    };
    Diagnostic::error(message).at(document, span).help(help)
}
