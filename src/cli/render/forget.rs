//! What is forgotten, in words.

use std::fmt::Write as _;

use crate::operate::forget::ForgetPlan;

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

/// The plan, as it is shown before somebody is asked.
pub fn forget_plan(plan: &ForgetPlan) -> String {
    let found = &plan.found;
    let mut text = format!("{} · {} by {}\n\n", plan.pipeline, plan.table, plan.key.join(", "));
    if plan.is_empty() {
        text.push_str("  Nothing that is kept has them.\n");
        return text;
    }
    let _ = writeln!(text, "  Of {}: {}.", plan.table, rows(found.rows));
    for (table, count) in &found.unlinked {
        let _ =
            writeln!(text, "  Of {table}: {} that lead to the unknown member from then on.", rows(*count));
    }
    if found.registered > 0 {
        let _ = writeln!(text, "  Of the registry: {}.", rows(found.registered));
    }
    if found.reports > 0 {
        let _ = writeln!(
            text,
            "  Examples in {} of runs.",
            if found.reports == 1 { "1 report".to_owned() } else { format!("{} reports", found.reports) }
        );
    }
    let files = if found.files == 1 { "1 file is".to_owned() } else { format!("{} files are", found.files) };
    let snapshots = if found.snapshots.len() == 1 { "this snapshot" } else { "these snapshots" };
    let _ = writeln!(text, "  {files} written anew, and {snapshots} changed:");
    for id in &found.snapshots {
        let _ = writeln!(text, "    {id}");
    }
    if let Some(target) = &plan.target {
        let _ = writeln!(text, "\n  Then the published snapshot is delivered into {target}.");
    }
    text.push_str("\n  It cannot be undone. The source is not changed: what it still has comes back with the next run.\n");
    text
}

/// What was done.
pub fn forgotten(plan: &ForgetPlan) -> String {
    match (plan.done, plan.is_empty()) {
        (_, true) => String::new(),
        (false, _) => "\n  Nothing was done.\n".to_owned(),
        (true, _) => match &plan.delivery {
            Some(_) => "\n  Forgotten, in the target too.\n".to_owned(),
            None => "\n  Forgotten.\n".to_owned(),
        },
    }
}
