//! What a model is besides its own SELECT: keys that are numbered, a history that is written on, members and days that facts
//! bring.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::logical_expr::LogicalPlan;
use futures::{StreamExt, TryStreamExt};

use super::{Builder, Failure, run};
use crate::error::Result;
use crate::pipeline::model::Model;
use crate::star::audit::{EXAMPLES, row_texts};
use crate::star::book::Book;
use crate::star::days::{self, Days};
use crate::star::register::{Known, Registrar};
use crate::star::session::Session;
use crate::star::staged::stage_stream;
use crate::star::{Edited, Kept, Registration, compose, inferred, versions};

impl Builder {
    /// Numbers the keys that the registry doesn't have yet, or writes down what is new of a history, and makes the whole
    /// registry known to the session.
    pub(super) async fn number(
        &self,
        session: &Session,
        model: &Model,
        mut registrar: Registrar<'_>,
        rows: u64,
    ) -> Result<(Option<Registration>, Option<Kept>), Failure> {
        let reference = compose::registry_reference(&model.name);
        session.add(reference.clone(), registrar.known())?;
        let known = registrar.known_so_far();
        let book = Book::of(&model.name, &known.memory, &known.raw, self.zone());
        let book = book.map(|book| book.keeping(known.kept.clone()));
        let mut kept = None;
        let text = match &book {
            None => known.memory.new_registrations_sql(&model.name, known.highest),
            Some(book) => {
                self.versions(session, model, book).await?;
                kept = Some(self.late(session, book, &known, rows).await?);
                self.news(session, model, book, &known).await?
            }
        };
        let plan = session.plan_text(&text).await.map_err(Failure::Engine)?;
        let mut stream = run(session, plan).await?;
        while let Some(batch) = stream.next().await {
            registrar.keep(&batch.map_err(Failure::Engine)?)?;
        }
        let registration = match registrar.finish()? {
            Some((registration, registry)) => {
                session.add(reference, registry)?;
                Some(registration)
            }
            None => None,
        };
        if let (Some(book), Some(kept)) = (&book, &mut kept) {
            kept.gaps = count(session, &book.gaps_sql()).await?;
        }
        Ok((registration, kept))
    }

    /// Makes the versions that are known, and the last of each member, tables of the session: they are read several times.
    async fn versions(&self, session: &Session, model: &Model, book: &Book<'_>) -> Result<(), Failure> {
        let tables = [
            (compose::versions_reference(&model.name), book.versions_sql()),
            (compose::last_reference(&model.name), book.last_sql()),
        ];
        for (reference, text) in tables {
            let plan = session.plan_text(&text).await.map_err(Failure::Engine)?;
            let rows = stage_stream(&self.workshop.stage, run(session, plan).await?).await?;
            session.add(reference, Arc::new(rows))?;
        }
        if count(session, &book.behind_sql()).await? > 0 {
            return Err(versions::behind(&model.name).into());
        }
        Ok(())
    }

    /// What the audit is told of a history: what the model gave, and who changed without a later time, where the source tells it.
    async fn late(
        &self,
        session: &Session,
        book: &Book<'_>,
        known: &Known,
        rows: u64,
    ) -> Result<Kept, Failure> {
        let mut kept = Kept { rows, gaps: 0, late: 0, examples: Vec::new() };
        let Some(text) = book.late_sql().filter(|_| known.edited == Edited::No) else { return Ok(kept) };
        kept.late = count(session, &format!("SELECT count(*) FROM ({text}) AS late")).await?;
        if kept.late > 0 {
            let plan = session.plan_text(&format!("SELECT * FROM ({text}) AS late LIMIT {EXAMPLES}")).await;
            let stream = run(session, plan.map_err(Failure::Engine)?).await?;
            let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(Failure::Engine)?;
            kept.examples = batches.iter().flat_map(|batch| row_texts(batch, EXAMPLES)).collect();
        }
        Ok(kept)
    }

    /// The SQL of what a history's log doesn't say yet.
    async fn news(
        &self,
        session: &Session,
        model: &Model,
        book: &Book<'_>,
        known: &Known,
    ) -> Result<String, Failure> {
        let edited = match known.edited {
            Edited::No => None,
            Edited::Said(restatement) => Some(restatement),
            Edited::Unsaid => match count(session, &book.touched_sql()).await? {
                0 => None,
                touched => return Err(versions::unsaid(&model.name, touched).into()),
            },
        };
        if let Some(table) = &known.numbers {
            session.add(compose::numbers_reference(&model.name), Arc::clone(table))?;
        }
        Ok(book.news_sql(known.highest, edited, known.numbers.is_some()))
    }

    /// The days that facts look up in a calendar.
    pub(super) async fn days(&self, session: &Session, model: &Model) -> Result<Option<Days>, Failure> {
        let mut looked_up = Vec::new();
        for (fact, design) in self.pipeline.models.iter().zip(&self.design.models) {
            for lookup in fact
                .lookups()
                .iter()
                .filter(|lookup| lookup.dimension == model.name && !lookup.is_combination)
            {
                let columns = lookup.on.iter().map(|(_, column)| column.value.clone());
                let statement = design.statement.clone();
                looked_up.extend(columns.filter_map(|column| Some((statement.clone()?, column))));
            }
        }
        days::looked_up(session, looked_up).await.map_err(Failure::Engine)
    }

    /// A dimension's rows with the members that facts bring.
    pub(super) async fn with_members(
        &self,
        session: &Session,
        model: &Model,
        plan: LogicalPlan,
    ) -> Result<LogicalPlan, Failure> {
        let statement = |fact: &Model| {
            let mut models = self.pipeline.models.iter().zip(&self.design.models);
            models.find(|(model, _)| model.name == fact.name)?.1.statement.clone()
        };
        let lookups = inferred::lookups_into(&self.pipeline, model);
        let brought: Vec<_> =
            lookups.into_iter().filter_map(|(fact, lookup)| Some((statement(fact)?, lookup))).collect();
        if brought.is_empty() {
            return Ok(plan);
        }
        inferred::with_members(session, plan, brought).await.map_err(Failure::Engine)
    }
}

/// The one count that a query gives.
async fn count(session: &Session, text: &str) -> Result<u64, Failure> {
    let plan = session.plan_text(text).await.map_err(Failure::Engine)?;
    let batches: Vec<RecordBatch> = run(session, plan).await?.try_collect().await.map_err(Failure::Engine)?;
    let first = batches.iter().find(|batch| batch.num_rows() > 0);
    let value = first.map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    Ok(u64::try_from(value.unwrap_or_default()).unwrap_or_default())
}
