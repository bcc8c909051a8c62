//! A line changes the row it means, to what it says, or it is an error: against names that mean
//! something else, against SQLite's helpful conversions, and against what users do to the file.

mod mirror;
mod support;

use mirror::live::{Road, wait_status};
use mirror::*;
use pgsqlite::deltamirror::{FollowState, Follower, Options};
use pgsqlite::error::{Class, Coded};
use pgsqlite::sqlite::Db;
use support::wait_until;

/// A mirror with the table `f(x, y)` known by whole rows, of which it has some.
fn with_rows(rows: &[&str]) -> (Bed, Db) {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    full(&db);
    bed.transaction(1, rows);
    bed.apply(&db).expect("apply");
    (bed, db)
}

const THREE: [&str; 3] = [
    "_table|f|_action|insert|x|1|y|one",
    "_table|f|_action|insert|x|2|y|two",
    "_table|f|_action|insert|x|3|y|three",
];

#[test]
fn a_column_called_rowid_that_the_user_adds_is_not_the_row_number() {
    let (mut bed, db) = with_rows(&THREE);
    db.exec("alter table f add column rowid integer default 1").expect("user");
    bed.transaction(2, &["_table|f|_action|delete|x|2|y|two"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select x from f order by x"), ["1", "3"]);
    db.exec("alter table f add column _rowid_ integer generated always as (1) virtual")
        .expect("user");
    bed.transaction(
        3,
        &["_table|f|_action|replace|x|1|y|one", "_table|f|_action|update|x|1|y|new"],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select x, y from f order by x"), ["1 'new'", "3 'three'"]);
    // No name is left: that table is out of step, and not a row of it is touched.
    db.exec("alter table f add column oid integer default 1").expect("user");
    bed.transaction(4, &["_table|f|_action|delete|x|3|y|three"]);
    let error = bed.apply_keeping(&db).expect_err("no name");
    assert_eq!((reason(&error), error.class()), ("DRIFT", Class::Drift));
    assert!(error.to_string().contains("rowid, _rowid_, oid"), "{error}");
    assert_eq!(rows(&db, "select x, y from f order by x"), ["1 'new'", "3 'three'"]);
}

#[test]
fn a_column_added_while_the_mirror_follows_is_noticed() {
    let (mut bed, db) = with_rows(&THREE);
    db.exec("pragma journal_mode = wal").expect("wal");
    let options = Options::default();
    let follower =
        Follower::start(bed.file(), bed.source(), options, Box::new(|_| {})).expect("follow");
    bed.transaction(2, &["_table|f|_action|delete|x|2|y|two"]);
    wait_status(&follower, "a delete", |status| status.counts.changes == 1);
    db.exec("alter table f add column rowid integer default 1").expect("user");
    bed.transaction(3, &["_table|f|_action|delete|x|3|y|three"]);
    wait_status(&follower, "another", |status| status.counts.changes == 2);
    assert_eq!(rows(&db, "select x from f"), ["1"]);
    // A column that is gone is no text that is called like it.
    db.exec("alter table f rename column y to z").expect("user");
    bed.transaction(4, &["_table|f|_action|delete|x|1|y|one"]);
    let failed = wait_status(&follower, "an error", |s| s.state == FollowState::Failed);
    assert!(failed.last_error.is_some_and(|error| error.contains("column \"y\"")));
    assert_eq!(rows(&db, "select x from f"), ["1"]);
}

#[test]
fn columns_that_hide_the_row_number_stop_a_table_that_becomes_known_by_whole_rows() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let columns = ["rowid", "_rowid_", "oid"].map(|name| (name, INT.0, INT.1));
    add_table(&db, ("public", "h"), &columns, &["rowid"], &["rowid"], None);
    bed.transaction(
        1,
        &[
            "_table|h|_action|insert|rowid|1|_rowid_|1|oid|1",
            "_table|h|_action|insert|rowid|2|_rowid_|1|oid|1",
        ],
    );
    bed.apply(&db).expect("apply");
    let stored = rows(&db, "select * from h");
    // The key is gone, and with it the mirror's way to a row.
    db.exec("update _deltamirror_table set primary_key = '' where name = 'h'").expect("state");
    bed.transaction(
        2,
        &[
            "_table|h|_key|rowid _rowid_ oid|_action|schema|rowid|integer|_rowid_|integer|\
             oid|integer",
            "_table|h|_action|replace|rowid|1|_rowid_|1|oid|1",
            "_table|h|_action|update|rowid|7|_rowid_|7|oid|7",
        ],
    );
    let error = bed.apply(&db).expect_err("no name");
    assert_eq!(reason(&error), "DRIFT", "{error}");
    assert_eq!(rows(&db, "select * from h"), stored);
}

#[test]
fn more_than_one_row_is_an_error_also_where_errors_are_kept() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    // Somebody made the table again, without its key, and its rows twice.
    db.exec("drop table t; create table t (id integer, a text, b text)").expect("user");
    db.exec("insert into t values (1, 'x', 'x'), (1, 'x', 'x'), (2, 'y', 'y')").expect("user");
    let before = rows(&db, "select * from t");
    for line in ["_table|t|_action|delete|id|1", "_table|t|_action|update|id|1|a|new"] {
        bed.transaction(1, &["_table|t|_action|update|id|2|a|with it", line]);
        for result in [bed.apply(&db), bed.apply_keeping(&db)] {
            let error = result.expect_err("several rows");
            assert_eq!((reason(&error), error.class()), ("MANY", Class::Poison), "{error}");
            assert!(error.to_string().contains("of one row changed 2"), "{error}");
        }
        assert_eq!(rows(&db, "select * from t"), before);
        db.exec(&format!("update _deltamirror_stream set lsn = '{}'", bed.lsn())).expect("skip");
    }
    assert_eq!(rows(&db, "select count(*) from _deltamirror_error"), ["0"]);
}

#[test]
fn a_key_that_is_null_is_never_made_up() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    let columns = [("id", INT.0, INT.1), ("a", TEXT.0, TEXT.1)];
    add_table(&db, ("public", "k"), &columns, &["id"], &["id"], None);
    db.exec("drop table k; create table k (id integer primary key not null, a text)").expect("k");
    bed.transaction(1, &["_table|k|_action|insert|id|1|a|one"]);
    bed.apply(&db).expect("apply");
    let full = "_table|k|_key|id a|_action|schema|id|integer|a|text";
    for lines in [
        &[full, "_table|k|_action|insert|a|n"][..],
        &["_table|k|_action|replace|id|1|a|one", "_table|k|_action|update|a|n"],
    ] {
        bed.transaction(2, lines);
        for result in [bed.apply(&db), bed.apply_keeping(&db)] {
            let error = result.expect_err("no key");
            assert_eq!((reason(&error), error.class()), ("DRIFT", Class::Drift));
            assert!(error.to_string().contains("column \"id\" is NULL"), "{error}");
        }
        assert_eq!(rows(&db, "select * from k"), ["1 'one'"]);
        db.exec(&format!("update _deltamirror_stream set lsn = '{}'", bed.lsn())).expect("skip");
    }
}

