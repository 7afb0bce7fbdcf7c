//! A table cut into files by the keys of its rows: where a file ends depends on the rows around its end alone, so that
//! rows that come, go or change elsewhere leave it as it was, to the byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use super::cut::Cutter;
use super::table::{DataFile, TableWriter};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::pipeline::Encodings;

/// How a table is written.
pub struct Layout<'a> {
    pub schema: &'a SchemaRef,
    pub sort: &'a [String],
    /// The columns by which rows are told apart.
    pub key: &'a [String],
    pub encodings: Encodings,
    /// Bytes of a file, about.
    pub file_size: u64,
}

/// Writes `part-0.parquet`, `part-1.parquet` and so on.
pub struct PartsWriter {
    folder: PathBuf,
    schema: SchemaRef,
    sort: Vec<String>,
    encodings: Encodings,
    file_size: u64,
    keys: Keys,
    cutter: Cutter,
    writer: TableWriter,
    finished: Vec<DataFile>,
}

impl PartsWriter {
    pub fn create(folder: &Path, layout: &Layout<'_>) -> Result<PartsWriter> {
        let Layout { schema, sort, key, encodings, file_size } = *layout;
        Ok(PartsWriter {
            folder: folder.to_owned(),
            schema: Arc::clone(schema),
            sort: sort.to_vec(),
            encodings,
            file_size,
            keys: Keys::new(schema, sort, key)?,
            cutter: Cutter::new(Arc::clone(schema)),
            writer: TableWriter::create(&part(folder, 0), schema, sort, encodings)?,
            finished: Vec::new(),
        })
    }

    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        // What a file is cut by is counted from its first row, whatever batches the rows came in.
        let mut waiting = self.cut(batch)?;
        waiting.reverse();
        while let Some(batch) = waiting.pop() {
            let Some(end) = self.end_in(&batch)? else {
                self.writer.write(batch)?;
                continue;
            };
            self.writer.write(batch.slice(0, end))?;
            self.next_file()?;
            let mut rest = vec![batch.slice(end, batch.num_rows() - end)];
            rest.extend(waiting.drain(..).rev());
            rest.extend(self.cutter.finish().or_error(ErrorKind::Bug, rows_again)?);
            for rows in rest {
                waiting.extend(self.cut(rows)?);
            }
            waiting.reverse();
        }
        Ok(())
    }

    fn cut(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        self.cutter.push(batch).or_error(ErrorKind::Bug, rows_again)
    }

    /// Where in a batch the file ends, if it does: before the row that says so, once the file is large enough.
    fn end_in(&self, batch: &RecordBatch) -> Result<Option<usize>> {
        let (size, rows) = (self.writer.size(), self.writer.rows());
        if size < self.file_size - self.file_size / 4 || rows == 0 {
            return Ok(None);
        }
        if size >= self.file_size.saturating_mul(2) {
            // No row said so in a long time.
            return Ok(Some(0));
        }
        // Among a quarter of as many rows as the file has, about one does.
        self.keys.first_end(batch, (rows / 4).max(1).ilog2())
    }

    fn next_file(&mut self) -> Result<()> {
        let path = part(&self.folder, self.finished.len() + 1);
        let next = TableWriter::create(&path, &self.schema, &self.sort, self.encodings)?;
        let full = std::mem::replace(&mut self.writer, next);
        self.finished.push(full.finish()?);
        Ok(())
    }

    pub fn finish(mut self) -> Result<Vec<DataFile>> {
        if let Some(last) = self.cutter.finish().or_error(ErrorKind::Bug, rows_again)? {
            match self.end_in(&last)? {
                Some(end) => {
                    self.writer.write(last.slice(0, end))?;
                    self.next_file()?;
                    self.writer.write(last.slice(end, last.num_rows() - end))?;
                }
                None => self.writer.write(last)?,
            }
        }
        self.finished.push(self.writer.finish()?);
        Ok(self.finished)
    }
}

fn rows_again() -> String {
    "cannot re-cut a batch".to_owned()
}

