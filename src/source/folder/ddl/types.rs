//! The types that a `schema.sql` declares and uses: enums, domains, and lengths.

use crate::dialect::visit;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Ident, UserDefinedTypeRepresentation, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Check, qualified};
use crate::dialect::functions::array_text::elements;
use crate::dialect::spelled;
use crate::name::{SourceTable, list, nearest};
use crate::pgcopy::types::TYPES;
use crate::pipeline::sql::folded;

/// What a type asks of a value's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// At most so many characters, not counting blanks at the end of more.
    Length(usize),
    /// One of these.
    Labels(Vec<String>),
    Json,
    /// Zeros and ones: so many, or at most so many.
    Bits {
        most: Option<usize>,
        varying: bool,
    },
    /// A time with at most so many digits after the second: with fewer than it has, Postgres would keep another.
    Fraction(usize),
    /// A domain whose conditions are not looked at here.
    Conditions,
    /// An array, each of whose elements is held.
    Elements(Box<Rule>),
}

/// A type as a column has it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub type_name: String,
    pub not_null: bool,
    pub rule: Option<Rule>,
    /// A domain's, about `VALUE`.
    pub checks: Vec<Check>,
}

#[derive(Debug, Default)]
pub struct Types(BTreeMap<SourceTable, Known>);

impl Types {
    /// Notes an enum.
    pub fn labels(&mut self, name: &SourceTable, representation: Option<UserDefinedTypeRepresentation>) {
        let Some(UserDefinedTypeRepresentation::Enum { labels }) = representation else { return };
        let labels = labels.into_iter().map(|label| label.value).collect();
        let known =
            Known { type_name: name.table.clone(), rule: Some(Rule::Labels(labels)), ..Known::default() };
        self.0.insert(name.clone(), known);
    }

    /// Notes a domain: `CREATE DOMAIN name AS type` and its constraints, in any order.
    pub fn domain(&mut self, text: &str, search: &str) -> Result<(), String> {
        let told = |error: ParserError| error.to_string();
        let mut parser = spelled::parser(text).map_err(told)?;
        let begun = parser.expect_keywords(&[Keyword::CREATE, Keyword::DOMAIN]);
        begun.map_err(told)?;
        let name = qualified(&parser.parse_object_name(false).map_err(told)?, search);
        let _ = parser.parse_keyword(Keyword::AS);
        let mut known = self.known(&parser.parse_data_type().map_err(told)?, search);
        let mut label = None;
        while parser.peek_token().token != Token::EOF {
            if parser.parse_keyword(Keyword::CONSTRAINT) {
                label = Some(folded(&parser.parse_identifier().map_err(told)?));
            } else if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                known.not_null = true;
            } else if parser.parse_keyword(Keyword::COLLATE) {
                parser.parse_object_name(false).map_err(told)?;
            } else if parser.parse_keyword(Keyword::DEFAULT) {
                parser.parse_expr().map_err(told)?;
            } else if parser.parse_keyword(Keyword::CHECK) {
                parser.expect_token(&Token::LParen).map_err(told)?;
                let condition = parser.parse_expr().map_err(told)?;
                parser.expect_token(&Token::RParen).map_err(told)?;
                let name = label.take().unwrap_or_else(|| format!("{}_check", name.table));
                known.checks.push(Check { name, condition });
            } else if !parser.parse_keyword(Keyword::NULL) {
                return Err(format!("unexpected {}", parser.peek_token()));
            }
        }
        self.0.insert(name, known);
        Ok(())
    }

    /// What a column's type is, whether Postgres's own or declared here.
    pub fn known(&self, data_type: &DataType, search: &str) -> Known {
        if let DataType::Custom(name, arguments) = data_type {
            let name = qualified(name, search);
            if let (Some(known), true) = (self.0.get(&name), arguments.is_empty()) {
                return known.clone();
            }
            let serial = |type_name: &str| Known {
                type_name: type_name.to_owned(),
                not_null: true,
                ..Known::default()
            };
            match name.table.as_str() {
                "serial" | "serial4" => return serial("integer"),
                "bigserial" | "serial8" => return serial("bigint"),
                "smallserial" | "serial2" => return serial("smallint"),
                _ => {}
            }
            // An extension's type is known by its own name, wherever it was installed.
            let arguments =
                if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(",")) };
            return Known { type_name: format!("{}{arguments}", name.table), ..Known::default() };
        }
        let type_name = data_type.to_string().to_lowercase();
        if let DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)) = data_type {
            let of = self.known(of, search);
            let type_name = format!("{}[]", canonical(&of.type_name));
            let rule = if of.checks.is_empty() { of.rule } else { Some(Rule::Conditions) };
            let rule = rule.map(|rule| Rule::Elements(Box::new(rule)));
            return Known { type_name, rule, ..Known::default() };
        }
        let (base, length) = type_name.split_once('(').map_or((type_name.as_str(), None), |(base, rest)| {
            (base.trim_end(), rest.split([')', ' ']).next().and_then(|length| length.parse().ok()))
        });
        let rule = match base {
            "character varying" | "varchar" | "char varying" => length.map(Rule::Length),
            "character" | "char" | "bpchar" => Some(Rule::Length(length.unwrap_or(1))),
            "json" | "jsonb" => Some(Rule::Json),
            "bit varying" | "varbit" => Some(Rule::Bits { most: length, varying: true }),
            "timestamp" | "timestamptz" | "time" | "timetz" | "interval" => length.map(Rule::Fraction),
            "bit" => Some(Rule::Bits { most: Some(length.unwrap_or(1)), varying: false }),
            _ => None,
        };
        Known { type_name, rule, ..Known::default() }
    }
}

