//! One table's COPY: the statement, and its bytes turned into batches.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;

use super::super::folder::value_error;
use super::task::Range;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{SourceTable, quote_identifier};
use crate::pgcopy::column::Column;
use crate::pgcopy::decode::{BATCH_ROWS, DecodeError, Decoder};
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::mask::Mask;
use crate::pgcopy::policy::Extremes;
use crate::postgres::{Server, Session};
use crate::star::design::Read;
use crate::star::origin::Altered;

/// Closes the tap with the COPY, also with one that is given up: what still comes is nobody's then.
struct OpenTap<'a>(&'a Session);

impl Drop for OpenTap<'_> {
    fn drop(&mut self) {
        self.0.tap().close();
    }
}

/// Rows on their way into batches.
struct Taking<S, K> {
    decoder: Decoder,
    into: S,
    keep: K,
    failure: Option<Failure>,
}

enum Failure {
    Decode(DecodeError),
    Keep(Error),
}

impl<S, K: FnMut(&mut S, RecordBatch) -> Result<()>> Taking<S, K> {
    /// One row; after a failure none is taken any more.
    fn take(&mut self, row: &[u8]) -> Result<(), ()> {
        if self.failure.is_some() {
            return Err(());
        }
        self.failure = self.feed(row).err();
        if self.failure.is_some() { Err(()) } else { Ok(()) }
    }

    fn feed(&mut self, row: &[u8]) -> Result<(), Failure> {
        self.decoder.feed(row).map_err(Failure::Decode)?;
        while let Some(batch) = self.decoder.take_full_batch() {
            (self.keep)(&mut self.into, batch).map_err(Failure::Keep)?;
        }
        Ok(())
    }
}

/// The columns of one table that are read, and the filter that they are read by.
pub struct TableCopy {
    pub schema: SchemaRef,
    table: SourceTable,
    columns: Vec<(String, Mapping, Option<Mask>)>,
    filter: Option<String>,
    zone: String,
    extremes: Extremes,
}

impl TableCopy {
    pub fn new(table: &SourceTable, read: &Read, zone: &str, extremes: Extremes) -> Result<TableCopy> {
        let columns = read.columns.iter().filter_map(|position| {
            let name = read.schema.field(*position).name();
            let column = read.relation.column(name)?;
            Some((name.clone(), column.mapping.clone().ok()?, column.mask.clone()))
        });
        let schema =
            read.schema.project(&read.columns).or_error(ErrorKind::Bug, || "a projection".to_owned())?;
        Ok(TableCopy {
            schema: Arc::new(schema),
            table: table.clone(),
            columns: columns.collect(),
            filter: read.filter.clone(),
            zone: zone.to_owned(),
            extremes,
        })
    }

    pub fn is_of(&self, table: &SourceTable) -> bool {
        self.table == *table
    }

    /// Reads one range, and gives its batches to `keep`, with what they go into, as they are full.
    pub async fn run<S: Send + 'static>(
        &self,
        session: &Session,
        server: &Server,
        range: &Range,
        into: S,
        keep: impl FnMut(&mut S, RecordBatch) -> Result<()> + Send + 'static,
    ) -> Result<(S, Altered)> {
        let taking = Arc::new(Mutex::new(Taking { decoder: self.decoder(), into, keep, failure: None }));
        let tapped = Arc::clone(&taking);
        session.tap().open(Box::new(move |row| {
            let mut taking = tapped.lock().unwrap_or_else(PoisonError::into_inner);
            taking.take(row).map_err(|()| std::io::Error::other("a row is not taken"))
        }));
        let open = OpenTap(session);
        let copied = self.copied(session, range, &taking).await;
        drop(open);
        let taking =
            Arc::into_inner(taking).map(|taking| taking.into_inner().unwrap_or_else(PoisonError::into_inner));
        let Some(Taking { decoder, mut into, mut keep, failure }) = taking else {
            return Err(Error::new(ErrorKind::Bug, "a tap was left open"));
        };
        match (failure, copied) {
            // A row that could not be taken ended the connection, not the other way round.
            (Some(Failure::Decode(error)), _) => return Err(self.error(error)),
            (Some(Failure::Keep(error)), _) => return Err(error),
            (None, Err(error)) => {
                let error = server.error(error, format!("cannot read {}", self.table));
                let error = match &self.filter {
                    Some(filter) => error.at("where", filter.replace('\n', "")),
                    None => error,
                };
                return Err(match (&self.filter, error.help()) {
                    (Some(_), None) => {
                        error.hint("correct the condition, in [source.where] or in the models")
                    }
                    _ => error,
                });
            }
            (None, Ok(())) => {}
        }
        let named = self.columns.iter().map(|(name, ..)| name.clone()).zip(decoder.altered());
        let altered = named.filter(|(_, values)| *values > 0).collect();
        if let Some(batch) = decoder.finish().map_err(|error| self.error(error))? {
            keep(&mut into, batch)?;
        }
        Ok((into, altered))
    }

    /// Waits for the COPY's end. Rows come this way only over a line that has no tap.
    async fn copied<S, K: FnMut(&mut S, RecordBatch) -> Result<()>>(
        &self,
        session: &Session,
        range: &Range,
        taking: &Mutex<Taking<S, K>>,
    ) -> Result<(), tokio_postgres::Error> {
        let stream = session.copy_out(&self.sql(range)).await?;
        futures::pin_mut!(stream);
        while let Some(row) = stream.try_next().await? {
            let taken = taking.lock().unwrap_or_else(PoisonError::into_inner).take(&row);
            if taken.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn sql(&self, range: &Range) -> String {
        let selected: Vec<String> =
            self.columns.iter().map(|(name, mapping, _)| mapping.select(&quote_identifier(name))).collect();
        let filter = self.filter.iter().map(|filter| format!("({filter})"));
        let conditions: Vec<String> = filter.chain(range.condition()).collect();
        let conditions = match conditions.as_slice() {
            [] => String::new(),
            all => format!(" WHERE {}", all.join(" AND ")),
        };
        format!(
            "COPY (SELECT {} FROM {}{conditions}) TO STDOUT (FORMAT binary)",
            selected.join(", "),
            range.from
        )
    }

    fn decoder(&self) -> Decoder {
        let columns = self.columns.iter().map(|(_, mapping, mask)| {
            Column::new(*mapping, &self.zone, self.extremes, BATCH_ROWS).masked(mask.as_ref())
        });
        Decoder::new(Arc::clone(&self.schema), columns.collect())
    }

    fn error(&self, error: DecodeError) -> Error {
        match error {
            DecodeError::Value(index, error) => value_error(error, &self.table, &self.columns[index].0, None),
            DecodeError::Malformed(reason) => {
                Error::new(ErrorKind::Bug, format!("cannot decode {}: {reason}", self.table))
            }
        }
    }
}
