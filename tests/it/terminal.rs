//! What a person at a terminal sees.

use crate::support::{Project, Terminal, wait_until};

const SHOP: &str = "pipelines/shop.toml";

/// A prompt with a history of its own.
fn prompt(project: &Project, more: &[&str]) -> Terminal {
    let mut args = vec!["query", SHOP];
    args.extend(more);
    let mut command = project.command(&args);
    command.env("XDG_STATE_HOME", project.path("state"));
    Terminal::start(command)
}

#[test]
fn the_prompt_completes_names_remembers_and_answers() {
    let project = Project::shop();
    project.night();
    let mut terminal = prompt(&project, &[]);
    terminal.shows("shop=>");
    assert!(terminal.screen().contains(&project.latest().unwrap()), "{}", terminal.screen());
    terminal.types("\\d\r");
    terminal.shows("starmill.controls");
    terminal.shows("order_summary");
    // Two letters and a tab are a table; a table and a dot, its columns.
    terminal.types("SELECT max(revenue) AS most FROM dai\t;\r");
    terminal.shows("FROM daily_sales;");
    terminal.shows("(1 row)");
    terminal.types("\\d dim_carrier\r");
    terminal.shows("carrier_key");
    // A statement may have several lines, and ends with its semicolon.
    terminal.types("SELECT count(*) AS carriers\r");
    terminal.types("FROM dim_carrier WHERE dim_carrier.carrier_k\t > 0;\r");
    terminal.shows("dim_carrier.carrier_key > 0;");
    terminal.shows("carriers");
    terminal.types("SELECT nonsense FROM daily_sales;\r");
    terminal.shows("columns here: day, category");
    terminal.types("DROP TABLE daily_sales;\r");
    terminal.shows("a published star is only read");
    // Ctrl-C gives a line up; what was asked comes back with the arrow.
    terminal.types("SELECT 4711");
    terminal.shows("SELECT 4711");
    terminal.types("\x03");
    terminal.types("SELECT 42 + 1 AS sum_of_it;\r");
    terminal.shows("43");
    terminal.types("\\q\r");
    let (code, _) = terminal.ends();
    assert_eq!(code, Some(0));

    let mut again = prompt(&project, &[]);
    again.shows("shop=>");
    again.types("\x1b[A\x1b[A");
    again.shows("SELECT 42 + 1 AS sum_of_it;");
    again.types("\x03");
    again.types("\\at latest~1\r");
    again.shows("has no one snapshot `latest~1`");
    again.types("\\nothing\r");
    again.shows("there is no \\nothing here");
    again.types("\x04");
    assert_eq!(again.ends().0, Some(0));
    let history = std::fs::metadata(project.path("state/starmill/query_history")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&history.permissions()) & 0o077,
        0,
        "only its user reads it"
    );
}

#[test]
fn ctrl_c_ends_a_query_and_not_the_prompt() {
    let project = Project::shop();
    project.night();
    let mut terminal = prompt(&project, &[]);
    terminal.shows("shop=>");
    terminal.types("SELECT count(*) FROM fact_order_items a, fact_order_items b, fact_order_items c WHERE a.item_id + b.item_id + c.item_id < 0;\r");
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.interrupted();
    terminal.shows("error: interrupted");
    terminal.types("SELECT 5 * 5 AS square;\r");
    terminal.shows("25");
    terminal.types("\x04");
    assert_eq!(terminal.ends().0, Some(0));
}

#[test]
fn a_rollback_is_asked_on_a_terminal() {
    let project = Project::shop();
    project.night();
    project.edit("data/shop/customers.csv", "Ada", "Eve");
    project.night();
    let second = project.latest().unwrap();
    let mut terminal = Terminal::start(project.command(&["snapshots", "rollback", SHOP]));
    terminal.shows("again? [y/N]");
    terminal.types("\r");
    terminal.shows("not confirmed; nothing was done");
    assert_eq!(terminal.ends().0, Some(2));
    let mut terminal = Terminal::start(project.command(&["snapshots", "rollback", SHOP]));
    terminal.shows("again? [y/N]");
    terminal.interrupted();
    terminal.shows("error: interrupted");
    assert_eq!(terminal.ends().0, Some(130));
    assert_eq!(project.latest(), Some(second.clone()));
    let mut terminal = Terminal::start(project.command(&["snapshots", "rollback", SHOP]));
    terminal.shows("again? [y/N]");
    terminal.types("yes\r");
    terminal.shows("Published: ");
    assert_eq!(terminal.ends().0, Some(0));
    assert_ne!(project.latest(), Some(second));
}

#[test]
fn a_terminal_has_colours_and_progress_unless_no_color_is_set() {
    let project = Project::shop();
    project.edit(SHOP, "key = [\"customer_id\"]", "kee = [\"customer_id\"]");
    let terminal = Terminal::start(project.command(&["check", SHOP]));
    terminal.shows("unknown key `kee`");
    assert!(terminal.is_coloured());
    terminal.ends();
    let mut command = project.command(&["check", SHOP]);
    // Terminal::start removes the variable, so the shell sets it again.
    let program = command.get_program().to_owned();
    command = {
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg("NO_COLOR=1 exec \"$0\" \"$@\"").arg(program).args(["check", SHOP]);
        shell.current_dir(project.path("")).stdin(std::process::Stdio::null());
        shell
    };
    let terminal = Terminal::start(command);
    terminal.shows("unknown key `kee`");
    assert!(!terminal.is_coloured());
    terminal.ends();

    let project = Project::shop();
    let pause = project.path("paused");
    let mut command = project.command(&["run", SHOP]);
    command.env("STARMILL_FAULT", format!("audit.done=pause:{}", pause.display()));
    let terminal = Terminal::start(command);
    terminal.shows("audit");
    wait_until("the run to pause", || pause.exists());
    std::fs::remove_file(&pause).unwrap();
    terminal.shows("Published:");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0));
    let spins = |c: char| ('\u{2800}'..='\u{28ff}').contains(&c);
    assert!(!screen.contains(spins), "the spinner is still there:\n{screen}");
}

#[test]
fn parquet_is_not_for_a_terminal() {
    let project = Project::shop();
    project.night();
    let terminal = Terminal::start(project.command(&["query", SHOP, "SELECT 1", "--format", "parquet"]));
    terminal.shows("Parquet is not for a terminal");
    assert_eq!(terminal.ends().0, Some(2));
}
