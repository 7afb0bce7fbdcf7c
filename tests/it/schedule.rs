//! The scheduler as it lives: real processes, real signals, a real HTTP receiver, a clock that runs
//! faster.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::scheduler::{SHOP, Scheduler, nights, reports, shop};
use crate::support::{Project, Receiver, assert_output, cluster, fetch, wait_until};

#[test]
fn a_night_begins_at_its_time_and_every_line_of_its_log_has_its_run() {
    let project = shop("");
    let args = ["--log-format", "json", SHOP];
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:40Z*20", None, &args);
    scheduler.waits_for("the night is over");
    let (code, log) = scheduler.stops();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(nights(&project), ["2026-11-21T02:30:00Z"]);
    let run = reports(&project)[0]["run"].as_str().unwrap().to_owned();
    assert!(run.starts_with("20261121T0230"), "{run}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_run: Vec<&str> = lines
        .iter()
        .filter(|line| line["span"]["run"] == run.as_str())
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(of_run.first(), Some(&"the run begins"));
    assert_eq!(of_run.last(), Some(&"the run ends"));
    let ends = lines.iter().find(|line| line["message"] == "the run ends").unwrap();
    assert_eq!((&ends["outcome"], &ends["exit_code"]), (&"published".into(), &0.into()));
    assert!(lines.iter().any(|line| line["step"] == "extract" && line["seconds"].is_number()));
}

#[test]
fn a_night_missed_while_down_is_run_once_late_and_said() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    let once = |clock: &str| {
        let (code, log) = Scheduler::start(&project, clock, None, &["--once", SHOP]).ends();
        assert_eq!(code, Some(0), "{log}");
        log
    };
    once("2026-11-20T12:00:00Z*1");
    assert!(reports(&project).is_empty(), "nobody has missed a night before it looked after them");
    let log = once("2026-11-24T09:30:00Z*1");
    assert!(log.contains("the night is late") && log.contains("7h"), "{log}");
    assert_eq!(nights(&project), ["2026-11-24T02:30:00Z"], "three nights missed, one run");
    assert_eq!(receiver.events(), ["lateness", "recovery"]);
    assert_eq!(receiver.bodies()[0]["scheduled_for"], "2026-11-24T02:30:00Z");
    once("2026-11-24T09:40:00Z*1");
    assert_eq!(nights(&project).len(), 1);
    assert!(project.starmill(&["runs", SHOP]).exits(0).stdout.contains("late by 7h"));
    // Another line has other nights, and nobody has missed those.
    project.edit(SHOP, "30 3 * * *", "0 12 * * *");
    once("2026-11-30T09:00:00Z*1");
    assert_eq!(nights(&project).len(), 1);
}

#[test]
fn two_schedulers_of_one_store_run_a_night_once() {
    let mut project = shop("");
    let pause = project.path("paused");
    let fault = format!("audit.done=pause:{}", pause.display());
    let first = Scheduler::start(&project, "2026-11-21T02:29:55Z*20", Some(&fault), &[SHOP]);
    wait_until("the first to run", || pause.exists());
    let second = Scheduler::start(&project, "2026-11-21T02:29:58Z*20", None, &[SHOP]);
    second.waits_for("another run holds the store; waiting for it");
    std::fs::remove_file(&pause).unwrap();
    first.waits_for("the night is over");
    second.waits_for("another scheduler has had the night");
    let (_, log) = second.stops();
    assert!(!log.contains("the night is late"), "{log}");
    first.stops();
    assert_eq!(nights(&project), ["2026-11-21T02:30:00Z"]);
    project.set("STARMILL_CLOCK", "2026-11-22T03:00:00Z*1");
    // The same by hand, and on another machine with the same store.
    let had = project.starmill(&["run", SHOP, "--scheduled-for", "2026-11-21T02:30:00Z"]).exits(0);
    had.says("nothing to do: another run has had this night");
    project.starmill(&["run", SHOP, "--scheduled-for", "2026-11-22T02:30:00Z"]).exits(0).says("published");
    project.starmill(&["run", SHOP, "--scheduled-for", "tomorrow"]).exits(2);
    project
        .starmill(&["run", SHOP, "--scheduled-for", "2099-11-22T02:30:00Z"])
        .exits(2)
        .warns("is still far ahead");
}

