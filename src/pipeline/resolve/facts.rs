//! What a fact's rows are, as the pipeline says it.

use super::Resolver;
use crate::name::list;
use crate::pipeline::fact::{Bridge, Every, FactKind, Periodic};
use crate::pipeline::model_file::{ModelFile, PeriodicFile, RoleWord};

impl Resolver<'_> {
    pub(super) fn fact_kind(&self, file: &ModelFile) -> FactKind {
        if file.role == RoleWord::Bridge {
            return self.bridge(file).map_or(FactKind::Transaction, FactKind::Bridge);
        }
        if let (Some(periodic), Some(_)) = (&file.periodic, &file.accumulating) {
            let message = format!("`{}` cannot be both periodic and accumulating", file.name.value);
            self.notes.error(periodic.place.clone(), message, "remove one of the two");
        }
        if let Some(periodic) = &file.periodic {
            return self.periodic(periodic, file).map_or(FactKind::Transaction, FactKind::Periodic);
        }
        if let Some(first) = file.semi_additive.first() {
            let message = format!(
                "`{}` has no periods over which `{}` could not be summed",
                file.name.value, first.value
            );
            self.notes.error(
                first.span.clone(),
                message,
                "add periodic = \"month\", or declare the column: columns.x = { additive = false }",
            );
        }
        match &file.accumulating {
            Some(milestones) if milestones.is_empty() => {
                self.needs(file, "milestone", "accumulating = [\"ordered_at\", \"shipped_at\"]");
                FactKind::Transaction
            }
            Some(milestones) => FactKind::Accumulating(milestones.clone()),
            None => FactKind::Transaction,
        }
    }

    fn periodic(&self, periodic: &PeriodicFile, file: &ModelFile) -> Option<Periodic> {
        let every = periodic.every.as_ref()?;
        let known = Every::ALL.into_iter().find(|known| known.word() == every.value);
        if known.is_none() {
            let message = format!("a period cannot be a `{}`", every.value);
            let words: Vec<&str> = Every::ALL.into_iter().map(Every::word).collect();
            self.notes.error(every.span.clone(), message, format!("write one of {}", list(&words)));
        }
        let in_key = |name: &str| file.key.iter().flatten().any(|column| column.value == name);
        if let Some(period) = periodic.period.as_ref().filter(|period| !in_key(&period.value)) {
            let message = format!("the period `{}` is not in the key of `{}`", period.value, file.name.value);
            let help = format!("add it: key = [\"…\", \"{}\"]", period.value);
            self.notes.error(period.span.clone(), message, help);
        }
        Some(Periodic {
            every: known?,
            period: periodic.period.clone(),
            allow_gaps: periodic.allow_gaps.as_ref().is_some_and(|allow| allow.value),
            semi_additive: file.semi_additive.clone(),
            place: periodic.place.clone(),
        })
    }

    fn bridge(&self, file: &ModelFile) -> Option<Bridge> {
        let (Some(group), Some(weight)) =
            (file.group.as_ref().filter(|group| !group.is_empty()), &file.weight)
        else {
            let message = format!("the bridge `{}` needs its group and weight", file.name.value);
            let help = "add group = [\"account_id\"] and weight = \"share\", which add up to 1 in each group";
            self.notes.error(file.place.clone(), message, help);
            return None;
        };
        Some(Bridge { group: group.clone(), weight: weight.clone() })
    }
}
