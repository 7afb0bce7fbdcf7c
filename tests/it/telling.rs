//! Who is told what, and what is written down: alerts that nobody accepted, heartbeats, the lines of commands.

use std::io::Read;
use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::support::scheduler::{SHOP, Scheduler, nights, reports, shop};
use crate::support::{Project, Receiver, cluster, fetch, wait_until};

fn failing(project: &Project) {
    project.starmill_with_fault(&["run", SHOP], "audit.done=full").exits(8);
}

#[test]
fn an_alert_that_nobody_accepted_is_kept_and_told_later_in_its_order() {
    let receiver = Receiver::start();
    let project = shop(&format!(
        "[notify]\nwebhook = \"{}\"\ncommand = [\"sh\", \"-c\", \"cat > /dev/null; echo $STARMILL_EVENT >> told\"]\n",
        receiver.url()
    ));
    project.starmill(&["run", SHOP]).exits(0);
    receiver.answer(&[503, 503, 503, 503]);
    failing(&project);
    assert_eq!(receiver.events(), ["failure"; 4]);
    assert_eq!(project.read("told"), "failure\n");
    assert_eq!(project.entries("out/shop/alerts").len(), 1);
    project.starmill(&["run", SHOP]).exits(0);
    // The webhook gets what it was owed, then the news; the program, which had heard it, only the news.
    assert_eq!(receiver.events()[4..], ["failure", "recovery"]);
    assert_eq!(project.read("told"), "failure\nrecovery\n");
    assert_eq!(project.entries("out/shop/alerts").len(), 0);
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events().len(), 6, "once");
}

#[test]
fn an_alert_whose_process_is_killed_while_it_is_sent_is_told_by_the_next() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = Receiver::start();
    let url = format!("http://{}/hooks/s3cret", silent.local_addr().unwrap());
    let project = shop(&format!("[notify]\nwebhook = \"{url}\"\n"));
    project.starmill(&["run", SHOP]).exits(0);
    let mut run = project.start(&["run", SHOP], Some("audit.done=full"));
    let (mut asked, _) = silent.accept().unwrap();
    assert!(asked.read(&mut [0; 64]).unwrap() > 0);
    run.kill().unwrap();
    run.wait().unwrap();
    project.edit(SHOP, &url, &receiver.url());
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events(), ["failure", "recovery"]);
}

#[test]
fn a_program_that_reads_nothing_and_what_others_laid_among_the_alerts_hold_up_no_night() {
    let project = shop(
        "[notify]\ncommand = [\"sh\", \"-c\", \"exec 0<&-; head -c 300000 /dev/zero >&2; echo $STARMILL_EVENT >> told\"]\n",
    );
    project.starmill(&["run", SHOP]).exits(0);
    std::fs::create_dir_all(project.path("out/shop/alerts")).unwrap();
    let fifo = project.path("out/shop/alerts/20260101T000000000Z-00000000.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for number in 0..200 {
        project.write(&format!("out/shop/alerts/zz{number}.json"), "{}");
    }
    failing(&project);
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(project.read("told"), "failure\nrecovery\n");
    assert_eq!(project.entries("out/shop/alerts").len(), 201, "what is not ours stays");
}

#[test]
fn a_scheduler_sends_again_what_was_not_accepted_and_says_that_it_is_late() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    project.double_items();
    receiver.answer(&[503, 503, 503, 503]);
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:55Z*60", None, &[SHOP]);
    scheduler.waits_for("people were not told");
    scheduler.waits_for("people were told");
    scheduler.stops();
    let bodies = receiver.bodies();
    assert_eq!(receiver.events(), ["refusal"; 5]);
    assert!(bodies[4]["text"].as_str().unwrap().contains("(told late, of 2026-11-21 02:3"), "{}", bodies[4]);
    assert_eq!(project.entries("out/shop/alerts").len(), 0);
}

