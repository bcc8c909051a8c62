//! What PostgreSQL does not send. Where the details of a later `schema` line show it, the table
//! stops or follows; else the mirror cannot know, and `compare` finds it. A fresh copy of the table
//! puts it right.

mod mirror;
mod support;

use mirror::live::{Road, wait_status};
use mirror::rows;
use pgsqlite::deltamirror::{CompareOptions, FollowState, InitOptions};

/// The differences that `compare` finds, as `TABLE KIND KEY`.
fn differences(road: &Road) -> Vec<String> {
    let options = CompareOptions { wait: mirror::ms(300), ..CompareOptions::default() };
    let comparison = road.compare_with("m.db", &options).expect("compare");
    let found = comparison.tables.iter().flat_map(|table| {
        let line = |d: &pgsqlite::deltamirror::Difference| {
            format!("{} {} {}", table.table, d.kind.word(), d.key)
        };
        table.differences.iter().map(line).collect::<Vec<_>>()
    });
    found.collect()
}

/// Runs `sql`, after which nothing comes that says so, but `later`, which does; sees what `compare`
/// finds then, and that a fresh copy is equal.
fn unsaid(database: &str, setup: &str, sql: &str, found: &[&str]) {
    let road = Road::published(database, setup, &["t"], Some(database));
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("insert into t values (100, 'a')");
    road.assert_equal("m.db");
    road.sql(sql);
    // The stream goes on, and nothing is said to be wrong.
    road.sql("insert into t values (101, 'a')");
    let shown = "select count(*) from t where id = 101";
    support::wait_until("the later row", || {
        road.db("m.db").query_int(shown, &[]).expect("rows") == Some(1)
    });
    assert_eq!(differences(&road), found);
    drop(follower);
    let again = InitOptions { resync: true, ..InitOptions::default() };
    road.init_with("m.db", &again).expect("a fresh copy");
    let _follower = road.follow("m.db");
    road.assert_equal("m.db");
}

/// A table of three partitions, published under its own name, and a table outside.
fn partitions(publication: &str) -> String {
    format!(
        "create table t (id int primary key, v text) partition by range (id);
         create table t1 partition of t for values from (0) to (10);
         create table t2 partition of t for values from (10) to (20);
         create table t9 partition of t default;
         create table apart (id int primary key, v text);
         insert into t values (1, 'a'), (2, 'a'), (11, 'a');
         insert into apart values (31, 'x');
         create publication {publication} for table t with (publish_via_partition_root)"
    )
}

#[test]
fn the_truncation_of_one_partition_is_not_sent() {
    let setup = partitions("blind_truncate");
    let found = ["t extra id=1", "t extra id=2"];
    unsaid("blind_truncate", &setup, "truncate t1", &found);
}

#[test]
fn an_attached_partition_is_not_sent() {
    let sql = "alter table t attach partition apart for values from (30) to (40)";
    unsaid("blind_attach", &partitions("blind_attach"), sql, &["t missing id=31"]);
}

#[test]
fn a_detached_partition_is_not_sent() {
    let sql = "alter table t detach partition t2";
    unsaid("blind_detach", &partitions("blind_detach"), sql, &["t extra id=11"]);
}

/// A table of two columns, published as itself.
fn plain(publication: &str) -> String {
    format!(
        "create table t (id int primary key, v text);
         insert into t values (1, 'a'), (2, 'a');
         create publication {publication} for table t"
    )
}

/// Runs `sql`, which changes rows without sending them: with the next row the stream tells enough
/// to know that, and the table stops before that row. A fresh copy puts it right.
fn noticed(database: &str, setup: &str, sql: &str, says: &str) {
    let road = Road::published(database, setup, &["t"], Some(database));
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("insert into t values (100, 'a')");
    road.assert_equal("m.db");
    road.sql(sql);
    road.sql("insert into t values (101, 'a')");
    let failed = wait_status(&follower, "the stop", |s| s.state == FollowState::Failed);
    let error = failed.last_error.unwrap_or_default();
    assert!(error.contains(says), "{error}");
    assert_eq!(rows(&road.db("m.db"), "select count(*) from t where id = 101"), ["0"]);
    drop(follower);
    let again = InitOptions { resync: true, ..InitOptions::default() };
    road.init_with("m.db", &again).expect("a fresh copy");
    let _follower = road.follow("m.db");
    road.assert_equal("m.db");
}

#[test]
fn a_rewrite_that_leaves_the_type_is_noticed() {
    let sql = "alter table t alter v type text using v || '!'";
    let says = "a statement that altered column \"v\" has rewritten the rows";
    noticed("blind_rewrite", &plain("blind_rewrite"), sql, says);
}

#[test]
fn another_row_filter_is_noticed() {
    let setup = plain("blind_filter");
    let mut client = support::Cluster::shared().database("blind_filter_version");
    let version = client.query_one("show server_version_num", &[]).expect("version");
    if version.get::<_, String>(0).parse::<u32>().expect("number") < 150_000 {
        return;
    }
    let sql = "alter publication blind_filter set table t where (id > 1)";
    noticed("blind_filter", &setup, sql, "row filter is another one");
}

