//! What Postgres prints where somebody wrote something plainer: `= ANY (ARRAY[…])` for `IN (…)`, `~~` for `LIKE`,
//! `::character varying` and `::bpchar` for texts of any length. Said as it was written.

use super::functions::array_text;
use super::reword::sorted_by;
use super::sets::arguments;
use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, CharacterLength, DataType, DuplicateTreatment,
    ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    ObjectNamePart, Value, ValueWithSpan,
};

/// `x = ANY (ARRAY[a, b])` as `x IN (a, b)`, `x <> ALL (ARRAY[a, b])` as `x NOT IN (a, b)`: the same also for NULL.
pub fn as_in_list(expr: &Expr) -> Option<Expr> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return None,
    };
    let list = elements(right).filter(|list| !list.is_empty())?;
    Some(Expr::InList { expr: left.clone(), list, negated })
}

/// The elements of an array that is written out, each cast as the whole is.
pub fn elements(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => elements(inner),
        Expr::Value(value) => {
            let text = text_of(value).filter(|text| text.starts_with('{'))?;
            let value = |element: Option<String>| match element {
                Some(text) => Value::SingleQuotedString(text),
                None => Value::Null,
            };
            let elements = array_text::elements(&text).ok()?.into_iter();
            Some(elements.map(|element| Expr::value(value(element))).collect())
        }
        Expr::Array(Array { elem, .. }) => Some(elem.clone()),
        // As it is said by now.
        Expr::Function(function) if function.name.to_string() == "make_array" => arguments(function),
        Expr::Cast {
            kind: CastKind::DoubleColon | CastKind::Cast,
            expr: inner,
            data_type,
            format: None,
            ..
        } => {
            let DataType::Array(element) = data_type else { return None };
            let ArrayElemTypeDef::SquareBracket(element, None) = element else {
                return None;
            };
            let cast = |inner: Expr| Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(inner),
                data_type: element.as_ref().clone(),
                array: false,
                format: None,
            };
            Some(elements(inner)?.into_iter().map(cast).collect())
        }
        _ => None,
    }
}

/// `x ~~ p` as `x LIKE p`, and its family.
pub fn as_like(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op, right } = expr else { return None };
    let (negated, folds) = match op {
        BinaryOperator::PGLikeMatch => (false, false),
        BinaryOperator::PGNotLikeMatch => (true, false),
        BinaryOperator::PGILikeMatch => (false, true),
        BinaryOperator::PGNotILikeMatch => (true, true),
        _ => return None,
    };
    let (expr, pattern) = (left.clone(), right.clone());
    Some(match folds {
        false => Expr::Like { negated, any: false, expr, pattern, escape_char: None },
        true => Expr::ILike { negated, any: false, expr, pattern, escape_char: None },
    })
}

/// `LIKE 'a#_%' ESCAPE '#'` with the backslash, which is the engine's only escape.
pub fn with_backslash(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr else {
        return;
    };
    let Some(escape) = escape_char.as_ref().and_then(text_of) else { return };
    let Expr::Value(written) = pattern.as_mut() else { return };
    let Some(text) = text_of(written) else { return };
    let mut said = String::new();
    let mut chars = text.chars();
    let mut escapes = escape.chars();
    let (escape, more) = (escapes.next(), escapes.next());
    if escape == Some('\\') || more.is_some() {
        return;
    }
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                // Postgres refuses one at the end.
                let Some(next) = chars.next() else { return };
                said.push('\\');
                said.push(next);
            }
            '\\' => said.push_str("\\\\"),
            c => said.push(c),
        }
    }
    written.value = Value::SingleQuotedString(said);
    *escape_char = None;
}

fn text_of(value: &ValueWithSpan) -> Option<String> {
    match &value.value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}

/// A cast to a varchar of no length is one to text.
pub fn is_text(data_type: &DataType) -> bool {
    let name = match data_type {
        DataType::CharacterVarying(None) | DataType::CharVarying(None) | DataType::Varchar(None) => {
            return true;
        }
        DataType::Custom(name, arguments) if arguments.is_empty() => name,
        _ => return false,
    };
    name.to_string().eq_ignore_ascii_case("varchar")
}

/// How long a text may be that is cast to a varchar; what is longer is cut.
pub fn varying(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::CharacterVarying(Some(length))
        | DataType::CharVarying(Some(length))
        | DataType::Varchar(Some(length)) => match length {
            CharacterLength::IntegerLength { length, .. } => Some(*length),
            CharacterLength::Max => None,
        },
        _ => None,
    }
}

fn is_all(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("all")
}

