//! What PostgreSQL does not send: the mirror cannot know, and `compare` finds it. A fresh copy of
//! the table puts it right.

mod mirror;
mod support;

use mirror::live::Road;
use pgsqlite::deltamirror::{CompareOptions, InitOptions};

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

#[test]
fn a_renamed_value_of_an_enum_is_not_sent() {
    let setup = "create type v as enum ('a', 'b');
        create table t (id int primary key, v v);
        insert into t values (1, 'a'), (2, 'b');
        create publication blind_enum for table t";
    let sql = "alter type v rename value 'b' to 'c'";
    unsaid("blind_enum", setup, sql, &["t different id=2"]);
}
