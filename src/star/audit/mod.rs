//! Proves the star against the source: nothing gets past here that doesn't add up.

mod ask;
mod declared;
mod facts;
mod fanout;
mod lookups;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::execution::runtime_env::RuntimeEnv;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::name::{ModelName, SourceTable, list, quote_identifier as quote};
use crate::pipeline::control::{Control, SourceSide, StarSide};
use crate::pipeline::model::{Body, Model};
use crate::pipeline::{Pipeline, Spanned};
use crate::star::design::{ControlDesign, Design};
use crate::star::number::Number;
use crate::star::scan::{Scan, scan_apart};
use crate::star::session::{Effort, Session, model_error, source_reference, star_reference};
use crate::star::shelf;
use crate::star::table::StarTable;
use crate::star::{AuditedStar, BuiltStar, versions};

pub use ask::{one_number, row_texts};

/// One control with both its numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ControlLine {
    pub table: String,
    pub name: String,
    /// What the source says, or what the rule demands.
    pub source: Number,
    /// What the star says.
    pub star: Number,
    pub verdict: Verdict,
    /// Some of the rows that offend, as `column=value` pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// Worth knowing, and no reason to refuse unless the run is strict.
    Noted,
}

impl Verdict {
    pub const ALL: [Verdict; 3] = [Verdict::Passed, Verdict::Failed, Verdict::Noted];

    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Noted => "noted",
        }
    }
}

/// How many of the published numeric columns some control proves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Coverage {
    pub covered: usize,
    pub columns: usize,
    /// `table.column` of those that no control covers.
    pub uncovered: Vec<String>,
}

/// The sum of every numeric column: table, then column.
pub type Sums = BTreeMap<String, BTreeMap<String, Number>>;

/// The audit refused: what it found.
#[derive(Debug)]
pub struct FailedAudit {
    pub lines: Vec<ControlLine>,
    pub coverage: Coverage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Unknown members in lookups are noted.
    Lenient,
    /// They are refused.
    Strict,
}

/// What the audit compares with besides the source.
pub struct Standards<'a> {
    pub strictness: Strictness,
    /// The rows of each source table in the last published run.
    pub previous_rows: &'a BTreeMap<SourceTable, u64>,
    pub allow_empty: &'a [Spanned<String>],
}

/// How many offending rows a line shows.
pub const EXAMPLES: usize = 5;

/// Audits a built star.
pub async fn audit(
    pipeline: &Pipeline,
    design: &Design,
    runtime: &Arc<RuntimeEnv>,
    standards: Standards<'_>,
    built: BuiltStar,
) -> Result<std::result::Result<AuditedStar, FailedAudit>> {
    let auditor = Auditor { pipeline, design, built: &built, session: session(pipeline, runtime, &built)? };
    let mut lines = auditor.sources(&standards);
    let mut sums = Sums::new();
    let scans = auditor.scans().await?;
    for (index, (scan, columns)) in scans.iter().enumerate() {
        let model = &pipeline.models[index];
        lines.extend(auditor.keys(model, scan).await?);
        lines.extend(auditor.declared(model).await?);
        lines.extend(auditor.lookups(model, scan, standards.strictness).await);
        lines.extend(auditor.fact(model).await?);
        lines.extend(auditor.members(model).await?);
        lines.extend(auditor.inferred(model, standards.strictness).await?);
        let table: BTreeMap<String, Number> =
            columns.iter().cloned().zip(scan.sums.iter().cloned()).collect();
        sums.insert(model.name.to_string(), table);
    }
    let mut multiplied: BTreeSet<&ModelName> = BTreeSet::new();
    for (index, control) in pipeline.controls.iter().enumerate() {
        let mut line = auditor.control(control, index, &scans, &sums).await?;
        // The joins of a model are counted for the first of its controls that has more than the source.
        if line.verdict == Verdict::Failed
            && line.star.is_more_than(&line.source)
            && multiplied.insert(&control.model)
        {
            line.examples.extend(auditor.fan_out(&control.model).await);
        }
        lines.push(line);
    }
    let place =
        |line: &ControlLine| pipeline.models.iter().position(|model| model.name.as_str() == line.table);
    lines.sort_by_key(place);
    let coverage = auditor.coverage();
    if lines.iter().any(|line| line.verdict == Verdict::Failed) {
        return Ok(Err(FailedAudit { lines, coverage }));
    }
    Ok(Ok(AuditedStar {
        tables: built.tables,
        lines,
        coverage,
        sums,
        registrations: built.registrations,
        models: built.models,
    }))
}

fn session(pipeline: &Pipeline, runtime: &Arc<RuntimeEnv>, built: &BuiltStar) -> Result<Session> {
    let session = Session::new(pipeline.deployment.timezone, runtime, Effort::Full)?;
    session.runs_at(pipeline.deployment.timezone, built.at);
    for table in &built.tables {
        session
            .add(star_reference(table.name()), shelf::provider(table, pipeline.deployment.timezone.name()))?;
    }
    for (table, staged) in &built.source {
        session.add(source_reference(table), Arc::new(staged.clone()))?;
    }
    Ok(session)
}

