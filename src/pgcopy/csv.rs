//! COPY's CSV: an unquoted empty field is NULL, `""` is the empty string, quotes may open anywhere
//! in a field, and a record ends at a newline outside quotes.

use std::fmt;
use std::io::{self, BufRead};

/// One record at a time, its fields in reused memory.
pub struct CsvReader<R> {
    input: R,
    /// The current record as it stands in the file, and its fields unquoted.
    raw: Vec<u8>,
    record: Vec<u8>,
    fields: Vec<FieldBounds>,
    /// The line at which the current record begins, counted from 1.
    line: u64,
    next_line: u64,
}

struct FieldBounds {
    start: usize,
    end: usize,
    quoted: bool,
}

#[derive(Debug)]
pub enum CsvError {
    Io(io::Error),
    /// The quote opened in the record at this line is never closed.
    OpenQuote(u64),
    /// The record at this line is not UTF-8.
    NotUtf8(u64),
    /// The record at this line has a NUL byte.
    Nul(u64),
}

impl CsvError {
    /// Where it is, if a line is wrong.
    pub fn line(&self) -> Option<u64> {
        match self {
            CsvError::Io(_) => None,
            CsvError::OpenQuote(line) | CsvError::NotUtf8(line) | CsvError::Nul(line) => Some(*line),
        }
    }
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CsvError::Io(error) => error.fmt(f),
            CsvError::OpenQuote(_) => f.write_str("a quote opens here and never closes"),
            CsvError::NotUtf8(_) => f.write_str("this record is not UTF-8"),
            CsvError::Nul(_) => f.write_str("a NUL byte, which no text of Postgres's holds"),
        }
    }
}

impl<R: BufRead> CsvReader<R> {
    pub fn new(input: R) -> CsvReader<R> {
        CsvReader { input, raw: Vec::new(), record: Vec::new(), fields: Vec::new(), line: 0, next_line: 1 }
    }

    pub fn line(&self) -> u64 {
        self.line
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the current record is an empty line.
    pub fn is_blank(&self) -> bool {
        matches!(self.fields.as_slice(), [FieldBounds { start: 0, end: 0, quoted: false }])
    }

    /// The field of the current record, or none when it is NULL.
    pub fn field(&self, index: usize) -> Result<Option<&str>, CsvError> {
        let bounds = &self.fields[index];
        let bytes = &self.record[bounds.start..bounds.end];
        if bytes.is_empty() && !bounds.quoted {
            return Ok(None);
        }
        if bytes.contains(&0) {
            return Err(CsvError::Nul(self.line));
        }
        std::str::from_utf8(bytes).map(Some).map_err(|_| CsvError::NotUtf8(self.line))
    }

    /// Moves to the next record; false at the end.
    pub fn advance(&mut self) -> Result<bool, CsvError> {
        self.record.clear();
        self.fields.clear();
        self.line = self.next_line;
        let mut raw = std::mem::take(&mut self.raw);
        raw.clear();
        let mut quoted = false;
        loop {
            let before = raw.len();
            if self.input.read_until(b'\n', &mut raw).map_err(CsvError::Io)? == 0 {
                if quoted {
                    return Err(CsvError::OpenQuote(self.line));
                }
                if raw.is_empty() {
                    return Ok(false);
                }
                break;
            }
            self.next_line += 1;
            // An escaped quote ("") flips twice, so counting quotes tells whether one is open.
            let quotes = raw[before..].iter().filter(|byte| **byte == b'"').count();
            quoted ^= quotes % 2 == 1;
            if !quoted {
                break;
            }
        }
        let end = match raw.as_slice() {
            [.., b'\r', b'\n'] => raw.len() - 2,
            [.., b'\n'] => raw.len() - 1,
            _ => raw.len(),
        };
        self.split(&raw[..end]);
        self.raw = raw;
        Ok(true)
    }

    fn split(&mut self, raw: &[u8]) {
        let mut start = 0;
        let mut was_quoted = false;
        let mut inside = false;
        let mut bytes = raw.iter().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' if inside && bytes.peek() == Some(&&b'"') => {
                    bytes.next();
                    self.record.push(b'"');
                }
                b'"' => {
                    inside = !inside;
                    was_quoted = true;
                }
                b',' if !inside => {
                    self.fields.push(FieldBounds { start, end: self.record.len(), quoted: was_quoted });
                    start = self.record.len();
                    was_quoted = false;
                }
                byte => self.record.push(*byte),
            }
        }
        self.fields.push(FieldBounds { start, end: self.record.len(), quoted: was_quoted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<Vec<Option<String>>> {
        let mut reader = CsvReader::new(text.as_bytes());
        let mut records = Vec::new();
        while reader.advance().unwrap() {
            let fields = (0..reader.len()).map(|at| reader.field(at).unwrap().map(str::to_owned));
            records.push(fields.collect());
        }
        records
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_empty_field_is_null_and_a_quoted_one_the_empty_string() {
        assert_eq!(records("a,,\"\",b\n,"), [vec![some("a"), None, some(""), some("b")], vec![None, None]]);
    }

    #[test]
    fn quotes_hold_commas_newlines_and_doubled_quotes() {
        let text = "1,\"say \"\"hi\"\",\nto all\"\r\n2,\"\"\"\"\n";
        assert_eq!(
            records(text),
            [vec![some("1"), some("say \"hi\",\nto all")], vec![some("2"), some("\"")]]
        );
    }

    #[test]
    fn quotes_may_open_inside_a_field_as_in_copy() {
        assert_eq!(records("a\"b,c\"d,e"), [vec![some("ab,cd"), some("e")]]);
    }

    #[test]
    fn an_open_quote_names_the_line_where_its_record_begins() {
        let mut reader = CsvReader::new("a\n\"b\nc".as_bytes());
        assert!(reader.advance().unwrap());
        assert!(matches!(reader.advance(), Err(CsvError::OpenQuote(2))));
    }
}
