//! The source's secondary indexes in the mirror.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::rows;
use pgsqlite::deltamirror::{InitOptions, Progress, init, verbs};
use pgsqlite::schema::secondary::Indexes;
use pgsqlite::sqlite::Db;
use std::sync::atomic::AtomicBool;

const TABLES: &str = "
    create table t (id int primary key, a int, b text, \"C,\"\"(\" int, d tsvector, e int);
    create index t_a on t (a desc, b);
    create unique index t_b on t (b);
    create index \"odd USING gin (\" on t (\"C,\"\"(\" desc nulls last, a) include (e);
    create index again on t (a desc);
    create index by_key on t (id);
    create index the_same on t (a desc, b);
    create index expr on t (lower(b));
    create index part on t (e) where e > 0;
    create index words on t using gin (d);
    create index nocase on t (b collate \"C\" text_pattern_ops, e);
    insert into t values (1, 1, 'one'), (2, 2, 'two');
    create schema s; create table s.u (id int primary key, x int); create index t_a on s.u (x);";

/// Columns of each index of the mirror's, `-` before one that descends; `!` before a unique index.
fn indexes(db: &Db, table: &str) -> Vec<String> {
    let sql = format!(
        "select iif(l.\"unique\", '!', '') || (select group_concat(iif(\"desc\", '-', '') || name) \
           from (select * from pragma_index_xinfo(l.name) where key order by seqno)) \
         from pragma_index_list('{table}') l where origin = 'c' order by 1"
    );
    rows(db, &sql)
}

/// Fills, and returns what was left out.
fn fill(road: &Road, options: InitOptions) -> Vec<String> {
    let stop = AtomicBool::new(false);
    let mut told = Vec::new();
    let mut progress = |progress: &Progress<'_>| {
        if let Progress::LeftOut { table, indexes } = progress {
            told.extend(indexes.iter().map(|i| format!("{table} {}: {}", i.index, i.why)));
        }
    };
    let db = road.db("m.db");
    init(&db, &road.info(), &road.source(), &options, &stop, &mut progress).expect("init");
    told
}

#[test]
fn what_sqlite_can_have_is_made_and_the_rest_is_said() {
    let road = Road::new("indexes_made", TABLES, &[]);
    let told = fill(&road, InitOptions::default());
    assert_eq!(
        told,
        [
            "t expr: it is on an expression",
            "t part: it is of a part of the rows (WHERE)",
            "t words: it is a gin index",
        ]
    );
    let db = road.db("m.db");
    let all = ["'-C,\"(,a'", "'-a'", "'-a,b'", "'b'", "'b,e'"];
    assert_eq!(indexes(&db, "t"), all);
    assert_eq!(indexes(&db, "s.u"), ["'x'"]);
    // What is unique at the end of a statement may be double in its middle.
    let _follower = road.follow("m.db");
    road.sql(
        "begin; update t set b = 'x' where id = 1; update t set b = 'one' where id = 2;
        update t set b = 'two' where id = 1; commit",
    );
    road.sql("insert into s.u values (1, 1)");
    road.assert_equal("m.db");
    road.sql(
        "alter table t rename to renamed; alter table renamed drop column e;
        insert into renamed (id, b) values (9, 'nine')",
    );
    road.settle("m.db");
    assert_eq!(indexes(&db, "renamed"), ["'-C,\"(,a'", "'-a'", "'-a,b'", "'b'"]);
    let plan = rows(&db, "explain query plan select * from renamed where a = 7");
    assert!(plan[0].contains("_deltamirror_by"), "{plan:?}");
}

#[test]
fn what_was_asked_for_stays_so_and_the_users_own_are_left_alone() {
    let road = Road::new("indexes_asked", TABLES, &[]);
    let unique = InitOptions { indexes: Some(Indexes::Unique), ..InitOptions::default() };
    assert!(fill(&road, unique).is_empty());
    let db = road.db("m.db");
    assert_eq!(indexes(&db, "t"), ["'b'"]);
    db.exec("create index mine on t (e); create unique index t_a on t (a)").expect("mine");
    let tables = vec!["t".to_owned(), "s.u".to_owned()];
    let again = InitOptions { tables, resync: true, ..InitOptions::default() };
    fill(&road, again.clone());
    assert_eq!(indexes(&db, "t"), ["'!a'", "'b'", "'e'"]);
    fill(&road, InitOptions { indexes: Some(Indexes::None), ..again.clone() });
    assert_eq!(indexes(&db, "t"), ["'!a'", "'e'"]);
    fill(&road, again.clone());
    assert_eq!(indexes(&db, "t"), ["'!a'", "'e'"]);
    assert_eq!(fill(&road, InitOptions { indexes: Some(Indexes::All), ..again }).len(), 3);
    assert_eq!(indexes(&db, "t"), ["'!a'", "'-C,\"(,a'", "'-a'", "'-a,b'", "'b'", "'b,e'", "'e'"]);
    assert_eq!(verbs::tables(&db, &[]).expect("tables").len(), 2);
    let names = "select name from sqlite_master where type = 'index' and name in ('mine', 't_a')";
    assert_eq!(rows(&db, names), ["'mine'", "'t_a'"]);
}
