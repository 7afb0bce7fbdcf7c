//! Binary COPY into record batches: <https://www.postgresql.org/docs/current/sql-copy.html>.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::ValueError;
use super::column::Column;

/// Rows of a batch.
pub const BATCH_ROWS: usize = 8_192;
/// A batch is cut early when its texts have grown to this, so that wide values don't pile up.
const BATCH_BYTES: usize = 1 << 20;
/// Postgres's own limit of one field; a length above it is no length.
const MAX_FIELD: usize = 1 << 30;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are not binary COPY of these columns.
    Malformed(String),
    /// A value of the column at this index doesn't fit.
    Value(usize, ValueError),
}

/// Takes COPY's messages as they come, gives batches. A message is usually one row; where it ends within
/// a field, only that field is put together first.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    /// A message was so long that the bytes are worth counting now, not every so many rows.
    wide: bool,
    carry: Vec<u8>,
    /// Batches that are whole, until they are taken.
    full: VecDeque<RecordBatch>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// Between two rows.
    Rows,
    /// Within a row, before the field at this index.
    Fields(usize),
    Trailer,
}

/// How many bytes were taken off the front, and whether what follows them is known to be cut off.
enum Next {
    Cut(usize),
    Taken(usize),
}

impl Decoder {
    pub fn new(schema: SchemaRef, columns: Vec<Column>) -> Decoder {
        Decoder {
            schema,
            columns,
            rows: 0,
            wide: false,
            carry: Vec::new(),
            full: VecDeque::new(),
            state: State::Header,
        }
    }

    /// Takes the next bytes. Afterwards [`Decoder::take_full_batch`] may have batches.
    pub fn feed(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        self.wide |= data.len() > 64 << 10;
        if self.carry.is_empty() {
            let taken = self.consume(data)?;
            self.carry.extend_from_slice(&data[taken..]);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(data);
            let taken = self.consume(&carry)?;
            carry.drain(..taken);
            self.carry = carry;
        }
        Ok(())
    }

    /// The next of the batches for which enough rows have gathered.
    pub fn take_full_batch(&mut self) -> Option<RecordBatch> {
        self.full.pop_front()
    }

    /// Between two rows: whether those at hand are enough.
    fn is_full(&self) -> bool {
        let bytes = || self.columns.iter().map(Column::pending_bytes).sum::<usize>();
        self.rows >= BATCH_ROWS || ((self.wide || self.rows.is_multiple_of(64)) && bytes() >= BATCH_BYTES)
    }

    /// How many values of each column a policy turned into NULL or moved.
    pub fn altered(&self) -> impl Iterator<Item = u64> {
        self.columns.iter().map(Column::altered)
    }

    /// The last rows; an error when the stream ended before its trailer.
    pub fn finish(mut self) -> Result<Option<RecordBatch>, DecodeError> {
        if self.state != State::Trailer || !self.carry.is_empty() {
            return Err(DecodeError::Malformed("the stream ended before its trailer".to_owned()));
        }
        (self.rows > 0).then(|| self.cut()).transpose()
    }

