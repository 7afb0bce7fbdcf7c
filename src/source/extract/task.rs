//! The work of an extraction, cut so that the sessions finish together: totals first, then tables by
//! size, large ones in ranges of pages.

use std::collections::{BTreeMap, VecDeque};

use super::super::storage::{Size, Storage};
use crate::name::{SourceTable, quote_identifier};
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::Pipeline;
use crate::pipeline::control::{Control, SourceSide};
use crate::star::design::{Design, Read};

/// Bytes of a range: so many that a COPY's start doesn't show, so few that the sessions finish within
/// a moment of each other.
const RANGE_BYTES: u64 = 16 << 20;
/// Ranges of one heap, or of heaps that are read together, about: those of huge ones are larger instead.
const MOST_RANGES: u64 = 4_096;

pub enum Task {
    /// One statement, and for each control that it serves the place of its number in it.
    Totals {
        sql: String,
        controls: Vec<(usize, usize)>,
    },
    Copy {
        table: SourceTable,
        range: Range,
    },
}

/// What one COPY reads: a relation, or some of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// As it stands after FROM.
    pub from: String,
    /// The first page, and the one after the last; an open end takes what was added since the
    /// relation's size was read.
    pages: Option<(u64, Option<u64>)>,
}

impl Range {
    pub fn condition(&self) -> Option<String> {
        let (start, end) = self.pages?;
        let below = end.map(|end| format!(" AND ctid < '({end},0)'")).unwrap_or_default();
        Some(format!("ctid >= '({start},0)'{below}"))
    }
}

/// Everything to read, in the order in which it is begun.
pub fn tasks(
    pipeline: &Pipeline,
    design: &Design,
    storage: &BTreeMap<SourceTable, Storage>,
    page_bytes: Option<u64>,
) -> VecDeque<Task> {
    let mut tasks: VecDeque<Task> = totals(pipeline, design).into();
    let mut tables: Vec<&SourceTable> = design.reads.keys().collect();
    let bytes = |table: &SourceTable| storage.get(table).map_or(0, Storage::bytes);
    tables.sort_by_key(|table| std::cmp::Reverse(bytes(table)));
    for table in tables {
        let ranges = match storage.get(table) {
            Some(storage) => ranges(table, storage, page_bytes),
            None => vec![Range { from: table.quoted(), pages: None }],
        };
        tasks.extend(ranges.into_iter().map(|range| Task::Copy { table: table.clone(), range }));
    }
    tasks
}

/// The ranges of one table. `page_bytes` is none where the server would scan a whole relation for
/// each of them.
fn ranges(table: &SourceTable, storage: &Storage, page_bytes: Option<u64>) -> Vec<Range> {
    let whole = |from: String| vec![Range { from, pages: None }];
    let Some(page_bytes) = page_bytes else {
        return match storage {
            Storage::Heaps(heaps) => heaps.iter().flat_map(|heap| whole(heap.from.clone())).collect(),
            Storage::Whole { .. } | Storage::Behind(_) => whole(table.quoted()),
        };
    };
    match storage {
        Storage::Whole { .. } => whole(table.quoted()),
        Storage::Heaps(heaps) => {
            heaps.iter().flat_map(|heap| cut(&heap.from, &[heap.size], page_bytes)).collect()
        }
        Storage::Behind(heaps) => cut(&table.quoted(), heaps, page_bytes),
    }
}

/// Cuts heaps that are read together, if they are large: a range is the same pages of all of them, so
/// that every page is read once. What their rows keep in TOAST counts as if it were spread evenly.
fn cut(from: &str, heaps: &[Size], page_bytes: u64) -> Vec<Range> {
    let bytes: u64 = heaps.iter().map(Size::bytes).sum();
    if bytes <= RANGE_BYTES {
        return vec![Range { from: from.to_owned(), pages: None }];
    }
    let pages: Vec<u64> = heaps.iter().map(|heap| heap.pages / page_bytes).collect();
    let most = pages.iter().copied().max().unwrap_or(0);
    let a_page = bytes.div_ceil(pages.iter().sum::<u64>().max(1));
    let pages_of_a_range = RANGE_BYTES.max(bytes / MOST_RANGES) / a_page;
    let mut ranges = Vec::new();
    let mut start = 0;
    loop {
        let reaching = pages.iter().filter(|pages| **pages > start).count().max(1) as u64;
        let end = start + (pages_of_a_range / reaching).max(1);
        let open = end >= most;
        ranges.push(Range { from: from.to_owned(), pages: Some((start, (!open).then_some(end))) });
        if open {
            return ranges;
        }
        start = end;
    }
}

/// One statement a table for all aggregates over it, and one for every other control.
fn totals(pipeline: &Pipeline, design: &Design) -> Vec<Task> {
    let mut by_table: BTreeMap<&SourceTable, Vec<(usize, &Control)>> = BTreeMap::new();
    let mut tasks = Vec::new();
    for (index, (control, resolved)) in pipeline.controls.iter().zip(&design.controls).enumerate() {
        match (&control.source, resolved.tables.first()) {
            // A subquery in the filter reads another table, and keeps its own statement.
            (SourceSide::Aggregate { filter, .. }, Some(table))
                if resolved.tables.len() == 1
                    && !(is_nested(filter) && design.reads[table].declared_filter.is_some()) =>
            {
                by_table.entry(table).or_default().push((index, control));
            }
            _ => tasks.push(Task::Totals {
                sql: format!("SELECT (q.n)::text, pg_typeof(q.n)::text FROM ({}) AS q(n)", resolved.postgres),
                controls: vec![(index, 0)],
            }),
        }
    }
    tasks.extend(
        by_table
            .into_iter()
            .map(|(table, controls)| shared(pipeline, table, &design.reads[table], &controls)),
    );
    tasks
}

