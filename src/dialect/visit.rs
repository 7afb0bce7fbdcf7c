//! The one walk over a parsed query. The parser's own is made anew for every type that walks, through all of SQL's grammar:
//! half of this program was that. Here it is made once, and whoever walks is called by reference.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};

/// Shows a visitor all of a node.
pub fn see<N: Visit + ?Sized>(node: &N, visitor: &mut dyn Visitor<Break = ()>) -> ControlFlow<()> {
    node.visit(&mut Seeing(visitor))
}

/// Lets a visitor change all of a node.
pub fn change<N: VisitMut + ?Sized>(
    node: &mut N,
    visitor: &mut dyn VisitorMut<Break = ()>,
) -> ControlFlow<()> {
    node.visit(&mut Changing(visitor))
}

struct Seeing<'a>(&'a mut dyn Visitor<Break = ()>);

struct Changing<'a>(&'a mut dyn VisitorMut<Break = ()>);

macro_rules! passed_on {
    ($($name:ident: $node:ty),+ $(,)?) => {
        impl Visitor for Seeing<'_> {
            type Break = ();
            $(fn $name(&mut self, node: &$node) -> ControlFlow<()> {
                self.0.$name(node)
            })+
        }

        impl VisitorMut for Changing<'_> {
            type Break = ();
            $(fn $name(&mut self, node: &mut $node) -> ControlFlow<()> {
                self.0.$name(node)
            })+
        }
    };
}

passed_on! {
    pre_visit_query: Query,
    post_visit_query: Query,
    pre_visit_select: Select,
    post_visit_select: Select,
    pre_visit_relation: ObjectName,
    post_visit_relation: ObjectName,
    pre_visit_table_factor: TableFactor,
    post_visit_table_factor: TableFactor,
    pre_visit_expr: Expr,
    post_visit_expr: Expr,
    pre_visit_statement: Statement,
    post_visit_statement: Statement,
    pre_visit_value: ValueWithSpan,
    post_visit_value: ValueWithSpan,
}
