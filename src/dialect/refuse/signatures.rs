//! Values given to functions, operators and casts that Postgres has none for: the engine would make of them what it takes.
//!
//! A type that is not known for certain fits everything, so nothing is refused by mistake.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use super::{Refusal, kinds, shown};
use crate::dialect::functions::spans;
use crate::dialect::table::{self, Called, Catalog, Signature};

/// What is known of a value's type in Postgres.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Anything,
    /// A text that is written out, or NULL: it becomes what is asked for.
    Written,
    /// A text, or a json that travels as one and is not called so any more.
    Text,
    /// One of these.
    One(&'static [&'static str]),
    ArrayOf(&'static [&'static str]),
    Enum,
}

const TEXTS: &[&str] = &["text", "varchar", "bpchar"];

fn of_type(of: &DataType) -> Option<&'static [&'static str]> {
    Some(match of {
        DataType::Boolean => &["bool"],
        DataType::Int16 => &["int2"],
        DataType::Int32 => &["int4"],
        // Integers are computed wider here.
        DataType::Int64 => &["int4", "int8"],
        DataType::Float32 => &["float4"],
        DataType::Float64 => &["float8", "numeric"],
        DataType::Decimal128(..) | DataType::Decimal256(..) => &["numeric", "int8"],
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TEXTS,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => &["bytea"],
        DataType::Date32 => &["date"],
        DataType::Time64(_) => &["time"],
        DataType::Timestamp(_, None) => &["timestamp"],
        DataType::Timestamp(_, Some(_)) => &["timestamptz"],
        DataType::Interval(_) | DataType::Duration(_) => &["interval"],
        _ => return None,
    })
}

fn of_field(field: &Field) -> Given {
    if kinds::enum_in(field).is_some() {
        return Given::Enum;
    }
    match kinds::type_in(field) {
        Some("json") => return Given::One(&["json"]),
        Some("jsonb") => return Given::One(&["jsonb"]),
        // Of these it is known where they come from alone.
        Some(_) => return Given::Anything,
        None if field.data_type().is_string() => return Given::Text,
        None => {}
    }
    match field.data_type() {
        DataType::List(element) | DataType::LargeList(element) => {
            of_type(element.data_type()).map_or(Given::Anything, Given::ArrayOf)
        }
        other => of_type(other).map_or(Given::Anything, Given::One),
    }
}

fn given(expr: &Expr, schema: &DFSchema) -> Given {
    match expr {
        Expr::Alias(alias) => given(&alias.expr, schema),
        Expr::Literal(value, _) if value.is_null() => Given::Written,
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::LargeUtf8(_) | ScalarValue::Utf8View(_), _) => {
            Given::Written
        }
        Expr::Literal(value, _) => of_type(&value.data_type()).map_or(Given::Anything, Given::One),
        // What is noted of a column stands beside its text, too.
        Expr::Cast(cast) if cast.field.data_type().is_string() && kinds::type_in(&cast.field).is_none() => {
            Given::One(TEXTS)
        }
        Expr::Cast(cast) => of_field(&cast.field),
        Expr::Column(_) | Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) => {
            expr.to_field(schema).map_or(Given::Anything, |(_, field)| of_field(&field))
        }
        Expr::ScalarFunction(function) if PLAIN.contains(&function.func.name()) => {
            let of = expr.get_type(schema).ok();
            let array = function.func.name() == "make_array";
            match of {
                Some(of) if !array => of_type(&of).map_or(Given::Anything, Given::One),
                Some(DataType::List(element)) => {
                    of_type(element.data_type()).map_or(Given::Anything, Given::ArrayOf)
                }
                _ => Given::Anything,
            }
        }
        _ => Given::Anything,
    }
}

/// Functions whose type here is that of Postgres.
const PLAIN: [&str; 15] = [
    "lower",
    "upper",
    "btrim",
    "ltrim",
    "rtrim",
    "replace",
    "substr",
    "left",
    "right",
    "lpad",
    "rpad",
    "split_part",
    "concat",
    "date_part",
    "make_array",
];

fn fits(given: &Given, takes: &str, catalog: &Catalog) -> bool {
    if matches!(takes, "any" | "anyelement" | "anycompatible") {
        return true;
    }
    match given {
        Given::Anything | Given::Written => true,
        Given::Text => ["json", "jsonb"].contains(&takes) || fits(&Given::One(TEXTS), takes, catalog),
        Given::Enum => matches!(takes, "anynonarray" | "anycompatiblenonarray" | "anyenum"),
        Given::ArrayOf(elements) => match takes.strip_suffix("[]") {
            Some(of) => elements.contains(&of),
            None => matches!(takes, "anyarray" | "anycompatiblearray"),
        },
        Given::One(types) => {
            matches!(takes, "anynonarray" | "anycompatiblenonarray")
                || types.iter().any(|of| catalog.implies(of, takes))
        }
    }
}