    fn cut(&mut self) -> Result<RecordBatch, DecodeError> {
        let rows = std::mem::take(&mut self.rows);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.wide = false;
        let finished = self.columns.iter_mut().enumerate();
        let arrays =
            finished.map(|(index, column)| column.finish(rows).map_err(|e| DecodeError::Value(index, e)));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        // Every row pushed one value of the schema's type into each column.
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| DecodeError::Malformed(error.to_string()))
    }

    fn consume(&mut self, data: &[u8]) -> Result<usize, DecodeError> {
        let mut at = 0;
        loop {
            let next = match self.state {
                State::Header => self.header(&data[at..])?,
                State::Rows => self.row(&data[at..])?,
                State::Fields(first) => self.fields(&data[at..], first)?,
                State::Trailer if at < data.len() => {
                    return Err(DecodeError::Malformed("bytes follow the trailer".to_owned()));
                }
                State::Trailer => return Ok(at),
            };
            match next {
                Next::Cut(bytes) => return Ok(at + bytes),
                Next::Taken(bytes) => at += bytes,
            }
        }
    }

    fn header(&mut self, data: &[u8]) -> Result<Next, DecodeError> {
        let Some((fixed, rest)) = data.split_at_checked(19) else { return Ok(Next::Cut(0)) };
        if &fixed[..11] != SIGNATURE {
            return Err(DecodeError::Malformed("the signature is missing".to_owned()));
        }
        let flags = u32::from_be_bytes([fixed[11], fixed[12], fixed[13], fixed[14]]);
        if flags & 0xFFFF_0000 != 0 {
            return Err(DecodeError::Malformed(format!("the flags {flags:#x} are critical and unknown")));
        }
        let extension = u32::from_be_bytes([fixed[15], fixed[16], fixed[17], fixed[18]]) as usize;
        if extension > 1 << 16 {
            return Err(DecodeError::Malformed(format!("a header extension of {extension} bytes")));
        }
        if rest.len() < extension {
            return Ok(Next::Cut(0));
        }
        self.state = State::Rows;
        Ok(Next::Taken(19 + extension))
    }

    /// What a row begins with: how many fields it has.
    fn row(&mut self, data: &[u8]) -> Result<Next, DecodeError> {
        let Some((count, _)) = data.split_first_chunk() else { return Ok(Next::Cut(0)) };
        let expected = self.columns.len();
        self.state = match i16::from_be_bytes(*count) {
            -1 => State::Trailer,
            count if usize::try_from(count) == Ok(expected) => State::Fields(0),
            count => {
                return Err(DecodeError::Malformed(format!("a row of {count} fields, not {expected}")));
            }
        };
        Ok(Next::Taken(2))
    }

    /// The fields of a row, from one on, that are whole.
    fn fields(&mut self, data: &[u8], first: usize) -> Result<Next, DecodeError> {
        let mut at = 0;
        for (index, column) in self.columns.iter_mut().enumerate().skip(first) {
            match field(&data[at..])? {
                Some(Field::Value(value)) => {
                    column.push_binary(value).map_err(|error| DecodeError::Value(index, error))?;
                    at += 4 + value.len();
                }
                Some(Field::Null) => {
                    column.push_null();
                    at += 4;
                }
                None => {
                    self.state = State::Fields(index);
                    return Ok(Next::Cut(at));
                }
            }
        }
        self.rows += 1;
        self.state = State::Rows;
        if self.is_full() {
            let batch = self.cut()?;
            self.full.push_back(batch);
        }
        Ok(Next::Taken(at))
    }
}

enum Field<'a> {
    Value(&'a [u8]),
    Null,
}

