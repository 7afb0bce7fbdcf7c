//! What the audit asks the engine: one number, a count, some of the rows that offend.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;

use super::{Auditor, EXAMPLES};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::quote_identifier as quote;
use crate::pipeline::control::{Control, SourceSide, StarSide};
use crate::pipeline::model::Role;
use crate::star::design::ControlDesign;
use crate::star::number::Number;
use crate::star::session::{model_error, source_reference, star_reference};

impl Auditor<'_> {
    pub(super) async fn number(&self, text: &str) -> Result<Number> {
        let failed = |error| model_error(error, "the audit could not read the star".to_owned());
        let plan = self.session.plan_text(text).await.map_err(failed)?;
        let frame = self.session.context().execute_logical_plan(plan).await.map_err(failed)?;
        one_number(frame.collect().await.map_err(failed)?, text)
    }

    pub(super) async fn count(&self, text: &str) -> Result<u64> {
        let number = self.number(text).await?;
        number.to_string().parse().or_error(ErrorKind::Bug, || format!("not a count: {number}"))
    }

    pub(super) async fn examples(&self, text: &str) -> Vec<String> {
        let rows = async {
            let plan = self.session.plan_text(text).await?;
            self.session.context().execute_logical_plan(plan).await?.collect().await
        };
        match rows.await {
            Ok(batches) => batches.iter().flat_map(|batch| row_texts(batch, EXAMPLES)).collect(),
            Err(error) => {
                tracing::debug!(%error, "no example rows");
                Vec::new()
            }
        }
    }

    /// Rows of the grain that the fact lacks, has twice, or measures otherwise. Shown where the
    /// grain's table has the fact's key columns; a help, so that its own failure hides nothing.
    pub(super) async fn grain_examples(&self, control: &Control, design: &ControlDesign) -> Vec<String> {
        let SourceSide::Aggregate { expression, filter, .. } = &control.source else { return Vec::new() };
        let (Some(table), Some(model)) = (design.tables.first(), self.pipeline.model(&control.model)) else {
            return Vec::new();
        };
        if !matches!(model.role, Role::Fact { .. }) {
            return Vec::new();
        }
        let keys = model.key_columns();
        let key = |side: &str| {
            keys.iter().map(|key| format!("{side}.{}", quote(key))).collect::<Vec<_>>().join(", ")
        };
        let same =
            keys.iter().map(|key| format!("s.{0} = f.{0}", quote(key))).collect::<Vec<_>>().join(" AND ");
        let star = star_reference(&model.name).to_quoted_string();
        let filter = filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        let source = source_reference(table).to_quoted_string();
        let mut examples = Vec::new();
        match &control.star {
            StarSide::Rows => {
                let lacking = format!(
                    "SELECT {} FROM (SELECT * FROM {source}{filter}) AS s WHERE NOT EXISTS (SELECT 1 FROM {star} AS f WHERE {same}) ORDER BY {} LIMIT {EXAMPLES}",
                    key("s"),
                    key("s")
                );
                let surplus = format!(
                    "SELECT {}, count(*) AS rows FROM {star} AS f LEFT JOIN (SELECT *, 1 AS there FROM {source}{filter}) AS s ON {same} GROUP BY {} HAVING count(*) > 1 OR count(s.there) = 0 ORDER BY {} LIMIT {EXAMPLES}",
                    key("f"),
                    key("f"),
                    key("f")
                );
                examples
                    .extend(self.examples(&lacking).await.into_iter().map(|row| format!("missing: {row}")));
                examples
                    .extend(self.examples(&surplus).await.into_iter().map(|row| format!("surplus: {row}")));
            }
            StarSide::Sum { column } => {
                let inner =
                    expression.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')')).unwrap_or("NULL");
                let text = format!(
                    "SELECT {}, s.expected, f.{} AS found FROM (SELECT *, {inner} AS expected FROM {source}{filter}) AS s JOIN {star} AS f ON {same} WHERE s.expected IS DISTINCT FROM f.{} ORDER BY {} LIMIT {EXAMPLES}",
                    key("f"),
                    quote(column),
                    quote(column),
                    key("f")
                );
                examples.extend(self.examples(&text).await);
            }
            StarSide::Query { .. } => {}
        }
        examples.truncate(EXAMPLES);
        examples
    }
}

/// The one number that a query gave.
pub fn one_number(batches: Vec<arrow::array::RecordBatch>, what: &str) -> Result<Number> {
    let mut rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let (first, second) = (rows.next(), rows.next());
    let not_one = || Error::new(ErrorKind::Model, format!("{what}: a control's query must give one row"));
    let (Some((batch, row)), None) = (first, second) else { return Err(not_one()) };
    let scalar =
        ScalarValue::try_from_array(batch.column(0), row).or_error(ErrorKind::Bug, || what.to_owned())?;
    Number::of_scalar(&scalar)
        .ok_or_else(|| Error::new(ErrorKind::Model, format!("{what}: `{scalar}` is not a number")))
}

/// Rows as `column=value, …`.
pub fn row_texts(batch: &arrow::array::RecordBatch, most: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let schema = batch.schema();
    (0..batch.num_rows().min(most))
        .map(|row| {
            let cells = batch.columns().iter().zip(schema.fields()).filter_map(|(column, field)| {
                let formatter = ArrayFormatter::try_new(column, &options).ok()?;
                Some(format!("{}={}", field.name(), formatter.value(row)))
            });
            cells.collect::<Vec<_>>().join(", ")
        })
        .collect()
}
