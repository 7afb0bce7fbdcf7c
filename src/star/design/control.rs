//! A pipeline's controls held against both sides: the source's SQL against its catalog, the star's
//! against what will be published.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::Statement;

use super::{ControlDesign, Designer, resolve};
use crate::diagnostic::Diagnostic;
use crate::error::Result;
use crate::name::{ModelName, SourceTable, list};
use crate::pipeline::control::{Control, SourceSide, StarSide};
use crate::pipeline::sql::SelectSql;
use crate::star::session::{SOURCE, STAR, plan_diagnostics};

impl Designer<'_> {
    pub(super) async fn control(&mut self, control: &Control) -> Result<Option<ControlDesign>> {
        let Some((tables, postgres, engine)) = self.source_side(&control.source)? else { return Ok(None) };
        let star = match &control.star {
            StarSide::Rows => None,
            StarSide::Sum { column } => {
                self.check_sum(control, column);
                None
            }
            StarSide::Query { sql } => {
                let Some(statement) = self.star_side(sql).await? else { return Ok(None) };
                Some(statement)
            }
        };
        let masked = self.masked_in(control.source.sql(), &tables);
        Ok(Some(ControlDesign { tables, postgres, engine, star, masked }))
    }

    fn source_side(
        &mut self,
        side: &SourceSide,
    ) -> Result<Option<(BTreeSet<SourceTable>, String, Statement)>> {
        let sql = side.sql();
        let (catalog, schemas) = (self.catalog, &self.pipeline.source.schemas);
        let mut tables = BTreeSet::new();
        let mut unknown = Vec::new();
        let source = &self.pipeline.source;
        let seen = |target: &[String]| match target {
            [schema, table] => {
                let table = SourceTable::new(schema.as_str(), table.as_str());
                let declared = source.declared_filter(catalog, &table);
                source.seen(&table, catalog.relations.get(&table)?, declared.as_deref())
            }
            _ => None,
        };
        let postgres = sql.filtered(&seen, &mut |relation| match resolve(catalog, schemas, relation) {
            Some(table) => {
                let target = vec![table.schema.clone(), table.table.clone()];
                tables.insert(table);
                Some(target)
            }
            None => {
                unknown.push(relation.clone());
                None
            }
        });
        if !unknown.is_empty() {
            for relation in unknown {
                let help = catalog.suggestion(schemas, &relation.table);
                let message = format!("the source has no table `{}`", relation.table);
                // A grain is read by the controls of all its measures.
                let told = |known: &Diagnostic| known.message == message && known.is_in(&sql.document);
                if self.found.iter().any(told) {
                    continue;
                }
                self.found.push(Diagnostic::error(message).at(&sql.document, relation.span).help(help));
            }
            return Ok(None);
        }
        let engine = sql.rewritten(&mut |relation| {
            let table = resolve(catalog, schemas, relation)?;
            Some(vec![SOURCE.to_owned(), table.schema, table.table])
        });
        for table in &tables {
            self.register(table)?;
        }
        Ok(Some((tables, postgres.to_string(), engine)))
    }

    async fn star_side(&mut self, sql: &SelectSql) -> Result<Option<Statement>> {
        let mut unknown = Vec::new();
        let statement = sql.rewritten(&mut |relation| match ModelName::parse(&relation.table)
            .filter(|name| self.published.contains_key(name))
        {
            Some(name) => Some(vec![STAR.to_owned(), "star".to_owned(), name.to_string()]),
            None => {
                unknown.push(relation.clone());
                None
            }
        });
        for relation in &unknown {
            // A model with mistakes of its own is not known here, and they have been noted.
            let declared = self.pipeline.models.iter().map(|model| model.name.as_str());
            if declared
                .chain(self.pipeline.unread.iter().map(String::as_str))
                .any(|name| name == relation.table)
            {
                continue;
            }
            let names = list(self.pipeline.models.iter().map(|model| &model.name));
            let message = format!("the star has no table `{}`", relation.table);
            self.found.push(
                Diagnostic::error(message)
                    .at(&sql.document, relation.span.clone())
                    .help(format!("its tables: {names}")),
            );
        }
        if !unknown.is_empty() {
            return Ok(None);
        }
        match self.session.plan(statement.clone()).await {
            Ok(plan)
                if plan.schema().fields().len() == 1 && plan.schema().field(0).data_type().is_numeric() =>
            {
                self.refuse(&plan, sql);
                Ok(Some(statement))
            }
            Ok(_) => {
                let message = "a control compares one number";
                self.found.push(
                    Diagnostic::error(message)
                        .at(&sql.document, sql.whole())
                        .help("select one numeric column"),
                );
                Ok(None)
            }
            Err(error) => {
                self.found.extend(plan_diagnostics(&error, sql));
                Ok(None)
            }
        }
    }

    fn check_sum(&mut self, control: &Control, column: &str) {
        let Some(schema) = self.published.get(&control.model) else { return };
        let Some(model) = self.pipeline.model(&control.model) else { return };
        let place = model.place.clone();
        match schema.field_with_name(column) {
            Ok(field) if field.data_type().is_numeric() => {}
            Ok(field) => {
                let message =
                    format!("`{column}` of `{}` is {}, not a number", control.model, field.data_type());
                self.error(place, message, "only numbers can be summed".to_owned());
            }
            Err(_) => {
                let names = schema.fields().iter().map(|field| field.name());
                let message =
                    format!("{} is declared, but `{}` has no such column", control.name, control.model);
                self.error(place, message, format!("its columns: {}", list(names)));
            }
        }
    }
}
