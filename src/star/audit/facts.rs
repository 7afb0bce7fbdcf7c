//! What must hold of facts of a kind: a thing has one row in each of its periods, and the weights of a group are one.

use super::{Auditor, ControlLine};
use crate::error::Result;
use crate::name::quote_identifier as quote;
use crate::pipeline::fact::{Bridge, Every, FactKind, Periodic};
use crate::pipeline::model::Model;
use crate::star::design::facts::period;
use crate::star::session::star_reference;

impl Auditor<'_> {
    pub(super) async fn fact(&self, model: &Model) -> Result<Vec<ControlLine>> {
        match model.fact_kind() {
            Some(FactKind::Periodic(periodic)) => self.periods(model, periodic).await,
            Some(FactKind::Bridge(bridge)) => self.weights(model, bridge).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn periods(&self, model: &Model, periodic: &Periodic) -> Result<Vec<ControlLine>> {
        let table = self.built.tables.iter().find(|table| *table.name() == model.name);
        let Some(period) = table.and_then(|table| period(model, periodic, table.schema())) else {
            return Ok(Vec::new());
        };
        let (table, every, column) =
            (star_reference(&model.name).to_quoted_string(), periodic.every.word(), quote(period));
        let keys: Vec<String> = model.key_columns().iter().map(|key| quote(key)).collect();
        let keys = keys.join(", ");
        let within = format!(
            "SELECT {keys} FROM {table} WHERE CAST(date_trunc('{every}', CAST({column} AS TIMESTAMP)) AS DATE) <> {column}"
        );
        let mut lines =
            vec![self.offending(model, &format!("periods that begin no {every}"), &within, &keys).await?];
        if periodic.allow_gaps {
            return Ok(lines);
        }
        let things: Vec<String> =
            model.key_columns().iter().filter(|key| *key != period).map(|key| quote(key)).collect();
        let things = things.join(", ");
        let (group, listed) = match things.is_empty() {
            true => (String::new(), String::new()),
            false => (format!(" GROUP BY {things}"), format!("{things}, ")),
        };
        let span = span(periodic.every, &format!("min({column})"), &format!("max({column})"));
        let gaps = format!(
            "SELECT {listed}min({column}) AS \"first period\", max({column}) AS \"last period\", count(*) AS \"periods there\" FROM {table}{group} HAVING count(*) > 0 AND count(*) <> {span} + 1"
        );
        let order = if things.is_empty() { "\"first period\"".to_owned() } else { things };
        lines.push(
            self.offending(model, &format!("rows missing for a {every} between others"), &gaps, &order)
                .await?,
        );
        Ok(lines)
    }

    async fn weights(&self, model: &Model, bridge: &Bridge) -> Result<Vec<ControlLine>> {
        let table = star_reference(&model.name).to_quoted_string();
        let group: Vec<String> = bridge.group.iter().map(|column| quote(&column.value)).collect();
        let (group, weight) = (group.join(", "), quote(&bridge.weight.value));
        let wrong = format!(
            "SELECT {group}, sum({weight}) AS \"sum of weights\" FROM {table} GROUP BY {group} HAVING count({weight}) <> count(*) OR sum({weight}) <> 1"
        );
        let name = format!("groups whose {} is not 1 together", bridge.weight.value);
        Ok(vec![self.offending(model, &name, &wrong, &group).await?])
    }
}

/// How many periods lie between two first days, in SQL.
fn span(every: Every, from: &str, to: &str) -> String {
    let part = |part: &str, of: &str| format!("CAST(date_part('{part}', {of}) AS BIGINT)");
    let months = format!(
        "(({} - {}) * 12 + {} - {})",
        part("year", to),
        part("year", from),
        part("month", to),
        part("month", from)
    );
    let days = format!("(({} - {}) / 86400)", part("epoch", to), part("epoch", from));
    match every {
        Every::Day => days,
        Every::Week => format!("({days} / 7)"),
        Every::Month => months,
        Every::Quarter => format!("({months} / 3)"),
        Every::Year => format!("({months} / 12)"),
    }
}
