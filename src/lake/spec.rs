//! The tables of a DuckLake catalog, version 1.0, with their columns (source: the DuckLake specification 1.0; the spelling of
//! the types is what its own writers make in SQLite and in Postgres). Readers want all of them, ours fill some.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Text,
    Boolean,
    Uuid,
    /// An instant, in UTC to the microsecond.
    Instant,
    /// The number that is this table's primary key.
    Key,
}

use Kind::{Boolean as B, Instant as W, Integer as I, Key as K, Text as T, Uuid as U};

pub type Columns = &'static [(&'static str, Kind)];

pub const METADATA: &str = "ducklake_metadata";
pub const SNAPSHOT: &str = "ducklake_snapshot";
pub const CHANGES: &str = "ducklake_snapshot_changes";
pub const SCHEMA: &str = "ducklake_schema";
pub const SCHEMA_VERSIONS: &str = "ducklake_schema_versions";
pub const TABLE: &str = "ducklake_table";
pub const COLUMN: &str = "ducklake_column";
pub const DATA_FILE: &str = "ducklake_data_file";
pub const FILE_STATS: &str = "ducklake_file_column_stats";
pub const TABLE_STATS: &str = "ducklake_table_stats";
pub const MAPPING: &str = "ducklake_column_mapping";
pub const MAPPED_NAME: &str = "ducklake_name_mapping";

/// The tables that a starmill fills, each with the columns by which its rows are replaced.
pub const FILLED: [(&str, &[&str]); 12] = [
    (METADATA, &["key"]),
    (SNAPSHOT, &["snapshot_id"]),
    (CHANGES, &["snapshot_id"]),
    (SCHEMA, &["schema_id"]),
    (SCHEMA_VERSIONS, &["begin_snapshot", "table_id"]),
    (TABLE, &["table_id", "begin_snapshot"]),
    (COLUMN, &["table_id", "column_id", "begin_snapshot"]),
    (DATA_FILE, &["data_file_id"]),
    (FILE_STATS, &["data_file_id"]),
    (TABLE_STATS, &["table_id"]),
    (MAPPING, &["mapping_id"]),
    (MAPPED_NAME, &["mapping_id"]),
];

