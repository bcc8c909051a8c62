//! From a slot of a real server to the lines of a stream.

mod support;

use deltaflood::Verb;
use pgsqlite::daystream::segments;
use pgsqlite::deltastream::{run, setup, status_of};
use support::Cluster;
use support::stream::Source;

#[test]
fn every_verb_becomes_its_line() {
    let cluster = Cluster::shared();
    let tables = "create table t(a int primary key, b text, c bool); \
                  create table f(a int, b text); alter table f replica identity full";
    let mut source = Source::set_up(cluster, "verbs", tables);
    source.execute(
        "insert into t values (1, 'x', true), (2, null, false); \
         update t set b = 'y' where a = 1; update t set a = 3 where a = 2; delete from t where a \
         = 1; \
         insert into f values (1, 'one'), (2, null); update f set b = 'two' where a = 2; \
         delete from f where a = 1; truncate t, f; \
         select pg_logical_emit_message(true, 'p', 'in'); select pg_logical_emit_message(false, \
         'q', 'out')",
    );
    source.catch_up().expect("capture");
    assert_eq!(
        source.changes(),
        [
            "_action|message|prefix|q|content|out",
            "_table|t|_action|insert|a|1|b|x|c|1",
            "_table|t|_action|insert|a|2|c|0",
            "_table|t|_action|update|a|1|b|y|c|1",
            "_table|t|_action|replace|a|2",
            "_table|t|_action|update|a|3|c|0",
            "_table|t|_action|delete|a|1",
            "_table|f|_action|insert|a|1|b|one",
            "_table|f|_action|insert|a|2",
            "_table|f|_action|replace|a|2",
            "_table|f|_action|update|a|2|b|two",
            "_table|f|_action|delete|a|1|b|one",
            "_table|t|_action|truncate",
            "_table|f|_action|truncate",
            "_action|message|prefix|p|content|in",
        ]
    );
    assert_eq!(
        source.of_verb(Verb::Schema),
        [
            "_table|t|_key|a|_action|schema|a|integer|b|text|c|boolean",
            "_table|f|_key|a b|_action|schema|a|integer|b|text",
        ]
    );
    assert_eq!(source.of_verb(Verb::Commit).len(), 2);
}

#[test]
fn unchanged_out_of_line_values_are_named_and_null_is_absent() {
    let cluster = Cluster::shared();
    let big = "(select string_agg(md5(g::text), '') from generate_series(1, 500) g)";
    let tables = "create table d(a int primary key, b text, c int); \
                  create table f(a int primary key, b text, c int); alter table f replica \
                  identity full; \
                  create table i(a int not null, b text, c int); create unique index ia on i(a); \
                  alter table i replica identity using index ia; \
                  create table n(a int, b text, c int)";
    let mut source = Source::new(cluster, "toast", tables);
    let mut options = source.setup_options();
    options.tables = ["d", "f", "i"].map(str::to_owned).to_vec();
    setup(&options).expect("setup");
    for table in ["d", "f", "i"] {
        source.execute(&format!("insert into {table} values (1, {big}, 1)"));
        source.execute(&format!("update {table} set c = 2; update {table} set c = null, b = null"));
        source.execute(&format!("update {table} set b = 'short'; delete from {table}"));
    }
    let value = source.text(&format!("select {big}"));
    source.catch_up().expect("capture");
    let changes: Vec<_> = source.changes().iter().map(|line| line.replace(&value, "BIG")).collect();
    let mut wanted = Vec::new();
    for table in ["d", "f", "i"] {
        let full = table == "f";
        let mut line = |text: &str| wanted.push(format!("_table|{table}|{text}"));
        line("_action|insert|a|1|b|BIG|c|1");
        if full {
            line("_action|replace|a|1|b|BIG|c|1");
        }
        line("_unchanged|b|_action|update|a|1|c|2");
        if full {
            line("_action|replace|a|1|b|BIG|c|2");
        }
        line("_action|update|a|1");
        if full {
            line("_action|replace|a|1");
        }
        line("_action|update|a|1|b|short");
        line(if full { "_action|delete|a|1|b|short" } else { "_action|delete|a|1" });
    }
    assert_eq!(changes, wanted);
}

