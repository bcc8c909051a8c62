//! What hangs on a table when another one takes its place.

use super::*;
use crate::deltamirror::definition::Definition;
use crate::deltamirror::snapshot::Snapshot;
use crate::deltamirror::state::TableStatus;
use crate::error::Coded;
use crate::schema::{Column, Generated, Identity, Partition, TableName};

/// Columns by name and base type; the first is the key unless `keyless`.
fn table(columns: &[(&str, u32)], keyless: bool) -> Table {
    let columns = columns.iter().enumerate().map(|(at, (name, oid))| Column {
        name: (*name).to_owned(),
        number: at as i32 + 1,
        type_name: "t".to_owned(),
        type_oid: *oid,
        base_oid: *oid,
        base_name: "t".to_owned(),
        not_null: false,
        default: None,
        generated: Generated::No,
        identity: false,
    });
    let columns: Vec<Column> = columns.collect();
    let key = if keyless { Vec::new() } else { vec![columns[0].name.clone()] };
    Table {
        name: TableName::new("public", "t"),
        oid: 1,
        columns,
        primary_key: key,
        identity: if keyless { Identity::Full } else { Identity::Default },
        indexes: Vec::new(),
        partition: Partition::None,
    }
}

fn state(table: &Table) -> TableState {
    TableState {
        name: "t".to_owned(),
        source: table.name.clone(),
        status: TableStatus::Live,
        definition: Definition::of(table),
        base_types: table.columns.iter().map(|column| column.base_oid).collect(),
        primary_key: crate::schema::ddl::primary_key(table).to_vec(),
        row_filter: None,
        snapshot: Snapshot::parse("1:1:", "0/0", "0").unwrap(),
        rows: 0,
        policy: crate::deltamirror::Policy::default(),
        kept: Vec::new(),
    }
}

/// A file with a mirrored table `t(id, a, b)`, and what `sql` makes beside it.
struct Bed {
    dir: tempfile::TempDir,
    db: Db,
    was: Table,
}

const INT: u32 = 23;
const TEXT: u32 = 25;

impl Bed {
    fn new(sql: &str) -> Bed {
        Bed::of(table(&[("id", INT), ("a", TEXT), ("b", TEXT)], false), sql)
    }

    fn of(was: Table, sql: &str) -> Bed {
        crate::sqlite::testing::load().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("m.db"), crate::sqlite::Access::Create).unwrap();
        db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
        for statement in crate::schema::ddl::statements(&was).unwrap() {
            db.exec(&statement).unwrap();
        }
        db.exec(sql).unwrap();
        Bed { dir, db, was }
    }

    /// Fills a shadow by `rows` and puts it in the place of `t`.
    fn swap(&self, now: &Table, rows: &str, asked: Option<Mode>) -> Result<Put, Error> {
        let old = state(&self.was);
        self.db.exec("BEGIN IMMEDIATE")?;
        let swapped = rehearse(&self.db, now, "t", Some(&old)).and_then(|()| {
            let shadow = make_shadow(&self.db, now, "t", Some(&old))?;
            shadow.index(&self.db)?;
            self.db
                .exec(&format!("INSERT INTO {} VALUES {rows}", quote_identifier(&shadow.name)))?;
            let mode = mode(&self.db, &old, &state(now), asked)?;
            put(&self.db, "t", Some(&old), mode)
        });
        match &swapped {
            Ok(put) => {
                let left = put.left.as_deref().map(quote_identifier);
                self.db.exec(&format!("DROP TABLE {}; COMMIT", left.unwrap_or_default()))?;
            }
            Err(_) => self.db.exec("ROLLBACK")?,
        }
        assert_eq!(self.text("PRAGMA integrity_check"), ["ok"]);
        // Nothing of the shadow is left.
        assert_eq!(
            self.text("SELECT name FROM sqlite_master WHERE name LIKE '%deltamirror%'"),
            [""; 0]
        );
        swapped
    }

    fn text(&self, sql: &str) -> Vec<String> {
        text(&self.db, sql)
    }

    /// Another connection, which reads what it can.
    fn other(&self) -> Db {
        Db::open(&self.dir.path().join("m.db"), crate::sqlite::Access::Write).unwrap()
    }
}

