//! The same night on every server that is to be had: Postgres 16 and 18 each time, 12 to 18 in the long
//! form (STARMILL_TEST_SERVERS names the folders of their programs).

use crate::support::{Cluster, Project, cluster_of, other_servers};
use crate::types::every_type_arrives;

fn servers() -> Vec<Cluster> {
    let servers: Vec<Cluster> = other_servers().iter().map(|programs| cluster_of(programs)).collect();
    let mut versions: Vec<u32> = servers.iter().map(Cluster::version).collect();
    versions.sort_unstable();
    assert!(versions.contains(&16) && versions.contains(&18), "servers to test with: {versions:?}");
    servers
}

#[test]
fn a_night_and_the_next_are_the_same_on_every_version() {
    for cluster in servers() {
        let source = cluster.shop();
        let mut project = Project::shop_on(&source);
        project.set("SHOP_TARGET", &source.url());
        let report = project.night();
        assert_eq!(report["outcome"], "published", "Postgres {}", cluster.version());
        assert_eq!(report["exit_code"], 0, "Postgres {}", cluster.version());
        source.sql("UPDATE orders SET carrier_id = carrier_id % 8 + 1 WHERE order_id % 100 = 7");
        let again = project.night();
        assert_eq!(again["exit_code"], 0, "Postgres {}", cluster.version());
        project.assert_store_is_whole();
        let orders = source.sql("SELECT count(*), sum(order_total) FROM mart.order_summary");
        let judged =
            source.sql("SELECT (SELECT count(*) FROM orders), (SELECT sum(line_total) FROM order_items)");
        assert_eq!(orders, judged, "Postgres {}", cluster.version());
    }
}

#[test]
fn every_type_arrives_from_every_version() {
    servers().iter().for_each(every_type_arrives);
}

#[test]
fn large_tables_and_partitions_are_read_whole_on_every_version() {
    for cluster in servers() {
        crate::relations::trees_are_read_whole(&cluster);
    }
}

#[test]
fn a_truncated_partition_is_no_smaller_table_on_any_version() {
    for cluster in servers() {
        crate::relations::a_partition_truncated_meanwhile_is_no_smaller_table(&cluster);
    }
}

#[test]
fn what_pg_dump_of_every_version_prints_types_a_folder() {
    crate::folder::other_dumps();
}

#[test]
fn the_answers_of_the_case_files_are_those_of_every_version() {
    crate::cases::judged_by_other_servers();
}
