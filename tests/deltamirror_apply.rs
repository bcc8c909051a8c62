//! A written stream applied to SQLite: every verb and identity, without a server.

mod mirror;
mod support;

use deltaflood::Lsn;
use mirror::*;
use pgsqlite::daystream::{Commit, Position};
use pgsqlite::deltamirror::state;
use pgsqlite::deltamirror::{Ended, Options, Snapshot, apply};
use pgsqlite::sqlite::{Access, Db};
use std::sync::atomic::AtomicBool;

#[test]
fn every_verb_does_what_it_says() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(
        10,
        &[
            "_table|t|_key|id|_action|schema|id|integer|a|text|b|text",
            "_table|t|_action|insert|id|1|a|one|b|x\\ty\\n\\\\",
            "_table|t|_action|insert|id|2",
            "_table|t|_action|insert|id|3|b|only b",
        ],
    );
    let done = bed.apply(&db).expect("apply");
    assert_eq!((done.counts.transactions, done.counts.changes), (1, 3));
    assert_eq!(done.ended, Ended::End);
    assert_eq!(
        rows(&db, "select * from t order by id"),
        ["1 'one' 'x\ty\n\\'", "2 NULL NULL", "3 NULL 'only b'"]
    );
    // NULL is absence, unchanged is named.
    bed.transaction(
        11,
        &[
            "_table|t|_action|update|id|1",
            "_table|t|_unchanged|b|_action|update|id|3|a|new",
            "_table|t|_action|replace|id|2",
            "_table|t|_action|update|id|20|a|moved",
        ],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(
        rows(&db, "select * from t order by id"),
        ["1 NULL NULL", "3 'new' 'only b'", "20 'moved' NULL"]
    );
    bed.transaction(12, &["_table|t|_action|delete|id|3"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t"), ["1", "20"]);
    bed.transaction(
        13,
        &["_table|t|_action|truncate", "_table|t|_action|insert|id|7", "_action|message|prefix|p"],
    );
    let done = bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t"), ["7"]);
    assert_eq!(done.stream.lsn, bed.lsn());
    assert_eq!(done.stream.transactions, 4);
    let stored = state::stream(&db).expect("state").expect("there");
    assert_eq!(stored, done.stream);
}

#[test]
fn keys_may_change_places_inside_a_transaction() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(
        1,
        &["_table|t|_action|insert|id|1|a|one", "_table|t|_action|insert|id|2|a|two"],
    );
    bed.transaction(
        2,
        &[
            "_table|t|_action|replace|id|1",
            "_table|t|_action|update|id|-1|a|one",
            "_table|t|_action|replace|id|2",
            "_table|t|_action|update|id|1|a|two",
            "_table|t|_action|replace|id|-1",
            "_table|t|_action|update|id|2|a|one",
        ],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id, a from t order by id"), ["1 'two'", "2 'one'"]);
}

#[test]
fn whole_rows_are_known_by_all_their_values() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    full(&db);
    let twice = "_table|f|_action|insert|x|1|y|same";
    bed.transaction(1, &[twice, twice, twice, "_table|f|_action|insert|x|1"]);
    bed.transaction(
        2,
        &[
            "_table|f|_action|delete|x|1|y|same",
            "_table|f|_action|replace|x|1|y|same",
            "_table|f|_action|update|y|x is null now",
            "_table|f|_action|replace|x|1",
            "_table|f|_unchanged|x|_action|update|y|was null",
        ],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(
        rows(&db, "select * from f order by y"),
        ["1 'same'", "1 'was null'", "NULL 'x is null now'"]
    );
    bed.transaction(3, &["_table|f|_action|delete|y|x is null now"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*) from f"), ["2"]);
}

#[test]
fn a_composite_key_and_a_table_of_only_its_key() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    let columns = [("b", TEXT.0, TEXT.1), ("a", INT.0, INT.1)];
    add_table(&db, ("ops", "pair"), &columns, &["a", "b"], &["a", "b"], None);
    bed.transaction(
        1,
        &[
            "_table|pair|_schema|ops|_action|insert|b|x|a|1",
            "_table|pair|_schema|ops|_action|insert|b|y|a|1",
            "_table|pair|_schema|ops|_action|update|b|x|a|1",
            "_table|pair|_schema|ops|_action|replace|b|y|a|1",
            "_table|pair|_schema|ops|_action|update|b|z|a|1",
            "_table|pair|_action|insert|b|no|a|1",
        ],
    );
    let done = bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select a, b from \"ops.pair\" order by b"), ["1 'x'", "1 'z'"]);
    assert_eq!((done.counts.changes, done.counts.other_tables), (4, 0), "public.pair is not read");
}

