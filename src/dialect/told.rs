//! The engine's refusals in the words of SQL: its types, its functions, its plans are nothing that a user has met.

use std::sync::LazyLock;

use datafusion::execution::SessionStateDefaults;

use super::table;
use crate::name::nearest;

/// What the engine lacks, and what says the same here.
const INSTEAD: [(&str, &str); 3] = [
    ("to_number", "cast the text: CAST(x AS numeric(12, 2))"),
    ("gen_random_uuid", "a star is the same in every run: give a key with `surrogate`"),
    ("pg_typeof", "cast to the type that is meant"),
];

static FUNCTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let scalar = SessionStateDefaults::default_scalar_functions().into_iter().map(|f| f.name().to_owned());
    let aggregate =
        SessionStateDefaults::default_aggregate_functions().into_iter().map(|f| f.name().to_owned());
    let window = SessionStateDefaults::default_window_functions().into_iter().map(|f| f.name().to_owned());
    let mut names: Vec<String> = scalar.chain(aggregate).chain(window).collect();
    names.sort();
    names
});

/// Whether the engine knows a function; else the nearest that it knows.
pub fn known_function(name: &str) -> Result<(), Option<&'static str>> {
    match FUNCTIONS.iter().any(|known| known == name) {
        true => Ok(()),
        false => Err(nearest(name, FUNCTIONS.iter().map(String::as_str))),
    }
}

/// A refusal as it is told, and what helps, where something does.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub message: String,
    pub help: Option<String>,
}

/// The engine's words for a refusal, in SQL's.
pub fn told(engine: &str) -> Told {
    let plain = |message: String| Told { message, help: None };
    if let Some(name) = engine.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next()) {
        let known = INSTEAD.iter().find(|(known, _)| *known == name).map(|(_, help)| (*help).to_owned());
        let near = || {
            let known = table::lines().filter(|line| !matches!(line.answer, table::Answer::Refused(_)));
            nearest(name, known.map(|line| line.written)).map(|near| format!("did you mean `{near}`?"))
        };
        if table::line(name).is_some() {
            return plain(format!("{name} is not called in this way here"));
        }
        return Told { message: format!("there is no function `{name}` here"), help: known.or_else(near) };
    }
    // What a function of ours says of its arguments.
    if let Some((_, said)) = engine.split_once("user-defined coercion failed with: Execution error: ") {
        return plain(said.trim_end_matches('.').to_owned());
    }
    if let Some(told) = in_part(engine) {
        return told;
    }
    for (part, message, help) in UNPLANNED {
        if engine.contains(part) {
            return Told { message: message.to_owned(), help: Some(help.to_owned()) };
        }
    }
    plain(in_sql(engine))
}

