//! Data files belong to their tables: nights share those whose rows did not change, and every engine reads them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use serde_json::Value;

use crate::support::{Project, counts, lake};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];

const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\nfile_size = \"64kB\"\n\
    [dimension.dim_small]\nkey = [\"id\"]\nsurrogate = \"small_key\"\n\
    [fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"amount\"]\n";

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, amount numeric(12,2), note text, day date); \
    CREATE TABLE small (id int PRIMARY KEY, name text);";

/// A row that does not compress, and is the same whenever it is asked for.
fn row(id: u32) -> String {
    let mut noise = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    noise ^= noise >> 29;
    let noise = noise.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    format!("{id},{}.{:02},{noise:016x},2024-01-{:02}\n", noise % 9_999, noise % 100, 1 + id % 28)
}

fn rows(ids: impl Iterator<Item = u32>) -> String {
    ids.fold("id,amount,note,day\n".to_owned(), |mut text, id| {
        text.push_str(&row(id));
        text
    })
}

fn large() -> Project {
    let models = [("f", "SELECT id, amount, note, day FROM t"), ("dim_small", "SELECT id, name FROM small")];
    let tables = [("t", &*rows((0..60_000).map(|id| id * 2))), ("small", "id,name\n1,one\n2,two\n")];
    Project::of(TOML, &models, SCHEMA, &tables)
}

fn published(project: &Project) -> String {
    let latest: Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    latest["snapshot"].as_str().unwrap().to_owned()
}

fn manifest(project: &Project, id: &str) -> Value {
    serde_json::from_str(&project.read(&format!("out/snapshots/{id}/manifest.json"))).unwrap()
}

