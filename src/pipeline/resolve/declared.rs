//! What is declared of a table and its columns.

use super::Resolver;
use crate::name::list;
use crate::pipeline::file::Text;
use crate::pipeline::model::{Declared, DeclaredColumn};
use crate::pipeline::model_file::{ColumnFile, ModelFile};

/// Types by the words that people write, and the one in which they are compared.
const TYPES: [(&str, &str); 26] = [
    ("bigint", "bigint"),
    ("bool", "boolean"),
    ("boolean", "boolean"),
    ("bytea", "bytea"),
    ("char", "text"),
    ("character varying", "text"),
    ("date", "date"),
    ("decimal", "numeric"),
    ("double precision", "double precision"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int", "integer"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("integer", "integer"),
    ("numeric", "numeric"),
    ("real", "real"),
    ("smallint", "smallint"),
    ("text", "text"),
    ("time", "time"),
    ("timestamp", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
    ("timestamptz", "timestamptz"),
    ("varchar", "text"),
    ("timestamp without time zone", "timestamp"),
];

/// A type as it is compared: `decimal(10, 2)` is `numeric(10,2)`.
fn plain(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(element) = text.strip_suffix("[]") {
        return Some(format!("{}[]", plain(element)?));
    }
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?)),
        None => (text.as_str(), None),
    };
    let known = TYPES.iter().find(|(word, _)| *word == name).map(|(_, known)| *known)?;
    match (known, arguments) {
        ("numeric", None) => None,
        ("numeric", Some(arguments)) => {
            let mut numbers = arguments.split(',').map(|number| number.trim().parse::<u8>());
            let (precision, scale) = (numbers.next()?.ok()?, numbers.next().unwrap_or(Ok(0)).ok()?);
            numbers.next().is_none().then(|| format!("numeric({precision},{scale})"))
        }
        ("text", _) | (_, None) => Some(known.to_owned()),
        _ => None,
    }
}

impl Resolver<'_> {
    pub(super) fn declared(&self, file: &ModelFile) -> Declared {
        let frozen = file.contract.as_ref().is_some_and(|contract| self.is_frozen(contract));
        let columns = file.columns.iter().map(|(name, column)| self.column(name, column));
        Declared {
            description: file.description.as_ref().map(|text| text.value.clone()),
            frozen,
            columns: columns.collect(),
            totals: file.totals.iter().map(|(column, _)| column.clone()).collect(),
        }
    }

    fn is_frozen(&self, contract: &Text) -> bool {
        let known = ["open", "frozen"];
        if !known.contains(&contract.value.as_str()) {
            let message = format!("`contract` cannot be `{}`", contract.value);
            self.notes.error(contract.span.clone(), message, format!("write one of {}", list(known)));
        }
        contract.value == "frozen"
    }

    fn column(&self, name: &Text, column: &ColumnFile) -> DeclaredColumn {
        let type_name = column.type_name.as_ref().and_then(|text| {
            let plain = plain(&text.value);
            if plain.is_none() {
                let message = format!("`{}` is no type of a published column", text.value);
                let mut known: Vec<&str> = TYPES.iter().map(|(_, known)| *known).collect();
                known.sort_unstable();
                known.dedup();
                let help = format!("write one of {}; a numeric with its digits: numeric(12,2)", list(known));
                self.notes.error(text.span.clone(), message, help);
            }
            Some(Text { value: plain?, span: text.span.clone() })
        });
        DeclaredColumn {
            name: name.clone(),
            type_name,
            not_null: column.not_null.as_ref().is_some_and(|not_null| not_null.value),
            description: column.description.as_ref().map(|text| text.value.clone()),
            additive: column.additive.as_ref().map(|additive| additive.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_type_is_the_same_by_each_of_its_names() {
        for (written, meant) in [
            ("DECIMAL(10, 2)", Some("numeric(10,2)")),
            ("numeric(38)", Some("numeric(38,0)")),
            ("varchar(12)", Some("text")),
            ("int8[]", Some("bigint[]")),
            ("timestamp with time zone", Some("timestamptz")),
            ("numeric", None),
            ("integer(3)", None),
            ("money", None),
        ] {
            assert_eq!(plain(written).as_deref(), meant, "{written}");
        }
    }
}
