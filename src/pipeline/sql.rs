//! One SELECT of a user: parsed, its table names found and rewritten, its traps refused.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Spanned as _, Statement, TableAlias, TableFactor, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use crate::diagnostic::{Diagnostic, Document};
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

    /// Parses a query that stands in `document` from byte `offset` on.
    pub fn parse_part(document: Document, text: &str, offset: usize) -> Result<Parsed, Vec<Diagnostic>> {
        SelectSql::parse_for(Purpose::Model, document, text, offset)
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
                let sql = SelectSql { document, query, said, offset };
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
        let _: ControlFlow<()> = VisitMut::visit(&mut query, &mut Filtered { seen });
        Statement::Query(query)
    }

    fn visit_relations(&self, query: &mut Query, resolve: &mut dyn FnMut(&Relation) -> Option<Target>) {
        let mut visitor = Relations { sql: self, resolve, scopes: Vec::new(), function: false };
        let _: ControlFlow<()> = query.visit(&mut visitor);
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
        let _ = self.query.visit(&mut columns);
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
    let (message, help) = match message.ends_with("found: EXCLUDE") {
        true => (
            "frames with EXCLUDE are not read here".to_owned(),
            "ask for the rows of each frame in a subquery: (SELECT sum(o.x) FROM t AS o WHERE o.y BETWEEN t.y - 1 AND t.y + 1 AND o.id <> t.id)",
        ),
        false => (format!("this SQL does not parse: {message}"), "write one SELECT in Postgres's dialect"),
    };
    Diagnostic::error(message).at(document, span).help(help)
}

/// Puts a SELECT of what is seen of a table where it is named.
struct Filtered<'a> {
    seen: &'a dyn Fn(&[String]) -> Option<String>,
}

impl VisitorMut for Filtered<'_> {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let parts: Vec<String> =
            name.0.iter().filter_map(ObjectNamePart::as_ident).map(|ident| ident.value.clone()).collect();
        let (Some(text), Some(own)) = ((self.seen)(&parts), parts.last()) else {
            return ControlFlow::Continue(());
        };
        let parsed =
            Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut it| it.parse_query());
        if let Ok(subquery) = parsed {
            let own = TableAlias {
                explicit: true,
                name: Ident::with_quote('"', own.as_str()),
                columns: Vec::new(),
                at: None,
            };
            *factor = TableFactor::Derived {
                lateral: false,
                subquery,
                alias: Some(alias.take().unwrap_or(own)),
                sample: None,
            };
        }
        ControlFlow::Continue(())
    }
}

struct Relations<'a> {
    sql: &'a SelectSql,
    resolve: &'a mut dyn FnMut(&Relation) -> Option<Target>,
    scopes: Vec<Scope>,
    function: bool,
}

/// The CTE names that one query's parts may use. A CTE sees only those before it, unless the WITH
/// is recursive; so names become visible when their query has been walked.
struct Scope {
    visible: Vec<String>,
    pending: Vec<(*const Query, String)>,
}

impl VisitorMut for Relations<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut scope = Scope { visible: Vec::new(), pending: Vec::new() };
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = folded(&cte.alias.name);
                if with.recursive {
                    scope.visible.push(name);
                } else {
                    scope.pending.push((std::ptr::from_ref(cte.query.as_ref()), name));
                }
            }
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scopes.pop();
        let walked = std::ptr::from_ref(query);
        if let Some(parent) = self.scopes.last_mut()
            && let Some(at) = parent.pending.iter().position(|(pointer, _)| *pointer == walked)
        {
            let (_, name) = parent.pending.remove(at);
            parent.visible.push(name);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // `orders.*` follows its table to the name that it got.
        let factors = select.from.iter().flat_map(|from| {
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        });
        let names: Vec<&ObjectName> = factors
            .filter_map(|factor| match factor {
                TableFactor::Table { name, alias: None, args: None, .. } if name.0.len() > 1 => Some(name),
                _ => None,
            })
            .collect();
        for item in &mut select.projection {
            let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            else {
                continue;
            };
            let written: Vec<String> =
                name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
            let is_meant = |table: &&&ObjectName| {
                let parts: Vec<String> =
                    table.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
                parts.ends_with(&written)
            };
            if let Some(table) = names.iter().find(is_meant) {
                *name = (*table).clone();
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.function = matches!(factor, TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        if std::mem::take(&mut self.function) {
            return ControlFlow::Continue(());
        }
        let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
        let relation = match parts.as_slice() {
            [table] => {
                let table = folded(table);
                if self.scopes.iter().any(|scope| scope.visible.contains(&table)) {
                    return ControlFlow::Continue(());
                }
                Relation { schema: None, table, span: self.sql.place(name.span()) }
            }
            [.., schema, table] => Relation {
                schema: Some(folded(schema)),
                table: folded(table),
                span: self.sql.place(name.span()),
            },
            [] => return ControlFlow::Continue(()),
        };
        if let Some(target) = (self.resolve)(&relation) {
            let span = name.span();
            let ident = |part: String| {
                let mut ident = Ident::with_quote('"', part);
                ident.span = span;
                ObjectNamePart::Identifier(ident)
            };
            name.0 = target.into_iter().map(ident).collect();
        }
        ControlFlow::Continue(())
    }
}
