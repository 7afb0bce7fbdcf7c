//! The runs of a store as tables, so that "which nights were slow?" is a query.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;

use crate::error::{ErrorKind, Result, ResultExt};
use crate::run::report::RunReport;
use crate::store::Store;

/// One value of a history table.
enum Cell {
    Text(Option<String>),
    Whole(Option<i64>),
    /// Seconds; never money.
    Seconds(Option<f64>),
    Instant(Option<DateTime<Utc>>),
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Whole,
    Seconds,
    Instant,
}

/// A table that tells of the runs: its columns, and what rows a run's report gives.
pub struct HistoryTable {
    pub name: &'static str,
    columns: &'static [(&'static str, Kind)],
    rows: fn(&RunReport) -> Vec<Vec<Cell>>,
}

pub const HISTORY: [HistoryTable; 3] = [
    HistoryTable {
        name: "runs",
        columns: &[
            ("run", Kind::Text),
            ("started_at", Kind::Instant),
            ("scheduled_for", Kind::Instant),
            ("seconds", Kind::Seconds),
            ("outcome", Kind::Text),
            ("by", Kind::Text),
            ("exit_code", Kind::Whole),
            ("snapshot", Kind::Text),
            ("rows", Kind::Whole),
            ("bytes", Kind::Whole),
            ("rows_added", Kind::Whole),
            ("rows_removed", Kind::Whole),
            ("rows_changed", Kind::Whole),
            ("source_rows", Kind::Whole),
            ("source_held_seconds", Kind::Seconds),
            ("extract_seconds", Kind::Seconds),
            ("build_seconds", Kind::Seconds),
            ("audit_seconds", Kind::Seconds),
            ("diff_seconds", Kind::Seconds),
            ("publish_seconds", Kind::Seconds),
            ("load_seconds", Kind::Seconds),
            ("peak_memory_bytes", Kind::Whole),
            ("reason", Kind::Text),
        ],
        rows: run,
    },
    HistoryTable {
        name: "tables",
        columns: &[
            ("run", Kind::Text),
            ("started_at", Kind::Instant),
            ("table", Kind::Text),
            ("role", Kind::Text),
            ("rows", Kind::Whole),
            ("bytes", Kind::Whole),
            ("seconds", Kind::Seconds),
            ("rows_added", Kind::Whole),
            ("rows_removed", Kind::Whole),
            ("rows_changed", Kind::Whole),
        ],
        rows: tables,
    },
    HistoryTable {
        name: "controls",
        columns: &[
            ("run", Kind::Text),
            ("started_at", Kind::Instant),
            ("table", Kind::Text),
            ("control", Kind::Text),
            ("verdict", Kind::Text),
            // Exact, as text: a sum may have more digits than any number type here.
            ("source", Kind::Text),
            ("star", Kind::Text),
            ("difference", Kind::Text),
        ],
        rows: controls,
    },
];

fn whole(number: u64) -> Cell {
    Cell::Whole(i64::try_from(number).ok())
}

fn text(text: impl ToString) -> Cell {
    Cell::Text(Some(text.to_string()))
}

fn run(report: &RunReport) -> Vec<Vec<Cell>> {
    let step = |name: &str| {
        let mut steps = report.steps.iter().filter(|step| step.step == name);
        Cell::Seconds(steps.next().map(|step| step.cost.wall_ms / 1_000.0))
    };
    let peak = report.steps.iter().map(|step| step.cost.peak_rss_bytes).max();
    vec![vec![
        text(&report.run),
        Cell::Instant(Some(report.started_at)),
        Cell::Instant(report.scheduled_for),
        Cell::Seconds(Some(report.seconds)),
        text(report.outcome.word()),
        text(&report.by),
        whole(report.exit_code.into()),
        Cell::Text(report.snapshot.as_ref().map(ToString::to_string)),
        whole(report.tables.iter().map(|table| table.rows).sum()),
        whole(report.tables.iter().map(|table| table.bytes).sum()),
        whole(report.diff.iter().map(|diff| diff.added).sum()),
        whole(report.diff.iter().map(|diff| diff.removed).sum()),
        whole(report.diff.iter().map(|diff| diff.changed).sum()),
        whole(report.source.tables.iter().map(|table| table.rows).sum()),
        Cell::Seconds(Some(report.source.held_seconds)),
        step("extract"),
        step("build"),
        step("audit"),
        step("diff"),
        step("publish"),
        step("load"),
        Cell::Whole(peak.and_then(|bytes| i64::try_from(bytes).ok())),
        Cell::Text(report.reason()),
    ]]
}