#[test]
fn a_good_night_is_told_to_those_who_asked_and_its_heartbeat_is_heard() {
    let receiver = Receiver::start();
    let beat = receiver.url().replace("hooks/s3cret", "beat/s3cret");
    let project = shop(&format!(
        "[notify]\nwebhook = \"{}\"\nheartbeat = \"{beat}\"\non = [\"failure\", \"recovery\", \"success\"]\n",
        receiver.url()
    ));
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:55Z*20", None, &[SHOP]);
    scheduler.waits_for("the heartbeat was told");
    let (_, log) = scheduler.stops();
    assert!(!log.contains("s3cret"), "{log}");
    assert_eq!(
        (receiver.events(), receiver.fetched()),
        (vec!["success".to_owned()], vec!["/beat/s3cret".to_owned()])
    );
    failing(&project);
    project.starmill(&["run", "--dry-run", SHOP]).exits(0);
    assert_eq!(receiver.fetched().len(), 1, "neither a failure nor a dry run is a good night");
    project.starmill(&["run", SHOP]).exits(0);
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events(), ["success", "failure", "recovery", "success"]);
    assert_eq!(receiver.fetched().len(), 3);
    project.edit(SHOP, &beat, "beat.example");
    project.starmill(&["check", SHOP]).exits(3).warns("a heartbeat is an http address");
}

#[test]
fn deliveries_and_rollbacks_leave_a_line_with_who_and_metrics_follow_them() {
    let source = cluster().shop();
    let target = cluster().database();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &target.url());
    project.set("STARMILL_CLOCK", "2026-11-21T11:00:00Z*1");
    project.starmill_with_fault(&["run", SHOP], "load.merged=fail").exits(11);
    let scheduler =
        Scheduler::start(&project, "2026-11-21T12:00:00Z*1", None, &["--listen", "127.0.0.1:0", SHOP]);
    scheduler.waits_for("the delivery is tried again");
    scheduler.waits_for("the night is over");
    let (_, metrics) = fetch(&scheduler.address(), "/metrics");
    scheduler.stops();
    assert!(metrics.contains("starmill_last_run_exit_code{pipeline=\"shop\"} 0"), "{metrics}");
    let first = project.latest().unwrap();
    source.sql("DELETE FROM order_items WHERE item_id = 7");
    project.set("STARMILL_CLOCK", "2026-11-21T13:00:00Z*1");
    project.night();
    project.set("STARMILL_CLOCK", "2026-11-21T14:00:00Z*1");
    project.starmill(&["snapshots", "rollback", SHOP, "--yes"]).exits(0);
    assert_eq!(project.latest().unwrap(), first);
    let who = format!("by {}@", nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name);
    let listed = project.starmill(&["runs", SHOP]).exits(0);
    listed.says("delivered").says("rolled back").says(&who);
    let json = project.starmill(&["runs", SHOP, "--format", "json"]).exits(0).json();
    let outcomes: Vec<&str> =
        json["runs"].as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap()).collect();
    let mut sorted = outcomes.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["delivered", "delivery_pending", "published", "rolled_back"], "{outcomes:?}");
    let rolled = json["runs"].as_array().unwrap().iter().find(|run| run["outcome"] == "rolled_back").unwrap();
    assert_eq!(rolled["snapshot"], first.as_str());
    let shown = project.starmill(&["runs", SHOP, rolled["run"].as_str().unwrap()]).exits(0);
    shown.says("rolled back by command").says("Delivered into schema mart").says(&first);
    // A delivery that fails is a line, too.
    project.starmill_with_fault(&["deliver", SHOP], "load.merged=fail");
    let json = project.starmill(&["runs", SHOP, "--format", "json"]).exits(0).json();
    assert!(
        json["runs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|run| run["outcome"] == "failed" && run["exit_code"] != 0)
    );
}

#[test]
fn sighup_reads_the_pipelines_again_and_disturbs_no_night() {
    let project = shop("");
    let pause = project.path("paused");
    let fault = format!("audit.done=pause:{}", pause.display());
    let scheduler = Scheduler::start(
        &project,
        "2026-11-21T02:29:58Z*10",
        Some(&fault),
        &["--listen", "127.0.0.1:0", SHOP],
    );
    wait_until("the night to run", || pause.exists());
    project.edit(SHOP, "30 3 * * *", "0 12 * * *");
    scheduler.signal(Signal::SIGHUP);
    scheduler.waits_for("the pipeline was read again");
    project.edit(SHOP, "0 12 * * *", "0 99 * * *");
    scheduler.signal(Signal::SIGHUP);
    scheduler.waits_for("cannot be read again, and goes on as it was");
    std::fs::remove_file(&pause).unwrap();
    scheduler.waits_for("the night is over");
    let (_, status) = fetch(&scheduler.address(), "/metrics");
    // Noon in Berlin.
    let next = chrono::DateTime::parse_from_rfc3339("2026-11-21T11:00:00Z").unwrap().timestamp();
    assert!(
        status.contains(&format!("starmill_next_run_timestamp_seconds{{pipeline=\"shop\"}} {next}")),
        "{status}"
    );
    let (code, _) = scheduler.stops();
    assert_eq!(code, Some(0));
    assert_eq!(nights(&project), ["2026-11-21T02:30:00Z"]);
}

