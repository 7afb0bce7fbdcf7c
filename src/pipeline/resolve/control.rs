//! The controls that a pipeline asks for, and those that follow from its grains, measures and totals.

use std::ops::Range;

use super::Resolver;
use crate::diagnostic::Document;
use crate::pipeline::control::{Control, SourceSide, StarSide};
use crate::pipeline::file::Text;
use crate::pipeline::model::Model;
use crate::pipeline::model_file::ModelFile;
use crate::pipeline::sql::SelectSql;

impl Resolver<'_> {
    pub(super) fn controls(&self, files: &[ModelFile], models: &[Model]) -> Vec<Control> {
        let mut controls = Vec::new();
        for file in files {
            let Some(model) = models.iter().find(|model| model.name.as_str() == file.name.value) else {
                continue;
            };
            self.grain_controls(file, model, &mut controls);
            for (column, query) in &file.totals {
                let Some(sql) = self.one_number(query, &format!("totals.{}", column.value)) else { continue };
                controls.push(Control {
                    model: model.name.clone(),
                    name: format!("total of {}", column.value),
                    source: source_side(sql),
                    star: StarSide::Sum { column: column.value.clone() },
                });
            }
            for control in &file.controls {
                let source = self.one_number(&control.source, "source");
                let star = self.one_number(&control.star, "star");
                let (Some(source), Some(star)) = (source, star) else { continue };
                controls.push(Control {
                    model: model.name.clone(),
                    name: control.name.value.clone(),
                    source: source_side(source),
                    star: StarSide::Query { sql: star },
                });
            }
        }
        controls
    }

    /// A fact has as many rows as its grain, and every measure the same sum.
    fn grain_controls(&self, file: &ModelFile, model: &Model, controls: &mut Vec<Control>) {
        let Some(grain) = &file.grain else {
            // A periodic fact's rows are those of no table, so there is nothing that its sums were those of.
            if let Some((column, _)) = file.measures.first() {
                let message = format!("`{}` has measures, and no grain whose sums they are", file.name.value);
                let help = "add its `grain`, a table; or say what each total is: totals = { balance = \"SELECT sum(balance) FROM …\" }";
                self.notes.error(column.span.clone(), message, help);
            }
            return;
        };
        let filter = grain.filter.as_ref().map(|filter| filter.value.clone());
        let from = match &filter {
            Some(filter) => format!("FROM {} WHERE {filter}", grain.table.value),
            None => format!("FROM {}", grain.table.value),
        };
        let mut aggregate = |expression: String, span: &Range<usize>, name: String, star: StarSide| {
            let text = format!("SELECT {expression} {from}");
            if let Some(sql) = self.fragment(&text, span) {
                // As it was parsed: a comment in a condition would hide what is written behind it.
                let parsed = sql.plain_aggregate();
                let (expression, filter) = parsed.unwrap_or((expression, filter.clone()));
                let source = SourceSide::Aggregate { expression, filter, sql };
                controls.push(Control { model: model.name.clone(), name, source, star });
            }
        };
        aggregate("count(*)".to_owned(), &grain.table.span, "rows of the grain".to_owned(), StarSide::Rows);
        for (column, expression) in &file.measures {
            aggregate(
                format!("sum({})", expression.value),
                &expression.span,
                format!("sum of {}", column.value),
                StarSide::Sum { column: column.value.clone() },
            );
        }
    }

    /// SQL that starmill composed from the pipeline's words; its mistakes are shown there.
    fn fragment(&self, text: &str, span: &Range<usize>) -> Option<SelectSql> {
        match SelectSql::composed(&self.notes.document, text, span.clone()) {
            Ok((sql, refused)) if refused.is_empty() => Some(sql),
            Ok((_, found)) | Err(found) => {
                for diagnostic in found {
                    self.notes.error(
                        span.clone(),
                        diagnostic.message,
                        "write a table and expressions over its columns",
                    );
                }
                None
            }
        }
    }

    /// A query of one number that stands in a string of the file.
    fn one_number(&self, text: &Text, what: &str) -> Option<SelectSql> {
        let document = &self.notes.document;
        let written = &document.text[text.span.clone()];
        let parsed = match written.find(&text.value) {
            Some(at) => SelectSql::parse_part(document.clone(), &text.value, text.span.start + at),
            // Escapes moved the characters: show the query as it reads.
            None => {
                SelectSql::parse(Document::new(format!("{} ({what})", document.path), text.value.clone()))
            }
        };
        match parsed {
            Ok((sql, _)) if sql.column_count().is_some_and(|columns| columns != 1) => {
                self.notes.error(text.span.clone(), "a control compares one number", "select one column");
                None
            }
            Ok((sql, refused)) => {
                refused.into_iter().for_each(|diagnostic| self.notes.add(diagnostic));
                Some(sql)
            }
            Err(found) => {
                found.into_iter().for_each(|diagnostic| self.notes.add(diagnostic));
                None
            }
        }
    }
}

/// A query of one aggregate over one table is told apart, so that it shares a statement with others.
fn source_side(sql: SelectSql) -> SourceSide {
    match sql.plain_aggregate() {
        Some((expression, filter)) => SourceSide::Aggregate { expression, filter, sql },
        None => SourceSide::Query { sql },
    }
}