#[test]
fn no_constraint_or_trigger_makes_other_rows_of_a_line() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    db.exec(
        "drop table t; create table t (id integer primary key on conflict replace, a text,
           b text unique on conflict ignore)",
    )
    .expect("user");
    bed.transaction(1, &["_table|t|_action|insert|id|1|b|x", "_table|t|_action|insert|id|2|b|y"]);
    bed.apply(&db).expect("apply");
    for line in [
        "_table|t|_action|insert|id|1|b|z",
        "_table|t|_action|insert|id|3|b|x",
        "_table|t|_action|update|id|1|b|y",
    ] {
        bed.transaction(2, &[line]);
        let error = bed.apply(&db).expect_err("a conflict");
        assert_eq!(reason(&error), "CONFLICT", "{line}: {error}");
        assert_eq!(rows(&db, "select id, b from t"), ["1 'x'", "2 'y'"]);
        db.exec(&format!("update _deltamirror_stream set lsn = '{}'", bed.lsn())).expect("skip");
    }
    db.exec("create trigger tr before insert on t begin select raise(ignore); end").expect("user");
    bed.transaction(3, &["_table|t|_action|insert|id|3|b|z"]);
    let error = bed.apply(&db).expect_err("a trigger");
    assert_eq!(reason(&error), "CONFLICT", "{error}");
    assert!(error.to_string().contains("trigger"), "{error}");
}