fn part(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("part-{number}.parquet"))
}

/// The values by which a row says whether a file ends before it.
struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    fn new(schema: &SchemaRef, sort: &[String], key: &[String]) -> Result<Keys> {
        let mut columns: Vec<usize> =
            sort.iter().chain(key).filter_map(|name| schema.index_of(name).ok()).collect();
        columns.dedup();
        let fields = columns.iter().map(|at| SortField::new(schema.field(*at).data_type().clone()));
        let converter =
            RowConverter::new(fields.collect()).or_error(ErrorKind::Bug, || "keys of a table".to_owned())?;
        Ok(Keys { columns, converter })
    }

    /// The first row whose key says that a file ends before it: one of `2^bits` does.
    fn first_end(&self, batch: &RecordBatch, bits: u32) -> Result<Option<usize>> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let rows = self.converter.convert_columns(&columns);
        let rows = rows.or_error(ErrorKind::Bug, || "keys of a table".to_owned())?;
        Ok(rows.iter().position(|row| hash(row.as_ref()).trailing_zeros() >= bits))
    }
}

/// FNV-1a, mixed once more: the same on every machine, which the engine's own hashes are not.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>, <https://github.com/aappleby/smhasher>.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn rows(ids: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
        ]);
        // Texts that do not compress, and are the same for the same row.
        let text = |id: &i64| {
            let long = (0..4).map(|part| format!("{:016x}", hash(format!("{id} {part}").as_bytes())));
            long.collect::<String>()
        };
        let texts = StringArray::from_iter_values(ids.iter().map(text));
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(texts)],
        )
        .unwrap()
    }

    /// The hashes of the files that rows become, handed over in pieces of any size.
    fn files(ids: &[i64]) -> Vec<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let whole = rows(ids);
        let key = ["id".to_owned()];
        let layout = Layout {
            schema: &whole.schema(),
            sort: &key,
            key: &key,
            encodings: Encodings::Delta,
            file_size: 1 << 20,
        };
        let mut writer = PartsWriter::create(folder.path(), &layout).unwrap();
        let mut at = 0;
        while at < ids.len() {
            let piece = fastrand::usize(1..30_000).min(ids.len() - at);
            writer.write(whole.slice(at, piece)).unwrap();
            at += piece;
        }
        let files = writer.finish().unwrap();
        for (number, file) in files.iter().enumerate() {
            assert_eq!(file.name, format!("part-{number}.parquet"));
            assert_eq!(std::fs::metadata(folder.path().join(&file.name)).unwrap().len(), file.bytes);
        }
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), ids.len() as u64);
        files.into_iter().map(|file| (file.bytes, file.sha256)).collect()
    }

    #[test]
    fn a_change_in_one_place_leaves_the_files_elsewhere_as_they_were() {
        fastrand::seed(12);
        let ids: Vec<i64> = (0..200_000).map(|id| id * 2).collect();
        let first = files(&ids);
        assert!((5..20).contains(&first.len()), "{} files of about a megabyte", first.len());
        assert_eq!(files(&ids), first, "whatever pieces the rows come in");
        let before: BTreeSet<_> = first.iter().collect();
        let fresh = |ids: &[i64]| files(ids).iter().filter(|file| !before.contains(file)).count();
        let appended: Vec<i64> = ids.iter().copied().chain(400_000..402_000).collect();
        assert!(fresh(&appended) <= 2, "{} new files for rows at the newest end", fresh(&appended));
        let mut most = 0;
        for _ in 0..20 {
            let mut changed = ids.clone();
            let at = fastrand::usize(..changed.len());
            match fastrand::bool() {
                true => changed.insert(at, changed[at] - 1),
                false => drop(changed.remove(at)),
            }
            most = most.max(fresh(&changed));
        }
        assert!(most <= 3, "{most} new files for one row");
    }

    #[test]
    fn a_table_without_rows_is_one_file() {
        assert_eq!(files(&[]).len(), 1);
        assert_eq!(files(&[7]).len(), 1);
    }
}
