//! What holds of every command: JSON, closed pipes, completions, the manual.

use std::process::Stdio;

use crate::support::{Project, cluster};

const SHOP: &str = "pipelines/shop.toml";

#[test]
fn every_command_prints_one_json_value_whose_shape_is_documented() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.edit(SHOP, "[schedule]", "[notify]\ncommand = [\"true\"]\n\n[schedule]");
    project.night();
    source.sql("UPDATE customers SET full_name = 'Eve' WHERE customer_id = 1");
    project.night();
    let documented =
        ["README.md", "docs/operating.md"].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let commands: [&[&str]; 16] = [
        &["run", SHOP],
        &["run", "--dry-run", SHOP],
        &["plan", SHOP],
        &["check", SHOP],
        &["diff", SHOP, "latest~1"],
        &["snapshots", "list", SHOP],
        &["snapshots", "show", SHOP],
        &["snapshots", "verify", SHOP],
        &["snapshots", "rollback", SHOP, "--yes"],
        &["snapshots", "prune", SHOP, "--keep", "2", "--grace", "0s"],
        &["deliver", SHOP],
        &["deliver", "--verify", SHOP],
        &["runs", SHOP],
        &["runs", SHOP, "last"],
        &["schedule", "--list", SHOP],
        &["notify", SHOP],
    ];
    for command in commands {
        let mut args = command.to_vec();
        args.extend(["--format", "json"]);
        let ran = project.starmill(&args).exits(0);
        assert_eq!(ran.stderr, "", "{command:?}");
        let value = ran.json();
        for name in value.as_object().unwrap_or_else(|| panic!("{command:?} prints no object")).keys() {
            assert!(documented.contains(&format!("`{name}`")), "{name} of {command:?} is not documented");
        }
        // A failure is one object as well.
        let mut args = command.to_vec();
        let at = args.iter().position(|arg| *arg == SHOP).unwrap();
        args[at] = "pipelines/none.toml";
        args.extend(["--format", "json"]);
        let failed = project.starmill(&args).exits(3);
        assert_eq!(failed.stderr, "", "{command:?}");
        let failed = failed.json();
        assert_eq!(failed["exit_code"], 3, "{command:?}");
        assert!(
            failed["error"]["message"].as_str().unwrap().contains("cannot read the pipeline"),
            "{command:?}"
        );
    }
}

#[test]
fn a_reader_that_closes_its_pipe_is_no_failure() {
    let project = Project::shop();
    project.night();
    let commands: [&[&str]; 9] = [
        &["plan", SHOP],
        &["check", SHOP],
        &["diff", SHOP, "latest"],
        &["snapshots", "list", SHOP],
        &["snapshots", "show", SHOP],
        &["runs", SHOP],
        &["query", SHOP, "SELECT * FROM fact_order_items"],
        &["completions", "bash"],
        &["man"],
    ];
    for args in commands {
        let mut child = project.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
    // Nor is a closed standard error: the exit code speaks.
    for (args, code) in [(&["check", "none.toml"] as &[&str], 3), (&["query", SHOP, "DROP TABLE x"], 2)] {
        let mut child = project.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
    }
}

#[test]
fn every_shell_has_its_completions_and_they_know_every_command() {
    let project = Project::shop();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.starmill(&["completions", shell]).exits(0).stdout;
        for word in ["snapshots", "rollback", "schedule", "--scheduled-for", "--listen"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    project.starmill(&["completions", "tcsh"]).exits(2).warns("possible values: bash");
    // The shell takes its script.
    let script = project.starmill(&["completions", "bash"]).exits(0).stdout;
    project.write("c.bash", &script);
    let typed = std::process::Command::new("bash")
        .args(["-c", "source ./c.bash; COMP_WORDS=(starmill snapshots ro); COMP_CWORD=2; _starmill starmill ro snapshots; echo \"${COMPREPLY[@]}\""])
        .current_dir(project.path(""))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(typed.stdout).unwrap().trim(), "rollback");
}

#[test]
fn there_is_a_manual_page_for_the_whole_and_for_each_command() {
    let project = Project::shop();
    let page = project.starmill(&["man"]).exits(0).stdout;
    assert!(page.contains(".TH starmill 1") && page.contains("rollback pipelines/shop.toml"), "{page}");
    project.starmill(&["man", "--folder", "man"]).exits(0);
    let pages = project.entries("man");
    for name in ["starmill.1", "starmill-run.1", "starmill-snapshots-rollback.1", "starmill-schedule.1"] {
        assert!(pages.iter().any(|page| page == name), "{name} is not among {pages:?}");
    }
}

#[test]
fn a_log_without_room_costs_no_night_and_an_output_without_room_is_told() {
    let project = Project::shop();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut run = project.command(&["run", SHOP]);
    let status = run.env("STARMILL_LOG", "debug").stderr(full()).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(project.latest().is_some());
    for args in [&["run", SHOP] as &[&str], &["runs", SHOP], &["snapshots", "list", SHOP, "--format", "json"]]
    {
        let output = project.command(args).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{args:?}");
        assert!(
            String::from_utf8(output.stderr).unwrap().contains("standard output cannot be written"),
            "{args:?}"
        );
    }
}

#[test]
fn slips_of_the_pen_are_told() {
    let project = Project::shop();
    project
        .starmill(&["run", SHOP, "--accept", "dim_customr"])
        .exits(2)
        .warns("did you mean `--accept dim_customer`?");
    project.starmill(&["runs", SHOP, "--limit", "0"]).exits(2);
    project.starmill(&["schedule", SHOP, "--jobs", "0"]).exits(2);
    for (from, to, message) in [
        ("${SHOP_STORE:-out/shop}", "ftp://bucket/shop", "a store cannot be `ftp://…`"),
        ("keep = 14", "keep = 0", "`store.keep` must be from 1 to 100000, not 0"),
        ("[schedule]", "[notify]\ncommand = \"page oncall\"\n[schedule]", "a command is a list"),
    ] {
        let project = Project::shop();
        project.edit(SHOP, from, to);
        project.starmill(&["check", SHOP]).exits(3).warns(message);
    }
}