#[test]
fn a_pipeline_that_cannot_be_read_stops_no_other() {
    let project = shop("");
    let broken =
        project.read(SHOP).replace("30 3 * * *", "61 3 * * *").replace("name = \"shop\"", "name = \"other\"");
    project.write("pipelines/other.toml", &broken);
    let both = ["--listen", "127.0.0.1:0", "pipelines/other.toml", SHOP];
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:55Z*20", None, &both);
    scheduler.waits_for("left out until it is mended");
    scheduler.waits_for("the night is over");
    let (code, health) = fetch(&scheduler.address(), "/health");
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!((code, &health["left_out"][0]["file"]), (200, &"pipelines/other.toml".into()), "{health}");
    assert!(fetch(&scheduler.address(), "/metrics").1.contains("starmill_pipelines_left_out 1"));
    scheduler.signal(Signal::SIGHUP);
    scheduler.waits_for("the pipeline is still left out");
    // Its nights begin once it is mended.
    project.write(
        "pipelines/other.toml",
        &broken.replace("61 3 * * *", "* * * * *").replace("out/shop", "out/other"),
    );
    scheduler.signal(Signal::SIGHUP);
    scheduler.waits_for("looking after the pipeline, which was mended");
    let (code, log) = scheduler.stops();
    assert_eq!(code, Some(0));
    assert!(log.contains("`61` is no minute"), "{log}");
    assert_eq!(nights(&project).len(), 1);
    // A round of nights tells that one was left out.
    project.write("pipelines/other.toml", &broken);
    project.starmill(&["schedule", "--once", "pipelines/other.toml", SHOP]).exits(3).warns("left out");
}

#[test]
fn a_run_that_is_recorded_in_the_future_is_told_and_not_believed() {
    let mut project = shop("");
    // A clock that was once ahead by a month.
    project.set("STARMILL_CLOCK", "2026-12-21T03:00:00Z*1");
    project.starmill(&["run", SHOP, "--scheduled-for", "2026-12-21T02:30:00Z"]).exits(0);
    project.set("STARMILL_CLOCK", "2026-11-21T03:00:00Z*1");
    let ran = project.starmill(&["run", SHOP, "--scheduled-for", "2026-11-21T02:30:00Z"]).exits(0);
    ran.says("published").warns("recorded in the future and not believed");
    let scheduler = Scheduler::start(&project, "2026-11-22T02:29:55Z*20", None, &[SHOP]);
    scheduler.waits_for("the night is over");
    scheduler.stops();
    assert_eq!(reports(&project).len(), 3);
}

#[test]
fn idle_connections_hold_up_neither_nights_nor_answers() {
    let project = shop("");
    let scheduler =
        Scheduler::start(&project, "2026-11-21T02:29:40Z*5", None, &["--listen", "127.0.0.1:0", SHOP]);
    scheduler.waits_for("address=");
    let address = scheduler.address();
    // So many files as it may have, and more who only hold the line.
    let limits = ["--pid", &scheduler.child.id().to_string(), "--nofile=256:256"];
    assert!(std::process::Command::new("prlimit").args(limits).status().unwrap().success());
    let idle: Vec<_> = (0..400).filter_map(|_| std::net::TcpStream::connect(&address).ok()).collect();
    assert!(idle.len() > 100);
    scheduler.waits_for("the night is over");
    wait_until("an answer", || {
        std::panic::catch_unwind(|| fetch(&address, "/health/shop").0).is_ok_and(|status| status == 200)
    });
    drop(idle);
    scheduler.stops();
}
