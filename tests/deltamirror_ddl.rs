//! A table altered at its source is altered in the mirror: at the same place of the stream, in the
//! same transaction of SQLite, with what the user made on it.

mod mirror;
mod support;

use deltaflood::write::Line;
use deltaflood::{Details, TypeId, Verb};
use mirror::*;
use pgsqlite::deltamirror::verbs::{self, Retried, Which};
use pgsqlite::deltamirror::{OnError, Options, Patience, Policy, state};
use pgsqlite::sqlite::Db;
use std::sync::atomic::AtomicBool;

/// The definition of a table at a moment, of which the stream has a line.
#[derive(Clone)]
struct At {
    table: (&'static str, &'static str),
    oid: u32,
    key: Vec<&'static str>,
    columns: Vec<(&'static str, u16, u32)>,
    details: Details,
}

impl At {
    /// A table `t(id, a, b)` with key `id`.
    fn keyed() -> At {
        let columns = vec![("id", 1, INT.1), ("a", 2, TEXT.1), ("b", 3, TEXT.1)];
        let (storage, kind, identity) = (b"7".to_vec(), b'r', b'd');
        let details = Details { natts: 3, storage, kind, identity, ..Details::default() };
        At { table: ("public", "t"), oid: 7, key: vec!["id"], columns, details }
    }

    fn with(&self, change: impl FnOnce(&mut At)) -> At {
        let mut at = self.clone();
        change(&mut at);
        at
    }

    fn add(&mut self, name: &'static str, oid: u32, missing: Option<&str>) {
        self.details.natts += 1;
        self.columns.push((name, self.details.natts, oid));
        if let Some(value) = missing {
            self.details.missing.push((name.into(), value.into()));
        }
    }

    fn drop(&mut self, name: &str) {
        self.columns.retain(|column| column.0 != name);
    }

    fn rename(&mut self, from: &str, to: &'static str) {
        for column in self.columns.iter_mut().filter(|column| column.0 == from) {
            column.0 = to;
        }
    }

