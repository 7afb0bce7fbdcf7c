//! The house's own rules: imports go down, files stay small, no unexplained unwrap.

use std::path::{Path, PathBuf};

/// Floors from the ground up. A module may use those on lower floors, and itself.
const FLOORS: [&[&str]; 8] = [
    &["error", "name", "diagnostic", "clock", "fault", "progress", "secret", "shown"],
    &["dialect"],
    &["pipeline", "pgcopy"],
    &["star", "postgres", "lake"],
    &["source", "store", "load", "notify"],
    &["run"],
    &["operate", "query", "serve"],
    &["cli", "main"],
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30);
    found
}

fn module(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The code before a file's unit tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn a_file_imports_only_from_lower_floors() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        let own_floor = floor(&own).unwrap_or_else(|| panic!("{own} stands on no floor"));
        for (number, line) in code(&text).lines().enumerate() {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let Some(used_floor) = floor(&used) else { continue };
                let neighbours = own_floor == used_floor && own_floor == 4;
                if used != own && (used_floor > own_floor || neighbours) {
                    broken.push(format!("{}:{}: {own} uses {used}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_stay_small_enough_to_be_one_concept() {
    for (path, text) in sources() {
        let lines = code(&text).lines().count();
        assert!(lines <= 450, "{} has {lines} lines", path.display());
    }
}

#[test]
fn unwrap_and_panic_stay_out_of_the_night() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in code(&text).lines().enumerate() {
            let bare = [".unwrap()", "panic!(", "unreachable!(", "todo!(", "unimplemented!("]
                .iter()
                .any(|word| line.contains(word));
            // An expect says why it can't fail.
            if bare && !line.trim_start().starts_with("//") {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_clock_asks_what_time_it_is() {
    for (path, text) in sources() {
        if module(&path) == "clock" {
            continue;
        }
        for word in ["Utc::now", "Local::now", "Instant::now", "SystemTime::now"] {
            assert!(!code(&text).contains(word), "{} asks {word}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(module(&path) == "main" || text.starts_with("//!"), "{} has no first line", path.display());
    }
}
