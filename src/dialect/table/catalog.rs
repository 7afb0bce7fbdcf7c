//! What Postgres itself has: every function, operator and cast of its catalog with the types that it takes, as far as they
//! are types that travel here. `catalog.txt` is written from a server by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    Plain,
    Aggregate,
    /// With WITHIN GROUP.
    Sorted,
    Window,
}

/// The types that a function takes; `-` is one that does not travel here.
#[derive(Debug)]
pub struct Signature {
    pub called: Called,
    pub takes: Vec<&'static str>,
    /// How many of the last may be left out.
    pub defaults: usize,
    /// Whether the last may be repeated.
    pub many: bool,
}

#[derive(Debug, Default)]
pub struct Catalog {
    functions: BTreeMap<&'static str, Vec<Signature>>,
    operators: BTreeMap<&'static str, Vec<Signature>>,
    implied: BTreeSet<(&'static str, &'static str)>,
    casts: BTreeSet<(&'static str, &'static str)>,
}

/// Calls of SQL that are no functions by name.
const SYNTAX: [&str; 12] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "extract",
    "trim",
    "overlay",
    "position",
    "substring",
    "grouping",
    "normalize",
    "cast",
];

impl Catalog {
    pub fn get() -> &'static Catalog {
        static READ: OnceLock<Catalog> = OnceLock::new();
        READ.get_or_init(|| {
            let mut catalog = Catalog::default();
            include_str!("catalog.txt").lines().for_each(|line| catalog.add(line));
            catalog
        })
    }

    fn add(&mut self, line: &'static str) {
        let Some((kind, rest)) = line.split_once(' ') else { return };
        if let "implied" | "cast" = kind
            && let Some(pair) = rest.split_once(' ')
        {
            let set = if kind == "implied" { &mut self.implied } else { &mut self.casts };
            set.insert(pair);
            return;
        }
        let (Some((name, rest)), Some((_, after))) = (rest.split_once('('), rest.rsplit_once(')')) else {
            return;
        };
        let list = rest.rsplit_once(')').map_or("", |(list, _)| list);
        let many = list.ends_with("...");
        let takes: Vec<&str> =
            list.trim_end_matches("...").split(',').filter(|name| !name.is_empty()).collect();
        let called = match kind {
            "aggregate" => Called::Aggregate,
            "sorted" => Called::Sorted,
            "window" => Called::Window,
            _ => Called::Plain,
        };
        let defaults = after.trim().parse().unwrap_or(0);
        let of = if kind == "operator" { &mut self.operators } else { &mut self.functions };
        of.entry(name).or_default().push(Signature { called, takes, defaults, many });
    }

    /// Whether Postgres has something that is called so.
    pub fn has(&self, name: &str) -> bool {
        SYNTAX.contains(&name) || self.functions.contains_key(name)
    }

    pub fn functions(&self, name: &str) -> &[Signature] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn operators(&self, name: &str) -> &[Signature] {
        self.operators.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a value is taken for another type's without being asked.
    pub fn implies(&self, from: &str, to: &str) -> bool {
        from == to || self.implied.contains(&(from, to))
    }

    /// Whether there is a cast that somebody may write.
    pub fn casts(&self, from: &str, to: &str) -> bool {
        const TEXTS: [&str; 3] = ["text", "varchar", "bpchar"];
        // Every type is read from a text and printed as one.
        TEXTS.contains(&from)
            || TEXTS.contains(&to)
            || self.implies(from, to)
            || self.casts.contains(&(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_says_what_postgres_takes() {
        let catalog = Catalog::get();
        let left = catalog.functions("left");
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].takes.as_slice(), left[0].called), (["text", "int4"].as_slice(), Called::Plain));
        let interval = catalog.functions("make_interval");
        assert_eq!((interval[0].takes.len(), interval[0].defaults), (7, 7));
        assert!(catalog.functions("concat_ws")[0].many);
        assert!(catalog.functions("mode").iter().all(|of| of.called == Called::Sorted));
        assert!(catalog.operators("||").iter().any(|of| of.takes == ["text", "anynonarray"]));
        assert!(catalog.implies("int4", "numeric") && !catalog.implies("numeric", "int4"));
        assert!(catalog.casts("int4", "bool") && !catalog.casts("bool", "int8"));
        assert!(catalog.has("coalesce") && !catalog.has("list_append"));
    }
}
