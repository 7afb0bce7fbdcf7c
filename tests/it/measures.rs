//! Measures are numbers that can be proven.

use crate::support::Project;

const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"amount\", \"weight\"]\n";

#[test]
fn a_measure_of_floating_point_is_refused_unless_it_is_allowed_by_name() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, amount numeric(10,2), weight double precision);";
    let project = Project::of(
        TOML,
        &[("f", "SELECT id, amount, weight FROM t")],
        schema,
        &[("t", "id,amount,weight\n1,2.50,0.1\n2,1.25,0.2\n")],
    );
    let check = || project.starmill(&["check", "pipelines/p.toml"]);
    check()
        .exits(3)
        .warns("the measure `weight` of `f` is floating point, whose sum depends on the order of its rows")
        .warns("pipelines/p.toml:9:23");
    // The two remedies.
    project.edit("pipelines/p.toml", "\"weight\"]", "\"weight\"]\nallow_float = [\"weight\"]");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0).says("sum of weight");
    project.edit(
        "pipelines/p.toml",
        "\"weight\"]\nallow_float = [\"weight\"]",
        "{ weight = \"CAST(weight AS numeric(20,6))\" }]",
    );
    project.write("sql/p/f.sql", "SELECT id, amount, CAST(weight AS numeric(20,6)) AS weight FROM t");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0).says("0.300000");
    project.edit("pipelines/p.toml", "measures", "allow_float = [\"wight\"]\nmeasures");
    check().exits(3).warns("allow_float names `wight`, which is no measure of `f`");
}