#[test]
fn a_changed_definition_is_told_before_the_next_change() {
    let cluster = Cluster::shared();
    let mut source = Source::set_up(
        cluster,
        "ddl",
        "create table t(a int primary key, b varchar(7)); create table u(a int primary key)",
    );
    let capture = source.start();
    source.execute("create domain flag as bool; create type mood as enum ('good', 'bad')");
    for (ddl, row) in [
        ("alter table t add c numeric(8,2)", "(1, 'x', 1.5)"),
        ("alter table t drop b", "(2, 2.25)"),
        ("alter table t rename c to \"d e\"", "(3, 3)"),
        ("alter table t add f flag, add m mood[]", "(4, 4, 't', '{good,bad}')"),
        ("alter table t alter a type bigint", "(5, 5, 'f', null)"),
    ] {
        source.execute(&format!("{ddl}; insert into t values {row}"));
    }
    source
        .execute("alter table t rename to v; alter table u rename to t; insert into t values (9)");
    source.execute("insert into v values (6)");
    let end = source.wal_lsn();
    support::wait_until("all of it", || capture.status().durable >= end);
    capture.stop();
    capture.join().expect("capture");
    assert_eq!(
        source.of_verb(Verb::Schema),
        [
            "_table|t|_key|a|_action|schema|a|integer|b|character varying(7)|c|numeric(8,2)",
            "_table|t|_key|a|_action|schema|a|integer|c|numeric(8,2)",
            "_table|t|_key|a|_action|schema|a|integer|d e|numeric(8,2)",
            "_table|t|_key|a|_action|schema|a|integer|d e|numeric(8,2)|f|public.flag|m|public.mood[]",
            "_table|t|_key|a|_action|schema|a|bigint|d e|numeric(8,2)|f|public.flag|m|public.mood[]",
            "_table|t|_key|a|_action|schema|a|integer",
            "_table|v|_key|a|_action|schema|a|bigint|d e|numeric(8,2)|f|public.flag|m|public.mood[]",
        ]
    );
    let changes = source.changes();
    assert!(changes.contains(&"_table|t|_action|insert|a|4|d e|4.00|f|1|m|{good,bad}".to_owned()));
    assert!(
        changes.contains(&"_table|t|_action|insert|a|5|d e|5.00|f|0".to_owned()),
        "{changes:?}"
    );
}

#[test]
fn names_and_values_of_any_shape_come_through() {
    let cluster = Cluster::shared();
    let tables = "create schema \"s\tx\"; create schema other; create table other.t(a int \
    primary key); \
                  create table \"s\tx\".\"t\n\\\"\"'\"(\"_table\" int primary key, \"a\tb\" \
                  text, \" #{$[;\\\" text); \
                  create table \"_xid\"(\"_action\" text primary key)";
    let mut source = Source::set_up(cluster, "hostile", tables);
    source.execute("insert into other.t values (1); insert into _xid values ('commit')");
    source.execute(
        "insert into \"s\tx\".\"t\n\\\"\"'\" values (1, E'tab\\t lf\\n cr\\r bs\\\\ é😀', '')",
    );
    source.execute("delete from \"s\tx\".\"t\n\\\"\"'\"");
    source.catch_up().expect("capture");
    assert_eq!(
        source.changes(),
        [
            "_table|t|_schema|other|_action|insert|a|1",
            "_table|_xid|_action|insert|_action|commit",
            "_table|t\\n\\\\\"'|_schema|s\\tx|_action|insert|_table|1|a\\tb|tab\\t lf\\n cr\\r bs\\\\ é😀| #{$[;\\\\|",
            "_table|t\\n\\\\\"'|_schema|s\\tx|_action|delete|_table|1",
        ]
    );
}

#[test]
fn values_have_the_same_text_whatever_the_servers_settings() {
    let cluster = Cluster::shared();
    let mut source = Source::set_up(
        cluster,
        "settings",
        "create table v(id int primary key, ts timestamptz, d date, i interval, f float8, y \
         bytea, b bool, \
         m money, ba bool[])",
    );
    source.execute(
        "alter database settings set datestyle = 'German'; alter database settings set timezone \
         = 'Asia/Tokyo'; \
         alter database settings set intervalstyle = 'iso_8601'; alter database settings set \
         bytea_output = 'escape'; \
         alter database settings set extra_float_digits = -15; alter database settings set \
         lc_monetary = 'C'; \
         insert into v values (1, '2026-11-20 21:53:36.5+00', '2026-11-20', '1 day 02:03:04', \
         0.1::float8 + 0.2, \
         '\\x00ff5c', true, 12.5, '{t,f}')",
    );
    source.catch_up().expect("capture");
    assert_eq!(
        source.changes(),
        [
            "_table|v|_action|insert|id|1|ts|2026-11-20 21:53:36.5+00|d|2026-11-20|i|1 day 02:03:04|f|0.30000000000000004|\
             y|\\\\x00ff5c|b|1|m|$12.50|ba|{t,f}"
        ]
    );
}

