//! Tables that are copied again while the mirror goes on.

mod mirror;
mod support;

use mirror::{Bed, keyed, prepare, reason, rows};
use pgsqlite::deltamirror::Options;
use pgsqlite::sqlite::Db;

/// Asks for a reload as the follower does that finds a reason in the stream.
fn ask(db: &Db, table: &str) {
    let sql = "INSERT INTO _deltamirror_reload (source_schema, source_table, reason, asked_at, \
               stale) VALUES ('public', ?1, 'a test wants it', 1, 1)";
    db.execute(sql, &[table.into()]).expect("asked");
}

/// The table is about to be replaced: what it cannot take stops nobody, and is counted.
#[test]
fn what_a_table_that_is_due_cannot_take_is_passed_over() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    db.exec("INSERT INTO t VALUES (1, 'x', 'y')").expect("row");
    ask(&db, "t");
    bed.transaction(
        7,
        &[
            "_table|t|_action|schema|id|integer|a|bigint|c|text",
            "_table|t|_action|insert|id|2|a|5|c|new",
            "_table|t|_action|update|id|9|a|6|c|not there",
            "_table|t|_action|update|id|1|c|now|_unchanged|a",
            "_table|t|_action|insert|id|2|a|7",
        ],
    );
    // One who cannot reload would go on beside it.
    let refused = bed.apply(&db).expect_err("due");
    assert_eq!(reason(&refused), "RELOAD");
    let done = bed.apply_with(&db, Options { reloads: true, ..Options::default() }).expect("due");
    assert_eq!((done.counts.passed_over, done.counts.errors), (2, 0));
    assert_eq!(rows(&db, "SELECT * FROM t"), ["1 'x' NULL", "2 '5' NULL"]);
    let noted = rows(&db, "SELECT passed_over, stale FROM _deltamirror_reload");
    assert_eq!(noted, ["2 1"]);
}
