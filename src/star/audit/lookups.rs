//! Every row of a fact finds its dimension's row, or the audit says how many don't, and by which keys.

use super::{Auditor, ControlLine, EXAMPLES, Strictness, Verdict};
use crate::error::Result;
use crate::name::quote_identifier as quote;
use crate::pipeline::model::{IS_INFERRED, Lookup, Model};
use crate::star::inferred::lookups_into;
use crate::star::number::Number;
use crate::star::scan::{LookedUp, Scan, Unresolved};
use crate::star::session::star_reference;

/// What a scan is asked of a model's lookups.
pub(super) fn looked_up(model: &Model) -> Vec<LookedUp> {
    let on = |lookup: &Lookup| by(model, lookup).into_iter().map(str::to_owned).collect();
    let lookups = model.lookups().iter();
    lookups.map(|lookup| LookedUp { column: lookup.column.value.clone(), on: on(lookup) }).collect()
}

/// The published columns that tell what a row looks up; of a combination its own key, since that finds something always.
fn by<'a>(model: &'a Model, lookup: &'a Lookup) -> Vec<&'a str> {
    match lookup.is_combination {
        true => model.key.iter().map(|column| column.value.as_str()).collect(),
        false => lookup.columns().map(|column| column.value.as_str()).collect(),
    }
}

impl Auditor<'_> {
    /// Rows whose key the dimension doesn't have, and, where there are any, rows without a key.
    pub(super) async fn lookups(
        &self,
        model: &Model,
        scan: &Scan,
        strictness: Strictness,
    ) -> Vec<ControlLine> {
        let mut lines = Vec::new();
        for (lookup, unresolved) in model.lookups().iter().zip(&scan.unresolved) {
            let on = by(model, lookup);
            let without = format!("{} unknown: {} is NULL", lookup.column.value, on.join(" or "));
            let (null, orphans) = (unresolved.null, unresolved.orphans);
            let all = scan.rows > 0 && null + orphans == scan.rows;
            let blamed = all && !lookup.unknown_max.is_some_and(|bound| bound.allows_all());
            let noted = match strictness {
                Strictness::Lenient => Verdict::Noted,
                Strictness::Strict => Verdict::Failed,
            };
            let null_verdict = if blamed { Verdict::Failed } else { noted };
            let orphan_verdict = match (orphans, lookup.unknown_max) {
                (0, _) => Verdict::Passed,
                _ if blamed => Verdict::Failed,
                (_, None) => noted,
                (_, Some(bound)) if bound.allows(orphans, scan.rows) => Verdict::Noted,
                (_, Some(_)) => Verdict::Failed,
            };
            let mut examples = self.unresolved_examples(model, lookup, *unresolved).await;
            if blamed {
                let last = if orphans > 0 { &mut examples.1 } else { &mut examples.0 };
                last.push(format!(
                    "no row finds {}; if that is right, add to lookups.{}: unknown_max = \"100%\"",
                    lookup.dimension, lookup.column.value
                ));
            }
            if null > 0 {
                lines.push(line(model, without, null, null_verdict, examples.0));
            }
            let name = format!("{} not found in {}", lookup.column.value, lookup.dimension);
            lines.push(line(model, name, orphans, orphan_verdict, examples.1));
        }
        lines
    }

    /// Members that facts brought, and that the source has not told of yet.
    pub(super) async fn inferred(&self, model: &Model, strictness: Strictness) -> Result<Vec<ControlLine>> {
        if lookups_into(self.pipeline, model).is_empty() {
            return Ok(Vec::new());
        }
        let table = star_reference(&model.name).to_quoted_string();
        let found = self.count(&format!("SELECT count(*) FROM {table} WHERE {IS_INFERRED}")).await?;
        let keys: Vec<String> = model.key_columns().iter().map(|key| quote(key)).collect();
        let keys = keys.join(", ");
        let examples = match found {
            0 => Vec::new(),
            _ => {
                self.examples(&format!(
                    "SELECT {keys} FROM {table} WHERE {IS_INFERRED} ORDER BY {keys} LIMIT {EXAMPLES}"
                ))
                .await
            }
        };
        let verdict = match (found, strictness) {
            (0, _) => Verdict::Passed,
            (_, Strictness::Lenient) => Verdict::Noted,
            (_, Strictness::Strict) => Verdict::Failed,
        };
        Ok(vec![line(model, "members that facts brought (inferred)".to_owned(), found, verdict, examples)])
    }

    /// The fact's own keys where there is nothing to look up, and the most frequent keys that found nothing.
    async fn unresolved_examples(
        &self,
        model: &Model,
        lookup: &Lookup,
        unresolved: Unresolved,
    ) -> (Vec<String>, Vec<String>) {
        let on: Vec<String> = by(model, lookup).into_iter().map(quote).collect();
        let any_null = on.iter().map(|name| format!("{name} IS NULL")).collect::<Vec<_>>().join(" OR ");
        let unknown = format!(
            "FROM {} WHERE {} = -1",
            star_reference(&model.name).to_quoted_string(),
            quote(&lookup.column.value)
        );
        let mut examples = (Vec::new(), Vec::new());
        if unresolved.null > 0 {
            let keys: Vec<String> = model.key_columns().iter().map(|key| quote(key)).collect();
            let keys = keys.join(", ");
            let text = format!("SELECT {keys} {unknown} AND ({any_null}) ORDER BY {keys} LIMIT {EXAMPLES}");
            examples.0 = self.examples(&text).await;
        }
        if unresolved.orphans > 0 {
            let on = on.join(", ");
            let text = format!(
                "SELECT {on}, count(*) AS rows {unknown} AND NOT ({any_null}) GROUP BY {on} ORDER BY count(*) DESC, {on} LIMIT {EXAMPLES}"
            );
            examples.1 = self.examples(&text).await;
        }
        examples
    }
}

fn line(model: &Model, name: String, found: u64, verdict: Verdict, examples: Vec<String>) -> ControlLine {
    ControlLine {
        table: model.name.to_string(),
        name,
        source: Number::of_count(0),
        star: Number::of_count(found),
        verdict,
        examples,
    }
}