#[test]
fn reading_again_from_any_position_changes_nothing() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    full(&db);
    let mut positions = vec![Position::MIN];
    for n in 1..40u32 {
        let insert = format!("_table|t|_action|insert|id|{n}|a|{n}");
        let update = format!("_table|t|_action|update|id|{}|a|again {n}", n.div_ceil(2));
        let row = format!("_table|f|_action|insert|x|{}|y|r", n % 3);
        positions.push(bed.transaction(n, &[&insert, &update, &row]));
    }
    bed.apply(&db).expect("apply");
    let digest = || (rows(&db, "select * from t"), rows(&db, "select *, rowid from f"));
    let before = digest();
    for position in positions {
        let sql = "update _deltamirror_stream set clock = ?1, seq = ?2";
        let seq = position.seq as i64;
        db.execute(sql, &[position.clock.into(), seq.into()]).expect("set back");
        let done = bed.apply(&db).expect("apply again");
        assert_eq!((done.counts.changes, done.counts.transactions), (0, 0), "{position}");
        assert!(digest() == before, "from {position}");
    }
}

#[test]
fn until_a_position_applies_whole_transactions_up_to_it() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let ends: Vec<Position> = (1..=5u32)
        .map(|n| bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}")]))
        .collect();
    let stop = AtomicBool::new(false);
    let done = apply(&db, &bed.source(), Some(ends[2]), Options::default(), &stop).expect("apply");
    assert_eq!((done.ended, done.stream.position), (Ended::Until, ends[2]));
    assert_eq!(rows(&db, "select count(*) from t"), ["3"]);
    let before = Position { clock: ends[3].clock, seq: ends[3].seq - 1 };
    let done = apply(&db, &bed.source(), Some(before), Options::default(), &stop).expect("apply");
    assert_eq!((done.ended, done.counts.transactions), (Ended::Until, 0));
    let stop = AtomicBool::new(true);
    let done = apply(&db, &bed.source(), None, Options::default(), &stop).expect("apply");
    assert_eq!((done.ended, done.counts.transactions), (Ended::Stopped, 0));
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["5"]);
}

#[test]
fn a_snapshot_leaves_out_what_it_holds() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    // Transactions end at 0x1100, 0x1200, ...; the snapshot was taken at 0x1300.
    let snapshot = Snapshot::parse("100:110:100,105", "0/1300", "0");
    let columns = [("id", INT.0, INT.1)];
    add_table(&db, ("public", "t"), &columns, &["id"], &["id"], snapshot);
    add_table(&db, ("public", "u"), &columns, &["id"], &["id"], None);
    let both = |n: u32| {
        [format!("_table|t|_action|insert|id|{n}"), format!("_table|u|_action|insert|id|{n}")]
    };
    for xid in [99, 100, 104, 105, 101, 200] {
        let lines = both(xid);
        bed.transaction(xid, &[&lines[0], &lines[1]]);
        // 105 ends at 0x1400, beyond the snapshot, as does 101, whose id is of another epoch then.
    }
    let done = bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t order by id"), ["100", "101", "105", "200"]);
    assert_eq!(rows(&db, "select count(*) from u"), ["6"]);
    assert_eq!(done.counts.held, 2);
    let live = "select state from _deltamirror_table order by name";
    assert_eq!(rows(&db, live), ["'live'", "'live'"]);
}

#[test]
fn lines_without_a_transaction_are_never_there_twice() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    let snapshot = Snapshot::parse("100:110:100,105", "0/1300", "0");
    add_table(&db, ("public", "t"), &[("id", INT.0, INT.1)], &[], &[], snapshot);
    let mut insert = |lsn: u64| {
        bed.writer.line(b"_table\tt\t_action\tinsert\tid\t1").expect("line");
        let commit = Commit { lsn: Some(Lsn(lsn)), ..Commit::default() };
        bed.writer.commit(commit).expect("commit");
        bed.writer.flush().expect("flush");
    };
    insert(0x1200);
    insert(0x1400);
    let error = bed.apply(&db).expect_err("perhaps the copy has it");
    assert_eq!(mirror::reason(&error), "DRIFT");
    assert!(error.to_string().contains("(_xid)"), "{error}");
    assert_eq!(rows(&db, "select count(*) from t"), ["0"]);
    // Beyond the copy there is no doubt.
    db.exec("UPDATE _deltamirror_table SET lsn = '0/1100'").expect("an earlier copy");
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["2"]);
}