/// A type by the name that a server's catalog has for it: `int` is integer.
fn canonical(type_name: &str) -> String {
    let (base, rest) = type_name.split_at(type_name.find('(').unwrap_or(type_name.len()));
    let entry = TYPES.iter().find(|entry| entry.names.contains(&base.trim_end()));
    match entry.and_then(|entry| entry.names.first()) {
        Some(name) => format!("{name}{rest}"),
        None => type_name.to_owned(),
    }
}

impl Rule {
    /// Those of an enum.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Rule::Labels(labels) => labels.clone(),
            _ => Vec::new(),
        }
    }

    /// The value as Postgres takes it, or what is wrong with it and what helps.
    pub fn hold<'a>(&self, value: &'a str) -> Result<&'a str, (String, String)> {
        match self {
            Rule::Length(most) => match value.char_indices().nth(*most) {
                None => Ok(value),
                Some((end, _)) if value[end..].bytes().all(|byte| byte == b' ') => Ok(&value[..end]),
                Some(_) => {
                    let message = format!("has {} characters, and the type {most}", value.chars().count());
                    Err((message, "declare it wider in schema.sql, or correct the value".to_owned()))
                }
            },
            Rule::Labels(labels) if labels.iter().any(|label| label == value) => Ok(value),
            Rule::Labels(labels) => {
                let near = nearest(value, labels.iter().map(String::as_str));
                let help = near.map_or(format!("its labels: {}", list(labels)), |near| {
                    format!("did you mean `{near}`?")
                });
                Err(("is no label of its type".to_owned(), help))
            }
            Rule::Fraction(most) => {
                let digits = value.split_once('.').map_or("", |(_, rest)| rest);
                let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
                match digits.trim_end_matches('0').len() <= *most {
                    true => Ok(value),
                    false => {
                        let message = format!("has more digits after the second than the type, {most}");
                        Err((message, "declare its type without a precision, or round the value".to_owned()))
                    }
                }
            }
            Rule::Conditions => Err((
                "is of a domain that has conditions, in an array, where they are not looked at".to_owned(),
                "declare the column as an array of the domain's own type".to_owned(),
            )),
            Rule::Bits { most, varying } => {
                let has = value.len();
                let fits = most.is_none_or(|most| if *varying { has <= most } else { has == most });
                match (value.bytes().all(|bit| matches!(bit, b'0' | b'1')), fits) {
                    (true, true) => Ok(value),
                    (true, false) => {
                        let message = format!("has {has} bits, and the type {}", most.unwrap_or_default());
                        Err((message, "declare it so in schema.sql, or correct the value".to_owned()))
                    }
                    (false, _) => Err(("is no bits".to_owned(), "write zeros and ones: 0101".to_owned())),
                }
            }
            Rule::Elements(of) => {
                let one = "write arrays of one dimension, {a,b}; others are taken of a column declared text";
                let elements = elements(value)
                    .map_err(|_| ("is no array of one dimension".to_owned(), one.to_owned()))?;
                for element in elements.iter().flatten() {
                    let held = of.hold(element);
                    let held = held.map_err(|(wrong, help)| {
                        (format!("has the element `{element}`, which {wrong}"), help)
                    })?;
                    if held != element {
                        let wrong =
                            format!("has the element `{element}`, whose last blanks its type does not hold");
                        return Err((wrong, "leave them out".to_owned()));
                    }
                }
                Ok(value)
            }
            Rule::Json => match serde_json::from_str::<serde::de::IgnoredAny>(value) {
                Ok(_) => Ok(value),
                Err(error) => Err((format!("is not JSON: {error}"), "correct the value".to_owned())),
            },
        }
    }
}

/// A domain's condition about a column.
pub fn about(mut condition: Expr, column: &Ident) -> Expr {
    struct Value<'a>(&'a Ident);
    impl VisitorMut for Value<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expr
                && name.quote_style.is_none()
                && name.value.eq_ignore_ascii_case("value")
            {
                *expr = Expr::Identifier(self.0.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let _ = visit::change(&mut condition, &mut Value(column));
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_held_against_its_type_as_postgres_holds_it() {
        assert_eq!(Rule::Length(3).hold("äöü"), Ok("äöü"));
        assert_eq!(Rule::Length(3).hold("abc  "), Ok("abc"), "blanks that are too many are cut");
        assert!(Rule::Length(3).hold("abcd").unwrap_err().0.contains("4 characters"));
        let labels = Rule::Labels(vec!["paid".to_owned(), "open".to_owned()]);
        assert_eq!(labels.hold("paid"), Ok("paid"));
        assert_eq!(labels.hold("payd").unwrap_err().1, "did you mean `paid`?");
        let four = Rule::Bits { most: Some(4), varying: false };
        assert_eq!(four.hold("0101"), Ok("0101"));
        assert!(four.hold("010").unwrap_err().0.contains("3 bits"));
        assert!(four.hold("01x1").is_err());
        let up_to = Rule::Bits { most: Some(4), varying: true };
        assert!(up_to.hold("01").is_ok() && up_to.hold("").is_ok() && up_to.hold("01010").is_err());
        let short = Rule::Elements(Box::new(Rule::Length(3)));
        assert_eq!(short.hold("{abc,\"d,e\",NULL}"), Ok("{abc,\"d,e\",NULL}"));
        assert!(short.hold("{abc,defg}").unwrap_err().0.contains("`defg`, which has 4 characters"));
        assert!(short.hold("abc").is_err() && short.hold("{\"abc \"}").is_err());
        assert!(Rule::Json.hold("{\"a\": 1}").is_ok() && Rule::Json.hold("{a: 1}").is_err());
    }
}
