//! What is published of a model: the columns of the SQL that is written around it, in types that every reader opens.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::LogicalPlan;

use super::Designer;
use crate::diagnostic::Diagnostic;
use crate::dialect::told::in_sql;
use crate::error::Result;
use crate::pipeline::model::{Model, Role};
use crate::pipeline::sql::SelectSql;
use crate::star::book::Book;
use crate::star::memory::Memory;
use crate::star::schema::published_type;
use crate::star::session::plan_diagnostics;
use crate::star::staged::schema_only;
use crate::star::versions::Restatement;
use crate::star::{compose, contract};

impl Designer<'_> {
    /// The published table's schema: the composed SELECT planned over the model's, its types made
    /// plain.
    pub(super) async fn published_schema(
        &mut self,
        model: &Model,
        plan: LogicalPlan,
        raw: &SchemaRef,
        sql: &SelectSql,
    ) -> Result<Option<SchemaRef>> {
        let view = Arc::new(ViewTable::new(plan, None));
        self.session.add(compose::model_reference(&model.name), view)?;
        if model.registered() {
            let zone = self.pipeline.deployment.timezone.name();
            let registry = Memory::of(model).registry_schema(raw, zone);
            self.session.add(compose::registry_reference(&model.name), schema_only(registry))?;
        }
        if !self.keeps(model, raw, sql).await? {
            return Ok(None);
        }
        let text =
            compose::published_sql(self.pipeline, model, raw, &contract::sort(model, raw), &self.published);
        let planned = self.session.plan_text(&text).await;
        let planned = planned.and_then(|plan| self.session.analyzed(&plan));
        let composed = match planned {
            Ok(plan) => Arc::clone(plan.schema()),
            Err(error) => {
                let found = plan_diagnostics(&error, sql);
                for diagnostic in found {
                    self.error(
                        model.place.clone(),
                        diagnostic.message,
                        "check the types of its key and lookups".to_owned(),
                    );
                }
                return Ok(None);
            }
        };
        let published = composed.fields().len() - usize::from(compose::is_flagged(model));
        let zone = self.pipeline.deployment.timezone.name();
        let mut fields = Vec::new();
        for field in composed.fields().iter().take(published) {
            // AT TIME ZONE keeps an instant here, where Postgres gives that zone's local time.
            if let DataType::Timestamp(_, Some(other)) = field.data_type()
                && other.as_ref() != zone
            {
                let message = format!(
                    "column `{}` of `{}` is an instant in {other}, where Postgres gives the local time there",
                    field.name(),
                    model.name
                );
                let refused = Diagnostic::error(message).at(&sql.document, sql.whole());
                self.found.push(refused.help("write to_local_time(x AT TIME ZONE '…')"));
            }
            match published_type(field.data_type()) {
                Ok(data_type) => fields.push(Field::new(field.name(), data_type, true)),
                Err(remedy) => {
                    let message = format!(
                        "column `{}` of `{}` is {}, which cannot be published",
                        field.name(),
                        model.name,
                        in_sql(&field.data_type().to_string())
                    );
                    self.found.push(Diagnostic::error(message).at(&sql.document, sql.whole()).help(remedy));
                }
            }
        }
        let whole = fields.len() == published;
        self.check_measures(model, &fields);
        self.check_target(model, &fields, sql);
        Ok(whole.then(|| Arc::new(Schema::new(fields)) as SchemaRef))
    }
    /// A sum of doubles depends on the order of their rows: it is no number that could be proven.
    fn check_measures(&mut self, model: &Model, fields: &[Field]) {
        let Role::Fact { measures, allow_float, .. } = &model.role else { return };
        for allowed in
            allow_float.iter().filter(|allowed| measures.iter().all(|one| one.value != allowed.value))
        {
            let message =
                format!("allow_float names `{}`, which is no measure of `{}`", allowed.value, model.name);
            self.error(allowed.span.clone(), message, "name one of its measures, or leave it out".to_owned());
        }
        for measure in measures {
            let field = fields.iter().find(|field| *field.name() == measure.value);
            let is_float = field.is_some_and(|field| field.data_type().is_floating());
            if !is_float || allow_float.iter().any(|allowed| allowed.value == measure.value) {
                continue;
            }
            let name = &measure.value;
            let message = format!(
                "the measure `{name}` of `{}` is floating point, whose sum depends on the order of its rows",
                model.name
            );
            let help = format!(
                "cast it in its SELECT, CAST({name} AS numeric(20,6)), and in the measure: {{ {name} = \"CAST(… AS numeric(20,6))\" }}; or take it as it is: allow_float = [\"{name}\"]"
            );
            self.error(measure.span.clone(), message, help);
        }
    }

    /// Whether tonight's rows can be held against a history's: values of some types have no order and no equality.
    async fn keeps(&mut self, model: &Model, raw: &SchemaRef, sql: &SelectSql) -> Result<bool> {
        let memory = Memory::of(model);
        let zone = self.pipeline.deployment.timezone.name();
        let Some(book) = Book::of(&model.name, &memory, raw, zone) else { return Ok(true) };
        let log = memory.registry_schema(raw, zone);
        for reference in [compose::versions_reference(&model.name), compose::last_reference(&model.name)] {
            self.session.add(reference, schema_only(Arc::clone(&log)))?;
        }
        let planned = self.session.plan_text(&book.news_sql(0, Some(Restatement::Restate), false)).await;
        let Err(error) = planned.and_then(|plan| self.session.analyzed(&plan)) else { return Ok(true) };
        tracing::debug!(%error, "a history cannot be kept");
        for diagnostic in plan_diagnostics(&error, sql) {
            let help = "check the types of its key and of what it tracks".to_owned();
            self.error(model.place.clone(), diagnostic.message, help);
        }
        Ok(false)
    }
}
