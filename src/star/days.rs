//! From when to when a calendar goes that grows with its facts: over the whole years of the days that they look up, so that it
//! is another only when a year begins.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use datafusion::common::{Column, Result as EngineResult};
use datafusion::functions_aggregate::min_max::{max, min};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, col};
use datafusion::sql::sqlparser::ast::Statement;

use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::calendar::{Calendar, Edge, LONGEST};

/// The first and the last day.
pub type Days = (NaiveDate, NaiveDate);

/// The first and the last day in some columns of some facts, each by its SELECT.
pub async fn looked_up(session: &Session, columns: Vec<(Statement, String)>) -> EngineResult<Option<Days>> {
    let mut days: Option<Days> = None;
    for (statement, column) in columns {
        let fact = session.plan_model(statement).await?;
        let day = cast(Expr::Column(Column::new_unqualified(column)), DataType::Date32).alias("day");
        let none: [Expr; 0] = [];
        let plan = LogicalPlanBuilder::from(fact).project([day])?;
        let plan =
            plan.aggregate(none, [min(col("day")).alias("first"), max(col("day")).alias("last")])?.build()?;
        let batches = session.context().execute_logical_plan(plan).await?.collect().await?;
        if let Some((first, last)) = batches.iter().find_map(of_row) {
            days = Some(days.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
        }
    }
    Ok(days)
}

fn of_row(batch: &RecordBatch) -> Option<Days> {
    let day = |at: usize| {
        let column = batch
            .column(at)
            .as_primitive_opt::<Date32Type>()
            .filter(|column| column.len() == 1 && column.is_valid(0))?;
        NaiveDate::default().checked_add_signed(TimeDelta::days(column.value(0).into()))
    };
    Some((day(0)?, day(1)?))
}

/// Where a calendar begins and ends. Where no fact has a day it goes on to the end of the year, or from its beginning; of
/// nothing but facts, the year of the source snapshot.
pub fn span(calendar: &Calendar, days: Option<Days>, at: DateTime<Utc>) -> Result<Days> {
    let first_of = |day: NaiveDate| NaiveDate::from_ymd_opt(day.year(), 1, 1).unwrap_or(day);
    let last_of = |day: NaiveDate| NaiveDate::from_ymd_opt(day.year(), 12, 31).unwrap_or(day);
    let today = at.date_naive();
    let (from, to) = match (calendar.from, calendar.to) {
        (Edge::Day(from), Edge::Day(to)) => (from, to),
        (Edge::Day(from), Edge::Facts) => (from, last_of(days.map_or(from, |(_, last)| last.max(from)))),
        (Edge::Facts, Edge::Day(to)) => (first_of(days.map_or(to, |(first, _)| first.min(to))), to),
        (Edge::Facts, Edge::Facts) => {
            let (first, last) = days.unwrap_or((today, today));
            (first_of(first), last_of(last))
        }
    };
    if to - from > LONGEST {
        let message = format!("the calendar would go from {from} to {to}, because facts look up such days");
        return Err(Error::new(ErrorKind::Model, message)
            .hint("leave the days out that are mistakes, or give the calendar its dates: dates = { from = \"…\", to = \"…\" }"));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::calendar::Language;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn goes(from: Edge, to: Edge, days: Option<(&str, &str)>) -> String {
        let language = Language::by_code("en").unwrap();
        let calendar = Calendar { from, to, fiscal_start: None, language, holidays: None };
        let at = "2026-11-28T00:00:00Z".parse().unwrap();
        match span(&calendar, days.map(|(first, last)| (day(first), day(last))), at) {
            Ok((from, to)) => format!("{from} {to}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_calendar_grows_by_whole_years_and_never_shrinks_below_what_is_said() {
        let from = Edge::Day(day("2024-03-01"));
        assert_eq!(goes(from, Edge::Facts, Some(("2023-05-05", "2025-02-01"))), "2024-03-01 2025-12-31");
        assert_eq!(goes(from, Edge::Facts, Some(("2020-05-05", "2021-02-01"))), "2024-03-01 2024-12-31");
        assert_eq!(goes(from, Edge::Facts, None), "2024-03-01 2024-12-31");
        assert_eq!(goes(Edge::Facts, from, Some(("2022-07-07", "2022-07-07"))), "2022-01-01 2024-03-01");
        assert_eq!(
            goes(Edge::Facts, Edge::Facts, Some(("2022-07-07", "2023-07-07"))),
            "2022-01-01 2023-12-31"
        );
        assert_eq!(goes(Edge::Facts, Edge::Facts, None), "2026-01-01 2026-12-31");
        assert!(
            goes(from, Edge::Facts, Some(("2024-01-01", "9999-12-31")))
                .contains("would go from 2024-03-01 to 9999-12-31")
        );
    }
}