    /// The line of a `schema`, as [`Bed::transaction`] takes it.
    fn line(&self) -> String {
        let mut details = self.details.clone();
        details.attnums = self.columns.iter().map(|column| column.1).collect();
        details.stamps = vec![1; self.columns.len()];
        let id = |oid: &u32| TypeId { base: *oid, modifier: None };
        details.types = self.columns.iter().map(|column| id(&column.2)).collect();
        details.primary = self.key.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut out = Vec::new();
        let head = Line::begin(&mut out).table(self.table.1.as_bytes());
        let head = head.schema(self.table.0.as_bytes()).oid(self.oid);
        let head = head.identity(self.key.iter().map(|name| name.as_bytes()));
        let mut line = head.details(&details).verb(Verb::Schema);
        for (name, _, oid) in &self.columns {
            let kind = match *oid {
                23 => "integer",
                701 => "double precision",
                1043 => "character varying",
                1700 => "numeric",
                17 => "bytea",
                16 => "boolean",
                _ => "text",
            };
            line.column(name.as_bytes(), kind.as_bytes());
        }
        String::from_utf8(out).expect("text").replace('\t', "|")
    }
}

/// A mirror with `t(id, a, b)` of two rows, which knows the details.
fn with_two() -> (Bed, Db, At) {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let at = At::keyed();
    let lines = [
        &at.line()[..],
        "_table|t|_action|insert|id|1|a|one|b|x",
        "_table|t|_action|insert|id|2|a|two|b|y",
    ];
    bed.transaction(1, &lines);
    bed.apply(&db).expect("apply");
    (bed, db, at)
}

fn columns(db: &Db, table: &str) -> Vec<String> {
    rows(db, &format!("select name || ' ' || type from pragma_table_info('{table}')"))
}

#[test]
fn columns_come_go_and_change_names_between_the_rows_of_a_transaction() {
    let (mut bed, db, at) = with_two();
    let added = at.with(|t| {
        t.add("n", 23, Some("5"));
        t.add("z", 25, None);
    });
    let dropped = added.with(|t| t.drop("a"));
    let swapped = dropped.with(|t| {
        t.rename("b", "q");
        t.rename("z", "b");
        t.rename("q", "z");
        t.add("a", 1700, Some("1.50"));
    });
    let lines = [
        "_table|t|_action|insert|id|3|a|three|b|z",
        &added.line(),
        "_table|t|_action|insert|id|4|a|four|n|6|z|new",
        &dropped.line(),
        "_table|t|_action|update|id|1|b|xx|n|7",
        &swapped.line(),
        "_table|t|_action|insert|id|5|z|was b|n|8|b|was z|a|2",
        "_table|t|_action|update|id|2|z|yy|n|5|a|1.5",
    ];
    bed.transaction(2, &lines);
    let applied = bed.apply(&db).expect("apply");
    assert_eq!(applied.counts.changes, 5);
    assert_eq!(columns(&db, "t"), ["'id INTEGER'", "'z TEXT'", "'n INTEGER'", "'b TEXT'", "'a '"]);
    assert_eq!(
        rows(&db, "select id, z, n, b, a from t order by id"),
        [
            "1 'xx' 7 NULL 1.5",
            "2 'yy' 5 NULL 1.5",
            "3 'z' 5 NULL 1.5",
            "4 NULL 6 'new' 1.5",
            "5 'was b' 8 'was z' 2",
        ]
    );
    // Who opens the file next knows the same.
    bed.transaction(3, &[&swapped.line(), "_table|t|_action|delete|id|5"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["4"]);
    assert_eq!(rows(&db, "pragma integrity_check"), ["'ok'"]);
}

#[test]
fn what_a_transaction_altered_goes_with_it_when_it_fails() {
    let (mut bed, db, at) = with_two();
    let before = (columns(&db, "t"), rows(&db, "select * from t"));
    let added = at.with(|t| t.add("n", 23, Some("5")));
    bed.transaction(2, &["_table|t|_action|insert|id|3"]);
    bed.transaction(3, &[&added.line(), "_table|t|_action|delete|id|99"]);
    assert_eq!(reason(&bed.apply(&db).expect_err("no such row")), "NOROW");
    assert_eq!(columns(&db, "t"), before.0);
    assert_eq!(rows(&db, "select count(*) from t"), ["3"]);
    bed.apply_keeping(&db).expect("apply");
    assert_eq!(rows(&db, "select n from t"), ["5", "5", "5"]);
}

#[test]
fn what_the_user_made_goes_with_the_columns() {
    let (mut bed, db, at) = with_two();
    db.exec(
        "create index own_a on t (a); create view v as select id, b from t;
         create table log (a text);
         create trigger tr after insert on t begin insert into log values (new.a); end;
         alter table t add column own text",
    )
    .expect("user");
    db.exec("update t set own = 'mine'").expect("user");
    let renamed = at.with(|t| t.rename("a", "aa"));
    bed.transaction(2, &[&renamed.line(), "_table|t|_action|insert|id|3|aa|three"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select a from log"), ["'three'"]);
    let sql = "select sql from sqlite_master where name = 'own_a'";
    assert_eq!(rows(&db, sql), ["'CREATE INDEX own_a on t (\"aa\")'"]);
    // What an index, a trigger or a view names stays, and nothing is in it.
    let gone = renamed.with(|t| {
        t.drop("aa");
        t.drop("b");
    });
    bed.transaction(3, &[&gone.line(), "_table|t|_action|insert|id|4"]);
    bed.apply(&db).expect("apply");
    let all = "select id, aa, b, own from t order by id";
    let expected = ["1 NULL NULL 'mine'", "2 NULL NULL 'mine'", "3 NULL NULL NULL"];
    assert_eq!(rows(&db, all)[..3], expected);
    assert_eq!(rows(&db, "select * from v where id = 4"), ["4 NULL"]);
    assert_eq!(state::tables(&db).expect("state")[0].kept, ["aa", "b"]);
    // One of that name takes its place when what named it is gone.
    db.exec("drop index own_a; drop trigger tr").expect("user");
    let again = gone.with(|t| t.add("aa", 23, Some("7")));
    bed.transaction(4, &[&again.line(), "_table|t|_action|insert|id|5|aa|8"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select aa from t order by id"), ["7", "7", "7", "7", "8"]);
    assert_eq!(state::tables(&db).expect("state")[0].kept, ["b"]);
    // While it is named, that table stops, and says by what.
    let more = again.with(|t| t.add("b", 25, None));
    bed.transaction(5, &[&more.line()]);
    let error = bed.apply(&db).expect_err("it is named");
    assert!(reason(&error) == "DRIFT" && error.to_string().contains("drop that"), "{error}");
    db.exec("drop view v").expect("user");
    bed.apply(&db).expect("apply");
    assert_eq!(state::tables(&db).expect("state")[0].kept, [""; 0]);
}

#[test]
fn names_that_the_file_cannot_have_stop_the_table_by_name() {
    let (mut bed, db, at) = with_two();
    db.exec("alter table t add column Mine text").expect("user");
    let before = columns(&db, "t");
    bed.transaction(2, &[&at.with(|t| t.add("A", 25, None)).line()]);
    let error = bed.apply(&db).expect_err("a name");
    assert!(reason(&error) == "DRIFT" && error.to_string().contains("ignores case"), "{error}");
    assert_eq!(columns(&db, "t"), before);
    let skip = format!("update _deltamirror_stream set lsn = '{}'", bed.lsn());
    db.exec(&skip).expect("skip");
    let mine = at.with(|t| t.add("mine", 25, None));
    bed.transaction(2, &[&mine.line()]);
    let error = bed.apply(&db).expect_err("a name");
    let advised = "by `ALTER TABLE \"t\" RENAME COLUMN \"Mine\" TO ...`";
    assert!(reason(&error) == "DRIFT" && error.to_string().contains(advised), "{error}");
    assert_eq!(columns(&db, "t"), before);
    db.exec("ALTER TABLE \"t\" RENAME COLUMN \"Mine\" TO own").expect("advised");
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select own, mine from t limit 1"), ["NULL NULL"]);
    // The case of a name may change, and a name may be a word of SQL, or that of the row number.
    let odd = mine.with(|t| {
        t.rename("a", "A");
        t.add("rowid", 25, Some("it's"));
        t.add("select", 701, Some("-0.5"));
        t.add("x\"y", 17, Some("\\x00ff"));
    });
    bed.transaction(3, &[&odd.line()]);
    bed.apply(&db).expect("apply");
    assert_eq!(
        rows(&db, "select id, A, \"rowid\", \"select\", \"x\"\"y\" from t where id = 1"),
        ["1 'one' 'it''s' -0.5 x[00, ff]".replace("''", "'")]
    );
}

#[test]
fn a_table_known_by_whole_rows_is_found_by_its_new_columns_too() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    full(&db);
    db.exec("create index _deltamirror_rows_f on f (x, y)").expect("as a fill makes it");
    let at = At::keyed().with(|t| {
        t.table = ("public", "f");
        t.columns = vec![("x", 1, INT.1), ("y", 2, TEXT.1)];
        t.key = vec!["x", "y"];
        t.details.natts = 2;
        t.details.identity = b'f';
    });
    let more = at.with(|t| {
        t.add("z", 1700, Some("1"));
        t.drop("y");
        t.key = vec!["x", "z"];
    });
    let lines = [
        &at.line()[..],
        "_table|f|_action|insert|x|1|y|one",
        "_table|f|_action|insert|x|1|y|two",
        &more.line(),
        "_table|f|_action|insert|x|1|z|2",
        "_table|f|_action|replace|x|1|z|2",
        "_table|f|_action|update|x|9|z|2",
        "_table|f|_action|delete|x|1|z|1",
    ];
    bed.transaction(1, &lines);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select * from f order by x"), ["1 1", "9 2"]);
}

#[test]
fn a_table_goes_by_its_new_name_with_all_that_hangs_on_it() {
    let (mut bed, db, at) = with_two();
    db.exec("create index own on t (a); create view v as select count(*) as n from t")
        .expect("own");
    // Rows are found by another column than the primary key: by an index of the mirror's.
    let by_a = at.with(|t| t.key = vec!["a"]);
    bed.transaction(2, &[&by_a.line(), "_table|t|_action|update|id|1|a|one|b|by a"]);
    bed.apply(&db).expect("apply");
    let renamed = by_a.with(|t| {
        t.table = ("ops", "T2");
        t.add("n", 23, Some("3"));
    });
    let lines = [
        "_table|t|_action|insert|id|3|a|three",
        &renamed.line(),
        "_table|T2|_schema|ops|_action|update|id|2|a|two|b|moved|n|3",
        "_table|T2|_schema|ops|_action|delete|a|three",
        // Another table has its name now, and is not in the mirror.
        "_table|t|_oid|99|_key|id|_action|schema|id|integer",
        "_table|t|_action|insert|id|77",
    ];
    bed.transaction(3, &lines);
    bed.apply(&db).expect("apply");
    let all = "select id, a, b, n from \"ops.T2\" order by id";
    assert_eq!(rows(&db, all), ["1 'one' 'by a' 3", "2 'two' 'moved' 3"]);
    assert_eq!(rows(&db, "select n from v"), ["2"]);
    let indexes = "select name from sqlite_master where type = 'index' and tbl_name = 'ops.T2' \
                   order by name";
    assert_eq!(rows(&db, indexes), ["'_deltamirror_identity_ops.T2'", "'own'"]);
    let tables = state::tables(&db).expect("state");
    assert_eq!(
        (tables[0].name.as_str(), tables[0].source.to_string()),
        ("ops.T2", "ops.T2".into())
    );
    // Back to where it was, but for the case.
    let back = renamed.with(|t| t.table = ("public", "T"));
    bed.transaction(4, &[&back.line()]);
    let case = back.with(|t| t.table = ("public", "t"));
    bed.transaction(5, &[&case.line(), "_table|t|_action|insert|id|4|a|four|n|1"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t order by id"), ["1", "2", "4"]);
    // A name that the file has already.
    db.exec("create table mine (x)").expect("user");
    bed.transaction(6, &[&case.with(|t| t.table = ("public", "Mine")).line()]);
    let error = bed.apply(&db).expect_err("it is there");
    assert!(reason(&error) == "DRIFT" && error.to_string().contains("\"Mine\" is in"), "{error}");
}

#[test]
fn a_table_that_stands_still_has_another_name_when_it_goes_on() {
    let (mut bed, db, at) = with_two();
    let suspend = Options { on_error: OnError::Suspend, ..Options::default() };
    bed.transaction(2, &["_table|t|_action|update|id|77|a|nobody|b|"]);
    let renamed = at.with(|t| t.table = ("public", "u"));
    bed.transaction(3, &[&renamed.line(), "_table|u|_action|insert|id|3|a|three"]);
    bed.apply_with(&db, suspend).expect("apply");
    db.exec("insert into t (id) values (77)").expect("mended");
    let never = AtomicBool::new(false);
    let patience = Patience { budget: ms(60_000), stop: &never };
    let source = bed.source();
    let retry = || verbs::retry(&db, Some(&source), &Which::All, patience).expect("retry");
    assert_eq!(retry().live, ["u"]);
    // It is where the mirror is: nothing of it comes twice.
    assert_eq!(rows(&db, "select count(*) from _deltamirror_suspended"), ["0"]);
    assert_eq!(retry(), Retried::default());
    bed.transaction(4, &["_table|u|_action|insert|id|4|a|four"]);
    bed.apply_with(&db, suspend).expect("apply");
    let all = "select id, a from u order by id";
    assert_eq!(rows(&db, all), ["1 'one'", "2 'two'", "3 'three'", "4 'four'", "77 'nobody'"]);
}

#[test]
fn a_table_that_is_due_is_due_by_its_new_name() {
    let (mut bed, db, at) = with_two();
    let reloads = Options { reloads: true, ..Options::default() };
    let due = || rows(&db, "select source_table, maker, rows from _deltamirror_reload");
    let retyped = at.with(|t| t.columns[2].2 = 23);
    bed.transaction(2, &[&retyped.line()]);
    bed.apply_with(&db, reloads).expect("apply");
    assert_eq!(due(), ["'t' NULL 0"]);
    // Somebody is at it, and has to begin again.
    db.exec("update _deltamirror_reload set maker = 'm', rows = 7").expect("begun");
    let renamed = retyped.with(|t| t.table = ("public", "u"));
    bed.transaction(3, &[&renamed.line(), "_table|u|_action|insert|id|3|a|three"]);
    bed.apply_with(&db, reloads).expect("apply");
    assert_eq!((due(), rows(&db, "select id from u")), (vec!["'u' NULL 0".into()], ids(3)));
    // A name that the file cannot give it: it waits under the one that it has.
    db.exec("create table mine (x)").expect("user");
    bed.transaction(4, &[&renamed.with(|t| t.table = ("public", "mine")).line()]);
    bed.apply_with(&db, reloads).expect("apply");
    assert_eq!(due(), ["'u' NULL 0"]);
    // Another table has its name: that one is to be copied, wherever the first one goes.
    let another = renamed.with(|t| t.oid = 9);
    let away = renamed.with(|t| t.table = ("public", "was"));
    bed.transaction(5, &[&another.line(), &away.line()]);
    bed.apply_with(&db, reloads).expect("apply");
    assert_eq!((due(), rows(&db, "select id from u")), (vec!["'u' NULL 0".into()], ids(3)));
}

#[test]
fn a_table_that_another_one_replaced_is_not_followed_to_its_new_name() {
    let (mut bed, db, at) = with_two();
    let reloads = Options { reloads: true, ..Options::default() };
    bed.transaction(2, &[&at.with(|t| t.oid = 9).line()]);
    bed.apply_with(&db, reloads).expect("apply");
    bed.transaction(3, &[&at.with(|t| t.table = ("public", "was")).line()]);
    bed.apply_with(&db, reloads).expect("apply");
    assert_eq!(rows(&db, "select source_table from _deltamirror_reload"), ["'t'"]);
    assert_eq!(rows(&db, "select id from t"), ids(2));
}

fn ids(last: i32) -> Vec<String> {
    (1..=last).map(|id| id.to_string()).collect()
}

#[test]
fn a_policy_says_how_far_a_table_follows() {
    let (mut bed, db, at) = with_two();
    let set = |policy| state::write_policy(&db, "t", policy).expect("policy");
    let added = at.with(|t| t.add("n", 23, Some("5")));
    let refused = |bed: &mut Bed, line: &str, says: &str| {
        bed.transaction(2, &[line]);
        let error = bed.apply(&db).expect_err("refused");
        let text = error.to_string();
        assert!(reason(&error) == "DRIFT" && text.contains(says), "{error}");
        let skip = format!("update _deltamirror_stream set lsn = '{}'", bed.lsn());
        db.exec(&skip).expect("skip");
    };
    set(Policy::Stop);
    refused(&mut bed, &added.line(), "column \"n\" integer is new, and its policy is -ddl stop");
    let renamed = at.with(|t| t.table = ("public", "u"));
    refused(&mut bed, &renamed.line(), "its name is \"public.u\" now, and its policy is");
    set(Policy::Additive);
    bed.transaction(3, &[&added.line()]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select n from t"), ["5", "5"]);
    let dropped = added.with(|t| t.drop("n"));
    refused(&mut bed, &dropped.line(), "column \"n\" is no longer there, and its policy is");
    set(Policy::Follow);
    bed.transaction(4, &[&dropped.line()]);
    bed.apply(&db).expect("apply");
    assert_eq!(columns(&db, "t").len(), 3);
}

#[test]
fn a_table_stands_still_before_the_transaction_that_renames_it() {
    let (mut bed, db, at) = with_two();
    let renamed = at.with(|t| t.table = ("public", "u"));
    bed.transaction(2, &[&renamed.line(), "_table|u|_action|update|id|77|a|nobody"]);
    bed.transaction(3, &["_table|u|_action|insert|id|3|a|three"]);
    let suspend = Options { on_error: OnError::Suspend, ..Options::default() };
    bed.apply_with(&db, suspend).expect("apply");
    assert_eq!(rows(&db, "select name, reason from _deltamirror_suspended"), ["'t' 'NOROW'"]);
    assert_eq!(rows(&db, "select count(*) from t"), ["2"]);
    assert_eq!(state::stream(&db).expect("state").expect("there").lsn, bed.lsn());
}

/// A line without details may stand for a table that was written again: a row that does not fit it
/// then is no reason to stop for one who can copy it. Nor does it hide a partition that came.
#[test]
fn after_a_line_without_details_a_row_that_does_not_fit_asks_for_a_copy() {
    let bare = "_table|t|_oid|7|_key|id|_action|schema|id|integer|a|text|b|text";
    let missed = "_table|t|_action|update|id|9|a|not there";
    let reloads = Options { reloads: true, ..Options::default() };
    let due = "select source_table, passed_over, reason from _deltamirror_reload";
    let (mut bed, db, at) = with_two();
    bed.transaction(2, &[&at.line(), missed]);
    assert_eq!(reason(&bed.apply_with(&db, reloads).expect_err("no such row")), "NOROW");
    let (mut bed, db, _) = with_two();
    bed.transaction(2, &[bare, missed]);
    assert_eq!(reason(&bed.apply(&db).expect_err("no such row")), "NOROW");
    bed.apply_with(&db, reloads).expect("asked");
    let asked = rows(&db, due);
    assert!(asked[0].starts_with("'t' 1 'its definition was not told whole"), "{asked:?}");
    let (mut bed, db, at) = with_two();
    let parts = |storage: &str| {
        at.with(|t| (t.details.kind, t.details.storage) = (b'p', storage.as_bytes().to_vec()))
    };
    bed.transaction(2, &[&parts("1").line()]);
    // Who cannot copy notes it and goes on.
    bed.apply(&db).expect("apply");
    bed.transaction(3, &[bare, &parts("1").line()]);
    bed.apply_with(&db, reloads).expect("apply");
    assert!(rows(&db, due).is_empty());
    bed.transaction(4, &[bare, &parts("2").line()]);
    bed.apply_with(&db, reloads).expect("apply");
    assert!(rows(&db, due)[0].contains("a partition was added"), "{:?}", rows(&db, due));
}

/// A partition that came and went between two looks at the catalogs is told by no line: its rows do
/// not fit.
#[test]
fn a_row_of_a_partition_that_nobody_told_of_asks_for_a_copy() {
    let reloads = Options { reloads: true, ..Options::default() };
    let (mut bed, db, at) = with_two();
    bed.transaction(2, &[&at.with(|t| t.details.kind = b'p').line()]);
    bed.apply_with(&db, reloads).expect("apply");
    let missed = "_table|t|_action|update|id|9|a|not there";
    bed.transaction(3, &[missed, "_table|t|_action|insert|id|3|a|three"]);
    assert_eq!(reason(&bed.apply(&db).expect_err("no such row")), "NOROW");
    bed.apply_with(&db, reloads).expect("asked");
    let asked = rows(&db, "select source_table, passed_over, reason from _deltamirror_reload");
    assert!(asked[0].starts_with("'t' 1 'partitions may have come and gone"), "{asked:?}");
    assert_eq!(rows(&db, "select a from t where id = 3"), ["'three'"]);
}
