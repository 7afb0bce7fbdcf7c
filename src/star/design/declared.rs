//! What the pipeline declares of a table's columns, held against what its SELECT gives; and which of them are not to be summed.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use datafusion::logical_expr::LogicalPlan;

use super::Designer;
use crate::dialect::told::in_sql;
use crate::name::{list, nearest};
use crate::pipeline::model::Model;
use crate::star::additivity::{NotAdditive, of_column};
use crate::star::contract::ColumnsKnown;
use crate::star::lineage;

impl Designer<'_> {
    /// What there is to know of the columns of a model. Kept for the models that read it.
    pub(super) fn columns_known(&mut self, model: &Model, plan: Option<&LogicalPlan>) -> ColumnsKnown {
        let mut lineage = plan.map(|plan| lineage::of_plan(plan, &self.lineage)).unwrap_or_default();
        lineage::with_lookups(model, &mut lineage);
        self.lineage.insert(model.name.clone(), lineage.clone());
        ColumnsKnown { additivity: self.additivity(model, plan), lineage }
    }

    /// The columns of a model that are not to be summed, and why: as its SELECT computes them, as the fact's kind has them, and
    /// as the pipeline says, whose word counts.
    fn additivity(&mut self, model: &Model, plan: Option<&LogicalPlan>) -> BTreeMap<String, NotAdditive> {
        let mut found = BTreeMap::new();
        if let Some(plan) = plan {
            let fields = plan.schema().fields().iter().enumerate();
            found.extend(fields.filter(|(_, field)| field.data_type().is_numeric()).filter_map(
                |(at, field)| Some((field.name().clone(), of_column(plan, at, &self.additivity)?)),
            ));
        }
        let known = self.additivity.entry(model.name.clone()).or_default();
        found.append(known);
        for declared in &model.declared.columns {
            let name = &declared.name.value;
            match declared.additive {
                Some(true) => drop(found.remove(name)),
                Some(false) => drop(found.entry(name.clone()).or_insert(NotAdditive::Declared)),
                None => {}
            }
        }
        known.clone_from(&found);
        found
    }

    /// Holds what is declared of columns against those that are published.
    pub(super) fn check_declared(&mut self, model: &Model, published: &Schema) {
        for declared in &model.declared.columns {
            let name = &declared.name.value;
            let Ok(field) = published.field_with_name(name) else {
                let names: Vec<&str> = published.fields().iter().map(|field| field.name().as_str()).collect();
                let help = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`? Columns: {}", list(&names)),
                    None => format!("columns: {}", list(&names)),
                };
                let message = format!("`{}` declares `{name}`, and publishes no such column", model.name);
                self.error(declared.name.span.clone(), message, help);
                continue;
            };
            let is = in_sql(&field.data_type().to_string());
            let Some(wanted) = declared.type_name.as_ref().filter(|wanted| wanted.value != is) else {
                continue;
            };
            let message =
                format!("`{}` declares {name} as {}, and its SELECT gives {is}", model.name, wanted.value);
            let help = format!(
                "cast it in the SELECT: CAST({name} AS {}), or declare type = \"{is}\"",
                wanted.value
            );
            self.error(wanted.span.clone(), message, help);
        }
    }
}