#[test]
fn another_identity_is_taken_over() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let columns = "id|integer|a|text|b|text";
    bed.transaction(
        1,
        &["_table|t|_action|insert|id|1|a|one", "_table|t|_action|insert|id|2|a|two"],
    );
    bed.transaction(
        2,
        &[
            &format!("_table|t|_key|a|_action|schema|{columns}"),
            "_table|t|_action|delete|a|one",
            "_table|t|_action|replace|a|two",
            "_table|t|_action|update|id|3|a|three",
        ],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id, a from t"), ["3 'three'"]);
    let sql = "select sql from sqlite_master where name = '_deltamirror_identity_t'";
    assert_eq!(
        rows(&db, sql),
        ["'CREATE UNIQUE INDEX \"_deltamirror_identity_t\" ON \"t\" (\"a\")'"]
    );
    // It is known without the schema line too, from the file.
    bed.transaction(3, &["_table|t|_action|delete|a|three"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["0"]);
    // Whole rows with a key: the key finds them.
    bed.transaction(
        4,
        &[
            &format!("_table|t|_key|id a b|_action|schema|{columns}"),
            "_table|t|_action|insert|id|1|a|x",
            "_table|t|_action|delete|id|1|a|x",
        ],
    );
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["0"]);
    assert_eq!(rows(&db, sql), Vec::<String>::new());
}

#[test]
fn hostile_names_stay_names() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    let table = "t\"; drop table u; --\t\n";
    let column = "c\") values (1); drop table u; --";
    let columns = [("id", INT.0, INT.1), (column, TEXT.0, TEXT.1)];
    add_table(&db, ("public", table), &columns, &["id"], &["id"], None);
    add_table(&db, ("public", "u"), &[("id", INT.0, INT.1)], &["id"], &["id"], None);
    let name = "t\"; drop table u; --\\t\\n";
    bed.transaction(
        1,
        &[
            &format!("_table|{name}|_action|insert|id|1|{column}|'); drop table u; --"),
            &format!(
                "_table|{name}|_unchanged|{}|_action|update|id|1",
                column.replace(' ', "\\\\ ").replace('"', "\\\\\"").replace(';', "\\\\;")
            ),
            "_table|sqlite_master|_action|delete|name|u",
            "_table|_deltamirror_stream|_action|truncate",
            "_table|T|_action|truncate",
        ],
    );
    let before = rows(&db, "select name from sqlite_master order by name");
    let done = bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select name from sqlite_master order by name"), before);
    assert_eq!((done.counts.changes, done.counts.other_tables), (2, 0));
    let quoted = pgsqlite::sqlite::quote_identifier(table);
    let stored = rows(&db, &format!("select * from {quoted}"));
    assert_eq!(stored, ["1 ''); drop table u; --'"]);
}

#[test]
fn two_appliers_of_one_file_do_not_disturb_each_other() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    for n in 1..=60u32 {
        bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}")]);
    }
    let options = Options { batch_changes: 1, ..Options::default() };
    let (file, source) = (bed.file(), bed.source());
    let changes: u64 = std::thread::scope(|scope| {
        let run = || {
            let db = Db::open(&file, Access::Write).expect("open");
            let done = apply(&db, &source, None, options, &AtomicBool::new(false));
            done.expect("apply").counts.changes
        };
        let threads = [scope.spawn(run), scope.spawn(run), scope.spawn(run)];
        threads.into_iter().map(|thread| thread.join().expect("thread")).sum()
    });
    assert_eq!(changes, 60);
    assert_eq!(rows(&db, "select count(*), max(id) from t"), ["60 60"]);
    let stream = state::stream(&db).expect("state").expect("there");
    assert_eq!((stream.transactions, stream.changes, stream.lsn), (60, 60, bed.lsn()));
}