#[test]
fn a_big_transaction_and_aborted_subtransactions() {
    let cluster = Cluster::shared();
    let mut source = Source::set_up(cluster, "big", "create table t(a int primary key, b text)");
    source.execute("set logical_decoding_work_mem = '64kB'");
    source.execute(
        "begin; insert into t select g, repeat('x', 50) from generate_series(1, 100000) g; \
         savepoint s; insert into t select g from generate_series(200001, 210000) g; rollback to \
         s; \
         savepoint s2; insert into t values (0); release s2; commit",
    );
    source.execute("begin; insert into t values (-1); rollback");
    let status = source.catch_up().expect("capture");
    assert_eq!((status.transactions, status.lines), (1, 100_002));
    let changes = source.changes();
    assert_eq!(changes.len(), 100_001);
    assert_eq!(changes.last().map(String::as_str), Some("_table|t|_action|insert|a|0"));
}

#[test]
fn partitions_come_under_the_name_of_their_table() {
    let cluster = Cluster::shared();
    let mut source = Source::set_up(
        cluster,
        "parts",
        "create table p(a int primary key, b text) partition by range (a); \
         create table p1 partition of p for values from (0) to (10); \
         create table p2 partition of p for values from (10) to (20)",
    );
    source.execute(
        "insert into p values (1, 'x'), (11, 'y'); update p set a = 12 where a = 1; truncate p",
    );
    source.catch_up().expect("capture");
    let changes = source.changes();
    assert!(changes.iter().all(|line| line.starts_with("_table|p|")), "{changes:?}");
    assert_eq!(changes.last().map(String::as_str), Some("_table|p|_action|truncate"));
}

#[test]
fn setup_again_adds_tables_and_status_tells_how_far() {
    let cluster = Cluster::shared();
    let tables = "create table a(x int primary key); create table \"B b\"(x int primary key); \
                  create schema s; create table s.c(x int primary key)";
    let mut source = Source::new(cluster, "again", tables);
    let mut options = source.setup_options();
    options.tables = vec!["a".to_owned()];
    let first = setup(&options).expect("setup");
    assert!(first.slot_created && first.publication_created);
    assert_eq!((first.tables, first.consistent_point), (vec!["a".to_owned()], source.confirmed()));
    options.tables = ["A", "B b", "s.c", "\"B b\""].map(str::to_owned).to_vec();
    let second = setup(&options).expect("setup again");
    assert!(!second.slot_created && !second.publication_created);
    assert_eq!((second.added, second.tables.len()), (vec!["B b".to_owned(), "s.c".to_owned()], 3));
    assert!(setup(&options).expect("a third time").added.is_empty());
    source.execute("insert into s.c values (1); insert into \"B b\" values (2)");
    let end = source.wal_lsn();
    let status =
        status_of(&source.conninfo(), "again", Some(&source.stream()), None).expect("status");
    assert!(
        status.lag_bytes > 0 && status.kept_bytes >= status.lag_bytes && status.state == "unread"
    );
    source.catch_up().expect("capture");
    assert_eq!(source.changes().len(), 2);
    let status =
        status_of(&source.conninfo(), "again", Some(&source.stream()), None).expect("status");
    assert!(status.slot.confirmed >= end && status.lag_s.is_some() && status.tables.len() == 3);
    let dropped =
        pgsqlite::deltastream::drop_slot(&source.conninfo(), "again", None).expect("drop");
    assert!(dropped.slot && dropped.publication);
}

#[test]
fn every_segment_describes_its_tables_also_behind_a_message() {
    let mut source = Source::set_up_t(Cluster::shared(), "described");
    let message = "select pg_logical_emit_message(true, 'p', 'm')";
    for a in 1..=3 {
        source.execute(&format!("begin; {message}; insert into t values ({a}); commit"));
    }
    let mut options = source.options();
    (options.until_lsn, options.segment_bytes) = (Some(source.wal_lsn()), 1);
    run(options, Box::new(|_| {})).expect("capture");
    let dir = source.stream();
    let found = segments(&dir).expect("segments");
    assert_eq!(found.len(), 3);
    for segment in found {
        let text = std::fs::read_to_string(segment.path(&dir)).expect("text");
        assert!(text.contains("\t_action\tschema\t"), "{text}");
    }
}
