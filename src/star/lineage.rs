//! Of which columns of the source a published column is made: why it changes.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::FieldRef;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::session::{SOURCE, STAR};
use crate::dialect::refuse::origins;
use crate::name::ModelName;
use crate::pipeline::model::Model;

/// `users.name`, or `users` of a count of its rows, by column.
pub type Lineage = BTreeMap<String, BTreeSet<String>>;

/// The lineage of the columns that a plan gives; `known` is that of the models that it reads.
pub fn of_plan(plan: &LogicalPlan, known: &BTreeMap<ModelName, Lineage>) -> Lineage {
    let fields = plan.schema().fields().iter().enumerate();
    let of = |(at, field): (usize, &FieldRef)| {
        let mut walk = Walk { known, seen: BTreeSet::new(), found: BTreeSet::new() };
        walk.output(plan, at);
        (field.name().clone(), walk.found)
    };
    fields.map(of).filter(|(_, found)| !found.is_empty()).collect()
}

/// Adds what starmill adds to a model's own columns: keys are found by the columns that they are looked up by.
pub fn with_lookups(model: &Model, lineage: &mut Lineage) {
    for lookup in model.lookups() {
        let made_of = lookup.columns().filter_map(|column| lineage.get(&column.value)).flatten().cloned();
        let made_of: BTreeSet<String> = made_of.collect();
        if !made_of.is_empty() {
            lineage.insert(lookup.column.value.clone(), made_of);
        }
    }
}

struct Walk<'a> {
    known: &'a BTreeMap<ModelName, Lineage>,
    /// Columns of steps, by their address: one that is used twice is followed once.
    seen: BTreeSet<(usize, String)>,
    found: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn output(&mut self, plan: &LogicalPlan, at: usize) {
        if at < plan.schema().fields().len() {
            self.column(&Column::from(plan.schema().qualified_field(at)), &[plan]);
        }
    }

    fn column(&mut self, column: &Column, inputs: &[&LogicalPlan]) {
        let place = inputs.first().map_or(0, |step| std::ptr::from_ref::<LogicalPlan>(step) as usize);
        if !self.seen.insert((place, column.flat_name())) {
            return;
        }
        origins(column, inputs, &mut |origin, steps| match origin {
            Expr::Column(column) => steps.iter().for_each(|step| self.of_table(column, step)),
            other => self.expression(other, steps),
        });
    }

    fn expression(&mut self, expr: &Expr, inputs: &[&LogicalPlan]) {
        // An expression's parts are walked without an end before theirs.
        let _ = expr.apply(|part| {
            match part {
                Expr::Column(column) => self.column(column, inputs),
                Expr::ScalarSubquery(subquery) => self.output(&subquery.subquery, 0),
                Expr::AggregateFunction(call)
                    if call.params.args.iter().all(|arg| arg.column_refs().is_empty()) =>
                {
                    inputs.iter().for_each(|input| self.rows(input));
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    fn of_table(&mut self, column: &Column, step: &LogicalPlan) {
        let LogicalPlan::TableScan(scan) = step else { return };
        match scan.table_name.catalog() {
            Some(SOURCE) => {
                self.found.insert(format!("{}.{}", scan.table_name.table(), column.name));
            }
            Some(STAR) => {
                if let Some(lineage) = self.model(scan) {
                    self.found.extend(lineage.get(&column.name).into_iter().flatten().cloned());
                }
            }
            _ => {}
        }
    }

    fn model(&self, scan: &TableScan) -> Option<&'a Lineage> {
        let found = self.known.iter().find(|(model, _)| model.as_str() == scan.table_name.table());
        found.map(|(_, lineage)| lineage)
    }

    /// How many rows a step has, its tables' rows decide.
    fn rows(&mut self, step: &LogicalPlan) {
        let LogicalPlan::TableScan(scan) = step else {
            return step.inputs().into_iter().for_each(|input| self.rows(input));
        };
        match scan.table_name.catalog() {
            Some(SOURCE) => {
                self.found.insert(scan.table_name.table().to_owned());
            }
            Some(STAR) => {
                let tables: Vec<String> = self.model(scan).map(tables).unwrap_or_default();
                self.found.extend(tables);
            }
            _ => {}
        }
    }
}

fn tables(lineage: &Lineage) -> Vec<String> {
    let of = |made_of: &String| made_of.split('.').next().unwrap_or_default().to_owned();
    let tables: BTreeSet<String> = lineage.values().flatten().map(of).collect();
    tables.into_iter().collect()
}