fn text(db: &Db, sql: &str) -> Vec<String> {
    let mut stmt = db.prepare(sql).unwrap();
    let mut rows = Vec::new();
    while stmt.step().unwrap() {
        let cells: Vec<String> = (0..stmt.column_count())
            .map(|c| match stmt.column(c) {
                crate::sqlite::Value::Null => "NULL".to_owned(),
                crate::sqlite::Value::Int(int) => int.to_string(),
                other => other.as_str().unwrap_or("?").to_owned(),
            })
            .collect();
        rows.push(cells.join("|"));
    }
    rows
}

fn refused(result: Result<Put, Error>) -> (String, String) {
    let error = result.expect_err("refused");
    assert_eq!(error.code().reason, "OWN", "{error}");
    let details = error.code().details;
    let words: Vec<String> = details.iter().map(|(key, value)| format!("{key} {value}")).collect();
    (words.join(" "), error.to_string())
}

#[test]
fn what_hangs_on_a_table_stays_as_it_is() {
    let bed = Bed::new(
        "CREATE INDEX ix ON t (b COLLATE NOCASE DESC) WHERE b > '';
         CREATE UNIQUE INDEX \"u x\" ON t(a, id);
         CREATE TABLE child (x INT REFERENCES t(id) ON DELETE CASCADE);
         CREATE TABLE log (m); CREATE TABLE other (y);
         CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('+' || new.id); END;
         CREATE TRIGGER td AFTER DELETE ON t BEGIN INSERT INTO log VALUES ('-' || old.id); END;
         CREATE TRIGGER tother AFTER INSERT ON other
         BEGIN UPDATE t SET b = 'o' WHERE id = new.y; END;
         CREATE VIEW v AS SELECT id, a FROM t; CREATE VIEW vv AS SELECT count(*) AS n FROM v;
         INSERT INTO t VALUES (1, 'x', 'y'), (2, 'p', 'q'); INSERT INTO child VALUES (1), (2);
         ANALYZE; DELETE FROM log; PRAGMA foreign_keys = ON",
    );
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name";
    let (before, stat) = (bed.text(schema), bed.text("SELECT * FROM sqlite_stat1 ORDER BY 1, 2"));
    let reader = bed.other();
    let mut open = reader.prepare("SELECT n FROM vv").unwrap();
    assert!(open.step().unwrap());
    let put =
        bed.swap(&bed.was, "(1, 'X', 'Y'), (3, 'r', 's'), (4, 't', 'u')", Some(Mode::Replace));
    assert_eq!(put.unwrap().unfired, ["td", "tr"]);
    // A reader in the middle has the old rows, then the new ones.
    assert_eq!(open.column(0).as_int(), Some(2));
    drop(open);
    assert_eq!(text(&reader, "SELECT n FROM vv"), ["3"]);
    assert_eq!(bed.text("SELECT a FROM v ORDER BY id"), ["X", "r", "t"]);
    assert_eq!(bed.text("SELECT x FROM child"), ["1", "2"]);
    assert_eq!(bed.text("SELECT m FROM log"), [""; 0]);
    let normal =
        |rows: Vec<String>| rows.join("\n").replace(['"', '\n', ' ', ','], "").replace("main.", "");
    assert_eq!(normal(bed.text(schema)), normal(before));
    assert_eq!(bed.text("SELECT * FROM sqlite_stat1 ORDER BY 1, 2"), stat);
    let insert = "INSERT INTO t VALUES (9, 'i', ''); INSERT INTO other VALUES (3)";
    bed.db.exec(&format!("{insert}; DELETE FROM t WHERE id = 1")).unwrap();
    assert_eq!(bed.text("SELECT m FROM log"), ["+9", "-1"]);
    assert_eq!(bed.text("SELECT b FROM t WHERE id = 3"), ["o"]);
    assert_eq!(bed.text("SELECT x FROM child"), ["2"]);
}

