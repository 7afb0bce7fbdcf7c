//! Those who read the target while it is delivered to: no error, no empty table, no mixed star.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Database, Project, cluster, rounds};

/// A dimension and a fact whose rows all say which night they are of.
fn project(database: &Database) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\nkeep = 3\ngrace = \"0s\"\n[target]\nurl = \"{}\"\n\
         [dimension.d]\nkey = [\"id\"]\nsurrogate = \"d_key\"\n\
         [fact.f]\ngrain = \"f\"\nkey = [\"n\"]\nlookups.d_key = {{ dimension = \"d\", on = {{ id = \"id\" }} }}\n",
        database.url()
    );
    let ddl = "CREATE TABLE d (id int PRIMARY KEY, night int); CREATE TABLE f (n int PRIMARY KEY, id int, night int);";
    Project::of(&toml, &[("d", "SELECT id, night FROM d"), ("f", "SELECT n, id, night FROM f")], ddl, &[])
}

fn night(project: &Project, night: usize) {
    let d: String = (1..=200).map(|id| format!("{id},{night}\n")).collect();
    let f: String = (1..=2_000).map(|n| format!("{n},{},{night}\n", n % 200 + 1)).collect();
    project.write("data/d.csv", &format!("id,night\n{d}"));
    project.write("data/f.csv", &format!("n,id,night\n{f}"));
    // Now and then a column gets another type, and a table another key.
    let night_type = ["int", "bigint", "numeric(12,0)"][night / 2 % 3];
    project.write("sql/p/f.sql", &format!("SELECT n, id, CAST(night AS {night_type}) AS night FROM f"));
    project.write("sql/p/d.sql", &format!("SELECT id, CAST(night AS {night_type}) AS night FROM d"));
    let key = if night % 5 == 4 { "[\"n\", \"id\"]" } else { "[\"n\"]" };
    let toml = project.read("pipelines/p.toml");
    let toml = toml
        .replace("key = [\"n\", \"id\"]", "key = [\"n\"]")
        .replace("key = [\"n\"]", &format!("key = {key}"));
    project.write("pipelines/p.toml", &toml);
    project.starmill(&["run", "--accept", "f", "pipelines/p.toml"]).exits(0);
}

#[test]
fn readers_who_join_see_the_old_star_or_the_new_one_through_changes_of_values_types_and_keys() {
    let database = cluster().database();
    let project = project(&database);
    night(&project, 0);
    let (stop, looked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reader = |one: &str, other: &str| {
        let (stop, looked, url) = (Arc::clone(&stop), Arc::clone(&looked), database.url());
        let sql = format!(
            "SELECT count(*), min(f.night) = max(f.night) AND min(d.night) = max(d.night) AND min(f.night) = min(d.night) \
             FROM mart.{one} JOIN mart.{other} USING (d_key)"
        );
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let read = Command::new("psql").args(["-X", "-At", "-d", &url, "-c", &sql]).output().unwrap();
                let told = String::from_utf8_lossy(&read.stdout).into_owned();
                assert_eq!(told.trim(), "2000|t", "{}", String::from_utf8_lossy(&read.stderr));
                looked.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    // Two orders, in which the same locks are taken.
    let readers = [reader("f", "d"), reader("d", "f"), reader("f", "d"), reader("d", "f")];
    for number in 1..=rounds(10) {
        night(&project, number);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(looked.load(Ordering::Relaxed) > 20);
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}
