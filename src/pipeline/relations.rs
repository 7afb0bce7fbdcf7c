//! The tables that a query names: found and replaced, each where it stands.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    Spanned as _, TableAlias, TableFactor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::sql::{Relation, SelectSql, Target, folded};

/// Puts a SELECT of what is seen of a table where it is named.
pub(super) struct Filtered<'a> {
    pub(super) seen: &'a dyn Fn(&[String]) -> Option<String>,
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

pub(super) struct Relations<'a> {
    sql: &'a SelectSql,
    resolve: &'a mut dyn FnMut(&Relation) -> Option<Target>,
    scopes: Vec<Scope>,
    function: bool,
}

impl<'a> Relations<'a> {
    pub(super) fn new(
        sql: &'a SelectSql,
        resolve: &'a mut dyn FnMut(&Relation) -> Option<Target>,
    ) -> Relations<'a> {
        Relations { sql, resolve, scopes: Vec::new(), function: false }
    }
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