#[test]
fn what_may_pass_is_tried_again_and_told_when_it_did_not_and_when_it_did() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    // The disk is full at every attempt.
    let full = Some("publish.synced=full");
    let scheduler =
        Scheduler::start(&project, "2026-11-21T02:29:50Z*60", full, &["--listen", "127.0.0.1:0", SHOP]);
    scheduler.waits_for("the night failed");
    let address = scheduler.address();
    let log = scheduler.log();
    assert_eq!(log.matches("the attempt failed and is repeated").count(), 2, "{log}");
    wait_until("people to be told", || receiver.events() == ["failure"]);
    let body = &receiver.bodies()[0];
    assert_eq!((&body["exit_code"], &body["outcome"]), (&8.into(), &"failed".into()));
    assert!(body["text"].as_str().unwrap().contains("no storage space"), "{body}");
    assert!(body["hint"].as_str().unwrap().contains("free space"), "{body}");
    assert_eq!(body["snapshot"], serde_json::Value::Null);
    wait_until("the night to be over for those who ask", || {
        fetch(&address, "/metrics").1.contains("starmill_run_active{pipeline=\"shop\"} 0")
    });
    let (status, text) = fetch(&address, "/health/shop");
    assert_eq!(status, 503, "{text}");
    let (status, text) = fetch(&address, "/health");
    let health: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &health["pipelines"][0]["healthy"]), (200, &false.into()));
    let (_, metrics) = fetch(&address, "/metrics");
    for line in [
        "starmill_nights_total{pipeline=\"shop\",outcome=\"badly\"} 1",
        "starmill_attempts_total{pipeline=\"shop\"} 3",
        "starmill_last_run_exit_code{pipeline=\"shop\"} 8",
        "starmill_incident{pipeline=\"shop\"} 1",
        "starmill_run_active{pipeline=\"shop\"} 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("last_success"), "{metrics}");
    assert_eq!(fetch(&address, "/health/shoop").0, 404);
    scheduler.stops();
    assert_eq!(nights(&project), ["2026-11-21T02:30:00Z"; 3]);

    let scheduler =
        Scheduler::start(&project, "2026-11-22T02:29:55Z*20", None, &["--listen", "127.0.0.1:0", SHOP]);
    scheduler.waits_for("the night is over");
    let address = scheduler.address();
    wait_until("people to be told", || receiver.events().last().is_some_and(|event| event == "recovery"));
    wait_until("the night to be over for those who ask", || {
        fetch(&address, "/metrics").1.contains("starmill_run_active{pipeline=\"shop\"} 0")
    });
    assert_eq!(fetch(&address, "/health/shop").0, 200);
    let (_, metrics) = fetch(&address, "/metrics");
    for line in [
        "starmill_incident{pipeline=\"shop\"} 0",
        "starmill_table_rows{pipeline=\"shop\",table=\"order_summary\"} 5000",
        "starmill_controls{pipeline=\"shop\",verdict=\"passed\"} 39",
        "starmill_last_success_timestamp_seconds{pipeline=\"shop\"} 179531",
        "starmill_snapshot_age_seconds{pipeline=\"shop\"} ",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    scheduler.stops();
}

#[test]
fn what_the_audit_refused_is_told_and_never_tried_again() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    project.double_items();
    let (_, log) = Scheduler::start(&project, "2026-11-20T12:00:00Z*1", None, &["--once", SHOP]).ends();
    assert!(log.contains("looking after the pipeline"), "{log}");
    let (code, log) = Scheduler::start(&project, "2026-11-21T02:30:01Z*1", None, &["--once", SHOP]).ends();
    assert_eq!(code, Some(7), "{log}");
    assert_eq!(nights(&project).len(), 1);
    assert_eq!(receiver.events(), ["refusal"]);
    let body = &receiver.bodies()[0];
    assert!(body["text"].as_str().unwrap().starts_with("starmill shop: run 2026"), "{body}");
    assert!(body["text"].as_str().unwrap().contains("was refused by the audit (exit 7)"), "{body}");
    // The night was had: a scheduler that starts anew does not try it again either.
    let (code, _) = Scheduler::start(&project, "2026-11-21T02:40:00Z*1", None, &["--once", SHOP]).ends();
    assert_eq!((code, nights(&project).len()), (Some(0), 1));
    project.single_items();
    let (code, log) = Scheduler::start(&project, "2026-11-22T02:30:01Z*1", None, &["--once", SHOP]).ends();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(receiver.events(), ["refusal", "recovery"]);
}