#[test]
fn another_shape_keeps_the_users_columns_and_what_they_hold() {
    let bed = Bed::new(
        "ALTER TABLE t ADD COLUMN note TEXT DEFAULT ('n' /* , ) */) CHECK (note <> '');
         ALTER TABLE t ADD COLUMN len INT GENERATED ALWAYS AS (length(note)) VIRTUAL;
         CREATE INDEX own ON t (note);
         INSERT INTO t (id, a, b, note) VALUES (1, 'x', 'y', 'one'), (2, 'p', 'q', 'two')",
    );
    // `a` is an integer, `b` is gone, `c` is new.
    let now = table(&[("id", INT), ("a", INT), ("c", TEXT)], false);
    bed.swap(&now, "(2, 7, 'c', 'n'), (3, 8, 'd', 'n')", None).unwrap();
    let rows = bed.text("SELECT id, a, c, note, len FROM t ORDER BY id");
    assert_eq!(rows, ["2|7|c|two|3", "3|8|d|n|1"]);
    let names = bed.text("SELECT name, type FROM pragma_table_xinfo('t')");
    assert_eq!(names, ["id|INTEGER", "a|INTEGER", "c|TEXT", "note|TEXT", "len|INT"]);
    assert!(bed.db.exec("UPDATE t SET note = ''").is_err());
    let plan = bed.text("EXPLAIN QUERY PLAN SELECT * FROM t WHERE note = 'x'");
    assert!(plan[0].ends_with("USING INDEX own (note=?)"), "{plan:?}");
    assert_eq!(bed.text("SELECT count(*) FROM sqlite_master WHERE name = 'own'"), ["1"]);
}

#[test]
fn a_table_made_by_hand_stays_so() {
    let bed = Bed::new(
        "DROP TABLE t; CREATE TABLE t(id INTEGER NOT NULL, a TEXT COLLATE NOCASE, -- the a
         b TEXT, CHECK (a <> 'never'), UNIQUE (b), PRIMARY KEY (id) -- end
         ) WITHOUT ROWID, STRICT; INSERT INTO t VALUES (1, 'x', 'y')",
    );
    bed.swap(&bed.was, "(1, 'X', 'y'), (2, 'p', 'z')", None).unwrap();
    assert_eq!(bed.text("SELECT id FROM t WHERE a = 'x'"), ["1"]);
    assert!(bed.db.exec("INSERT INTO t VALUES (3, 'never', '')").is_err());
    assert!(bed.db.exec("INSERT INTO t VALUES (3, 'r', 'z')").is_err(), "UNIQUE");
    assert!(bed.db.prepare("SELECT rowid FROM t").is_err(), "WITHOUT ROWID");
    assert!(bed.db.exec("INSERT INTO t VALUES (3, x'00', 'u')").is_err(), "STRICT");
    // Again, from what was made.
    bed.swap(&bed.was, "(5, 'a', 'b')", None).unwrap();
    assert_eq!(bed.text("SELECT id FROM t WHERE a = 'A'"), ["5"]);
    // The source gets another column, and the key that it has stays.
    let now = table(&[("id", INT), ("a", TEXT), ("b", TEXT), ("c", TEXT)], false);
    bed.swap(&now, "(6, 'a', 'b', 'c')", None).unwrap();
    assert_eq!(bed.text("SELECT c FROM t WHERE a = 'A'"), ["c"]);
}