#[test]
fn an_index_that_is_not_the_mirrors_is_named() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let table = [("id", INT.0, INT.1), ("a", TEXT.0, TEXT.1), ("b", TEXT.0, TEXT.1)];
    add_table(&db, ("ops", "t"), &table, &["id"], &["id"], None);
    db.exec(
        "create unique index \"my a, b\" on t (a, b); create unique index low on t (lower(b)) where id > 2;
         create unique index other on \"ops.t\" (b)",
    )
    .expect("user");
    bed.transaction(
        1,
        &[
            "_table|t|_action|insert|id|1|a|x|b|x",
            "_table|t|_action|insert|id|2|a|y|b|y",
            "_table|t|_schema|ops|_action|insert|id|1|b|x",
        ],
    );
    bed.transaction(
        2,
        &[
            // A swap, which PostgreSQL takes of a deferrable constraint.
            "_table|t|_action|update|id|1|a|y|b|y",
            "_table|t|_action|update|id|2|a|x|b|x",
            "_table|t|_action|insert|id|3|a|z|b|X",
            "_table|t|_action|insert|id|4|a|z|b|x",
            "_table|t|_schema|ops|_action|insert|id|2|b|x",
            "_table|t|_action|insert|id|1",
        ],
    );
    bed.apply_keeping(&db).expect("apply");
    let messages = rows(&db, "select reason, message from _deltamirror_error order by id");
    assert_eq!(messages.len(), 5);
    let named = ["\"my a, b\"", "\"my a, b\"", "\"low\"", "\"other\""];
    for (message, index) in messages.iter().zip(named) {
        assert!(message.starts_with("'CONFLICT'") && message.contains(index), "{message}");
        assert!(message.contains("not the mirror's"), "{message}");
    }
    assert!(!messages[4].contains("not the mirror's"), "{}", messages[4]);
}