/// Whether values that must be of one type can be.
fn agree(values: &[(&str, &Given)], catalog: &Catalog) -> bool {
    let all_of = |kinds: &[&str]| {
        let mut types: Vec<(bool, &[&'static str])> = Vec::new();
        for (takes, given) in values.iter().filter(|(takes, _)| kinds.contains(takes)) {
            match (takes.ends_with("array"), given) {
                (_, Given::One(of)) => types.push((false, *of)),
                (_, Given::Text) => types.push((false, TEXTS)),
                (_, Given::ArrayOf(of)) => types.push((true, *of)),
                _ => {}
            }
        }
        types
    };
    let one_way = |one: &[&str], other: &[&str]| {
        one.iter().any(|from| other.iter().any(|to| catalog.implies(from, to)))
    };
    let same = all_of(&["anyelement", "anyarray", "anynonarray", "anyenum"]);
    let alike = all_of(&["anycompatible", "anycompatiblearray", "anycompatiblenonarray"]);
    let equal = same.iter().all(|(_, of)| same[0].1.iter().any(|one| of.contains(one)));
    let together = alike.iter().all(|(_, of)| one_way(of, alike[0].1) || one_way(alike[0].1, of));
    equal && together
}

/// Types that are those of another argument.
const OF_ANOTHER: [&str; 4] = ["anyelement", "anyarray", "anynonarray", "anyenum"];

fn takes(signature: &Signature, values: &[Given], catalog: &Catalog) -> bool {
    let (most, given) = (signature.takes.len(), values.len());
    if given + signature.defaults < most || (given > most && !signature.many) {
        return false;
    }
    let place = |at: usize| {
        let takes = signature.takes[at.min(most.saturating_sub(1))];
        if signature.many && at + 1 >= most { takes.strip_suffix("[]").unwrap_or(takes) } else { takes }
    };
    if most == 0 {
        return given == 0;
    }
    let pairs: Vec<(&str, &Given)> =
        values.iter().enumerate().map(|(at, given)| (place(at), given)).collect();
    // Of what a literal is to become, something else must tell.
    let open: Vec<&Given> =
        pairs.iter().filter(|(takes, _)| OF_ANOTHER.contains(takes)).map(|(_, given)| *given).collect();
    let told = open.is_empty() || open.iter().any(|given| **given != Given::Written);
    told && pairs.iter().all(|(takes, given)| fits(given, takes, catalog)) && agree(&pairs, catalog)
}

/// A type as people write it.
fn word(of: &str) -> &str {
    match of {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "bpchar" => "char",
        "anyelement" | "any" | "anycompatible" | "anynonarray" | "anycompatiblenonarray" => "any value",
        "anyarray" | "anycompatiblearray" => "an array",
        "anyenum" => "an enum",
        "-" => "another type",
        other => other,
    }
}

fn told(given: &Given) -> String {
    match given {
        Given::Anything => "a value".to_owned(),
        Given::Written => "a literal".to_owned(),
        Given::Enum => "an enum".to_owned(),
        Given::Text => "text".to_owned(),
        Given::One(of) => word(of[0]).to_owned(),
        Given::ArrayOf(of) => format!("{}[]", word(of[0])),
    }
}

fn list(values: &[Given]) -> String {
    values.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// What Postgres has no function for.
fn called(name: &str, args: &[Expr], schema: &DFSchema, called: &[Called]) -> Option<Refusal> {
    let catalog = Catalog::get();
    let line = table::line(name).filter(|line| !line.written.starts_with("::"))?;
    let names = if line.name == line.written { vec![line.name] } else { vec![line.name, line.written] };
    let all = names.iter().flat_map(|name| catalog.functions(name));
    let all: Vec<&Signature> = all.filter(|signature| called.contains(&signature.called)).collect();
    let values: Vec<Given> = args.iter().map(|arg| given(arg, schema)).collect();
    if all.is_empty() || all.iter().any(|signature| takes(signature, &values, catalog)) {
        return None;
    }
    let near = |signature: &&&Signature| {
        let fitting =
            values.iter().zip(&signature.takes).filter(|(given, takes)| fits(given, takes, catalog));
        let unlike = signature.takes.iter().filter(|takes| ["-", "bytea"].contains(takes)).count();
        (signature.takes.len().abs_diff(values.len()), values.len() - fitting.count(), unlike)
    };
    let nearest = all.iter().min_by_key(near)?;
    let wanted: Vec<&str> = nearest.takes.iter().map(|of| word(of)).collect();
    let name = line.written;
    let message =
        format!("Postgres has no function {name}({}); there is {name}({})", list(&values), wanted.join(", "));
    Some(Refusal::new(message, MEANT))
}

fn operated(name: &str, sides: &[&Expr], schema: &DFSchema) -> Option<Refusal> {
    let catalog = Catalog::get();
    let all = catalog.operators(name);
    let values: Vec<Given> = sides.iter().map(|side| given(side, schema)).collect();
    // `x = ANY (array)` is an operation of both here.
    let arrays = values.iter().filter(|given| matches!(given, Given::ArrayOf(_))).count();
    if COMPARE.contains(&name) && arrays == 1 {
        return None;
    }
    if all.is_empty() || all.iter().any(|signature| takes(signature, &values, catalog)) {
        return None;
    }
    let told: Vec<String> = values.iter().map(told).collect();
    let text = match told.as_slice() {
        [one, other] => format!("{one} {name} {other}"),
        _ => format!("{name} {}", told.join(" ")),
    };
    Some(Refusal::new(format!("Postgres has no operator {text}"), MEANT))
}

const MEANT: &str = "cast to the type that is meant: CAST(x AS integer), CAST(x AS text)";

const COMPARE: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// An operator as Postgres writes it.
fn symbol(op: Operator) -> Option<&'static str> {
    Some(match op {
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::BitwiseAnd => "&",
        Operator::BitwiseOr => "|",
        Operator::BitwiseXor => "#",
        Operator::BitwiseShiftLeft => "<<",
        Operator::BitwiseShiftRight => ">>",
        Operator::StringConcat => "||",
        Operator::RegexMatch => "~",
        Operator::RegexIMatch => "~*",
        Operator::AtArrow => "@>",
        Operator::ArrowAt => "<@",
        _ => return None,
    })
}

/// A cast that nobody may write.
fn cast(inner: &Expr, to: &Field, schema: &DFSchema) -> Option<Refusal> {
    let catalog = Catalog::get();
    let (from, to) = (given(inner, schema), of_field(to));
    let (Given::One(from_types), Given::One(to_types)) = (&from, &to) else { return None };
    // What is asked for is exact; of integers it is the wider that may be meant.
    let to = if to_types[0] == "int4" { to_types.last()? } else { to_types.first()? };
    let may = from_types.iter().any(|from| catalog.casts(from, to));
    (!may).then(|| {
        let message = format!("Postgres casts no {} to {}: {}", told(&from), word(to), shown(inner));
        Refusal::new(message, "say which values are meant: CASE WHEN x THEN 1 ELSE 0 END, x <> 0")
    })
}

/// The operator that a function of ours stands for.
fn stands_for(name: &str) -> Option<&'static str> {
    let line = table::line(name).filter(|line| line.kind == table::Kind::Operator)?;
    let word = line.written.split(' ').next()?;
    word.chars().all(|letter| letter.is_ascii_punctuation()).then_some(word)
}

/// Whether an interval that is written out has months, which are of no one length.
fn has_months(value: &Expr) -> bool {
    match value {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(of)), _) => of.months != 0,
        Expr::Literal(of, _) => {
            let text = of.try_as_str().flatten().unwrap_or_default();
            spans::read(text).is_some_and(|(months, ..)| months != 0)
        }
        Expr::Cast(cast) => has_months(&cast.expr),
        _ => false,
    }
}

pub(super) fn refused(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    match expr {
        Expr::ScalarFunction(function)
            if function.func.name() == "date_bin" && function.args.first().is_some_and(has_months) =>
        {
            let message = "date_bin takes no interval of months or years".to_owned();
            Some(Refusal::new(message, "write date_trunc('month', x)"))
        }
        Expr::ScalarFunction(function) => match stands_for(function.func.name()) {
            Some(symbol) => operated(symbol, &function.args.iter().collect::<Vec<_>>(), schema),
            None => called(function.func.name(), &function.args, schema, &[Called::Plain]),
        },
        Expr::AggregateFunction(function) => {
            called(function.func.name(), &function.params.args, schema, &[Called::Aggregate])
        }
        Expr::WindowFunction(window) => {
            called(window.fun.name(), &window.params.args, schema, &[Called::Aggregate, Called::Window])
        }
        Expr::BinaryExpr(binary) => operated(symbol(binary.op)?, &[&binary.left, &binary.right], schema),
        Expr::Cast(of) => cast(&of.expr, &of.field, schema),
        _ => None,
    }
}