#[test]
fn what_cannot_stay_is_refused_by_name_and_nothing_is_touched() {
    let now = table(&[("id", INT), ("a", TEXT)], false);
    let cases = [
        ("CREATE INDEX \"my ix\" ON t (b)", "index", "my ix"),
        ("CREATE VIEW vb AS SELECT b FROM t", "view", "vb"),
        (
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT new.a; END;
          CREATE TRIGGER tb AFTER INSERT ON t BEGIN SELECT new.b; END",
            "trigger",
            "tb",
        ),
        (
            "CREATE TABLE o (x); CREATE TRIGGER ot AFTER DELETE ON o BEGIN UPDATE t SET b = 1; END",
            "trigger",
            "ot",
        ),
    ];
    for (sql, kind, name) in cases {
        let bed = Bed::new(&format!("{sql}; INSERT INTO t VALUES (1, 'x', 'y')"));
        let schema = bed.text("SELECT rowid, * FROM sqlite_master");
        let (code, message) = refused(bed.swap(&now, "(1, 'X')", None));
        assert!(code.contains(&format!("table t {kind} ")), "{code}");
        assert!(message.contains(&format!("the {kind} \"{name}\"")), "{message}");
        assert_eq!(bed.text("SELECT * FROM t"), ["1|x|y"]);
        assert_eq!(bed.text("SELECT rowid, * FROM sqlite_master"), schema);
        // What the message advises helps.
        let drop = message.split('`').nth(1).unwrap().to_owned();
        bed.db.exec(&drop).unwrap();
        bed.swap(&now, "(1, 'X')", None).unwrap();
        assert_eq!(bed.text("SELECT * FROM t"), ["1|X"]);
    }
    let bed = Bed::new("ALTER TABLE t ADD COLUMN c");
    let with_c = table(&[("id", INT), ("a", TEXT), ("b", TEXT), ("c", TEXT)], false);
    assert!(refused(bed.swap(&with_c, "(1, '', '', '')", None)).0.contains("column c"));
    let bed = Bed::new(
        "CREATE TABLE n (a CHECK (a <> ''), b TEXT, id INTEGER PRIMARY KEY NOT NULL,
                        CHECK (b <> a)); DROP TABLE t; ALTER TABLE n RENAME TO t",
    );
    assert!(refused(bed.swap(&now, "(1, 'X')", None)).1.contains("no such column: b"));
    let keyless = table(&[("a", TEXT)], true);
    let bed = Bed::of(keyless.clone(), "ALTER TABLE t ADD COLUMN own; INSERT INTO t VALUES (1, 2)");
    assert!(refused(bed.swap(&keyless, "(1, NULL)", None)).0.contains("column own"));
    bed.db.exec("UPDATE t SET own = NULL").unwrap();
    bed.swap(&keyless, "(5, NULL)", None).unwrap();
}

#[test]
fn a_view_that_did_not_work_before_is_no_reason() {
    let bed =
        Bed::new("CREATE VIEW v AS SELECT nowhere(b) FROM t; CREATE VIEW w AS SELECT * FROM gone");
    bed.swap(&table(&[("id", INT), ("a", TEXT)], false), "(1, 'X')", None).unwrap();
}