/// Refusals that name what they are about.
fn in_part(engine: &str) -> Option<Told> {
    let told = |message: String, help: &str| Some(Told { message, help: Some(help.to_owned()) });
    if let Some(name) = engine.strip_prefix("Unsupported SQL type ") {
        return told(
            format!("the type {} is not known here", name.to_lowercase()),
            "cast to integer, bigint, numeric(12,2), double precision, real, text, boolean, date, time, timestamp, timestamptz, interval, jsonb, or an array of one",
        );
    }
    if let Some(name) = engine.strip_prefix("Unsupported binary operator: Custom(\"") {
        let name = name.trim_end_matches("\")");
        return told(
            format!("the operator {name} is not known here"),
            "write what it says with a function, or in a CASE",
        );
    }
    if let Some(name) = engine.strip_prefix("table function '").and_then(|rest| rest.split('\'').next()) {
        return told(
            format!("there is no function `{name}` here that gives rows"),
            "generate_series, unnest, jsonb_array_elements, jsonb_each and regexp_split_to_table do",
        );
    }
    if let Some(rest) = engine.strip_prefix("Failed to coerce arguments to satisfy a call to '") {
        let (name, rest) = rest.split_once('\'')?;
        let given = rest.split_once("coercion from ").map_or("", |(_, rest)| rest);
        let given = given.split(" to the signature").next().unwrap_or_default();
        return told(
            format!("there is no {name}({}) here", in_sql(given)),
            "cast the arguments to the types that are meant",
        );
    }
    if let Some(column) =
        engine.strip_suffix(" must appear in GROUP BY clause because it's not an aggregate expression")
    {
        let column = column.trim_matches('\'').rsplit('.').next().unwrap_or(column);
        return Some(Told {
            message: format!("{column} must stand in GROUP BY, or within an aggregate"),
            help: None,
        });
    }
    if let Some((name, near)) = engine
        .strip_prefix("No field named ")
        .and_then(|rest| rest.trim_end_matches('.').split_once(". Did you mean '"))
    {
        let near = near.split('\'').next().and_then(|near| near.rsplit('.').next()).unwrap_or_default();
        return told(format!("there is no column {name} here"), &format!("did you mean {near}?"));
    }
    if let Some(rest) = engine.strip_prefix("Cannot create filter with non-boolean predicate '")
        && let Some((condition, of)) = rest.split_once("' returning ")
    {
        let condition = condition.rsplit('.').next().unwrap_or(condition);
        return told(
            format!("a condition is boolean, and {condition} is {}", in_sql(of)),
            "compare it with something: x <> 0",
        );
    }
    if let Some((name, rest)) =
        engine.strip_prefix("Function '").and_then(|rest| rest.split_once("' requires "))
        && let Some((_, of)) = rest.split_once("but received ")
    {
        let of = of.split(" (").next().unwrap_or(of);
        return told(
            format!("{name} does not take {} here", in_sql(of)),
            "cast the arguments to the types that are meant",
        );
    }
    if let Some((_, rest)) = engine.split_once("[return_type] ")
        && let Some((name, "Null")) = rest.split_once(" not supported for ")
    {
        return told(
            format!("{} is asked of a NULL of no type", name.to_lowercase()),
            "say of which: CAST(NULL AS numeric(12,2))",
        );
    }
    if let Some(name) = engine.strip_prefix("No field named ").and_then(|rest| rest.split(". ").next())
        && (name.starts_with("__correlated_sq")
            || name.split('.').filter(|part| !part.is_empty()).count() > 3)
    {
        return told(
            "this subquery reads the rows around it in a way that cannot be planned here".to_owned(),
            READS_AROUND,
        );
    }
    if let Some((_, rest)) = engine.split_once("Function '")
        && let Some((name, _)) = rest.split_once("' failed to match any signature")
    {
        return told(
            format!("{name} does not take these arguments here"),
            "cast the arguments to the types that are meant",
        );
    }
    if let Some(of) = engine.strip_prefix("- cannot be used with ") {
        return told(
            format!("the sign of a difference of times, {}, is not turned here", in_sql(of)),
            "turn the difference: b - a",
        );
    }
    if engine.starts_with("Inconsistent metadata across values list") {
        return told(
            "a column of this VALUES mixes json, enums and texts".to_owned(),
            "cast every value: ('{\"a\": 1}'::jsonb), (NULL::jsonb)",
        );
    }
    if let Some(rest) = engine.strip_prefix("Inconsistent data type across values list at row ") {
        let types = rest.split_once(". Was ").map_or("", |(_, types)| types).replace(" but found ", " and ");
        return told(
            format!("a column of this VALUES mixes {}", in_sql(&types)),
            "cast every value: (DATE '2024-01-31'), (DATE '2024-02-29')",
        );
    }
    None
}

const READS_AROUND: &str = "compare by =, or join: number the rows with row_number() OVER (PARTITION BY … ORDER BY …) in a subquery of FROM, and join those that are wanted";