#[test]
fn a_pending_delivery_is_repeated_without_another_run() {
    let source = cluster().shop();
    let mut project = shop("");
    project.set("SHOP_SOURCE", &source.url());
    project.set("SHOP_TARGET", &source.url());
    source.sql("CREATE SCHEMA mart; CREATE TABLE mart.dim_carrier (x int)");
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:50Z*20", None, &[SHOP]);
    scheduler.waits_for("the attempt failed and is repeated");
    source.sql("DROP TABLE mart.dim_carrier");
    scheduler.waits_for("the delivery is tried again");
    scheduler.waits_for("the night is over");
    let (_, log) = scheduler.stops();
    assert_eq!(log.matches("the night begins").count(), 1, "{log}");
    assert_eq!(source.sql("SELECT snapshot FROM mart.starmill_delivery"), project.latest().unwrap());
    let ran = reports(&project).iter().filter(|report| report["mode"] == "run").count();
    assert_eq!(ran, 1);
    // One that was killed in its delivery is made good by the next scheduler, before any night.
    source.sql("INSERT INTO customers VALUES (5000, 'New', NULL)");
    project.starmill_with_fault(&["run", SHOP], "load.merged=kill");
    let (code, log) = Scheduler::start(&project, "2026-11-21T12:00:00Z*1", None, &["--once", SHOP]).ends();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(source.sql("SELECT count(*) FROM mart.dim_customer WHERE customer_id = 5000"), "1");
}

#[test]
fn on_sigterm_a_running_night_comes_to_its_end_or_is_ended_cleanly_in_time() {
    let project = shop("");
    let pause = project.path("paused");
    let fault = format!("audit.done=pause:{}", pause.display());
    // It comes to its end.
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:58Z*10", Some(&fault), &[SHOP]);
    wait_until("the night to run", || pause.exists());
    scheduler.signal(Signal::SIGTERM);
    scheduler.waits_for("running nights may come to their end");
    std::fs::remove_file(&pause).unwrap();
    let (code, log) = scheduler.ends();
    assert_eq!(code, Some(0), "{log}");
    let published = project.latest().expect("it was published");
    // It does not, and is ended: nothing is published, nothing is left.
    let slow = "extract.done=pause:".to_owned() + pause.to_str().unwrap();
    let scheduler =
        Scheduler::start(&project, "2026-11-22T02:29:58Z*10", Some(&slow), &["--drain", "1s", SHOP]);
    wait_until("the night to run", || pause.exists());
    let begun = Instant::now();
    let (code, log) = scheduler.stops();
    let seconds = begun.elapsed().as_secs();
    assert_eq!(code, Some(143), "{log}");
    assert!(seconds <= 1 + 12 + 2, "{seconds} s");
    assert_eq!(project.latest(), Some(published));
    std::fs::remove_file(&pause).unwrap();
    // Nobody has had that night: it is run late.
    let (_, log) = Scheduler::start(&project, "2026-11-22T10:00:00Z*1", None, &["--once", SHOP]).ends();
    assert!(log.contains("the night is late"), "{log}");
    assert_eq!(nights(&project).last().map(String::as_str), Some("2026-11-22T02:30:00Z"));
    // Ctrl-C twice doesn't wait.
    let scheduler =
        Scheduler::start(&project, "2026-11-23T02:29:58Z*10", Some(&slow), &["--drain", "1h", SHOP]);
    wait_until("the night to run", || pause.exists());
    scheduler.signal(Signal::SIGINT);
    scheduler.waits_for("running nights may come to their end");
    scheduler.signal(Signal::SIGINT);
    let (code, log) = scheduler.ends();
    assert_eq!(code, Some(130), "{log}");
}

