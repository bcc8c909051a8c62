//! Tables whose rows a mirror could not find again are refused by name before anything is copied.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::reason;
use pgsqlite::deltamirror::CompareOptions;
use pgsqlite::deltastream::{Plugin, SetupOptions, setup};
use pgsqlite::error::Coded;

#[test]
fn a_key_that_is_not_sent_is_refused_by_name() {
    let sql = "create table k(a int, g int generated always as (a) stored primary key);
        create table t(a int primary key, b int); create table u(a int primary key, b int);
        create publication keys for table k, u, t with (publish = 'insert')";
    let road = Road::published("keys_sent", sql, &[], Some("keys"));
    let error = road.init("m.db", &["k"]).expect_err("a generated key");
    assert_eq!(reason(&error), "KEYNOTSENT");
    assert!(error.to_string().contains("public.k has columns that the stream does not send (g;"));
    road.init("m.db", &["t"]).expect("init");
    let version: i32 = road
        .client()
        .query_one("show server_version_num", &[])
        .expect("version")
        .get::<_, String>(0)
        .parse()
        .expect("number");
    if version >= 150_000 {
        road.sql("alter publication keys set table k, t, u (b)");
        let error = road.init("n.db", &["u"]).expect_err("a key that is left out");
        assert_eq!(reason(&error), "KEYNOTSENT");
    }
}

#[test]
fn a_partitioned_table_under_other_names_is_told() {
    let sql = "create table p(a int primary key) partition by range (a);
        create table p_1 partition of p default; create publication keys_parts for table p";
    let road = Road::published("keys_parts", sql, &[], Some("keys_parts"));
    let error = road.init("m.db", &["p"]).expect_err("its parts only");
    assert_eq!(reason(&error), "NOTPUBLISHED");
    assert!(error.to_string().contains("under the names of its partitions, as public.p_1"));
    road.init("m.db", &["p_1"]).expect("init");
}

#[test]
fn a_value_that_the_server_cannot_print_is_told_with_its_table_and_row() {
    let mut sql = "create type n0 as (t text);".to_owned();
    let mut value = "row(repeat('\"', 20000))::n0".to_owned();
    for level in 1..=17 {
        sql.push_str(&format!("create type n{level} as (v n{});", level - 1));
        value = format!("row({value})::n{level}");
    }
    sql.push_str("create table t(a int primary key, v n17); insert into t values (1)");
    let road = Road::new("huge_text", &sql, &["t"]);
    road.init("m.db", &["t"]).expect("init");
    road.stop_capture();
    road.sql(&format!("insert into t values (2, {value})"));
    for error in [
        road.init("n.db", &["t"]).expect_err("a first copy"),
        road.compare_with("m.db", &CompareOptions::default()).expect_err("a comparison"),
    ] {
        let report = error.report();
        assert!(report.contains("t could not be copied: PostgreSQL cannot print"), "{report}");
        assert!(report.contains("a value of row 2: its text has more than 1 GB"), "{report}");
    }
}

#[test]
fn a_key_by_expression_is_none() {
    let sql = "create table e(a text); create unique index on e (lower(a));
        create table f(a text, b int); create unique index on f (lower(a));
        alter table f replica identity full; insert into f values ('A', 1), ('b', 2), (null, 3)";
    let road = Road::new("keys_expression", sql, &["f"]);
    let refused = setup(&SetupOptions {
        conninfo: road.conninfo(),
        slot: "keys_expression_e".to_owned(),
        stream: Some(road.file("e")),
        tables: vec!["e".to_owned()],
        publication: None,
        plugin: Plugin::Pgoutput,
        announce: pgsqlite::deltastream::Announce::Nothing,
    });
    let error = refused.expect_err("UPDATE and DELETE on it would fail");
    assert_eq!(error.code().reason, "NOIDENTITY");
    assert!(error.to_string().contains("no replica identity: e;"), "{error}");
    // By whole rows it goes.
    road.init("m.db", &["f"]).expect("init");
    let follower = road.follow("m.db");
    road.sql("update f set b = 7 where a = 'A'; delete from f where a is null");
    road.assert_equal("m.db");
    drop(follower);
}