#[test]
fn a_last_column_made_anew_is_followed() {
    let setup = plain("blind_column");
    let road = Road::published("blind_column", &setup, &["t"], Some("blind_column"));
    road.init("m.db", &[]).expect("init");
    let _follower = road.follow("m.db");
    road.sql("insert into t values (100, 'a')");
    road.assert_equal("m.db");
    road.sql("alter table t drop column v; alter table t add column v text default 'b'");
    road.sql("insert into t values (101, 'a')");
    road.assert_equal("m.db");
    assert_eq!(rows(&road.db("m.db"), "select v from t where id = 100"), ["'b'"]);
}

#[test]
fn a_table_taken_out_of_the_publication_is_not_sent() {
    let setup = "create table t (id int primary key); create table u (id int primary key)";
    let road = Road::new("blind_taken", setup, &["t", "u"]);
    road.init("m.db", &[]).expect("init");
    let _follower = road.follow("m.db");
    road.sql("alter publication blind_taken drop table t; insert into t values (1)");
    road.settle("m.db");
    let comparison = road.compare("m.db");
    let gone: Vec<_> = comparison.gone.iter().map(|of| (of.table.as_str(), of.why)).collect();
    assert_eq!(gone, [("t", deltaflood::Gone::Unpublished)]);
    assert!(comparison.is_equal() && comparison.tables.len() == 1, "{comparison:?}");
    let named = CompareOptions { tables: vec!["t".into()], ..CompareOptions::default() };
    let error = road.compare_with("m.db", &named).expect_err("not sent");
    assert_eq!(mirror::reason(&error), "DRIFT");
    assert!(error.to_string().contains("no longer published"), "{error}");
    let rest = CompareOptions { tables: vec!["u".into()], ..CompareOptions::default() };
    assert!(road.compare_with("m.db", &rest).expect("compare").is_equal());
}

#[test]
fn a_renamed_value_of_an_enum_is_not_sent() {
    let setup = "create type v as enum ('a', 'b');
        create table t (id int primary key, v v);
        insert into t values (1, 'a'), (2, 'b');
        create publication blind_enum for table t";
    let sql = "alter type v rename value 'b' to 'c'";
    unsaid("blind_enum", setup, sql, &["t different id=2"]);
}

/// The catalogs, which a capture asks for the details of what it receives, may be ahead of it: rows
/// of before are not to be taken for ones of the new column.
#[test]
fn a_last_column_made_anew_while_nothing_was_received_is_noticed() {
    let setup = plain("blind_ahead");
    let road = Road::published("blind_ahead", &setup, &["t"], Some("blind_ahead"));
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("insert into t values (100, 'a')");
    road.assert_equal("m.db");
    road.stop_capture();
    road.sql("insert into t values (101, 'of before')");
    road.sql("alter table t drop column v; alter table t add column v text default 'b'");
    road.sql("insert into t values (102, 'c')");
    road.capture();
    let failed = wait_status(&follower, "the stop", |s| s.state == FollowState::Failed);
    let error = failed.last_error.unwrap_or_default();
    assert!(error.contains("column \"v\" text is new"), "{error}");
    drop(follower);
    let again = InitOptions { resync: true, ..InitOptions::default() };
    road.init_with("m.db", &again).expect("a fresh copy");
    let _follower = road.follow("m.db");
    road.assert_equal("m.db");
}

/// The same by a transaction that began before the change, in which other tables were altered
/// first, so that its number is the lower one; and by the one that makes the change.
#[test]
fn a_last_column_made_anew_behind_the_first_change_is_noticed() {
    let setup = plain("blind_older");
    let road = Road::published("blind_older", &setup, &["t"], Some("blind_older"));
    let again = InitOptions { resync: true, ..InitOptions::default() };
    let anew = "alter table t drop column v; alter table t add column v text default 'b'";
    let before = "insert into t values (101, 'of before')";
    let by_an_older_one = || {
        let mut older = support::Cluster::shared().client("blind_older");
        older.batch_execute("begin; create table another (id int)").expect("its number");
        road.sql(before);
        older.batch_execute(&format!("{anew}; commit")).expect("altered");
    };
    let by_itself = || road.sql(&format!("begin; {before}; {anew}; commit"));
    let ways: [&dyn Fn(); 2] = [&by_an_older_one, &by_itself];
    for way in ways {
        road.init_with("m.db", &again).expect("init");
        let follower = road.follow("m.db");
        road.sql("insert into t values (100, 'a')");
        road.assert_equal("m.db");
        road.stop_capture();
        way();
        road.sql("insert into t values (102, 'c')");
        road.capture();
        let failed = wait_status(&follower, "the stop", |s| s.state == FollowState::Failed);
        let error = failed.last_error.unwrap_or_default();
        assert!(error.contains("column \"v\" text is new"), "{error}");
        assert_eq!(rows(&road.db("m.db"), "select v from t where id in (100, 102)"), ["'a'"]);
        drop(follower);
        road.sql("delete from t where id > 99");
    }
    road.init_with("m.db", &again).expect("a fresh copy");
    let _follower = road.follow("m.db");
    road.assert_equal("m.db");
}