#[test]
fn a_killed_scheduler_leaves_a_whole_store_and_its_night_is_had_once() {
    let project = shop("");
    let pause = project.path("paused");
    let fault = format!("audit.done=pause:{}", pause.display());
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:58Z*10", Some(&fault), &[SHOP]);
    wait_until("the night to run", || pause.exists());
    scheduler.signal(Signal::SIGKILL);
    let (code, _) = scheduler.ends();
    assert_eq!(code, None);
    // The night goes on by itself; the next scheduler waits for it, and finds it had.
    let next = Scheduler::start(&project, "2026-11-21T02:31:00Z*20", None, &["--once", SHOP]);
    next.waits_for("another run holds the store");
    std::fs::remove_file(&pause).unwrap();
    let (code, log) = next.ends();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(nights(&project), ["2026-11-21T02:30:00Z"]);
    project.assert_store_is_whole();
}

#[test]
fn the_unit_in_the_docs_starts_and_stops_a_scheduler() {
    let docs = std::fs::read_to_string("docs/operating.md").unwrap();
    let setting = |name: &str| {
        let line = docs.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap();
        line.split_once('=').unwrap().1.to_owned()
    };
    let start =
        setting("ExecStart").replace("127.0.0.1:9187", "127.0.0.1:0").replace("sales.toml", "shop.toml");
    let args: Vec<&str> = start.split(' ').skip(2).collect();
    assert!(start.starts_with("/usr/local/bin/starmill schedule "), "{start}");
    let project = Project::shop();
    let scheduler = Scheduler::start(&project, "2026-11-21T00:00:00Z*1", None, &args);
    scheduler.waits_for("looking after the pipeline");
    let (code, log) = scheduler.stops();
    assert_eq!(code, Some(0), "{log}");
    let drain: u64 = start.split("--drain ").nth(1).unwrap().split('s').next().unwrap().parse().unwrap();
    assert!(setting("TimeoutStopSec").parse::<u64>().unwrap() > drain + 12);
}

#[test]
fn the_next_five_nights_are_listed_in_their_zone() {
    let project = Project::shop();
    let list = |clock: &str| {
        let output =
            project.command(&["schedule", "--list", SHOP]).env("STARMILL_CLOCK", clock).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    project.edit(SHOP, "30 3 * * *", "30 2 * * *");
    assert_output("upcoming.txt", &list("2026-03-27T12:00:00Z*1"));
    let json = project.starmill(&["schedule", "--list", SHOP, "--format", "json"]).exits(0).json();
    assert_eq!(json["pipelines"][0]["nights"].as_array().unwrap().len(), 5);
    assert_eq!(json["pipelines"][0]["cron"], "30 2 * * *");
}

#[test]
fn a_run_by_hand_tells_people_too_unless_it_is_asked_not_to() {
    let receiver = Receiver::start();
    let told = "told.txt";
    let project = shop(&format!(
        "[notify]\nwebhook = \"{}\"\ncommand = [\"sh\", \"-c\", \"cat >> {told}; echo \\\" $STARMILL_EVENT $STARMILL_PIPELINE\\\" >> {told}\"]\n",
        receiver.url()
    ));
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events().len(), 0, "good nights are quiet");
    // The receiver is busy at first.
    receiver.answer(&[503, 429]);
    let failing = |args: &[&str]| project.starmill_with_fault(args, "audit.done=full").exits(8);
    failing(&["run", SHOP]).never_shows("s3cret");
    assert_eq!(receiver.events(), ["failure"; 3], "two refused, the third taken");
    failing(&["run", "--dry-run", SHOP]);
    failing(&["run", "--no-notify", SHOP]);
    assert_eq!(receiver.events().len(), 3);
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events().last().map(String::as_str), Some("recovery"));
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events().len(), 4, "once");
    let commanded = project.read(told);
    assert!(commanded.contains(" failure shop") && commanded.contains(" recovery shop"), "{commanded}");
    let first: serde_json::Value = serde_json::from_str(commanded.split(" failure").next().unwrap()).unwrap();
    assert_eq!(first, receiver.bodies()[2]);
    // What the receiver refuses is not repeated, and changes nothing of the run.
    receiver.answer(&[403]);
    failing(&["run", SHOP]).warns("answered 403").never_shows("s3cret");
    assert_eq!(receiver.events().len(), 5);
    // Only what is wanted.
    project.edit(SHOP, "[notify]", "[notify]\non = [\"refusal\"]");
    failing(&["run", SHOP]);
    assert_eq!(receiver.events().len(), 6, "what was not accepted before is sent again, and nothing else");
}