#[test]
fn whole_rows_differ_where_only_the_type_of_a_number_does() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    let columns = [("n", "numeric", 1700), ("y", TEXT.0, TEXT.1)];
    add_table(&db, ("public", "g"), &columns, &[], &["n", "y"], None);
    bed.transaction(1, &["_table|g|_action|insert|n|1|y|a", "_table|g|_action|insert|n|1.0|y|a"]);
    bed.transaction(2, &["_table|g|_action|delete|n|1.0|y|a"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select n, y from g"), ["1 'a'"]);
    bed.transaction(
        3,
        &[
            "_table|g|_action|insert|y|b",
            "_table|g|_action|insert|n|NaN|y|b",
            "_table|g|_action|replace|y|b",
            "_table|g|_action|update|n|2|y|b",
            "_table|g|_action|delete|n|NaN|y|b",
        ],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select n, y from g order by n"), ["1 'a'", "2 'b'"]);
}

#[test]
fn a_value_that_the_stream_does_not_have_is_not_null() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    full(&db);
    bed.transaction(1, &["_table|t|_unchanged|b|_action|insert|id|1|a|x"]);
    let error = bed.apply(&db).expect_err("no value");
    assert_eq!((reason(&error), error.class()), ("MISSING", Class::Poison));
    assert!(error.to_string().contains("column \"b\""), "{error}");
    assert!(error.to_string().contains("ALTER TABLE public.t REPLICA IDENTITY FULL"), "{error}");
    bed.transaction(2, &["_table|t|_unchanged||_action|insert|id|2|a|all there"]);
    bed.transaction(
        3,
        &["_table|f|_action|insert|x|1|y|long", "_table|f|_unchanged|y|_action|delete|x|1"],
    );
    bed.transaction(
        4,
        &["_table|f|_unchanged|y|_action|replace|x|1", "_table|f|_action|update|x|2|y|long"],
    );
    bed.apply_keeping(&db).expect("apply");
    assert_eq!(rows(&db, "select id, b from t"), ["2 NULL"]);
    assert_eq!(rows(&db, "select * from f"), ["1 'long'"]);
    wait_until("the reasons", || {
        rows(&db, "select reason, table_name from _deltamirror_error order by id")
            == ["'MISSING' 't'", "'MISSING' 'f'", "'MISSING' 'f'", "'ORDER' 'f'"]
    });
}

#[test]
fn a_table_known_by_whole_rows_is_not_read_for_each_change() {
    let setup = "create table w (kind int, n int, note text); alter table w replica identity full;
        create table e (a int, b text); alter table e replica identity full;
        insert into w select i % 3, i / 2, 'note' from generate_series(1, 5000) i";
    let road = Road::new("exact_index", setup, &[]);
    road.init("m.db", &[]).expect("init");
    let db = road.db("m.db");
    let indexed = "select name, sql from sqlite_master where type = 'index' and sql is not null \
        order by name";
    let index = |table: &str, columns: &str| {
        let name = format!("_deltamirror_rows_{table}");
        format!("'{name}' 'CREATE INDEX \"{name}\" ON \"{table}\" ({columns})'")
    };
    let wanted = [index("e", "\"a\", \"b\""), index("w", "\"n\", \"kind\"")];
    assert_eq!(rows(&db, indexed), wanted);
    let plan = "explain query plan delete from main.w as t where t.rowid = (select t.rowid from \
        main.w as t where (t.kind is ?1 and (t.n is ?2 and t.note is ?3)) limit 1)";
    assert!(rows(&db, plan).iter().any(|row| row.contains("_deltamirror_rows_w")));
    let _follower = road.follow("m.db");
    road.sql(
        "delete from w where n = 77; update w set n = null where n = 80; update w set n = 81 \
         where n is null; insert into w select 1, 1, 'same' from generate_series(1, 100); \
         delete from w where note = 'same' and ctid < (select max(ctid) from w); \
         insert into e values (1, null), (1, null), (null, 'x'); delete from e where a is null",
    );
    road.assert_equal("m.db");
}

/// By a real server: the key goes while the mirror follows, and a row comes without one.
#[test]
fn a_key_that_is_dropped_while_the_mirror_follows_is_not_made_up() {
    let table = "create table t (id int primary key, n text); insert into t values (1, 'one')";
    let road = Road::new("exact_key", table, &[]);
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql(
        "alter table t drop constraint t_pkey; alter table t alter id drop not null;
         alter table t replica identity full; insert into t values (null, 'none')",
    );
    let failed = wait_status(&follower, "an error", |s| s.state == FollowState::Failed);
    let said = failed.last_error.unwrap_or_default();
    assert!(said.contains("table t"), "{said}");
    assert_eq!(rows(&road.db("m.db"), "select id, n from t"), ["1 'one'"]);
}

/// By a real server: an update brings a row into the publication's filter, and its long value does
/// not come with it.
#[test]
fn a_row_that_comes_into_the_filter_without_its_long_value_is_not_null() {
    let table = "create table a (id int, n int, big text, primary key (id, n));
                 alter table a alter big set storage external;
                 insert into a values (1, 5, repeat('b', 3000));
                 create publication exact_filter for table a where (n > 10)";
    let road = Road::published("exact_filter", table, &["a"], Some("exact_filter"));
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("update a set n = 11 where id = 1");
    let failed = wait_status(&follower, "an error", |s| s.state == FollowState::Failed);
    let said = failed.last_error.unwrap_or_default();
    assert!(said.contains("REPLICA IDENTITY FULL"), "{said}");
    assert_eq!(rows(&road.db("m.db"), "select count(*) from a"), ["0"]);
}