/// `x LIKE ANY (ARRAY['a%', 'b%'])` as conditions of which one is enough, `LIKE ALL` as such that all hold.
pub fn like_any(expr: &Expr) -> Option<Expr> {
    let patterns = |pattern: &Expr| match pattern {
        Expr::Function(all) if is_all(all) => arguments(all).and_then(|of| elements(of.first()?)),
        Expr::Tuple(all) => Some(all.clone()),
        Expr::Nested(inner) => elements(inner).or_else(|| Some(vec![inner.as_ref().clone()])),
        other => elements(other),
    };
    let all = match expr {
        Expr::Like { any: true, pattern, .. } | Expr::ILike { any: true, pattern, .. } => patterns(pattern)?,
        Expr::Like { any: false, pattern, .. } | Expr::ILike { any: false, pattern, .. } if matches!(pattern.as_ref(), Expr::Function(function) if is_all(function)) => {
            patterns(pattern)?
        }
        _ => return None,
    };
    let every = matches!(expr, Expr::Like { any: false, .. } | Expr::ILike { any: false, .. });
    let one = |pattern: Expr| {
        let mut like = expr.clone();
        if let Expr::Like { any, pattern: of, .. } | Expr::ILike { any, pattern: of, .. } = &mut like {
            *any = false;
            **of = pattern;
        }
        like
    };
    let op = if every { BinaryOperator::And } else { BinaryOperator::Or };
    let both = |left, right| Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) };
    Some(Expr::Nested(Box::new(all.into_iter().map(one).reduce(both)?)))
}

/// Blanks at the end of a `char(n)` of any length are none, and it travels without them.
pub fn is_padded(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Custom(name, arguments)
        if arguments.is_empty() && name.0.last().is_some_and(|name| name.to_string().eq_ignore_ascii_case("bpchar")))
}

/// A cast to a numeric of no stated digits is none, where it is one.
pub fn is_bare_numeric(data_type: &DataType) -> bool {
    let (DataType::Numeric(digits) | DataType::Decimal(digits) | DataType::Dec(digits)) = data_type else {
        return false;
    };
    matches!(digits, ExactNumberInfo::None)
}

/// Functions that have another name here, and mean the same.
const RENAMED: [(&str, &str); 7] = [
    ("ceiling", "ceil"),
    ("every", "bool_and"),
    ("variance", "var_samp"),
    // Of json that is kept as it is written they answer alike.
    ("json_typeof", "jsonb_typeof"),
    ("json_array_length", "jsonb_array_length"),
    ("json_extract_path", "jsonb_extract_path"),
    ("json_extract_path_text", "jsonb_extract_path_text"),
];

/// Types by which a value is cast as by a function: `date(x)`.
const CASTS: [(&str, DataType); 8] = [
    ("date", DataType::Date),
    ("int2", DataType::SmallInt(None)),
    ("int4", DataType::Integer(None)),
    ("int8", DataType::BigInt(None)),
    ("float4", DataType::Real),
    ("float8", DataType::DoublePrecision),
    ("text", DataType::Text),
    ("bool", DataType::Boolean),
];

/// Calls by the engine's names: `ceiling(x)` as `ceil(x)`, `mod(a, b)` as `(a % b)`.
pub fn renamed(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_mut_slice() else { return };
    let called = name.value.to_ascii_lowercase();
    if let Some((_, known)) = RENAMED.iter().find(|(there, _)| *there == called) {
        name.value = (*known).to_owned();
        return;
    }
    if let Some((_, data_type)) = CASTS.iter().find(|(name, _)| *name == called)
        && let Some([of]) = arguments(function).as_deref()
    {
        let data_type = data_type.clone();
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(of.clone()),
            data_type,
            array: false,
            format: None,
        };
        return;
    }
    // What is kept once is sorted.
    if ["string_agg", "array_agg"].contains(&called.as_str())
        && let FunctionArguments::List(list) = &mut function.args
        && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && !list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(by))) = list.args.first()
    {
        list.clauses.push(sorted_by(by.clone()));
        return;
    }
    // `date_part` gives a double, where EXTRACT gives a numeric.
    if called == "date_part" {
        let part = Box::new(expr.clone());
        let data_type = DataType::DoublePrecision;
        *expr = Expr::Cast { kind: CastKind::Cast, expr: part, data_type, array: false, format: None };
        return;
    }
    let FunctionArguments::List(list) = &function.args else { return };
    if let ("mod", [left, right]) = (called.as_str(), list.args.as_slice())
        && let (
            FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
        ) = (left, right)
    {
        let side = |side: &Expr| Box::new(Expr::Nested(Box::new(side.clone())));
        let op = BinaryOperator::Modulo;
        *expr = Expr::Nested(Box::new(Expr::BinaryOp { left: side(left), op, right: side(right) }));
    }
}