#[test]
fn the_channels_can_be_tried_out() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    project.starmill(&["notify", SHOP]).exits(0).says("told: http://127.0.0.1").never_shows("s3cret");
    let body = receiver.bodies().remove(0);
    assert_eq!((&body["event"], &body["pipeline"]), (&"test".into(), &"shop".into()));
    let mut names: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
    names.sort();
    let documented = std::fs::read_to_string("docs/operating.md").unwrap();
    for name in &names {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
    assert!(project.starmill(&["run", SHOP]).exits(0).stdout.contains("published"), "a test is no incident");
    assert_eq!(receiver.events(), ["test"]);
    let dead = format!(
        "http://127.0.0.1:{}/s3cret",
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    project.edit(SHOP, &receiver.url(), &dead);
    project.edit(SHOP, "[notify]", "[notify]\ncommand = [\"no-such-program\"]");
    let failed = project.starmill(&["notify", SHOP]).exits(8);
    failed.warns("cannot be reached").warns("cannot start `no-such-program`").never_shows("s3cret");
    let nobody = Project::shop();
    nobody.starmill(&["notify", SHOP]).exits(3).warns("shop has nobody to tell").warns("[notify]");
}

#[test]
fn a_schedule_that_cannot_be_is_refused_with_its_place() {
    for (from, to, message, place) in [
        ("30 3 * * *", "30 3 31 feb *", "no year has such a date", "shop.toml:23:14"),
        ("30 3 * * *", "30 25 * * *", "`25` is no hour", "shop.toml:23:12"),
        ("30 3 * * *", "30 3 * *", "a cron line has five fields, not 4", "shop.toml:23:9"),
        ("30 3 * * *", "@nightly", "there is no `@nightly` in cron", "shop.toml:23:9"),
        ("Europe/Berlin", "Europe/Berlim", "did you mean `Europe/Berlin`?", "shop.toml:24:12"),
        (
            "\"Europe/Berlin\"",
            "\"Europe/Berlin\"\nretry_wait = \"soon\"",
            "`soon` is not a length of time",
            "shop.toml:25:14",
        ),
        (
            "[schedule]",
            "[notify]\nwebhook = \"hooks.example\"\n[schedule]",
            "a webhook is an http address",
            "shop.toml:23:11",
        ),
        (
            "[schedule]",
            "[notify]\non = [\"victory\"]\n[schedule]",
            "valid: failure, refusal, recovery, lateness and success",
            "shop.toml:23:7",
        ),
    ] {
        let project = Project::shop();
        project.edit(SHOP, from, to);
        for command in ["check", "schedule"] {
            let refused = project.starmill(&[command, SHOP]).exits(3);
            refused.warns(message).warns(place);
        }
    }
    let project = Project::shop();
    project.edit(SHOP, "[schedule]\ncron = \"30 3 * * *\"\ntimezone = \"Europe/Berlin\"\n", "");
    project
        .starmill(&["schedule", SHOP])
        .exits(3)
        .warns("shop has no [schedule]")
        .warns("add [schedule] with cron");
    let project = Project::shop();
    project
        .starmill(&["schedule", SHOP, "./pipelines/shop.toml"])
        .exits(2)
        .warns("two pipelines have the store");
    let twin = project.read(SHOP).replace("out/shop", "out/twin");
    project.write("pipelines/twin.toml", &twin);
    project
        .starmill(&["schedule", SHOP, "pipelines/twin.toml"])
        .exits(2)
        .warns("two pipelines are named shop");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    project
        .starmill(&["schedule", SHOP, "--listen", &address])
        .exits(2)
        .warns("cannot listen on")
        .warns("give another address or port");
    project.starmill(&["schedule"]).exits(2);
}

#[test]
fn a_night_that_another_has_had_is_neither_recovered_nor_told_twice() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    project.double_items();
    let pause = project.path("paused");
    let fault = format!("build.model=pause:{}", pause.display());
    let first = Scheduler::start(&project, "2026-11-21T02:29:58Z*10", Some(&fault), &[SHOP]);
    wait_until("the first to run", || pause.exists());
    let second = Scheduler::start(&project, "2026-11-21T02:29:59Z*20", None, &[SHOP]);
    second.waits_for("another run holds the store; waiting for it");
    // Its models pause one after the other.
    while !first.log().contains("the night failed") {
        let _ = std::fs::remove_file(&pause);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    second.waits_for("another scheduler has had the night");
    let (code, log) = second.stops();
    assert_eq!(code, Some(0), "{log}");
    first.stops();
    assert_eq!(receiver.events(), ["refusal"]);
    assert!(project.entries("out/shop").contains(&"incident.json".to_owned()));
}

#[test]
fn a_night_that_ended_badly_after_its_scheduler_was_killed_is_told_by_the_next() {
    let receiver = Receiver::start();
    let project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    project.double_items();
    let pause = project.path("paused");
    let fault = format!("extract.done=pause:{}", pause.display());
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:58Z*10", Some(&fault), &[SHOP]);
    wait_until("the night to run", || pause.exists());
    scheduler.signal(Signal::SIGKILL);
    scheduler.ends();
    std::fs::remove_file(&pause).unwrap();
    wait_until("the night to end", || !reports(&project).is_empty());
    assert_eq!(reports(&project)[0]["outcome"], "refused");
    assert!(receiver.events().is_empty(), "nobody was there to tell it");
    for _ in 0..2 {
        let (code, log) =
            Scheduler::start(&project, "2026-11-21T02:40:00Z*1", None, &["--once", SHOP]).ends();
        assert_eq!(code, Some(0), "{log}");
    }
    assert_eq!(receiver.events(), ["refusal"]);
}

#[test]
fn a_night_whose_process_somebody_ends_is_tried_again() {
    let project = shop("");
    let pause = project.path("paused");
    let fault = format!("audit.done=pause:{}", pause.display());
    let scheduler = Scheduler::start(&project, "2026-11-21T02:29:58Z*10", Some(&fault), &[SHOP]);
    wait_until("the night to run", || pause.exists());
    let threads = std::fs::read_dir(format!("/proc/{}/task", scheduler.child.id())).unwrap();
    let children: String = threads
        .map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default())
        .collect();
    let child: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(child), Signal::SIGTERM).unwrap();
    scheduler.waits_for("the attempt failed and is repeated");
    std::fs::remove_file(&pause).unwrap();
    wait_until("the second attempt", || pause.exists());
    std::fs::remove_file(&pause).unwrap();
    scheduler.waits_for("the night is over");
    scheduler.stops();
    assert!(project.latest().is_some());
}