pub const TABLES: [(&str, Columns); 28] = [
    (METADATA, &[("key", T), ("value", T), ("scope", T), ("scope_id", I)]),
    (
        SNAPSHOT,
        &[
            ("snapshot_id", K),
            ("snapshot_time", W),
            ("schema_version", I),
            ("next_catalog_id", I),
            ("next_file_id", I),
        ],
    ),
    (
        CHANGES,
        &[
            ("snapshot_id", K),
            ("changes_made", T),
            ("author", T),
            ("commit_message", T),
            ("commit_extra_info", T),
        ],
    ),
    (
        SCHEMA,
        &[
            ("schema_id", K),
            ("schema_uuid", U),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("schema_name", T),
            ("path", T),
            ("path_is_relative", B),
        ],
    ),
    (
        TABLE,
        &[
            ("table_id", I),
            ("table_uuid", U),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("schema_id", I),
            ("table_name", T),
            ("path", T),
            ("path_is_relative", B),
        ],
    ),
    (
        "ducklake_view",
        &[
            ("view_id", I),
            ("view_uuid", U),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("schema_id", I),
            ("view_name", T),
            ("dialect", T),
            ("sql", T),
            ("column_aliases", T),
        ],
    ),
    (
        "ducklake_tag",
        &[("object_id", I), ("begin_snapshot", I), ("end_snapshot", I), ("key", T), ("value", T)],
    ),
    (
        "ducklake_column_tag",
        &[
            ("table_id", I),
            ("column_id", I),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("key", T),
            ("value", T),
        ],
    ),
    (
        DATA_FILE,
        &[
            ("data_file_id", K),
            ("table_id", I),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("file_order", I),
            ("path", T),
            ("path_is_relative", B),
            ("file_format", T),
            ("record_count", I),
            ("file_size_bytes", I),
            ("footer_size", I),
            ("row_id_start", I),
            ("partition_id", I),
            ("encryption_key", T),
            ("mapping_id", I),
            ("partial_max", I),
        ],
    ),
    (
        FILE_STATS,
        &[
            ("data_file_id", I),
            ("table_id", I),
            ("column_id", I),
            ("column_size_bytes", I),
            ("value_count", I),
            ("null_count", I),
            ("min_value", T),
            ("max_value", T),
            ("contains_nan", B),
            ("extra_stats", T),
        ],
    ),
    (
        "ducklake_file_variant_stats",
        &[
            ("data_file_id", I),
            ("table_id", I),
            ("column_id", I),
            ("variant_path", T),
            ("shredded_type", T),
            ("column_size_bytes", I),
            ("value_count", I),
            ("null_count", I),
            ("min_value", T),
            ("max_value", T),
            ("contains_nan", B),
            ("extra_stats", T),
        ],
    ),
    (
        "ducklake_delete_file",
        &[
            ("delete_file_id", K),
            ("table_id", I),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("data_file_id", I),
            ("path", T),
            ("path_is_relative", B),
            ("format", T),
            ("delete_count", I),
            ("file_size_bytes", I),
            ("footer_size", I),
            ("encryption_key", T),
            ("partial_max", I),
        ],
    ),
    (
        COLUMN,
        &[
            ("column_id", I),
            ("begin_snapshot", I),
            ("end_snapshot", I),
            ("table_id", I),
            ("column_order", I),
            ("column_name", T),
            ("column_type", T),
            ("initial_default", T),
            ("default_value", T),
            ("nulls_allowed", B),
            ("parent_column", I),
            ("default_value_type", T),
            ("default_value_dialect", T),
        ],
    ),
    (TABLE_STATS, &[("table_id", I), ("record_count", I), ("next_row_id", I), ("file_size_bytes", I)]),
    (
        "ducklake_table_column_stats",
        &[
            ("table_id", I),
            ("column_id", I),
            ("contains_null", B),
            ("contains_nan", B),
            ("min_value", T),
            ("max_value", T),
            ("extra_stats", T),
        ],
    ),
    (
        "ducklake_partition_info",
        &[("partition_id", I), ("table_id", I), ("begin_snapshot", I), ("end_snapshot", I)],
    ),
    (
        "ducklake_partition_column",
        &[
            ("partition_id", I),
            ("table_id", I),
            ("partition_key_index", I),
            ("column_id", I),
            ("transform", T),
        ],
    ),
    (
        "ducklake_file_partition_value",
        &[("data_file_id", I), ("table_id", I), ("partition_key_index", I), ("partition_value", T)],
    ),
    (
        "ducklake_files_scheduled_for_deletion",
        &[("data_file_id", I), ("path", T), ("path_is_relative", B), ("schedule_start", W)],
    ),
    ("ducklake_inlined_data_tables", &[("table_id", I), ("table_name", T), ("schema_version", I)]),
    (MAPPING, &[("mapping_id", I), ("table_id", I), ("type", T)]),
    (
        MAPPED_NAME,
        &[
            ("mapping_id", I),
            ("column_id", I),
            ("source_name", T),
            ("target_field_id", I),
            ("parent_column", I),
            ("is_partition", B),
        ],
    ),
    (SCHEMA_VERSIONS, &[("begin_snapshot", I), ("schema_version", I), ("table_id", I)]),
    (
        "ducklake_macro",
        &[("schema_id", I), ("macro_id", I), ("macro_name", T), ("begin_snapshot", I), ("end_snapshot", I)],
    ),
    ("ducklake_macro_impl", &[("macro_id", I), ("impl_id", I), ("dialect", T), ("sql", T), ("type", T)]),
    (
        "ducklake_macro_parameters",
        &[
            ("macro_id", I),
            ("impl_id", I),
            ("column_id", I),
            ("parameter_name", T),
            ("parameter_type", T),
            ("default_value", T),
            ("default_value_type", T),
        ],
    ),
    ("ducklake_sort_info", &[("sort_id", I), ("table_id", I), ("begin_snapshot", I), ("end_snapshot", I)]),
    (
        "ducklake_sort_expression",
        &[
            ("sort_id", I),
            ("table_id", I),
            ("sort_key_index", I),
            ("expression", T),
            ("dialect", T),
            ("sort_direction", T),
            ("null_order", T),
        ],
    ),
];

/// The columns of one of them.
pub fn columns(table: &str) -> Columns {
    TABLES.iter().find(|(name, _)| *name == table).map_or(&[], |(_, columns)| columns)
}

/// Where a column stands in one of them.
pub fn place(table: &str, column: &str) -> Option<usize> {
    columns(table).iter().position(|(name, _)| *name == column)
}
