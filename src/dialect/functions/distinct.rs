//! `count(DISTINCT text)` with one set for all groups, of which every byte is counted as memory. The engine keeps a
//! set for each group, whose first byte costs it kilobytes.

use std::hash::BuildHasher;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryBuilder, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::hash_utils::RandomState;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use hashbrown::HashTable;

use super::wrong;

pub fn count_distinct() -> AggregateUDF {
    AggregateUDF::new_from_impl(CountDistinct { signature: Signature::any(1, Volatility::Immutable) })
}

/// Whether it can count values of a type.
pub fn counts(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountDistinct {
    signature: Signature,
}

impl AggregateUDFImpl for CountDistinct {
    fn name(&self) -> &str {
        "starmill count distinct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "distinct");
        Ok(vec![Arc::new(Field::new_list(name, item(), false))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One(Sets::default())))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Sets::default()))
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::LargeBinary, true))
}

/// The values that each group has had.
#[derive(Debug, Default)]
struct Sets {
    /// The hash and the position of every value.
    seen: HashTable<(u64, usize)>,
    /// Whose each value is.
    owners: Vec<u32>,
    /// Where each value ends in `bytes`; it begins where the one before it ends.
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// How many each group has.
    counts: Vec<i64>,
    hasher: RandomState,
}

impl Sets {
    fn value(&self, at: usize) -> &[u8] {
        value(&self.ends, &self.bytes, at)
    }

    fn insert(&mut self, group: usize, bytes: &[u8]) -> Result<()> {
        let owner = u32::try_from(group).map_err(|_| wrong("more than 4 billion groups"))?;
        let hash = self.hasher.hash_one((owner, bytes));
        let (owners, ends, all) = (&self.owners, &self.ends, &self.bytes);
        let is_it =
            |(of, at): &(u64, usize)| *of == hash && owners[*at] == owner && value(ends, all, *at) == bytes;
        if self.seen.find(hash, is_it).is_some() {
            return Ok(());
        }
        self.seen.insert_unique(hash, (hash, self.owners.len()), |(hash, _)| *hash);
        self.owners.push(owner);
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.counts[group] += 1;
        Ok(())
    }

    /// Room for so many groups.
    fn grow(&mut self, groups: usize) {
        if self.counts.len() < groups {
            self.counts.resize(groups, 0);
        }
    }

    /// What is emitted; the rest stays, its groups numbered anew.
    fn take(&mut self, emit: EmitTo) -> Result<Sets> {
        let first = match emit {
            EmitTo::All => return Ok(std::mem::take(self)),
            EmitTo::First(first) => first,
        };
        let all = std::mem::take(self);
        let (mut emitted, mut rest) = (Sets::default(), Sets::default());
        emitted.grow(first);
        rest.grow(all.counts.len().saturating_sub(first));
        for (at, owner) in all.owners.iter().enumerate() {
            match (*owner as usize).checked_sub(first) {
                None => emitted.insert(*owner as usize, all.value(at))?,
                Some(group) => rest.insert(group, all.value(at))?,
            }
        }
        *self = rest;
        Ok(emitted)
    }

    /// The values of each group, as a list.
    fn lists(&self) -> Result<ListArray> {
        let mut next = Vec::with_capacity(self.counts.len());
        let mut offsets = vec![0_i32];
        let mut total = 0_usize;
        for count in &self.counts {
            next.push(total);
            total += usize::try_from(*count).unwrap_or_default();
            offsets.push(i32::try_from(total).map_err(|_| wrong("more than 2 billion distinct values"))?);
        }
        let mut order = vec![0_usize; self.owners.len()];
        for (at, owner) in self.owners.iter().enumerate() {
            let place = &mut next[*owner as usize];
            order[*place] = at;
            *place += 1;
        }
        let mut values = LargeBinaryBuilder::with_capacity(order.len(), self.bytes.len());
        for at in order {
            values.append_value(self.value(at));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(ListArray::try_new(item(), offsets, Arc::new(values.finish()), None)?)
    }

    fn add(&mut self, values: &ArrayRef, mut group: impl FnMut(usize) -> Option<usize>) -> Result<()> {
        let values = cast(values, &DataType::LargeBinary)?;
        for (row, bytes) in values.as_binary::<i64>().iter().enumerate() {
            if let (Some(bytes), Some(group)) = (bytes, group(row)) {
                self.insert(group, bytes)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, lists: &ArrayRef, mut group: impl FnMut(usize) -> usize) -> Result<()> {
        let lists = lists.as_list::<i32>();
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            let of = group(row);
            for bytes in lists.value(row).as_binary::<i64>().iter().flatten() {
                self.insert(of, bytes)?;
            }
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.seen.allocation_size()
            + self.owners.capacity() * size_of::<u32>()
            + self.ends.capacity() * size_of::<usize>()
            + self.bytes.capacity()
            + self.counts.capacity() * size_of::<i64>()
    }
}

fn value<'a>(ends: &[usize], bytes: &'a [u8], at: usize) -> &'a [u8] {
    let start = at.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[at]]
}

impl GroupsAccumulator for Sets {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.grow(groups);
        let kept = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        self.add(&values[0], |row| kept(row).then(|| group_indices[row]))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.grow(groups);
        self.merge(&states[0], |row| group_indices[row])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(self.take(emit)?.counts)))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.take(emit)?.lists()?)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], chosen: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = cast(&values[0], &DataType::LargeBinary)?;
        let is_kept = |row: usize| {
            values.is_valid(row) && chosen.is_none_or(|chosen| chosen.is_valid(row) && chosen.value(row))
        };
        let kept: Vec<bool> = (0..values.len()).map(is_kept).collect();
        let offsets = OffsetBuffer::from_lengths(kept.iter().map(|kept| usize::from(*kept)));
        let values = filter(&values, &BooleanArray::from(kept))?;
        Ok(vec![Arc::new(ListArray::try_new(item(), offsets, values, None)?)])
    }

    fn size(&self) -> usize {
        self.held()
    }
}

/// The one group of an aggregate without GROUP BY.
#[derive(Debug)]
struct One(Sets);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        self.0.add(&values[0], |_| Some(0))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        self.0.merge(&states[0], |_| 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1);
        Ok(vec![ScalarValue::List(Arc::new(std::mem::take(&mut self.0).lists()?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0.counts.first().copied().unwrap_or_default())))
    }

    fn size(&self) -> usize {
        self.0.held()
    }
}