/// Whether a condition may read its own table once more, which a declared filter holds for too.
fn is_nested(filter: &Option<String>) -> bool {
    filter.as_ref().is_some_and(|filter| filter.to_ascii_lowercase().contains("select"))
}

/// All aggregates over one table in one statement.
fn shared(pipeline: &Pipeline, table: &SourceTable, read: &Read, controls: &[(usize, &Control)]) -> Task {
    let mut columns: Vec<String> = Vec::new();
    let mut places = Vec::new();
    for (index, control) in controls {
        let SourceSide::Aggregate { expression, filter, .. } = &control.source else { continue };
        let expression = &in_double(expression, read);
        let number = match filter {
            // A comment at its end must not take the parenthesis along.
            Some(filter) => format!("{expression} FILTER (WHERE {filter}\n)"),
            None => expression.clone(),
        };
        // Several controls often ask for the same number.
        let column = format!("({number})::text, pg_typeof({number})::text");
        let place = columns.iter().position(|known| *known == column).unwrap_or(columns.len());
        if place == columns.len() {
            columns.push(column);
        }
        places.push((*index, place));
    }
    let seen = pipeline.source.seen(table, &read.relation, read.declared_filter.as_deref());
    let from = match seen {
        Some(seen) => format!("({seen}) AS {}", quote_identifier(&table.table)),
        None => table.quoted(),
    };
    let sql = format!("SELECT {} FROM {from}", columns.join(", "));
    Task::Totals { sql, controls: places }
}

/// Postgres sums real in real, seven digits; the star is summed in double.
fn in_double(expression: &str, read: &Read) -> String {
    let column = expression.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')'));
    let mapping = column.and_then(|column| read.relation.column(column)).map(|column| &column.mapping);
    match (column, mapping) {
        (Some(column), Some(Ok(Mapping::Float32))) => format!("sum(({column})::float8)"),
        _ => expression.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 8_192;

    fn heaps(pages: &[u64], toast: u64) -> Vec<Size> {
        pages.iter().map(|pages| Size { pages: pages * PAGE, toast }).collect()
    }

    /// How often each page of each heap is read, and whether what is added later is.
    fn coverage(pages: &[u64], ranges: &[Range]) -> (Vec<Vec<usize>>, usize) {
        let mut read: Vec<Vec<usize>> = pages.iter().map(|pages| vec![0; *pages as usize]).collect();
        let mut open = 0;
        for range in ranges {
            let (start, end) = range.pages.unwrap_or((0, None));
            open += usize::from(end.is_none());
            for heap in &mut read {
                let end = end.map_or(heap.len(), |end| (end as usize).min(heap.len()));
                heap.iter_mut().take(end).skip(start as usize).for_each(|times| *times += 1);
            }
        }
        (read, open)
    }

    #[test]
    fn every_page_is_read_once_however_the_heaps_are_shaped() {
        for pages in [vec![0], vec![1], vec![10_000], vec![2_048], vec![2_049], vec![5_000, 0, 17, 90_000]] {
            for toast in [0, 1, 40 << 20, 3 << 40] {
                let ranges = cut("t", &heaps(&pages, toast), PAGE);
                let (read, open) = coverage(&pages, &ranges);
                assert!(read.iter().flatten().all(|times| *times == 1), "{pages:?}, {toast}: {ranges:?}");
                assert_eq!(open, 1, "{pages:?}, {toast}: exactly one range takes what is added later");
            }
        }
    }

    #[test]
    fn heaps_read_together_are_cut_finer_while_more_of_them_reach() {
        let ranges = cut("t", &heaps(&[100_000, 100_000, 100], 0), PAGE);
        let lengths: Vec<u64> =
            ranges.iter().filter_map(|range| range.pages).filter_map(|(a, b)| Some(b? - a)).collect();
        assert_eq!((lengths[0], lengths[1]), (682, 1_024));
    }

    #[test]
    fn a_huge_table_is_cut_into_larger_ranges_not_into_more() {
        for (pages, toast) in [(1 << 20, 8 << 40), (200 << 20, 0)] {
            let ranges = cut("t", &heaps(&[pages], toast), PAGE).len() as u64;
            assert!((MOST_RANGES / 2..=2 * MOST_RANGES).contains(&ranges), "{ranges}");
        }
    }

    #[test]
    fn few_pages_with_large_values_are_cut_as_what_they_bring() {
        let ranges = cut("t", &heaps(&[1_000], 1_000 * 15 * PAGE), PAGE);
        assert_eq!(ranges[0].pages, Some((0, Some(128))), "16 MiB of pages and values");
        assert_eq!(ranges.len(), 8);
        assert_eq!(cut("t", &heaps(&[1], 0), PAGE).len(), 1);
    }
}