#[test]
fn what_was_mended_by_hand_is_well_again_at_once() {
    let receiver = Receiver::start();
    let mut project = shop(&format!("[notify]\nwebhook = \"{}\"\n", receiver.url()));
    project.edit("sql/shop/order_summary.sql", "SELECT", "SELECTT");
    let scheduler =
        Scheduler::start(&project, "2026-11-21T02:29:58Z*10", None, &["--listen", "127.0.0.1:0", SHOP]);
    scheduler.waits_for("the night failed");
    let address = scheduler.address();
    wait_until("people to be told", || receiver.events() == ["failure"]);
    assert!(
        receiver.bodies()[0]["text"].as_str().unwrap().contains("order_summary.sql:"),
        "the place is told"
    );
    assert_eq!(fetch(&address, "/health/shop").0, 503);
    project.edit("sql/shop/order_summary.sql", "SELECTT", "SELECT");
    project.set("STARMILL_CLOCK", "2026-11-21T09:00:00Z*1");
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(receiver.events(), ["failure", "recovery"]);
    assert_eq!(fetch(&address, "/health/shop").0, 200);
    // A damaged store is left out, and hides nothing else.
    project.write("out/shop/latest.json", "{");
    let (status, metrics) = fetch(&address, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("starmill_last_run_exit_code{pipeline=\"shop\"} 0"), "{metrics}");
    scheduler.stops();
}

#[test]
fn a_webhook_that_redirects_has_not_told_anybody() {
    let receiver = Receiver::start();
    let project =
        shop(&format!("[notify]\nwebhook = \"{}\"\ncommand = [\"true\", \"s3cret\"]\n", receiver.url()));
    receiver.answer(&[302]);
    let failed = project.starmill(&["notify", SHOP]).exits(8);
    failed
        .says("told: true\n")
        .warns("answered 302")
        .warns("the address that it redirects to")
        .never_shows("s3cret");
}
