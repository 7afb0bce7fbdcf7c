//! Calls as they are written: names that the engine has and Postgres has not, and clauses that only aggregates take.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, ObjectNamePart,
    Value,
};

use super::functions::from_text::unreadable;
use super::functions::json::path;
use super::table::{Called, Catalog, lines};
use super::words::folded;

/// What is wrong with a call, and what to write instead.
pub type Wrong = (String, &'static str);

/// Names under which the engine has functions of the table, and Postgres has none.
fn only_the_engines() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let catalog = Catalog::get();
        let mut names: Vec<(String, Vec<String>)> = Vec::new();
        let scalar = datafusion::functions::all_default_functions()
            .into_iter()
            .chain(datafusion::functions_nested::all_default_nested_functions());
        names.extend(scalar.map(|of| (of.name().to_owned(), of.aliases().to_vec())));
        let aggregates = datafusion::functions_aggregate::all_default_aggregate_functions().into_iter();
        names.extend(aggregates.map(|of| (of.name().to_owned(), of.aliases().to_vec())));
        // One that has no line is refused in words of its own.
        let known = |name: &str| lines().any(|line| line.name == name);
        let all = names.into_iter().filter(|(name, _)| known(name));
        let all = all.flat_map(|(name, aliases)| aliases.into_iter().chain([name]));
        all.filter(|name| !catalog.has(name)).collect()
    })
}

pub fn wrong(function: &Function) -> Option<Wrong> {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded)?;
    if only_the_engines().contains(&name) {
        let message = format!("Postgres has no function {name}");
        return Some((message, "docs/dialect.md lists those that there are, by what they are for"));
    }
    let signatures = Catalog::get().functions(&name);
    let is = |called: Called| signatures.iter().any(|signature| signature.called == called);
    let FunctionArguments::List(list) = &function.args else { return None };
    let sorted_inside =
        list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
    let gathers = function.filter.is_some() || list.duplicate_treatment.is_some() || sorted_inside;
    if gathers && !signatures.is_empty() && !is(Called::Aggregate) && !is(Called::Sorted) {
        let message = format!("{name} is no aggregate: it takes no DISTINCT, FILTER or ORDER BY");
        return Some((message, "choose the rows with WHERE, or sort them in OVER (ORDER BY …)"));
    }
    if is(Called::Sorted) && !is(Called::Window) && function.within_group.is_empty() {
        let message = format!("{name} takes what it sorts behind WITHIN GROUP");
        return Some((message, "write percentile_cont(0.5) WITHIN GROUP (ORDER BY x)"));
    }
    if name == "count" && list.args.is_empty() {
        return Some(("count() counts nothing in Postgres".to_owned(), "write count(*)"));
    }
    if name == "position" && list.args.len() > 1 {
        return Some(("position takes its text behind IN".to_owned(), "write strpos(x, 'b')"));
    }
    of_its_text(&name, function)
}

/// A call whose second argument says what is not read here.
fn of_its_text(name: &str, function: &Function) -> Option<Wrong> {
    if name == "encode" && second_text(&function.args) != Some("hex") {
        return Some(("encode gives hex digits here, and nothing else".to_owned(), "write encode(x, 'hex')"));
    }
    let text = second_text(&function.args)?;
    if name.starts_with("jsonb_path_") && !path::is_read(text) {
        let message = format!("{name} walks keys and elements here, and no filters or methods");
        let help = "write a path such as '$.a.b[0]' or '$.a[*].b', and filter what it gives in WHERE";
        return Some((message, help));
    }
    if !PATTERNS.contains(&name) {
        return None;
    }
    if is_strftime(text) {
        let message = format!("{name} takes Postgres's patterns, to which a % is a character like others");
        let help =
            "'%Y-%m-%d %H:%M:%S' is 'YYYY-MM-DD HH24:MI:SS'; a % of your own stands in quotes: '\"%\"'";
        return Some((message, help));
    }
    let field = unreadable(text).filter(|_| name != "to_char")?;
    let help = "take the text apart with substr or split_part, and put a date together: make_date(y, m, d)";
    Some((format!("{name} does not read {field} here"), help))
}

const PATTERNS: [&str; 3] = ["to_char", "to_date", "to_timestamp"];

/// The second argument of a call, where it is a text that is written out.
fn second_text(args: &FunctionArguments) -> Option<&str> {
    let FunctionArguments::List(list) = args else { return None };
    match list.args.get(1)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a pattern is written for C's function of that name.
fn is_strftime(pattern: &str) -> bool {
    pattern.split('%').skip(1).any(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
}