struct Auditor<'a> {
    pipeline: &'a Pipeline,
    design: &'a Design,
    built: &'a BuiltStar,
    session: Session,
}

impl Auditor<'_> {
    /// A table that had rows and has none is more likely a mistake than a fact.
    fn sources(&self, standards: &Standards) -> Vec<ControlLine> {
        let mut lines = Vec::new();
        for (table, staged) in &self.built.source {
            let before = standards.previous_rows.get(table).copied().unwrap_or(0);
            let allowed = standards
                .allow_empty
                .iter()
                .any(|name| name.value == table.to_string() || name.value == table.table);
            if before > 0 && staged.rows() == 0 && !self.built.unmet.contains(table) {
                lines.push(ControlLine {
                    table: table.to_string(),
                    name: "rows since the last snapshot (suddenly empty)".to_owned(),
                    source: Number::of_count(before),
                    star: Number::of_count(0),
                    verdict: if allowed { Verdict::Noted } else { Verdict::Failed },
                    examples: vec![format!("if that is right, add to [source]: allow_empty = [\"{table}\"]")],
                });
            }
        }
        lines
    }

    /// One pass over each table, on threads of their own.
    async fn scans(&self) -> Result<Vec<(Scan, Vec<String>)>> {
        let mut passes = Vec::new();
        for (table, model) in self.built.tables.iter().zip(&self.pipeline.models) {
            let columns = summable(table, model);
            let lookups = lookups::looked_up(model);
            let surrogate = model.surrogate().map(str::to_owned);
            let pass = scan_apart(table.clone(), model.row_key(), columns.clone(), lookups, surrogate);
            passes.push(async move { Ok((pass.await?, columns)) });
        }
        futures::future::try_join_all(
            passes
                .into_iter()
                .map(|pass| Box::pin(pass) as std::pin::Pin<Box<dyn Future<Output = Result<_>> + Send>>),
        )
        .await
    }

    async fn keys(&self, model: &Model, scan: &Scan) -> Result<Vec<ControlLine>> {
        let mut lines = Vec::new();
        if !model.key.is_empty() {
            let duplicates =
                if scan.strictly_rising { (0, Vec::new()) } else { self.duplicates(model).await? };
            lines.push(self.rule(model, "duplicate keys", duplicates.0, duplicates.1));
            let null_examples = match scan.null_keys {
                0 => Vec::new(),
                _ => self.examples(&self.null_keys_sql(model)).await,
            };
            lines.push(self.rule(model, "keys with NULL", scan.null_keys, null_examples));
        }
        if let Some(surrogate) = model.surrogate() {
            let table = star_reference(&model.name).to_quoted_string();
            let column = quote(surrogate);
            let text = format!("SELECT count(*) - count(DISTINCT {column}) FROM {table}");
            let repeated = self.count(&text).await?;
            lines.push(self.rule(model, "surrogates not unique", repeated, Vec::new()));
            let missing = 1_u64.abs_diff(scan.unknown_members);
            lines.push(self.rule(model, "unknown member missing", missing, Vec::new()));
        }
        Ok(lines)
    }

    fn rule(&self, model: &Model, name: &str, found: u64, examples: Vec<String>) -> ControlLine {
        ControlLine {
            table: model.name.to_string(),
            name: name.to_owned(),
            source: Number::of_count(0),
            star: Number::of_count(found),
            verdict: if found == 0 { Verdict::Passed } else { Verdict::Failed },
            examples,
        }
    }

    /// A rule that no row of a query breaks, with the first of those that do.
    async fn offending(&self, model: &Model, name: &str, query: &str, order: &str) -> Result<ControlLine> {
        let found = self.count(&format!("SELECT count(*) FROM ({query}) AS o")).await?;
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {order}") };
        let examples = match found {
            0 => Vec::new(),
            _ => self.examples(&format!("SELECT * FROM ({query}) AS o{order} LIMIT {EXAMPLES}")).await,
        };
        Ok(self.rule(model, name, found, examples))
    }

    async fn duplicates(&self, model: &Model) -> Result<(u64, Vec<String>)> {
        let keys = model.row_key().iter().map(|key| quote(key)).collect::<Vec<_>>().join(", ");
        let table = star_reference(&model.name).to_quoted_string();
        let grouped = format!(
            "SELECT {keys}, count(*) AS rows FROM {table}{} GROUP BY {keys} HAVING count(*) > 1",
            self.members_only(model)
        );
        let count = self.count(&format!("SELECT coalesce(sum(rows - 1), 0) FROM ({grouped}) AS g")).await?;
        let examples = self.examples(&format!("{grouped} ORDER BY {keys} LIMIT {EXAMPLES}")).await;
        Ok((count, examples))
    }

    fn members_only(&self, model: &Model) -> String {
        let member = |surrogate| format!(" WHERE {} <> -1", quote(surrogate));
        model.surrogate().map(member).unwrap_or_default()
    }

    fn null_keys_sql(&self, model: &Model) -> String {
        let nulls: Vec<String> =
            model.row_key().iter().map(|key| format!("{} IS NULL", quote(key))).collect();
        let table = star_reference(&model.name).to_quoted_string();
        let members =
            self.members_only(model).replace(" WHERE ", " AND coalesce(").replace("<> -1", ", 0) <> -1");
        format!("SELECT * FROM {table} WHERE ({}){members} LIMIT {EXAMPLES}", nulls.join(" OR "))
    }

    async fn control(
        &self,
        control: &Control,
        index: usize,
        scans: &[(Scan, Vec<String>)],
        sums: &Sums,
    ) -> Result<ControlLine> {
        let design = &self.design.controls[index];
        let model = self.pipeline.models.iter().position(|model| model.name == control.model).unwrap_or(0);
        let star = match &control.star {
            StarSide::Rows => Number::of_count(scans[model].0.rows),
            StarSide::Sum { column } => self.sum(control, column, sums).await?,
            StarSide::Query { .. } => self.star_query(control, design).await?,
        };
        let source = self.built.totals.0[index].clone();
        let agrees = source.agrees_with(&star);
        let examples = match (agrees, &control.source) {
            (false, SourceSide::Aggregate { .. }) => self.grain_examples(control, design).await,
            _ => Vec::new(),
        };
        Ok(ControlLine {
            table: control.model.to_string(),
            name: match design.masked.as_slice() {
                [] => control.name.clone(),
                masked => format!("{} ({})", control.name, list(masked)),
            },
            source,
            star,
            verdict: if agrees { Verdict::Passed } else { Verdict::Failed },
            examples,
        })
    }

    /// A sum that the scan has made; key columns, which it leaves out, are summed by the engine.
    async fn sum(&self, control: &Control, column: &str, sums: &Sums) -> Result<Number> {
        if let Some(sum) = sums.get(control.model.as_str()).and_then(|table| table.get(column)) {
            return Ok(sum.clone());
        }
        let table = star_reference(&control.model).to_quoted_string();
        // An integer key may be larger than the engine's own sum of it.
        let whole = self.built.tables.iter().find(|table| *table.name() == control.model);
        let field = whole.and_then(|table| table.schema().field_with_name(column).ok());
        let summed = match field.is_some_and(|field| field.data_type().is_integer()) {
            true => format!("CAST({} AS DECIMAL(38, 0))", quote(column)),
            false => quote(column),
        };
        let text = format!("SELECT sum({summed}) FROM {table}");
        self.number(&text).await
    }

    async fn star_query(&self, control: &Control, design: &ControlDesign) -> Result<Number> {
        let statement = design.star.clone();
        let statement =
            statement.ok_or_else(|| Error::new(ErrorKind::Bug, "a control without its star side"))?;
        let failed = |error| model_error(error, format!("the control \"{}\" failed", control.name));
        let plan = self.session.plan(statement).await.map_err(failed)?;
        let frame = self.session.context().execute_logical_plan(plan).await.map_err(failed)?;
        one_number(frame.collect().await.map_err(failed)?, &control.name)
    }

    fn coverage(&self) -> Coverage {
        let mut covered: BTreeSet<String> = BTreeSet::new();
        let mut all: Vec<String> = Vec::new();
        for (table, model) in self.built.tables.iter().zip(&self.pipeline.models) {
            if matches!(model.body, Body::Sql(_)) {
                all.extend(summable(table, model).iter().map(|column| format!("{}.{column}", model.name)));
            }
        }
        for control in &self.pipeline.controls {
            match &control.star {
                StarSide::Rows => {}
                StarSide::Sum { column } => {
                    covered.insert(format!("{}.{column}", control.model));
                }
                StarSide::Query { sql } => {
                    let columns = sql.mentioned_columns();
                    for relation in sql.relations() {
                        covered.extend(columns.iter().map(|column| format!("{}.{column}", relation.table)));
                    }
                }
            }
        }
        let uncovered: Vec<String> =
            all.iter().filter(|column| !covered.contains(*column)).cloned().collect();
        Coverage { covered: all.len() - uncovered.len(), columns: all.len(), uncovered }
    }
}

/// The numeric columns whose sum means something: not keys and `_id`s, which only name things.
fn summable(table: &StarTable, model: &Model) -> Vec<String> {
    let mut keys = model.key_columns();
    keys.extend(model.surrogate().filter(|_| model.history().is_some()).map(versions::durable_key));
    let lookups: Vec<&str> = model.lookups().iter().map(|lookup| lookup.column.value.as_str()).collect();
    let on: Vec<&str> =
        model.lookups().iter().flat_map(|l| l.on.iter().map(|(_, column)| column.value.as_str())).collect();
    let fields = table.schema().fields().iter();
    let numeric =
        fields.filter(|field| field.data_type().is_numeric() && field.data_type() != &DataType::Null);
    numeric
        .map(|field| field.name().clone())
        .filter(|name| !keys.contains(name) && Some(name.as_str()) != model.surrogate())
        .filter(|name| !lookups.contains(&name.as_str()) && !on.contains(&name.as_str()))
        .filter(|name| !name.ends_with("_id"))
        .collect()
}
