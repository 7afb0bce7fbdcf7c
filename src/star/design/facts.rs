//! Whether a fact's rows can be what the pipeline says they are: said before a night builds them.

use arrow::datatypes::{DataType, Schema};

use super::Designer;
use crate::name::list;
use crate::pipeline::fact::{Bridge, FactKind, Periodic};
use crate::pipeline::model::Model;
use crate::star::additivity::NotAdditive;

/// The column of a periodic fact's period: the one that is named, else the one date of its key.
pub fn period<'a>(model: &'a Model, periodic: &'a Periodic, schema: &Schema) -> Option<&'a str> {
    if let Some(period) = &periodic.period {
        return Some(&period.value);
    }
    let is_date =
        |name: &str| schema.field_with_name(name).is_ok_and(|field| field.data_type() == &DataType::Date32);
    let mut dates = model.key.iter().map(|column| column.value.as_str()).filter(|name| is_date(name));
    dates.next().filter(|_| dates.next().is_none())
}

impl Designer<'_> {
    pub(super) fn check_fact(&mut self, model: &Model, raw: &Schema) {
        match model.fact_kind() {
            Some(FactKind::Periodic(periodic)) => self.check_periodic(model, periodic, raw),
            Some(FactKind::Accumulating(milestones)) => {
                for milestone in milestones {
                    self.require(model, raw, &[], milestone, "accumulating");
                    self.require_time(model, raw, milestone, "accumulating");
                }
            }
            Some(FactKind::Bridge(bridge)) => self.check_bridge(model, bridge, raw),
            Some(FactKind::Transaction) | None => {}
        }
    }

    fn check_periodic(&mut self, model: &Model, periodic: &Periodic, raw: &Schema) {
        for column in &periodic.semi_additive {
            self.require(model, raw, &[], column, "semi_additive");
            if raw.field_with_name(&column.value).is_ok_and(|field| !field.data_type().is_numeric()) {
                let message =
                    format!("semi_additive names `{}.{}`, which is no number", model.name, column.value);
                self.error(column.span.clone(), message, "name measures, such as a balance".to_owned());
            }
        }
        let every = periodic.every.word();
        match period(model, periodic, raw) {
            None => {
                let dates: Vec<&String> = raw
                    .fields()
                    .iter()
                    .filter(|field| field.data_type() == &DataType::Date32)
                    .map(|field| field.name())
                    .collect();
                let message =
                    format!("the key of `{}` has not one date, the first day of each {every}", model.name);
                let help = format!(
                    "name it: periodic = {{ every = \"{every}\", period = \"…\" }}; its dates: {}",
                    list(dates)
                );
                self.error(periodic.place.clone(), message, help);
            }
            Some(name) => {
                let Ok(field) = raw.field_with_name(name) else { return };
                if field.data_type() != &DataType::Date32 {
                    let message = format!("the period `{}.{name}` is no date", model.name);
                    let help =
                        format!("give the first day of its {every}: CAST(date_trunc('{every}', …) AS date)");
                    self.error(periodic.place.clone(), message, help);
                }
                let columns: Vec<String> =
                    periodic.semi_additive.iter().map(|column| column.value.clone()).collect();
                let known = self.additivity.entry(model.name.clone()).or_default();
                known.extend(
                    columns
                        .into_iter()
                        .map(|column| (column, NotAdditive::SemiAdditive { not_over: name.to_owned() })),
                );
            }
        }
    }

    fn check_bridge(&mut self, model: &Model, bridge: &Bridge, raw: &Schema) {
        for (at, column) in bridge.group.iter().enumerate() {
            if bridge.group[..at].iter().any(|other| other.value == column.value) {
                let message = format!("`group` names `{}` twice", column.value);
                self.error(column.span.clone(), message, "name it once".to_owned());
            }
            self.require(model, raw, &[], column, "group");
        }
        self.require(model, raw, &[], &bridge.weight, "weight");
        let weight = &bridge.weight;
        let Ok(field) = raw.field_with_name(&weight.value) else { return };
        let is_exact =
            matches!(field.data_type(), DataType::Decimal128(..)) || field.data_type().is_integer();
        if let DataType::Decimal128(precision, scale) = field.data_type()
            && i16::from(*precision) <= i16::from(*scale)
        {
            let message = format!(
                "the weight `{}.{}` has no digit before the point, and 1 is not of its type",
                model.name, weight.value
            );
            let help = format!("cast it in its SELECT: CAST({} AS numeric(20,10))", weight.value);
            self.error(weight.span.clone(), message, help);
        } else if !is_exact {
            let message = format!(
                "the weight `{}.{}` is not numeric, so its sum is no number that could be proven",
                model.name, weight.value
            );
            let help = format!("cast it in its SELECT: CAST({} AS numeric(20,10))", weight.value);
            self.error(weight.span.clone(), message, help);
        }
    }
}