/// The field at the front, or none while it isn't whole.
#[inline]
fn field(data: &[u8]) -> Result<Option<Field<'_>>, DecodeError> {
    let Some((size, rest)) = data.split_first_chunk() else { return Ok(None) };
    let size = i32::from_be_bytes(*size);
    match usize::try_from(size) {
        Ok(size) if size <= MAX_FIELD => Ok(rest.get(..size).map(Field::Value)),
        _ if size == -1 => Ok(Some(Field::Null)),
        _ => Err(DecodeError::Malformed(format!("a field of {size} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgcopy::mapping::Mapping;
    use crate::pgcopy::policy::Extremes;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Field, Int32Type, Schema};

    fn decoder(mappings: &[Mapping]) -> Decoder {
        let fields: Vec<Field> =
            mappings.iter().map(|m| Field::new("c", m.arrow_type("UTC"), true)).collect();
        let columns = mappings.iter().map(|m| Column::new(*m, "UTC", Extremes::EXACT, 4)).collect();
        Decoder::new(Arc::new(Schema::new(fields)), columns)
    }

    fn stream(rows: &[(i32, Option<&str>)]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        for (number, text) in rows {
            bytes.extend_from_slice(&2_i16.to_be_bytes());
            bytes.extend_from_slice(&4_i32.to_be_bytes());
            bytes.extend_from_slice(&number.to_be_bytes());
            match text {
                Some(text) => {
                    bytes.extend_from_slice(&(text.len() as i32).to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
                None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        bytes
    }

    #[test]
    fn rows_cut_at_any_byte_decode_the_same() {
        let bytes = stream(&[(7, Some("seven")), (-1, None), (0, Some(""))]);
        for cut in 0..=bytes.len() {
            let mut decoder = decoder(&[Mapping::Int32, Mapping::Text]);
            decoder.feed(&bytes[..cut]).unwrap();
            decoder.feed(&bytes[cut..]).unwrap();
            let batch = decoder.finish().unwrap().unwrap();
            assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[7, -1, 0]);
            let texts = batch.column(1).as_string::<i32>();
            assert_eq!((texts.value(0), texts.is_null(1), texts.value(2)), ("seven", true, ""));
        }
    }

    #[test]
    fn batches_are_cut_between_rows_wherever_messages_end() {
        let wide = "w".repeat(3_000);
        let rows: Vec<(i32, Option<&str>)> =
            (0..20_000).map(|row| (row, (row % 40 == 0).then_some(wide.as_str()))).collect();
        let bytes = stream(&rows);
        for piece in [7, 1_000, 100_000, bytes.len()] {
            let mut decoder = decoder(&[Mapping::Int32, Mapping::Text]);
            let (mut next, mut batches) = (0, 0);
            let mut check = |batch: RecordBatch| {
                assert!(batch.num_rows() <= BATCH_ROWS && batch.get_array_memory_size() < 3 * BATCH_BYTES);
                for row in 0..batch.num_rows() {
                    assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(row), next);
                    assert_eq!(batch.column(1).is_null(row), next % 40 != 0);
                    next += 1;
                }
                batches += 1;
            };
            for message in bytes.chunks(piece) {
                decoder.feed(message).unwrap();
                while let Some(batch) = decoder.take_full_batch() {
                    check(batch);
                }
            }
            decoder.finish().unwrap().into_iter().for_each(&mut check);
            assert_eq!((next, batches > 2), (20_000, true), "messages of {piece} bytes");
        }
    }

    #[test]
    fn a_stream_without_its_trailer_is_refused() {
        let bytes = stream(&[(7, Some("seven"))]);
        let mut decoder = decoder(&[Mapping::Int32, Mapping::Text]);
        decoder.feed(&bytes[..bytes.len() - 2]).unwrap();
        assert!(matches!(decoder.finish(), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn a_value_of_the_wrong_size_names_its_column() {
        let bytes = stream(&[(7, Some("seven"))]);
        let mut decoder = decoder(&[Mapping::Int32, Mapping::Int64]);
        assert!(matches!(decoder.feed(&bytes), Err(DecodeError::Value(1, _))));
    }

    /// Feeds bytes in pieces, as a line would bring them, and gives how much the batches held.
    fn digest(mut decoder: Decoder, bytes: &[u8], piece: usize) -> Result<usize, DecodeError> {
        let mut held = 0;
        for message in bytes.chunks(piece) {
            decoder.feed(message)?;
            while let Some(batch) = decoder.take_full_batch() {
                held += batch.get_array_memory_size();
            }
        }
        held += decoder.finish()?.map_or(0, |batch| batch.get_array_memory_size());
        Ok(held)
    }

    #[test]
    fn arbitrary_bytes_end_in_an_error_or_in_rows_and_take_no_more_memory_than_they_are_worth() {
        fastrand::seed(20_240_229);
        let valid = stream(&[(7, Some("seven")), (-1, None), (0, Some("x"))]);
        let mut decoded = 0;
        for round in 0..60_000 {
            let mut bytes = valid.clone();
            if round % 3 == 0 {
                // Only the header is left; what follows is noise, with plausible lengths.
                bytes.truncate(19);
                for _ in 0..fastrand::usize(..40) {
                    let word = [0, 2, 0, 0, 0, fastrand::u8(..20), fastrand::u8(..), 255, 128];
                    bytes.push(word[fastrand::usize(..word.len())]);
                }
            } else {
                for _ in 0..fastrand::usize(1..4) {
                    let at = fastrand::usize(19..bytes.len());
                    bytes[at] = fastrand::u8(..);
                }
                if fastrand::u8(..4) == 0 {
                    bytes.truncate(fastrand::usize(..=bytes.len()));
                }
            }
            let pick = || Mapping::EVERY[fastrand::usize(..Mapping::EVERY.len())];
            // Half of the time the columns are those of the stream that was spoilt.
            let decoder = match round % 2 {
                0 => decoder(&[Mapping::Int32, Mapping::Text]),
                _ => decoder(&[pick(), pick()]),
            };
            if let Ok(held) = digest(decoder, &bytes, fastrand::usize(1..64)) {
                decoded += 1;
                // Builders begin with room for some rows, and double it; a NULL of four bytes may be one
                // of 32 here.
                assert!(held < 64 * bytes.len() + 16_384, "{held} bytes for {}", bytes.len());
            }
        }
        assert!(decoded > 100, "the noise is never a stream, so nothing was tried: {decoded}");
    }
}
