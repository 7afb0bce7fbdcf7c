//! Arrays of the source, which travel as Postgres prints them: `{1,NULL,"a b"}` read again, where a query computes with
//! them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    expr::ScalarFunction,
};

use super::convert::over;
use super::plain::as_type;
use super::series::list;
use super::wrong;

/// The Arrow type of an array's elements, by the name of the array's type; none where they stay a text.
pub fn elements_of(type_name: &str) -> Option<DataType> {
    let element = type_name.strip_suffix("[]")?;
    let bare = element.split('(').next().unwrap_or(element).trim();
    Some(match bare {
        "boolean" => DataType::Boolean,
        "smallint" => DataType::Int16,
        "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "real" => DataType::Float32,
        "double precision" => DataType::Float64,
        "text" | "character varying" | "uuid" => DataType::Utf8,
        "date" => DataType::Date32,
        "timestamp without time zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "numeric" => {
            let (_, digits) = element.split_once('(')?;
            let (precision, scale) = digits.trim_end_matches(')').split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            (precision <= 38 && scale >= 0).then_some(DataType::Decimal128(precision, scale))?
        }
        _ => return None,
    })
}

/// A text as the array that it says.
pub fn read(text: Expr, element: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(ReadArray { element, signature });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![text]))
}

/// A name that nobody can write.
pub const ARRAY: &str = "starmill array";

#[derive(Debug, PartialEq, Eq, Hash)]
struct ReadArray {
    element: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ReadArray {
    fn name(&self) -> &str {
        ARRAY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list(self.element.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("an array is read of one text")) };
        over(value, |array| self.read(&as_type(array, &DataType::Utf8)?))
    }
}

impl ReadArray {
    fn read(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let texts = texts.as_string::<i32>();
        let mut values = StringBuilder::new();
        let mut lengths = Vec::with_capacity(texts.len());
        for text in texts {
            let elements = text.map_or(Ok(Vec::new()), elements)?;
            lengths.push(elements.len());
            values.extend(elements);
        }
        let values: ArrayRef = Arc::new(values.finish());
        let values = match self.element {
            DataType::Boolean => {
                let letters = values.as_string::<i32>().iter();
                Arc::new(letters.map(|letter| letter.map(|letter| letter == "t")).collect::<BooleanArray>())
            }
            _ => as_type(&values, &self.element)?,
        };
        let field = Arc::new(Field::new_list_field(self.element.clone(), true));
        let nulls = NullBuffer::from_iter((0..texts.len()).map(|row| texts.is_valid(row)));
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(nulls))?))
    }
}

/// The elements of an array of one dimension that is counted from 1, as Postgres prints it.
pub fn elements(text: &str) -> Result<Vec<Option<String>>> {
    let other = || {
        wrong(format!(
            "the array {text} has several dimensions or is not counted from 1, which is not computed with here: read the column as a text, `as = \"text\"`"
        ))
    };
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(other)?;
    let mut found = Vec::new();
    if inner.trim().is_empty() {
        return Ok(found);
    }
    let mut letters = inner.chars().peekable();
    loop {
        // Blanks around an element are none of it, unless they stand in quotes.
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = letters.next_if_eq(&'"').is_some();
        if quoted {
            loop {
                match letters.next().ok_or_else(other)? {
                    '"' => break,
                    '\\' => element.extend(letters.next()),
                    letter => element.push(letter),
                }
            }
            while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        } else {
            // What is escaped is no blank at the end.
            let mut whole = 0;
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                match letter {
                    '\\' => {
                        element.extend(letters.next());
                        whole = element.len();
                    }
                    '{' | '}' | '"' => return Err(other()),
                    letter => element.push(letter),
                }
            }
            let end = element[whole..].trim_end().len();
            element.truncate(whole + end);
        }
        let value = match quoted {
            false if element.is_empty() => return Err(other()),
            false if element.eq_ignore_ascii_case("null") => None,
            _ => Some(element),
        };
        found.push(value);
        match letters.next() {
            None => return Ok(found),
            Some(',') => {}
            Some(_) => return Err(other()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_postgres_printed_them() {
        let read = |text| elements(text).unwrap();
        let texts = |all: &[&str]| all.iter().map(|one| Some((*one).to_owned())).collect::<Vec<_>>();
        assert_eq!(read("{}"), vec![]);
        assert_eq!(read("{1,2,3}"), texts(&["1", "2", "3"]));
        assert_eq!(read(r#"{a,"b,c","d\"e\\f","","NULL"}"#), texts(&["a", "b,c", "d\"e\\f", "", "NULL"]));
        assert_eq!(read("{1,NULL}"), vec![Some("1".to_owned()), None]);
        assert_eq!(
            read(r#"{ a , " b ",null,c d }"#),
            vec![Some("a".to_owned()), Some(" b ".to_owned()), None, Some("c d".to_owned())]
        );
        assert!(elements("{a,}").is_err());
        assert!(elements("{{1,2},{3,4}}").is_err());
        assert!(elements("[0:1]={1,2}").is_err());
    }
}
