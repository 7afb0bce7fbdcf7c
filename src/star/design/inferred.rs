//! Whether facts can bring members into a dimension: their keys must be such as the dimension's.

use datafusion::logical_expr::LogicalPlan;

use super::Designer;
use crate::error::Result;
use crate::pipeline::model::{Body, Model};
use crate::pipeline::sql::SelectSql;
use crate::star::inferred::{lookups_into, with_members};
use crate::star::session::plan_diagnostics;

impl Designer<'_> {
    /// The dimension's rows with those that facts bring; as they are, where none does.
    pub(super) async fn with_members(
        &mut self,
        model: &Model,
        plan: LogicalPlan,
        sql: &SelectSql,
    ) -> Result<Option<LogicalPlan>> {
        let lookups = lookups_into(self.pipeline, model);
        if lookups.is_empty() {
            return Ok(Some(plan));
        }
        let mut brought = Vec::new();
        for (fact, lookup) in lookups {
            let Body::Sql(of) = &fact.body else { continue };
            let before = self.found.len();
            let statement = self.model_statement(fact, of)?;
            match statement {
                Some(statement) => {
                    // What is only noted of the fact is told when it is its turn, which doesn't come after a mistake.
                    self.found.truncate(before);
                    brought.push((statement, lookup));
                }
                None => return Ok(None),
            }
        }
        match with_members(self.session, plan, brought).await {
            Ok(plan) => Ok(Some(plan)),
            Err(error) => {
                for diagnostic in plan_diagnostics(&error, sql) {
                    let help = format!(
                        "check what the facts that bring members into `{}` give as its key",
                        model.name
                    );
                    self.error(model.place.clone(), diagnostic.message, help);
                }
                Ok(None)
            }
        }
    }
}
