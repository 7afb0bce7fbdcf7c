//! Where a column of a step comes from: the expressions that give it, each with the steps that it is computed over.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::dialect::functions::series::SERIES;

/// Functions that make an array of values.
const MADE: [&str; 2] = ["make_array", SERIES.name];

/// Calls with each expression that a column is given by; a column of a table is given by itself.
pub fn origins(column: &Column, inputs: &[&LogicalPlan], see: &mut dyn FnMut(&Expr, &[&LogicalPlan])) {
    for input in inputs {
        if input.schema().maybe_index_of_column(column).is_some() {
            return of(column, input, see);
        }
    }
    see(&Expr::Column(column.clone()), inputs);
}

fn of(column: &Column, plan: &LogicalPlan, see: &mut dyn FnMut(&Expr, &[&LogicalPlan])) {
    let Some(at) = plan.schema().maybe_index_of_column(column) else { return };
    let inputs = plan.inputs();
    let mut through = |input: &LogicalPlan, at: usize| {
        if at < input.schema().fields().len() {
            of(&Column::from(input.schema().qualified_field(at)), input, see);
        }
    };
    match plan {
        LogicalPlan::Projection(step) => {
            if let Some(expr) = step.expr.get(at) {
                given(expr, &inputs, see);
            }
        }
        LogicalPlan::SubqueryAlias(step) => through(&step.input, at),
        LogicalPlan::Union(step) => {
            for input in &step.inputs {
                match input.as_ref() {
                    // What the branches' types were made is not what somebody wrote.
                    LogicalPlan::Projection(branch) => {
                        match branch.expr.get(at).cloned().map(Expr::unalias) {
                            Some(Expr::Cast(cast)) => given(&cast.expr, &[&branch.input], see),
                            _ => of(&Column::from(input.schema().qualified_field(at)), input, see),
                        }
                    }
                    input => of(&Column::from(input.schema().qualified_field(at)), input, see),
                }
            }
        }
        LogicalPlan::Aggregate(step) => {
            let groups = plan.schema().fields().len() - step.aggr_expr.len();
            let expr = match at.checked_sub(groups) {
                Some(call) => step.aggr_expr.get(call),
                None => step.group_expr.get(at),
            };
            if let Some(expr) = expr {
                given(expr, &inputs, see);
            }
        }
        LogicalPlan::Window(step) => {
            let before = step.input.schema().fields().len();
            match at.checked_sub(before) {
                Some(call) => {
                    if let Some(expr) = step.window_expr.get(call) {
                        given(expr, &inputs, see);
                    }
                }
                None => through(&step.input, at),
            }
        }
        LogicalPlan::Values(values) => {
            for cell in values.values.iter().filter_map(|row| row.get(at)) {
                match cell {
                    Expr::Cast(cast) => given(&cast.expr, &[plan], see),
                    cell => given(cell, &[plan], see),
                }
            }
        }
        LogicalPlan::Unnest(step) => {
            let Some(from) = step.dependency_indices.get(at).copied() else { return };
            if !step.list_type_columns.iter().any(|(list, _)| *list == from) {
                return through(&step.input, from);
            }
            let array = Column::from(step.input.schema().qualified_field(from));
            of(&array, &step.input, &mut |origin, below| match origin {
                // One that is written out, or a series, is made of its arguments; where a series ends it never was.
                Expr::ScalarFunction(made) if MADE.contains(&made.func.name()) => {
                    let series = made.func.name() == SERIES.name;
                    let args = made.args.iter().enumerate().filter(|(at, _)| !series || *at != 1);
                    args.for_each(|(_, arg)| given(arg, below, see));
                }
                _ => see(&Expr::Column(column.clone()), &inputs),
            });
        }
        LogicalPlan::TableScan(_) => see(&Expr::Column(column.clone()), &[plan]),
        _ => origins(column, &inputs, see),
    }
}

fn given(expr: &Expr, inputs: &[&LogicalPlan], see: &mut dyn FnMut(&Expr, &[&LogicalPlan])) {
    match expr {
        Expr::Alias(alias) => given(&alias.expr, inputs, see),
        Expr::Column(column) => origins(column, inputs, see),
        other => see(other, inputs),
    }
}
