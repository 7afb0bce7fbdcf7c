//! What must hold of a dimension that keeps its history: each member has its versions one after the other, and every living
//! one exactly one that is current.

use super::{Auditor, ControlLine, Verdict};
use crate::error::Result;
use crate::name::quote_identifier as quote;
use crate::pipeline::model::{IS_CURRENT, Model, VALID_FROM, VALID_TO};
use crate::star::number::Number;
use crate::star::session::star_reference;

impl Auditor<'_> {
    pub(super) async fn members(&self, model: &Model) -> Result<Vec<ControlLine>> {
        let (Some(_), Some(surrogate)) = (model.history(), model.surrogate()) else { return Ok(Vec::new()) };
        let Some(kept) = self.built.histories.get(&model.name) else { return Ok(Vec::new()) };
        let keys: Vec<String> = model.key_columns().iter().map(|key| quote(key)).collect();
        let keys = keys.join(", ");
        let table = star_reference(&model.name).to_quoted_string();
        let members = format!("FROM {table} WHERE {} <> -1", quote(surrogate));
        let times = format!("{VALID_FROM}, {VALID_TO}");
        let next = format!(
            "SELECT {keys}, {times}, lead({VALID_FROM}) OVER (PARTITION BY {keys} ORDER BY {VALID_FROM}) AS \"starmill: next\" {members}"
        );
        let open = format!("(SELECT max({VALID_TO}) FROM {table} WHERE {} = -1)", quote(surrogate));
        let rules = [
            (
                "versions that don't end after they begin",
                format!("SELECT {keys}, {times} {members} AND coalesce({VALID_FROM} >= {VALID_TO}, TRUE)"),
            ),
            (
                "overlapping versions",
                format!(
                    "SELECT {keys}, {times}, \"starmill: next\" FROM ({next}) AS n WHERE {VALID_TO} > \"starmill: next\""
                ),
            ),
            (
                "members with two current versions",
                format!(
                    "SELECT {keys}, count(*) AS \"starmill: versions\" {members} AND {IS_CURRENT} GROUP BY {keys} HAVING count(*) > 1"
                ),
            ),
            (
                "current versions that ended, open ones not current",
                format!(
                    "SELECT {keys}, {times}, {IS_CURRENT} {members} AND {IS_CURRENT} <> ({VALID_TO} = {open})"
                ),
            ),
        ];
        let mut lines = Vec::new();
        for (name, offending) in rules {
            lines.push(self.offending(model, name, &offending, &keys).await?);
        }
        if model.history().is_some_and(|history| history.effective_from.is_some()) {
            let name = "members that changed without a later time";
            lines.push(self.rule(model, name, kept.late, kept.examples.clone()));
        }
        lines.push(self.rule(model, "gaps without a deletion", kept.gaps, Vec::new()));
        let current = self.count(&format!("SELECT count(*) {members} AND {IS_CURRENT}")).await?;
        lines.push(ControlLine {
            table: model.name.to_string(),
            name: "a current version for each row of the model".to_owned(),
            source: Number::of_count(kept.rows),
            star: Number::of_count(current),
            verdict: if kept.rows == current { Verdict::Passed } else { Verdict::Failed },
            examples: Vec::new(),
        });
        Ok(lines)
    }
}
