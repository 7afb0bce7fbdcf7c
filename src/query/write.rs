//! An answer's rows as CSV, JSON or Parquet, batch by batch, so that its size doesn't matter.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, Writer};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Takes batches and writes them somewhere.
pub trait Sink: Send {
    fn write(&mut self, batch: &RecordBatch) -> io::Result<()>;
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// How the values of each column read: as Postgres prints them, with the zone's offset on an instant.
pub fn formatters(batch: &RecordBatch) -> io::Result<Vec<ArrayFormatter<'_>>> {
    let options = FormatOptions::new()
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let columns = batch.columns().iter();
    columns.map(|column| ArrayFormatter::try_new(column, &options).map_err(io::Error::other)).collect()
}

/// A value as text. A quotient has the digits that it has: the zeros behind them are its column's.
pub fn text(column: &dyn Array, formatter: &ArrayFormatter, row: usize) -> io::Result<String> {
    let mut text = formatter.value(row).try_to_string().map_err(io::Error::other)?;
    if matches!(column.data_type(), DataType::Decimal256(_, 1..)) {
        let kept = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(kept);
    }
    Ok(text)
}

/// Whether a value is NULL; a column of nothing else has no type.
pub fn is_null(column: &dyn Array, row: usize) -> bool {
    column.is_null(row) || column.data_type() == &DataType::Null
}

/// CSV by COPY's rule: NULL is an empty field, the empty string is `""`.
pub struct Csv<W: Write> {
    out: W,
}

impl<W: Write> Csv<W> {
    pub fn new(mut out: W, schema: &SchemaRef) -> io::Result<Csv<W>> {
        let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
        writeln!(out, "{}", names.join(","))?;
        Ok(Csv { out })
    }
}

impl<W: Write + Send> Sink for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let formatters = formatters(batch)?;
        for row in 0..batch.num_rows() {
            for (at, (column, formatter)) in batch.columns().iter().zip(&formatters).enumerate() {
                if at > 0 {
                    self.out.write_all(b",")?;
                }
                if is_null(column, row) {
                    continue;
                }
                let mut text = text(column, formatter, row)?;
                if matches!(column.data_type(), DataType::Binary | DataType::LargeBinary) {
                    text.insert_str(0, "\\x");
                }
                self.out.write_all(quoted(&text).as_bytes())?;
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

fn quoted(text: &str) -> String {
    // `\.` alone ends COPY's input.
    let plain = !text.is_empty() && text != "\\." && !text.contains([',', '"', '\n', '\r']);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// One array of objects; a decimal keeps all its digits, NULL is null.
pub struct Json<W: Write>(Writer<W, JsonArray>);

impl<W: Write> Json<W> {
    pub fn new(out: W) -> Json<W> {
        Json(WriterBuilder::new().with_explicit_nulls(true).build::<W, JsonArray>(out))
    }
}

impl<W: Write + Send> Sink for Json<W> {
    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
            let finite = match column.data_type() {
                DataType::Float32 => {
                    column.as_primitive::<Float32Type>().iter().flatten().all(f32::is_finite)
                }
                DataType::Float64 => {
                    column.as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite)
                }
                _ => true,
            };
            if !finite {
                let name = field.name();
                return Err(io::Error::other(format!(
                    "{name} has NaN or infinity, which JSON has not: cast it to text"
                )));
            }
        }
        self.0.write(batch).map_err(to_io)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.finish().map_err(to_io)?;
        let mut out = self.0.into_inner();
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// Parquet like that of the star: zstd, instants in UTC.
pub struct Parquet<W: Write + Send>(ArrowWriter<W>, SchemaRef);

impl<W: Write + Send> Parquet<W> {
    pub fn new(out: W, schema: &SchemaRef) -> io::Result<Parquet<W>> {
        let wide = |field: &&Arc<Field>| matches!(field.data_type(), DataType::Decimal256(..));
        if let Some(field) = schema.fields().iter().find(wide) {
            let message =
                format!("{} has more than 38 digits, which no reader of Parquet holds", field.name());
            return Err(io::Error::other(format!("{message}: CAST(x AS numeric(20,6))")));
        }
        let schema = in_utc(schema);
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(from_parquet)?;
        Ok(Parquet(writer, schema))
    }
}

impl<W: Write + Send> Sink for Parquet<W> {
    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let columns = batch.columns().iter().zip(self.1.fields());
        let columns =
            columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>();
        let batch =
            columns.and_then(|columns| RecordBatch::try_new(self.1.clone(), columns)).map_err(to_io)?;
        self.0.write(&batch).map_err(from_parquet)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.into_inner().map_err(from_parquet)?.flush()
    }
}

fn in_utc(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, Some(_)) => {
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            Arc::new(field.as_ref().clone().with_data_type(utc))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// The I/O error inside an arrow error, so that a closed pipe is known as one.
fn to_io(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

fn from_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
