//! What most functions of our own have in common: whole arrays are computed from whole arrays, of types that are
//! known while a query is planned. A family's file says of each its name, its types and its work.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::convert::EXACT;
use super::{given, rows_of, wrong};
use crate::dialect::refuse::kinds;

pub const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
pub const LOCAL: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Instants as a pipeline's zone shows them.
pub fn in_zone(zone: Tz) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into()))
}

/// One function.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    pub name: &'static str,
    /// The types that the arguments are made, or what is wrong with them.
    pub takes: fn(&[DataType], Tz) -> Result<Vec<DataType>>,
    /// The type that it gives for those.
    pub gives: fn(&[DataType], Tz) -> Result<Given>,
    pub work: fn(&Call) -> Result<ArrayRef>,
}

/// The type of a result: one of Arrow's, or json, which is its text.
#[derive(Debug)]
pub enum Given {
    Type(DataType),
    Json,
}

/// What is computed: the arguments' arrays, all of the same length.
#[derive(Debug)]
pub struct Call<'a> {
    pub name: &'static str,
    pub args: &'a [ArrayRef],
    pub rows: usize,
    pub zone: Tz,
}

impl Call<'_> {
    pub fn arg(&self, at: usize) -> Result<&ArrayRef> {
        self.args.get(at).ok_or_else(|| wrong("an argument is missing"))
    }

    pub fn text(&self, at: usize) -> Result<&StringArray> {
        self.arg(at)?.as_string_opt::<i32>().ok_or_else(|| wrong("a text is expected"))
    }
}

impl Plain {
    pub fn udf(self, zone: Tz) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(Function { plain: self, zone, signature })
    }
}

#[derive(Debug)]
struct Function {
    plain: Plain,
    zone: Tz,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        (self.plain.name, self.zone) == (other.plain.name, other.zone)
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.plain.name, self.zone).hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.plain.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.plain.takes)(types, self.zone)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match (self.plain.gives)(types, self.zone)? {
            Given::Type(data_type) => data_type,
            Given::Json => DataType::Utf8,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let field = match (self.plain.gives)(&types, self.zone)? {
            Given::Type(data_type) => Field::new(self.name(), data_type, true),
            Given::Json => kinds::json_text(Field::new(self.name(), DataType::Utf8, true), "jsonb"),
        };
        Ok(field.into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows_of(&args.args, args.number_rows);
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let found = (self.plain.work)(&Call { name: self.plain.name, args: &arrays, rows, zone: self.zone })?;
        given(found, &args.args)
    }
}

pub fn is_text(of: &DataType) -> bool {
    matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

/// An array as another type; a value that does not fit is an error.
pub fn as_type(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(ArrayRef::clone(array));
    }
    Ok(cast_with_options(array, to, &EXACT)?)
}

/// Whether a row has all of its arguments.
pub fn is_whole(args: &[ArrayRef], row: usize) -> bool {
    args.iter().all(|arg| !arg.is_null(row))
}
