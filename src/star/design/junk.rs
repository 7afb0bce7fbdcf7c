//! Whether a junk dimension can be made of its facts: their columns are there, and of one kind.

use datafusion::logical_expr::LogicalPlan;

use super::lookups::is_same_kind;
use super::{Designer, ModelDesign};
use crate::diagnostic::Diagnostic;
use crate::dialect::told::in_sql;
use crate::error::Result;
use crate::pipeline::model::{Body, Junk, Model};
use crate::pipeline::sql::SelectSql;
use crate::star::junk::combinations;
use crate::star::session::plan_diagnostics;

impl Designer<'_> {
    pub(super) async fn junk(&mut self, model: &Model, junk: &Junk) -> Result<Option<ModelDesign>> {
        let (mut plans, mut first): (Vec<LogicalPlan>, Option<&SelectSql>) = (Vec::new(), None);
        for (name, _) in &junk.from {
            let fact = self.pipeline.models.iter().find(|fact| fact.name == *name);
            let Some((fact, Body::Sql(sql))) = fact.map(|fact| (fact, &fact.body)) else { return Ok(None) };
            let before = self.found.len();
            let Some(statement) = self.model_statement(fact, sql)? else { return Ok(None) };
            // What is only noted of the fact is told when it is its turn.
            self.found.truncate(before);
            match self.session.plan_model(statement).await {
                Ok(plan) => {
                    // Here it is told where it stands; the fact itself is not looked at after a mistake of its dimension.
                    let before = self.found.len();
                    self.refuse(&plan, sql);
                    if self.found[before..].iter().any(Diagnostic::is_error) {
                        return Ok(None);
                    }
                    self.found.truncate(before);
                    plans.push(plan);
                }
                Err(error) => {
                    let mut found = plan_diagnostics(&error, sql);
                    found.iter_mut().for_each(|diagnostic| self.explain_unmappable(diagnostic));
                    self.found.extend(found);
                    return Ok(None);
                }
            }
            first.get_or_insert(sql);
        }
        let before = self.found.len();
        self.check_combined(junk, &plans);
        let Some(sql) = first.filter(|_| self.found.len() == before) else { return Ok(None) };
        match combinations(junk, plans) {
            Ok(plan) => self.planned(model, None, plan, sql).await,
            Err(error) => {
                for diagnostic in plan_diagnostics(&error, sql) {
                    let help = "cast the columns that its facts give to one type in their SELECTs".to_owned();
                    self.error(model.place.clone(), diagnostic.message, help);
                }
                Ok(None)
            }
        }
    }

    fn check_combined(&mut self, junk: &Junk, plans: &[LogicalPlan]) {
        for (at, name) in junk.names.iter().enumerate() {
            let mut first = None;
            for (plan, (fact, columns)) in plans.iter().zip(&junk.from) {
                let Some(column) = columns.get(at) else { continue };
                let Ok(field) = plan.schema().field_with_unqualified_name(&column.value) else {
                    let fields = plan.schema().fields().iter();
                    let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
                    self.lacking("`from`", fact, column, &names);
                    continue;
                };
                let (first_fact, of) = first.get_or_insert((fact, field.data_type().clone()));
                if !is_same_kind(of, field.data_type()) {
                    let told = [&*of, field.data_type()].map(|of| in_sql(&of.to_string()));
                    let message =
                        format!("`{name}` is {} in `{first_fact}`, and {} in `{fact}`", told[0], told[1]);
                    self.error(column.span.clone(), message, "cast one of them in its SELECT".to_owned());
                }
            }
        }
    }
}