/// Triggers hear of what differs, and of nothing else.
#[test]
fn by_difference_triggers_fire_for_what_differs() {
    let log = "CREATE TABLE log (m);
         CREATE TRIGGER ti AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('+' || new.id); END;
         CREATE TRIGGER tu AFTER UPDATE ON t BEGIN INSERT INTO log VALUES ('=' || new.id); END;
         CREATE TRIGGER td AFTER DELETE ON t BEGIN INSERT INTO log VALUES ('-' || old.id); END;";
    let bed = Bed::new(&format!(
        "ALTER TABLE t ADD COLUMN own;
         INSERT INTO t VALUES (1, 'x', 'y', 5), (2, 'p', NULL, 6), (3, 'd', 'd', 7);
         INSERT INTO t VALUES (4, 's', 's', 8);
         {log}"
    ));
    let rows =
        "(1, 'x', 'y', NULL), (2, 'p', 'now', NULL), (4, 's', 's', NULL), (5, 'n', 'n', NULL)";
    let put = bed.swap(&bed.was, rows, None).unwrap();
    assert_eq!((put.unfired.len(), put.changed), (0, Some(3)));
    assert_eq!(bed.text("SELECT m FROM log ORDER BY m"), ["+5", "-3", "=2"]);
    let rows = ["1|x|y|5", "2|p|now|6", "4|s|s|8", "5|n|n|NULL"];
    assert_eq!(bed.text("SELECT * FROM t ORDER BY id"), rows);
    // Rows without a key, equal ones among them; a number is not the text of it.
    let keyless = table(&[("id", 1700), ("a", TEXT)], true);
    let bed = Bed::of(
        keyless.clone(),
        &format!(
            "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL), (2, NULL), (3, 'z');
             {log}"
        ),
    );
    bed.swap(&keyless, "(1, 'x'), (1, 'x'), (2, NULL), (2, NULL), (2, NULL), (3.0, 'z')", None)
        .unwrap();
    assert_eq!(bed.text("SELECT m FROM log ORDER BY m"), ["+2", "+3.0", "-1", "-3"]);
    assert_eq!(bed.text("SELECT count(*) FROM t"), ["6"]);
    // In another shape the triggers are named.
    let bed = Bed::new("CREATE TRIGGER ti AFTER INSERT ON t BEGIN SELECT new.id; END");
    let now = table(&[("id", INT), ("c", TEXT)], false);
    assert_eq!(bed.swap(&now, "(1, 'X')", None).unwrap().unfired, ["ti"]);
}

/// The schema in memory goes with the transaction: what another connection makes next may get the
/// number that this one had in hand.
#[test]
fn a_swap_that_is_rolled_back_leaves_nothing_in_memory() {
    let bed = Bed::new("INSERT INTO t VALUES (1, 'x', 'y')");
    let now = table(&[("id", INT), ("c", TEXT)], false);
    let old = state(&bed.was);
    bed.db.exec("BEGIN IMMEDIATE").unwrap();
    let shadow = make_shadow(&bed.db, &now, "t", Some(&old)).unwrap();
    put(&bed.db, "t", Some(&old), Mode::Replace).unwrap();
    assert_eq!(bed.text("SELECT name FROM pragma_table_info('t')"), ["id", "c"]);
    assert_eq!(bed.text("SELECT count(*) FROM _deltamirror_old_t"), ["1"]);
    bed.db.exec("ROLLBACK").unwrap();
    let other = bed.other();
    let version = bed.text("PRAGMA schema_version");
    for number in 0..8 {
        other.exec(&format!("CREATE TABLE other{number} (x)")).unwrap();
        assert_eq!(bed.text("SELECT a FROM t"), ["x"], "after {number}");
    }
    assert_ne!(bed.text("PRAGMA schema_version"), version);
    assert_eq!(
        bed.text(&format!("SELECT count(*) FROM sqlite_master WHERE name = '{}'", shadow.name)),
        ["0"]
    );
}

#[test]
fn a_table_that_is_not_there_yet_comes() {
    let bed = Bed::new("DROP TABLE t");
    bed.db.exec("BEGIN IMMEDIATE").unwrap();
    let now = Table { identity: Identity::Full, ..bed.was.clone() };
    let shadow = make_shadow(&bed.db, &now, "t", None).unwrap();
    shadow.index(&bed.db).unwrap();
    bed.db.exec("INSERT INTO _deltamirror_new_t VALUES (1, 'x', 'y')").unwrap();
    let put = put(&bed.db, "t", None, Mode::Replace).unwrap();
    bed.db.exec("COMMIT").unwrap();
    assert_eq!(put, Put { left: None, unfired: Vec::new(), changed: None });
    assert_eq!(bed.text("SELECT * FROM t"), ["1|x|y"]);
    assert_eq!(bed.text("SELECT name FROM sqlite_master"), ["t"]);
}