fn tables(report: &RunReport) -> Vec<Vec<Cell>> {
    let row = |table: &crate::run::report::TableReport| {
        let diff = report.diff.iter().find(|diff| diff.table == table.table);
        vec![
            text(&report.run),
            Cell::Instant(Some(report.started_at)),
            text(&table.table),
            text(&table.role),
            whole(table.rows),
            whole(table.bytes),
            Cell::Seconds(Some(table.seconds)),
            diff.map_or(Cell::Whole(None), |diff| whole(diff.added)),
            diff.map_or(Cell::Whole(None), |diff| whole(diff.removed)),
            diff.map_or(Cell::Whole(None), |diff| whole(diff.changed)),
        ]
    };
    report.tables.iter().map(row).collect()
}

fn controls(report: &RunReport) -> Vec<Vec<Cell>> {
    let row = |line: &crate::star::audit::ControlLine| {
        vec![
            text(&report.run),
            Cell::Instant(Some(report.started_at)),
            text(&line.table),
            text(&line.name),
            text(line.verdict.word()),
            text(&line.source),
            text(&line.star),
            text(line.source.difference(&line.star)),
        ]
    };
    report.controls.iter().map(row).collect()
}

impl HistoryTable {
    pub fn schema(&self) -> SchemaRef {
        let field = |(name, kind): &(&str, Kind)| {
            let data_type = match kind {
                Kind::Text => DataType::Utf8,
                Kind::Whole => DataType::Int64,
                Kind::Seconds => DataType::Float64,
                Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            };
            Field::new(*name, data_type, true)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Reads every report that the store keeps.
    pub fn read(&self, store: &Store) -> Result<Arc<dyn TableProvider>> {
        let bug = || format!("cannot read the {} of the store", self.name);
        let mut columns: Vec<Column> = self.columns.iter().map(|(_, kind)| Column::new(*kind)).collect();
        for report in store.reports::<RunReport>() {
            for row in (self.rows)(&report) {
                for (column, cell) in columns.iter_mut().zip(row) {
                    column.push(cell);
                }
            }
        }
        let arrays = columns.into_iter().map(Column::finish).collect();
        let batch = RecordBatch::try_new(self.schema(), arrays).or_error(ErrorKind::Bug, bug)?;
        let table = MemTable::try_new(self.schema(), vec![vec![batch]]).or_error(ErrorKind::Bug, bug)?;
        Ok(Arc::new(table))
    }
}

enum Column {
    Text(StringBuilder),
    Whole(Int64Builder),
    Seconds(Float64Builder),
    Instant(TimestampMicrosecondBuilder),
}

impl Column {
    fn new(kind: Kind) -> Column {
        match kind {
            Kind::Text => Column::Text(StringBuilder::new()),
            Kind::Whole => Column::Whole(Int64Builder::new()),
            Kind::Seconds => Column::Seconds(Float64Builder::new()),
            Kind::Instant => Column::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Column::Text(builder), Cell::Text(value)) => builder.append_option(value),
            (Column::Whole(builder), Cell::Whole(value)) => builder.append_option(value),
            (Column::Seconds(builder), Cell::Seconds(value)) => builder.append_option(value),
            (Column::Instant(builder), Cell::Instant(value)) => {
                builder.append_option(value.map(|at| at.timestamp_micros()));
            }
            // A row of another kind than its column; the test of all columns finds it.
            (Column::Text(builder), _) => builder.append_null(),
            (Column::Whole(builder), _) => builder.append_null(),
            (Column::Seconds(builder), _) => builder.append_null(),
            (Column::Instant(builder), _) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Column::Text(mut builder) => Arc::new(builder.finish()),
            Column::Whole(mut builder) => Arc::new(builder.finish()),
            Column::Seconds(mut builder) => Arc::new(builder.finish()),
            Column::Instant(mut builder) => Arc::new(builder.finish()),
        }
    }
}