/// The names of a table's files in a snapshot.
fn files(manifest: &Value, table: &str) -> Vec<String> {
    let tables = manifest["tables"].as_array().unwrap();
    let table = tables.iter().find(|one| one["name"] == table).unwrap();
    table["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

fn count(project: &Project, at: &str) -> String {
    let asked = ["query", "pipelines/p.toml", "SELECT count(*) AS n, sum(amount) AS s FROM f", "--at", at];
    project.starmill(&[&asked[..], &["--format", "csv"]].concat()).exits(0).stdout
}

#[test]
fn a_night_that_changes_little_names_yesterdays_files_again() {
    let project = large();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    let before = files(&manifest(&project, &first), "f");
    assert!(before.len() > 5, "{} files of some 64 kB", before.len());
    let sums = count(&project, &first);
    // One row in a hundred more, at the newest end, and one in the middle.
    let more = rows((0..60_000).map(|id| id * 2).chain(120_000..120_600));
    project.write("data/t.csv", &more.replacen(&row(60_000), &(row(60_000) + &row(60_001)), 1));
    let report = project.starmill(&["run", "pipelines/p.toml", "--format", "json"]).exits(0).json();
    assert_eq!(counts(&report, "f"), (601, 0, 0));
    let second = published(&project);
    let after = files(&manifest(&project, &second), "f");
    let fresh: Vec<&String> = after.iter().filter(|file| !before.contains(file)).collect();
    assert!((1..=5).contains(&fresh.len()), "{} of {} files are new", fresh.len(), after.len());
    assert_eq!(
        files(&manifest(&project, &second), "dim_small"),
        files(&manifest(&project, &first), "dim_small")
    );
    // Both snapshots are whole, and each is what it was.
    assert_eq!(count(&project, &first), sums);
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    assert_eq!(project.data_files("out"), project.named_files("out"));
    // The same content gives the same files, whatever led there.
    project.write("data/t.csv", &rows((0..60_000).map(|id| id * 2)));
    project.starmill(&RUN).exits(0);
    let third = published(&project);
    let sizes = |id: &str| {
        let manifest = manifest(&project, id);
        let table =
            manifest["tables"].as_array().unwrap().iter().find(|one| one["name"] == "f").unwrap().clone();
        let files = table["files"].as_array().unwrap().clone();
        files.iter().map(|file| file["sha256"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&third), sizes(&first));
    // What only the pruned ones named goes with them, and nothing else.
    let prune = ["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"];
    project.starmill(&prune).exits(0);
    assert_eq!(project.entries("out/snapshots"), std::slice::from_ref(&third));
    assert_eq!(project.data_files("out"), project.named_files("out"));
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    assert_eq!(count(&project, "latest"), sums);
}

#[test]
fn a_file_that_was_damaged_or_lost_is_made_whole_by_the_next_night_that_has_the_same_rows() {
    let project = large();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    project.write("data/t.csv", &rows(0..50_000));
    project.starmill(&RUN).exits(0);
    let file = project.data_file("out", &first, "dim_small");
    for lost in [false, true] {
        match lost {
            true => std::fs::remove_file(project.path(&file)).unwrap(),
            false => std::fs::write(project.path(&file), "half").unwrap(),
        }
        project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(8).says(&file);
        project.starmill(&RUN).exits(0);
        project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
        assert_eq!(project.data_file("out", &published(&project), "dim_small"), file);
    }
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", &first, "--yes"]).exits(0);
}

#[test]
fn a_publication_that_fails_leaves_nothing_and_links_that_are_gone_are_told() {
    let project = large();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    project.write("data/t.csv", &rows(0..50_000));
    for fault in ["publish.renamed=fail", "publish.commit-file=full"] {
        project.starmill_with_fault(&RUN, fault).exits(8);
        assert_eq!(project.entries("out/snapshots"), std::slice::from_ref(&first), "{fault}");
        assert_eq!(project.data_files("out"), project.named_files("out"), "{fault}");
    }
    std::fs::remove_file(project.path(&format!("out/snapshots/{first}/f/part-3.parquet"))).unwrap();
    project
        .starmill(&["snapshots", "verify", "pipelines/p.toml"])
        .exits(8)
        .says("part-3.parquet")
        .says("fewer rows");
    project.starmill(&RUN).exits(0);
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_column_keeps_its_number_and_a_number_is_never_given_again() {
    let project = large();
    let ids = |project: &Project| {
        let path = project.path("out/latest/f/part-0.parquet");
        let file = std::fs::File::open(path).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let root = builder.parquet_schema().root_schema().clone();
        let columns = root
            .get_fields()
            .iter()
            .map(|field| (field.get_basic_info().name().to_owned(), field.get_basic_info().id()));
        columns.collect::<Vec<_>>()
    };
    let named =
        |all: &[(&str, i32)]| all.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect::<Vec<_>>();
    project.starmill(&RUN).exits(0);
    assert_eq!(ids(&project), named(&[("id", 1), ("amount", 2), ("note", 3), ("day", 4)]));
    project.write("sql/p/f.sql", "SELECT day, id, amount FROM t");
    project.starmill(&RUN).exits(0);
    assert_eq!(ids(&project), named(&[("day", 4), ("id", 1), ("amount", 2)]));
    // A model that is away for a night, and comes back with a column that was another one before.
    let toml = project.read("pipelines/p.toml");
    project.write("pipelines/p.toml", toml.split("[fact.f]").next().unwrap());
    project.starmill(&RUN).exits(0);
    project.write("pipelines/p.toml", &toml);
    project.write("sql/p/f.sql", "SELECT id, amount, id AS note FROM t");
    project.starmill(&RUN).exits(0);
    assert_eq!(ids(&project), named(&[("id", 1), ("amount", 2), ("note", 5)]));
    let manifest = manifest(&project, &published(&project));
    let table = manifest["tables"].as_array().unwrap().iter().find(|one| one["name"] == "f").unwrap().clone();
    assert_eq!(table["columns"][2]["id"], 5);
}

/// Makes a store what an older starmill wrote: every snapshot has its own files in its own folder.
fn aged(project: &Project) {
    let mut latest: Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    latest["format"] = 1.into();
    latest.as_object_mut().unwrap().remove("columns");
    for id in project.entries("out/snapshots") {
        let folder = format!("out/snapshots/{id}");
        let mut manifest = manifest(project, &id);
        manifest["format"] = 1.into();
        for table in manifest["tables"].as_array_mut().unwrap() {
            let name = table["name"].as_str().unwrap().to_owned();
            for (number, file) in table["files"].as_array_mut().unwrap().iter_mut().enumerate() {
                let part = format!("part-{number}.parquet");
                let data = project.path(&format!("out/tables/{name}/{}", file["name"].as_str().unwrap()));
                let own = project.path(&format!("{folder}/{name}/{part}"));
                std::fs::remove_file(&own).unwrap();
                std::fs::copy(data, own).unwrap();
                file["name"] = part.into();
            }
            for column in table["columns"].as_array_mut().unwrap() {
                column.as_object_mut().unwrap().remove("id");
            }
        }
        let text = serde_json::to_string_pretty(&manifest).unwrap();
        let hash = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
        let hash = hash.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        latest["manifests"][&id] = hash.into();
        project.write(&format!("{folder}/manifest.json"), &text);
    }
    std::fs::remove_dir_all(project.path("out/tables")).unwrap();
    project.write("out/latest.json", &serde_json::to_string_pretty(&latest).unwrap());
}

#[test]
fn a_store_of_the_older_format_is_read_and_the_next_run_writes_the_new_one() {
    let project = large();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    let sums = count(&project, &first);
    project.write("data/t.csv", &rows(0..50_000));
    project.starmill(&RUN).exits(0);
    let second = published(&project);
    aged(&project);
    assert_eq!(count(&project, &first), sums);
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    let diff = project.starmill(&["diff", "pipelines/p.toml", &first, &second]).exits(0).stdout;
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", &first, "--yes"]).exits(0);
    assert_eq!(count(&project, "latest"), sums);
    project.starmill(&RUN).exits(0);
    let third = published(&project);
    assert_eq!(manifest(&project, &third)["format"], 2);
    assert_eq!(
        project.data_files("out"),
        project.named_files("out").into_iter().filter(|file| file.contains(&third)).collect::<Vec<_>>()
    );
    let later = project.starmill(&["diff", "pipelines/p.toml", &first, &third]).exits(0).stdout;
    assert_eq!(later.replace(&third, &second).lines().count(), diff.lines().count(), "{later}\n{diff}");
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"]).exits(0);
    assert_eq!(project.entries("out/snapshots"), [third]);
}

#[test]
fn a_store_of_the_older_format_gets_a_lake_and_logs_with_its_next_night() {
    let project = large();
    project.starmill(&RUN).exits(0);
    aged(&project);
    project.edit("pipelines/p.toml", "file_size = ", "lake = true\ndelta = true\nfile_size = ");
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "5"]).exits(0);
    assert!(!project.path("out/lake.sqlite").exists(), "there is nothing that it could show");
    project.write("data/t.csv", &rows(0..50_000));
    project.starmill(&RUN).exits(0);
    let attach =
        format!("ATTACH 'ducklake:sqlite:{}' AS lake (READ_ONLY)", project.path("out/lake.sqlite").display());
    assert_eq!(lake(&attach, &["SELECT count(*) FROM lake.f"])[0], "50000");
    assert!(project.path("out/tables/f/_delta_log/00000000000000000000.json").exists());
}

#[test]
fn files_of_others_among_ours_stay_and_are_told() {
    let project = large();
    project.starmill(&RUN).exits(0);
    let id = published(&project);
    project.write("out/tables/f/notes.parquet", "precious");
    project.write("out/tables/mine/20260101T000000Z-abcd-x.parquet", "precious");
    // One that a dead run left goes.
    project.write("out/tables/f/20260101T000000Z-abcd-3.parquet", "half");
    project
        .starmill(&["snapshots", "verify", "pipelines/p.toml"])
        .exits(8)
        .says("notes.parquet")
        .says("nobody published it");
    project.starmill(&RUN).exits(0);
    assert_eq!(project.read("out/tables/f/notes.parquet"), "precious");
    assert!(project.path("out/tables/mine/20260101T000000Z-abcd-x.parquet").exists());
    assert!(!project.path("out/tables/f/20260101T000000Z-abcd-3.parquet").exists());
    // A link that somebody removed is there again after the next command that writes; a foreign one is told.
    std::fs::remove_file(project.path("out/tables/f/notes.parquet")).unwrap();
    std::fs::remove_dir_all(project.path("out/tables/mine")).unwrap();
    let link = project.path(&format!("out/snapshots/{}/f/part-1.parquet", published(&project)));
    std::fs::remove_file(&link).unwrap();
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", &id, "--grace", "0s"]).exits(0);
    assert!(link.exists());
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(8).says("part-1.parquet");
    project.starmill(&RUN).exits(0);
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn other_engines_read_every_snapshot_by_its_path() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    let project = large();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    project.write("data/t.csv", &rows(0..50_000));
    project.starmill(&RUN).exits(0);
    for (at, folder) in [(first.as_str(), format!("snapshots/{first}")), ("latest", "latest".to_owned())] {
        let files = project.path(&format!("out/{folder}/f/*.parquet"));
        let sql = format!("SELECT count(*) AS n, sum(amount) AS s FROM '{}'", files.display());
        let program = format!("import duckdb; print(*duckdb.sql(\"\"\"{sql}\"\"\").fetchone(), sep=',')");
        let asked = Command::new(&python).args(["-c", &program]).output().unwrap();
        let theirs = String::from_utf8(asked.stdout).unwrap();
        assert_eq!(
            format!("n,s\n{theirs}"),
            count(&project, at),
            "{}",
            String::from_utf8_lossy(&asked.stderr)
        );
    }
}

/// A file that counts what is read of it.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Length for Counted {
    fn len(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }
}

impl ChunkReader for Counted {
    type T = CountedRead;

    fn get_read(&self, start: u64) -> parquet::errors::Result<CountedRead> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(CountedRead { file, bytes: Arc::clone(&self.bytes) })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

struct CountedRead {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for CountedRead {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[test]
fn a_row_is_found_by_its_key_in_a_few_pages() {
    let project = large();
    // One file of many pages.
    project.edit("pipelines/p.toml", "file_size = \"64kB\"\n", "file_size = \"64MB\"\n");
    project.write("data/t.csv", &rows(0..300_000));
    project.starmill(&RUN).exits(0);
    let path = project.path("out/latest/f/part-0.parquet");
    let bytes = Arc::new(AtomicU64::new(0));
    let counted = Counted { file: File::open(&path).unwrap(), bytes: Arc::clone(&bytes) };
    let whole = counted.len();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(counted, options).unwrap();
    let metadata = Arc::clone(builder.metadata());
    // As engines do it: the pages of the key's column whose extremes leave room for it say which rows are read.
    let wanted = 217_345;
    let (mut groups, mut ranges) = (Vec::new(), Vec::new());
    for group in 0..metadata.num_row_groups() {
        let ColumnIndexMetaData::INT32(index) = &metadata.column_index().unwrap()[group][0] else {
            panic!("no extremes of pages")
        };
        let pages = metadata.offset_index().unwrap()[group][0].page_locations();
        let begins = pages.iter().map(|page| page.first_row_index as usize);
        let ends = begins.clone().skip(1).chain([metadata.row_group(group).num_rows() as usize]);
        for ((page, begin), end) in begins.enumerate().zip(ends) {
            if (index.min_values()[page]..=index.max_values()[page]).contains(&wanted) {
                groups.push(group);
                ranges.push(begin..end);
            }
        }
    }
    assert_eq!((groups.len(), ranges.len()), (1, 1), "the rows are sorted by their key");
    let rows = metadata.row_group(groups[0]).num_rows() as usize;
    let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), rows);
    let reader = builder.with_row_groups(groups).with_row_selection(selection).build().unwrap();
    let found = reader.map(Result::unwrap).any(|batch| {
        let ids = batch.column(0).as_primitive::<Int32Type>();
        ids.values().contains(&wanted)
    });
    assert!(found);
    let read = bytes.load(Ordering::Relaxed);
    assert!(read * 8 < whole, "{read} of {whole} bytes");
}

#[test]
fn verify_tells_of_a_link_that_leads_readers_to_another_star() {
    let project = large();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    project.write("data/t.csv", &rows(0..100));
    project.starmill(&RUN).exits(0);
    let verify = ["snapshots", "verify", "pipelines/p.toml"];
    project.starmill(&verify).exits(0);
    let link = project.path("out/latest");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(format!("snapshots/{first}"), &link).unwrap();
    project.starmill(&verify).exits(8).says("the next run mends it");
    project.starmill(&RUN).exits(0);
    project.starmill(&verify).exits(0);
    // A copy that was made with `cp -rL`.
    std::fs::remove_file(&link).unwrap();
    std::fs::create_dir(&link).unwrap();
    project.starmill(&verify).exits(8).says("move it away");
    std::fs::rename(&link, project.path("out-of-the-way")).unwrap();
    project.starmill(&RUN).exits(0);
    project.starmill(&verify).exits(0);
}

#[test]
fn a_highest_key_below_those_that_were_given_is_damage_and_gives_none_twice() {
    let project = large();
    project.starmill(&RUN).exits(0);
    project.write("data/small.csv", "id,name\n1,one\n");
    project.starmill(&RUN).exits(0);
    project.edit("out/latest.json", "\"highest\": 2", "\"highest\": 1");
    let verify = ["snapshots", "verify", "pipelines/p.toml"];
    project.starmill(&verify).exits(8).says("latest.json: it says that the highest key of dim_small is 1");
    project.write("data/small.csv", "id,name\n1,one\n3,three\n");
    project
        .starmill(&RUN)
        .exits(8)
        .warns("the highest key of dim_small is 1, and 2 was given")
        .warns("latest.json");
    project.edit("out/latest.json", "\"highest\": 1", "\"highest\": 2");
    project.starmill(&RUN).exits(0);
}
