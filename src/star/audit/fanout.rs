//! Which joins of a model made more rows: said where the star has more than the source.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::{Join, LogicalPlan, LogicalPlanBuilder};

use super::ask::one_number;
use super::{Auditor, EXAMPLES};
use crate::name::ModelName;
use crate::star::number::Number;

impl Auditor<'_> {
    /// Every join of the model after which there are more rows than before it. A help, so that its own failure hides nothing.
    pub(super) async fn fan_out(&self, name: &ModelName) -> Vec<String> {
        let Some(at) = self.pipeline.models.iter().position(|model| model.name == *name) else {
            return Vec::new();
        };
        let Some(statement) = self.design.models[at].statement.clone() else { return Vec::new() };
        let Ok(plan) = self.session.plan_model(statement).await else { return Vec::new() };
        let mut joins = Vec::new();
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Join(join) = node {
                joins.push(join.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        let mut said = Vec::new();
        // The innermost comes first: what it multiplies, those around it only hand on.
        for join in joins.into_iter().rev() {
            let (before, after) =
                match (self.rows(&join.left).await, self.rows(&LogicalPlan::Join(join.clone())).await) {
                    (Some(before), Some(after)) if after > before => (before, after),
                    _ => continue,
                };
            said.push(format!("{} {}: {before} rows became {after}", words(&join), joined(&join.right)));
        }
        said.truncate(EXAMPLES);
        said
    }

    /// None where a part of a query cannot be asked by itself, as one that reads the rows around it.
    async fn rows(&self, plan: &LogicalPlan) -> Option<u64> {
        let none: [datafusion::logical_expr::Expr; 0] = [];
        let counted =
            LogicalPlanBuilder::from(plan.clone()).aggregate(none, [count_all()]).ok()?.build().ok()?;
        let frame = self.session.context().execute_logical_plan(counted).await.ok()?;
        let number: Number = one_number(frame.collect().await.ok()?, "rows").ok()?;
        number.to_string().parse().ok()
    }
}

fn words(join: &Join) -> &'static str {
    use datafusion::common::JoinType;
    match join.join_type {
        JoinType::Left => "LEFT JOIN",
        JoinType::Right => "RIGHT JOIN",
        JoinType::Full => "FULL JOIN",
        _ => "JOIN",
    }
}

/// What is joined, as the model names it.
fn joined(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table().to_owned(),
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = joined(&alias.input);
            let name = alias.alias.table();
            if inner == name || inner.is_empty() { name.to_owned() } else { format!("{inner} AS {name}") }
        }
        // A query of its own is known by its alias.
        _ => String::new(),
    }
}
