//! A store in a bucket, on a real S3 server: published, read, killed, raced for, and answered badly.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::kills::RUN_POINTS;
use crate::support::scheduler::{SHOP, Scheduler};
use crate::support::{Bucket, Fate, Meddler, Project, Ran, Seen, cluster, counts, fetch, rounds, wait_until};

const RUN: [&str; 2] = ["run", "pipelines/shop.toml"];
const TOTALS: &str =
    "SELECT count(*), sum(line_total), max(customer_key), min(ordered_key) FROM fact_order_items";

/// The shop on its files, published into a bucket of its own.
fn shop() -> (Project, Bucket) {
    let (mut project, bucket) = (Project::shop(), Bucket::make());
    bucket.holds(&mut project, &bucket.endpoint());
    (project, bucket)
}

/// The same with somebody before the server.
fn shop_before(rule: impl Fn(&Seen) -> Fate + Send + Sync + 'static) -> (Project, Bucket, Meddler) {
    let (mut project, bucket) = shop();
    let meddler = Meddler::before(&bucket, rule);
    bucket.holds(&mut project, &meddler.endpoint());
    (project, bucket, meddler)
}

fn hashes(manifest: &serde_json::Value) -> Vec<String> {
    let tables = manifest["tables"].as_array().unwrap().iter();
    let files = tables.flat_map(|table| table["files"].as_array().unwrap());
    files.map(|file| file["sha256"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_star_in_a_bucket_is_that_of_a_folder_byte_by_byte_and_every_command_works_on_it() {
    let source = cluster().shop();
    let (mut project, bucket) = shop();
    // A folder that somebody made in a console.
    bucket.put("night/shop/", b"");
    project.set("SHOP_SOURCE", &source.url());
    project.set("SHOP_TARGET", &source.url());
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 2\ngrace = \"0s\"");
    let beside = Project::shop_on(&source);
    beside.edit("pipelines/shop.toml", "keep = 14", "keep = 2\ngrace = \"0s\"");
    project.starmill(&RUN).exits(0).says(&format!("Published: {}/snapshots/", bucket.url()));
    beside.night();
    let first = bucket.latest().unwrap();
    source.sql("UPDATE customers SET full_name = 'Nobody' WHERE customer_id = 3; DELETE FROM order_items WHERE item_id = 7");
    let report = project.starmill(&["run", "pipelines/shop.toml", "--format", "json"]).exits(0).json();
    beside.night();
    assert_eq!(counts(&report, "dim_customer"), (0, 0, 1));
    assert_eq!(counts(&report, "fact_order_items"), (0, 1, 0));
    let second = bucket.latest().unwrap();
    let there = bucket.json(&format!("snapshots/{second}/manifest.json"));
    let here = beside.read(&format!("out/shop/snapshots/{}/manifest.json", beside.latest().unwrap()));
    assert_eq!(hashes(&there), hashes(&serde_json::from_str(&here).unwrap()));
    bucket.assert_whole();

    let query = |project: &Project, at: &str| {
        project
            .starmill(&["query", "pipelines/shop.toml", TOTALS, "--at", at, "--format", "csv"])
            .exits(0)
            .stdout
    };
    assert_eq!(query(&project, "latest"), query(&beside, "latest"));
    assert_eq!(query(&project, "latest~1"), query(&beside, "latest~1"));
    project
        .starmill(&["snapshots", "verify", "pipelines/shop.toml"])
        .exits(0)
        .says("2 snapshots and the registry");
    project.starmill(&["snapshots", "show", "pipelines/shop.toml", &first]).exits(0).says(&bucket.url());
    project.starmill(&["diff", "pipelines/shop.toml", "latest~1", "latest"]).exits(0).says("Nobody");
    project.starmill(&["deliver", "pipelines/shop.toml", "--verify"]).exits(0);

    // Another machine has nothing of it yet, and gets all that it needs.
    project.set("XDG_CACHE_HOME", &project.path("elsewhere").display().to_string());
    project.set("XDG_STATE_HOME", &project.path("elsewhere").display().to_string());
    assert_eq!(query(&project, "latest~1"), query(&beside, "latest~1"));
    assert_eq!(project.entries("elsewhere/starmill").len(), 1);
    let brought =
        project.entries(&format!("elsewhere/starmill/{}/tables", project.entries("elsewhere/starmill")[0]));
    assert_eq!(brought, ["fact_order_items"], "only what was asked for");

    project.starmill(&["snapshots", "rollback", "pipelines/shop.toml", "--yes"]).exits(0);
    assert_eq!(bucket.latest().as_deref(), Some(first.as_str()));
    assert_ne!(source.sql("SELECT full_name FROM mart.dim_customer WHERE customer_id = 3"), "Nobody");
    project.starmill(&RUN).exits(0);
    let kept = bucket.json("latest.json")["snapshots"].as_array().unwrap().len();
    assert_eq!(kept, 2, "the one that was published first is pruned");
    let files: Vec<String> =
        bucket.objects().into_iter().filter(|name| name.starts_with("tables/")).collect();
    assert_eq!(files, bucket.named_files());
    let runs = project.starmill(&["runs", "pipelines/shop.toml", "--format", "json"]).exits(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 4, "three nights and a rollback");
    bucket.assert_whole();
}

/// The points of a run at which something can be half done in a bucket.
fn points() -> Vec<&'static str> {
    let of_a_folder = ["build.model", "publish.synced", "lake.written", "delta.table"];
    let late = RUN_POINTS.iter().skip_while(|point| **point != "extract.done");
    late.filter(|point| !of_a_folder.contains(point)).copied().collect()
}

/// Runs until nobody holds the lease any more.
fn run_after_the_lease(project: &Project) -> Ran {
    loop {
        let ran = project.starmill(&RUN);
        if ran.code != Some(9) {
            return ran;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Stops a process at the point where it pauses, until its lease has run out and another run has ended so.
fn overtaken(project: &Project, args: &[&str], point: &str, meanwhile: impl FnOnce() -> Ran) -> (Child, Ran) {
    let flag = project.path("paused");
    let child = project.start(args, Some(&format!("{point}=pause:{}", flag.display())));
    wait_until("the first process to pause", || flag.exists());
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    let other = meanwhile();
    std::fs::remove_file(&flag).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    (child, other)
}

#[test]
fn a_run_that_is_killed_leaves_a_whole_star_in_its_bucket_and_the_next_one_succeeds() {
    let source = cluster().shop();
    let (mut project, bucket) = shop();
    project.set("SHOP_SOURCE", &source.url());
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 1\ngrace = \"0s\"\nlease = \"2s\"");
    project.starmill(&RUN).exits(0);
    let mut random = fastrand::Rng::with_seed(20_261_127);
    let moments = rounds(4);
    let points = points();
    for round in 0..points.len() + moments {
        let id = 40_000 + round;
        source.sql(&format!(
            "INSERT INTO orders VALUES ({id}, 1, 1, 2, '2025-01-01 00:00:00+00', 1.00); \
             INSERT INTO order_items VALUES ({id}, {id}, 1, 1, 1.00); INSERT INTO customers VALUES ({id}, 'C {id}', NULL)"
        ));
        let before = bucket.latest();
        match points.get(round) {
            Some(point) => {
                let killed = project.starmill_with_fault(&RUN, &format!("{point}=kill"));
                assert_eq!(killed.code, None, "{point} was not passed\n{}", killed.stderr);
                let committed = ["publish.committed", "publish.linked", "prune.snapshot"].contains(point);
                assert_eq!(bucket.latest() != before, committed, "{point}");
            }
            None => {
                let mut child = project.start(&RUN, None);
                std::thread::sleep(Duration::from_millis(random.u64(0..=1_500)));
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
        bucket.assert_whole();
        // Who died holds the lease for a while.
        run_after_the_lease(&project).exits(0);
        bucket.assert_whole();
        let named = bucket.named_files();
        let files: Vec<String> =
            bucket.objects().into_iter().filter(|name| name.starts_with("tables/")).collect();
        assert_eq!(files, named, "swept after round {round}");
        let snapshots = bucket.objects().iter().filter(|name| name.starts_with("snapshots/")).count();
        assert_eq!(snapshots, 1, "swept after round {round}");
    }
    let keys =
        "SELECT count(*) - count(DISTINCT customer_key), max(customer_key) - count(*) FROM dim_customer";
    let keys = project.starmill(&["query", "pipelines/shop.toml", keys, "--format", "csv"]).exits(0).stdout;
    assert!(keys.contains("0,-1"), "every key was given once, and none was lost: {keys}");
}

#[test]
fn the_second_of_two_writers_of_a_bucket_says_who_holds_it() {
    let (project, bucket) = shop();
    let flag = project.path("paused");
    let first = project.start(&RUN, Some(&format!("audit.done=pause:{}", flag.display())));
    wait_until("the first run to pause", || flag.exists());
    let held = format!("process {} on ", first.id());
    project
        .starmill(&RUN)
        .exits(9)
        .warns("another run holds the store s3://")
        .warns(&held)
        .warns("its lease ends 60 s after");
    project.starmill(&["run", "--dry-run", "pipelines/shop.toml"]).exits(0);
    std::fs::remove_file(&flag).unwrap();
    Ran::of(first).exits(0);
    project.starmill(&RUN).exits(0);
    bucket.assert_whole();
}

/// A run that stops at its commit for longer than its lease, and is too late.
pub fn overtaken_by_another(project: &Project) {
    let (first, second) = overtaken(project, &RUN, "publish.commit-file", || run_after_the_lease(project));
    second.exits(0);
    Ran::of(first).exits(9).warns("another run wrote the store");
}

#[test]
fn a_writer_that_was_taken_for_dead_commits_nothing_over_the_one_that_followed_it() {
    for (round, point) in ["audit.done", "publish.tables", "publish.commit-file"].into_iter().enumerate() {
        let (project, bucket) = shop();
        project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nlease = \"2s\"");
        if round > 0 {
            project.starmill(&RUN).exits(0);
        }
        let mut won = String::new();
        let (first, second) = overtaken(&project, &RUN, point, || {
            let second = run_after_the_lease(&project);
            won = bucket.latest().unwrap();
            second
        });
        second.exits(0);
        Ran::of(first).exits(9).warns("another run wrote the store").warns(&won);
        assert_eq!(bucket.latest().unwrap(), won, "{point}");
        bucket.assert_whole();
        project.starmill(&RUN).exits(0);
        bucket.assert_whole();
        project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
    }
}

#[test]
fn what_a_writer_left_who_still_works_is_taken_away_only_after_its_commit_cannot_succeed() {
    let (project, bucket) = shop();
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nlease = \"2s\"");
    project.starmill(&RUN).exits(0);
    let before = bucket.latest();
    // Something to be swept: a fact of its own.
    project.edit("sql/shop/top_products.sql", "rank <= 10", "rank <= 9");
    let (first, second) = overtaken(&project, &RUN, "publish.commit-file", || {
        // The second takes the lease and sweeps, and then its audit refuses: it publishes nothing.
        project.double_items();
        run_after_the_lease(&project)
    });
    second.exits(7);
    Ran::of(first).exits(9);
    assert_eq!(bucket.latest(), before);
    bucket.assert_whole();
}

#[test]
fn a_signal_while_files_are_sent_ends_the_run_and_the_next_one_succeeds() {
    let (mut project, bucket) = shop();
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nlease = \"2s\"");
    let flag = project.path("sent");
    let said = flag.clone();
    let meddler = Meddler::before(&bucket, move |seen| {
        if seen.method == "PUT" && seen.path.contains("/tables/") {
            std::fs::write(&said, "").unwrap();
            std::thread::sleep(Duration::from_secs(5));
        }
        Fate::Passes
    });
    bucket.holds(&mut project, &meddler.endpoint());
    let run = project.start(&RUN, None);
    wait_until("the first file to be sent", || flag.exists());
    let began = std::time::Instant::now();
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).unwrap();
    Ran::of(run).exits(130).warns("interrupted; nothing was published");
    assert!(began.elapsed() < Duration::from_secs(4), "it waits for no file");
    bucket.holds(&mut project, &bucket.endpoint());
    project.starmill(&RUN).exits(0);
    bucket.assert_whole();
}

#[test]
fn a_server_that_ignores_conditions_is_refused() {
    let (project, bucket, _meddler) = shop_before(|_| Fate::Unconditionally);
    project.starmill(&RUN).exits(8).warns("though it was asked not to").warns("If-None-Match");
    assert_eq!(bucket.latest(), None);
    let only_creates = |seen: &Seen| match seen.head.to_lowercase().contains("if-match") {
        true => Fate::Unconditionally,
        false => Fate::Passes,
    };
    let (project, bucket, _meddler) = shop_before(only_creates);
    project.starmill(&RUN).exits(8).warns("replaces an object that is not the one that was read");
    assert_eq!(bucket.latest(), None);
    assert!(bucket.objects().iter().all(|name| !name.starts_with(".probe")), "{:?}", bucket.objects());
}

#[test]
fn a_server_that_answers_badly_for_a_while_holds_up_no_night() {
    let fates = [
        Fate::Refused(500, "InternalError"),
        Fate::Refused(503, "SlowDown"),
        Fate::AnswerLost,
        Fate::AnswerCut(40),
    ];
    let (project, bucket, meddler) = shop_before(move |seen| match seen.number % 5 {
        3 => fates[(seen.number / 5) % fates.len()].clone(),
        _ => Fate::Passes,
    });
    for _ in 0..2 {
        project.starmill(&RUN).exits(0);
        bucket.assert_whole();
    }
    let answer = project.starmill(&["query", "pipelines/shop.toml", TOTALS, "--format", "csv"]).exits(0);
    answer.says("12258,2580456.66");
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
    assert!(meddler.heads().len() > 100);
}

#[test]
fn an_answer_to_a_removal_that_is_cut_is_asked_for_again() {
    let (project, bucket, meddler) = shop_before(|seen| {
        match seen.method == "POST" && seen.path.contains("delete") && seen.number % 2 == 0 {
            true => Fate::AnswerCut(40),
            false => Fate::Passes,
        }
    });
    project.starmill(&RUN).exits(0);
    project.starmill(&RUN).exits(0);
    bucket.assert_whole();
    assert!(meddler.heads().iter().any(|head| head.starts_with("POST") && head.contains("delete")));
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_to_stand() {
    let (project, bucket, _meddler) =
        shop_before(|seen| match seen.method == "PUT" && seen.path.contains("/latest.json") {
            true => Fate::AnswerLost,
            false => Fate::Passes,
        });
    project.starmill(&RUN).exits(0).says("Published:");
    let first = bucket.latest();
    assert!(first.is_some());
    project.starmill(&RUN).exits(0);
    assert_ne!(bucket.latest(), first);
    bucket.assert_whole();
}

#[test]
fn what_a_server_refuses_is_told_with_what_helps_and_nothing_is_lost() {
    for (status, code, on, told) in [
        (403, "AccessDenied", "PUT", "PutObject"),
        (403, "InvalidAccessKeyId", "GET", "does not know these credentials"),
        (403, "SignatureDoesNotMatch", "GET", "does not know these credentials"),
        (400, "ExpiredToken", "GET", "they have expired"),
        (403, "RequestTimeTooSkewed", "GET", "this machine's clock"),
        (404, "NoSuchBucket", "GET", "make the bucket"),
        (400, "AuthorizationHeaderMalformed", "GET", "in another region"),
    ] {
        let (mut project, bucket) = shop();
        project.starmill(&RUN).exits(0);
        let before = bucket.latest();
        let meddler = Meddler::before(&bucket, move |seen| match seen.method == on {
            true => Fate::Refused(status, code),
            false => Fate::Passes,
        });
        bucket.holds(&mut project, &meddler.endpoint());
        let ran = project.starmill(&RUN).exits(8).warns(told).warns(code);
        let ran = ran.never_shows("s3cr3t-of-the-bucket").never_shows("AKIANIGHTLY").never_shows("<Error>");
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
        assert_eq!(bucket.latest(), before, "{code}");
        bucket.assert_whole();
    }
}

#[test]
fn a_bucket_that_is_not_there_or_gives_no_answer_ends_the_run_with_eight() {
    let (mut project, bucket) = shop();
    project.set("SHOP_STORE", "s3://nobody-has-made-it/shop");
    let ran =
        project.starmill(&RUN).exits(8).warns("there is no bucket nobody-has-made-it").warns("NoSuchBucket");
    assert_eq!(ran.stderr.matches("no bucket").count(), 1, "said once\n{}", ran.stderr);
    bucket.holds(&mut project, "http://127.0.0.1:1");
    project.starmill(&RUN).exits(8).warns("gives no answer").warns("check `endpoint`");
    bucket.holds(&mut project, &bucket.endpoint());
    bucket.put("night/shop/holiday.jpg", b"somebody else's");
    project.starmill(&RUN).exits(8).warns("has something of somebody else's: holiday.jpg");
    assert_eq!(bucket.objects(), ["holiday.jpg"]);
}

#[test]
fn a_damaged_object_is_told_by_its_name_and_one_that_was_damaged_on_its_way_comes_again() {
    let (mut project, bucket) = shop();
    project.starmill(&RUN).exits(0);
    project.set("XDG_CACHE_HOME", &project.path("elsewhere").display().to_string());
    let damaged = AtomicUsize::new(0);
    let meddler = Meddler::before(&bucket, move |seen| {
        let is_data = seen.method == "GET" && seen.path.contains("/tables/fact_order_items/");
        match is_data && damaged.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Fate::Damaged,
            false => Fate::Passes,
        }
    });
    let cache = project.path("elsewhere").display().to_string();
    bucket.holds(&mut project, &meddler.endpoint());
    project.set("XDG_CACHE_HOME", &cache);
    let query = ["query", "pipelines/shop.toml", TOTALS, "--format", "csv"];
    project.starmill(&query).exits(0).says("12258,2580456.66");
    // Now it lies there so.
    let name = bucket.named_files().into_iter().find(|name| name.contains("fact_order_items")).unwrap();
    let mut bytes = bucket.get(&name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.put(&format!("night/shop/{name}"), &bytes);
    project.set("XDG_CACHE_HOME", &project.path("a-third").display().to_string());
    project.starmill(&query).exits(8).warns(&name).warns("its bytes are not those that were published");
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(8).says(&name);
    bucket.delete(&name);
    project.starmill(&query).exits(8).warns(&name);
    // The next night brings it again: its rows are those of the source.
    project.starmill(&RUN);
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn a_prune_that_was_taken_for_dead_removes_nothing_of_the_run_that_followed_it() {
    let (project, bucket) = shop();
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nlease = \"2s\"");
    for rank in ["rank <= 9", "rank <= 8", "rank <= 7"] {
        let sql = project.read("sql/shop/top_products.sql");
        let (before, _) = sql.split_once("rank <= ").unwrap();
        project.write("sql/shop/top_products.sql", &format!("{before}{rank}\n"));
        project.starmill(&RUN).exits(0);
    }
    let prune = ["snapshots", "prune", "pipelines/shop.toml", "--keep", "2", "--grace", "0s"];
    let (first, second) = overtaken(&project, &prune, "prune.snapshot", || {
        project.edit("sql/shop/top_products.sql", "rank <= 7", "rank <= 6");
        run_after_the_lease(&project)
    });
    second.exits(0);
    Ran::of(first).exits(0);
    bucket.assert_whole();
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn what_lies_damaged_in_a_bucket_is_sent_again_by_the_next_night() {
    let (project, bucket) = shop();
    project.starmill(&RUN).exits(0);
    let name = bucket.named_files().into_iter().find(|name| name.contains("fact_order_items")).unwrap();
    let mut bytes = bucket.get(&name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.put(&format!("night/shop/{name}"), &bytes);
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(8).says(&name);
    project.starmill(&RUN).exits(0);
    bucket.assert_whole();
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn copies_that_go_while_a_run_needs_them_come_again() {
    let (project, _bucket) = shop();
    project.starmill(&RUN).exits(0);
    let flag = project.path("paused");
    let run = project.start(&RUN, Some(&format!("extract.done=pause:{}", flag.display())));
    wait_until("the run to pause", || flag.exists());
    let cache = format!("cache/starmill/{}", project.entries("cache/starmill")[0]);
    for below in ["keys", "tables"] {
        std::fs::remove_dir_all(project.path(&format!("{cache}/{below}"))).unwrap();
    }
    std::fs::remove_file(&flag).unwrap();
    Ran::of(run).exits(0);
    project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn a_probe_that_was_obeyed_without_an_answer_is_no_reason_to_refuse_a_server() {
    let (project, bucket, _meddler) =
        shop_before(|seen| match seen.method == "PUT" && seen.path.contains("/.probe-") && seen.number < 4 {
            true => Fate::AnswerLost,
            false => Fate::Passes,
        });
    project.starmill(&RUN).exits(0);
    bucket.assert_whole();
}

#[test]
fn variables_that_no_request_can_carry_are_told_and_line_ends_are_not() {
    for (name, value, told) in [
        ("AWS_ENDPOINT_URL", "127.0.0.1:6100", "is no address of a server"),
        ("AWS_ENDPOINT_URL", "http//127.0.0.1", "is no address of a server"),
        ("AWS_SESSION_TOKEN", "a\nb", "AWS_SESSION_TOKEN has a letter"),
        ("AWS_REGION", "eu-\u{e9}", "AWS_REGION has a letter"),
    ] {
        let (mut project, bucket) = shop();
        project.set(name, value);
        project.starmill(&RUN).exits(8).warns(told);
        assert_eq!(bucket.latest(), None);
    }
    let (mut project, bucket) = shop();
    project.set("AWS_ACCESS_KEY_ID", "AKIANIGHTLY\n");
    project.set("AWS_REGION", "eu-central-1\n");
    project.starmill(&RUN).exits(0);
    bucket.assert_whole();
}

#[test]
fn a_scheduler_sees_that_a_bucket_which_gave_no_answer_is_there_again() {
    let lost = Arc::new(AtomicBool::new(false));
    let is_lost = Arc::clone(&lost);
    let (project, bucket, _meddler) = shop_before(move |_| match is_lost.load(Ordering::Relaxed) {
        true => Fate::Lost,
        false => Fate::Passes,
    });
    project.starmill(&RUN).exits(0);
    let args = ["--listen", "127.0.0.1:0", SHOP];
    let scheduler = Scheduler::start(&project, "2026-11-20T12:00:00Z*1", None, &args);
    scheduler.waits_for("address=");
    let well = || fetch(&scheduler.address(), "/health/shop").0;
    assert_eq!(well(), 200);
    lost.store(true, Ordering::Relaxed);
    assert_eq!(well(), 503);
    lost.store(false, Ordering::Relaxed);
    wait_until("the bucket to be seen again", || well() == 200);
    bucket.assert_whole();
    scheduler.signal(Signal::SIGTERM);
    scheduler.ends();
}

#[test]
fn a_registry_that_is_written_together_gives_no_key_a_second_time() {
    let source = cluster().database();
    source.sql("CREATE TABLE c (id int PRIMARY KEY)");
    let bucket = Bucket::make();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"{}\"\nkeep = 2\ngrace = \"0s\"\n\
         [dimension.d]\nkey = [\"id\"]\nsurrogate = \"d_key\"\n",
        source.url(),
        bucket.url()
    );
    let mut project = Project::of(&toml, &[("d", "SELECT id FROM c")], "", &[]);
    bucket.holds(&mut project, &bucket.endpoint());
    for night in 1..=34 {
        source.sql(&format!("INSERT INTO c VALUES ({night})"));
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    }
    let keys: Vec<String> = bucket.objects().into_iter().filter(|name| name.starts_with("keys/")).collect();
    assert!(keys.iter().any(|name| name.contains("-together")) && keys.len() < 5, "{keys:?}");
    project.set("XDG_CACHE_HOME", &project.path("elsewhere").display().to_string());
    let sql = "SELECT count(*), count(DISTINCT d_key), min(d_key), max(d_key), sum(d_key - id) FROM d WHERE d_key > 0";
    project.starmill(&["query", "pipelines/p.toml", sql, "--format", "csv"]).exits(0).says("34,34,1,34,0");
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_note_that_cannot_be_read_is_not_written_over() {
    let (mut project, bucket) = shop();
    let schedule = ["schedule", "--once", "pipelines/shop.toml"];
    project.set("STARMILL_CLOCK", "2026-11-20T12:00:00Z*1");
    project.starmill(&schedule).exits(0);
    let watch = bucket.get("schedule.json").unwrap();
    let meddler =
        Meddler::before(&bucket, |seen| match seen.method == "GET" && seen.path.contains("schedule.json") {
            true => Fate::Refused(403, "AccessDenied"),
            false => Fate::Passes,
        });
    bucket.holds(&mut project, &meddler.endpoint());
    project.set("STARMILL_CLOCK", "2026-11-22T12:00:00Z*1");
    project.starmill(&schedule);
    assert_eq!(bucket.get("schedule.json").unwrap(), watch, "what could not be read is not written over");
}

#[test]
fn a_bucket_that_was_emptied_is_not_begun_anew() {
    let (project, bucket) = shop();
    project.starmill(&RUN).exits(0);
    for name in bucket.objects() {
        bucket.delete(&name);
    }
    project.starmill(&RUN).exits(8).warns("is gone").warns("--new-store");
    assert_eq!(bucket.latest(), None);
    project.starmill(&["query", "pipelines/shop.toml", TOTALS]).exits(8).warns("is gone");
    project.starmill(&["run", "--new-store", "pipelines/shop.toml"]).exits(0);
    bucket.assert_whole();
}

#[test]
fn a_profile_gives_credentials_region_and_server() {
    let (mut project, bucket, meddler) = shop_before(|_| Fate::Passes);
    for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        project.set(name, "");
    }
    project.write("aws/credentials", "[default]\naws_access_key_id = NOTME\naws_secret_access_key = x\n[night]\naws_access_key_id = ATNIGHT\naws_secret_access_key = hush\n");
    project.write(
        "aws/config",
        &format!(
            "[profile night]\nregion = eu-west-3\nendpoint_url = {}\n[profile sso]\nsso_session = work\n",
            meddler.endpoint()
        ),
    );
    project.set("AWS_SHARED_CREDENTIALS_FILE", &project.path("aws/credentials").display().to_string());
    project.set("AWS_CONFIG_FILE", &project.path("aws/config").display().to_string());
    project.set("AWS_PROFILE", "night");
    project.starmill(&RUN).exits(0).never_shows("hush").never_shows("ATNIGHT");
    bucket.assert_whole();
    let heads = meddler.heads();
    assert!(
        heads.iter().all(|head| head.contains("Credential=ATNIGHT/") && head.contains("/eu-west-3/s3/")),
        "{}",
        heads[0]
    );
    project.set("AWS_PROFILE", "nobody");
    project.starmill(&RUN).exits(8).warns("there is no profile nobody");
    project.set("AWS_PROFILE", "sso");
    project
        .starmill(&RUN)
        .exits(8)
        .warns("by `sso_session`, which is not read here")
        .warns("export-credentials");
}

#[test]
fn a_place_that_is_none_is_told_with_its_line() {
    for (store, told) in [
        ("url = \"s3://\"", "this names no bucket"),
        ("url = \"s3://Stars/shop\"", "this names no bucket"),
        ("url = \"s3://key:s3cret@stars/shop\"", "has no user and no password"),
        ("url = \"s3://stars/a/../b\"", "this prefix is none"),
        ("url = \"s3://stars/a\"\nendpoint = \"localhost:9000\"", "this is no address of a server"),
        ("url = \"s3://stars/a\"\nlease = \"1s\"", "so short a lease"),
        ("url = \"s3://stars/a\"\naddressing = \"guess\"", "valid: auto, path and virtual"),
        ("url = \"out\"\nregion = \"eu-central-1\"", "`region` is of a store in a bucket"),
        ("url = \"ftp://stars/a\"", "a store cannot be `ftp://…`"),
        ("url = \"gs://stars/a\"\nregion = \"eu-central-1\"", "`region` is of S3"),
    ] {
        let toml = format!("name = \"p\"\n[source]\nurl = \"data\"\n[store]\n{store}\n[summary.s]\n");
        let project =
            Project::of(&toml, &[("s", "SELECT 1 AS x")], "CREATE TABLE t (id int);", &[("t", "id\n1\n")]);
        project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns(told).never_shows("s3cret");
    }
}

#[test]
fn a_large_file_travels_in_parts() {
    let source = cluster().database();
    source.sql("CREATE TABLE t AS SELECT i AS id, md5(i::text) || md5((-i)::text) || md5((i * 7)::text) AS x FROM generate_series(1, 450000) i");
    source.sql("ALTER TABLE t ADD PRIMARY KEY (id)");
    let bucket = Bucket::make();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"{}\"\nfile_size = \"1GB\"\n[summary.s]\nkey = [\"id\"]\n",
        source.url(),
        bucket.url()
    );
    let mut project = Project::of(&toml, &[("s", "SELECT id, x FROM t")], "", &[]);
    let meddler = Meddler::before(&bucket, |_| Fate::Passes);
    bucket.holds(&mut project, &meddler.endpoint());
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    bucket.assert_whole();
    let parts = meddler.heads().iter().filter(|head| head.contains("partNumber=")).count();
    assert!(parts > 1, "{parts} parts");
    project.set("XDG_CACHE_HOME", &project.path("elsewhere").display().to_string());
    let sql = "SELECT count(*), max(length(x)) FROM s";
    project.starmill(&["query", "pipelines/p.toml", sql, "--format", "csv"]).exits(0).says("450000,96");
}