const UNPLANNED: [(&str, &str, &str); 21] = [
    (
        "does not satisfy order requirements",
        "rows are not sorted in this order here",
        "compute what they are sorted by in a subquery of FROM, and sort by that column",
    ),
    (
        "Cannot run range queries on datatype",
        "the frame of this window, which reaches to the last equal row, is not known for its order",
        "order it by one number, of an interval by extract(epoch FROM x), or say ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    ),
    (
        "Unsupported LIMIT expression",
        "LIMIT is answered here with a number that is written out",
        "number the rows with row_number() OVER (ORDER BY …) in a subquery, and keep the first of them",
    ),
    (
        "Unsupported AnyOp",
        "ANY and ALL over an array are answered here with comparisons and LIKE",
        "write one condition for each: x ~ 'a' OR x ~ 'b'",
    ),
    (
        "ANY in LIKE expression",
        "LIKE ANY and LIKE ALL take an array that is written out here",
        "write ARRAY['a%', 'b%']; of patterns in a table EXISTS (SELECT 1 FROM p WHERE x LIKE p.pattern)",
    ),
    (
        "Cannot get result type for temporal operation",
        "these two times cannot be added or subtracted",
        "add an interval, or subtract two of one type: CAST(x AS timestamp) - y",
    ),
    (
        "frame offsets for ROWS / GROUPS must be",
        "the offset of a frame is a number that is written out here",
        "write it: ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    ),
    (
        "Cannot get result type for decimal operation",
        "this product of numerics has more digits than are held here",
        "round one side first: round(x, 6) * y",
    ),
    (
        "Only identifiers and literals are supported in tuples",
        "a row, (a, b), stands where only a value can",
        "compare column by column: a = x AND b = y",
    ),
    (
        "Invalid qualifier ",
        "a whole row, t.*, is not read within a call",
        "count(*) counts rows; of an outer join, count its key: count(t.id)",
    ),
    (
        "Unsupported OFFSET expression",
        "OFFSET is answered here with a number that is written out",
        "number the rows with row_number() OVER (ORDER BY …) in a subquery, and keep those beyond it",
    ),
    (
        "There is only support Literal types for field at idx",
        "lag, lead, nth_value and ntile take a number that is written out",
        "write it: lag(x, 1)",
    ),
    (
        "Unsupported Interval Expression with last_field",
        "an interval of several fields is not read here",
        "write them out: INTERVAL '2 days 10 hours'",
    ),
    (
        "Projections require unique expression names",
        "two columns of a SELECT have one name",
        "give one of them another with AS",
    ),
    (
        "\"starmill rows\"",
        "this subquery stands where it cannot be planned here",
        "ask in a subquery of FROM, and use the column that it gives",
    ),
    (
        "subquery can only be used in",
        "a subquery is answered here as a condition of WHERE, or as a value of a SELECT",
        "ask in a subquery of FROM, and use the column that it gives",
    ),
    (
        "OuterReferenceColumn",
        "this subquery reads the row around it in a way that cannot be planned here",
        READS_AROUND,
    ),
    (
        "logical expression InSubquery",
        "IN (SELECT …) is answered here as a condition of WHERE only",
        "LEFT JOIN (SELECT DISTINCT x FROM …) AS s ON s.x = y, and ask s.x IS NOT NULL",
    ),
    (
        "logical expression Exists",
        "EXISTS (SELECT …) is answered here as a condition of WHERE only",
        "LEFT JOIN (SELECT DISTINCT x FROM …) AS s ON s.x = y, and ask s.x IS NOT NULL",
    ),
    (
        "logical expression ScalarSubquery",
        "this subquery cannot be planned here",
        "group it by what it is compared with in a subquery of FROM, and join that",
    ),
    (
        "LIKE does not support escape_char",
        "LIKE knows no other escape than the backslash here",
        "write the pattern with backslashes: x LIKE 'a\\_%'",
    ),
];

/// Types of the engine's in a text, as SQL names them.
pub fn in_sql(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(word);
        match (type_of(name), name, inside(after)) {
            (_, "Decimal128" | "Decimal256", Some((arguments, after))) => {
                told.push_str(&format!("numeric({})", arguments.replace(", ", ",")));
                rest = after;
            }
            (_, "Timestamp", Some((arguments, after))) => {
                told.push_str(if arguments.contains('"') { "timestamptz" } else { "timestamp" });
                rest = after;
            }
            (_, "Interval" | "Duration", Some((_, after))) => {
                told.push_str("interval");
                rest = after;
            }
            (_, "Struct", Some((_, after))) => {
                told.push_str("a row");
                rest = after;
            }
            (_, "Time64" | "Time32", Some((_, after))) => {
                told.push_str("time");
                rest = after;
            }
            (_, "List" | "LargeList", Some((element, after))) => {
                let element = element.rsplit_once(", field:").map_or(element, |(element, _)| element);
                told.push_str(&format!("{}[]", in_sql(element)));
                rest = after;
            }
            (Some(known), ..) => {
                told.push_str(known);
                rest = after;
            }
            (None, ..) => {
                let next = after.chars().next();
                told.push_str(name);
                told.extend(next);
                rest = &after[next.map_or(0, char::len_utf8)..];
            }
        }
    }
    told
}

fn type_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" | "UInt64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Date32" | "Date64" => "date",
        "Boolean" => "boolean",
        "Binary" | "BinaryView" | "LargeBinary" => "bytea",
        _ => return None,
    })
}

/// What stands in the parentheses at the front, and what follows them.
fn inside(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('(')?;
    let mut depth = 1;
    for (at, c) in inner.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&inner[..at], &inner[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_types_are_told_as_sql_names_them() {
        for (engine, sql) in [
            ("has type Decimal128(12, 2) and Utf8", "has type numeric(12,2) and text"),
            ("List(Utf8), List(Timestamp(µs, \"UTC\"))", "text[], timestamptz[]"),
            ("Timestamp(Microsecond, None) - Interval(MonthDayNano)", "timestamp - interval"),
            ("Int64ish, Boolean (x)", "Int64ish, boolean (x)"),
            ("List(List(Int32, field: 'element'), field: 'element')", "integer[][]"),
        ] {
            assert_eq!(in_sql(engine), sql);
        }
    }

    #[test]
    fn a_function_that_is_not_there_has_a_stable_remedy_or_none() {
        assert_eq!(
            told("Invalid function 'to_number'").help.as_deref(),
            Some("cast the text: CAST(x AS numeric(12, 2))")
        );
        assert_eq!(told("Invalid function 'coalesc'").help.as_deref(), Some("did you mean `coalesce`?"));
        assert_eq!(told("Invalid function 'frobnicate'").help, None);
    }
}
