//! Tables altered and written to at random, by seed: at the end each mirror is what a fresh one is,
//! columns and rows. All that is done here is followed in place.
//!
//! `PGSQLITE_TEST_ALL=1` runs many seeds, `PGSQLITE_SEED=N` that one.

mod mirror;
mod support;

use mirror::dice::Dice;
use mirror::live::Road;
use mirror::{reason, rows};
use pgsqlite::deltamirror::{Error, Event, Follower, state};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Types and values of theirs.
const TYPES: [(&str, [&str; 3]); 14] = [
    ("integer", ["0", "-7", "2147483647"]),
    ("bigint", ["0", "-9223372036854775808", "9223372036854775807"]),
    ("text", ["''", "'it''s'", "e'a\\tb\\nc\\\\'"]),
    ("varchar(10)", ["'x'", "'0123456789'", "'1.0'"]),
    ("numeric", ["1.50", "2.0", "12345678901234567890123.5"]),
    ("numeric(12,3)", ["1", "2.5", "-0.001"]),
    ("boolean", ["true", "false", "true"]),
    ("double precision", ["1", "-0.1", "'Infinity'"]),
    ("bytea", ["'\\x00ff27'", "'\\x'", "'text'"]),
    ("timestamptz", ["'2026-01-02 03:04:05+01'", "'infinity'", "'1999-12-31 23:59:59.5Z'"]),
    ("integer[]", ["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'"]),
    ("jsonb", ["'{\"a\": [1, \"x,y\"]}'", "'null'", "'\"s\"'"]),
    ("date", ["'2026-02-03'", "'0044-03-15 BC'", "'infinity'"]),
    ("box", ["'(1,1),(0,0)'", "'(2,2),(1,1)'", "'(3,3),(0,0)'"]),
];

/// A table of the game, as the server has it now.
struct Game<'r> {
    road: &'r Road,
    dice: Dice,
    /// Object ids of the tables.
    tables: Vec<u32>,
    names: usize,
    next_id: usize,
}

impl Game<'_> {
    fn table(&mut self) -> u32 {
        let at = self.dice.roll(self.tables.len());
        self.tables[at]
    }

    fn name(&self, oid: u32) -> String {
        let sql = format!(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c \
             join pg_namespace n on n.oid = c.relnamespace where c.oid = {oid}"
        );
        self.road.client().query_one(&sql, &[]).expect("name").get(0)
    }

    /// The columns of a table but its key: names and types.
    fn columns(&self, oid: u32) -> Vec<(String, String)> {
        let sql = format!(
            "select quote_ident(attname), format_type(atttypid, atttypmod) from pg_attribute \
             where attrelid = {oid} and attnum > 1 and not attisdropped order by attnum"
        );
        let found = self.road.client().query(&sql, &[]).expect("columns");
        found.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    fn value(&mut self, kind: &str) -> String {
        let alike = |known: &str| match kind {
            "timestamp with time zone" => known == "timestamptz",
            "character varying" => known == "text",
            _ if kind.starts_with("character varying(") => known == "varchar(10)",
            _ if kind.starts_with("numeric") => known.starts_with("numeric(") || known == kind,
            _ => known == kind,
        };
        let of = TYPES.iter().find(|(known, _)| alike(known));
        let (_, values) = of.unwrap_or_else(|| panic!("values of {kind}"));
        if self.dice.roll(4) == 0 { "null".to_owned() } else { self.dice.one(values).to_owned() }
    }

    fn fresh_name(&mut self) -> String {
        self.names += 1;
        let forms = ["c#", "\"C#\"", "\"select #\"", "\"a\"\"b#\"", "\"\u{e9}#\""];
        self.dice.one(&forms).replace('#', &self.names.to_string())
    }

    fn insert(&mut self, oid: u32) -> String {
        self.next_id += 1;
        let mut names = vec!["id".to_owned()];
        let mut values = vec![self.next_id.to_string()];
        for (name, kind) in self.columns(oid) {
            names.push(name);
            values.push(self.value(&kind));
        }
        let (names, values) = (names.join(", "), values.join(", "));
        format!("insert into {} ({names}) values ({values})", self.name(oid))
    }

    /// Some statement that changes rows.
    fn change(&mut self, oid: u32) -> String {
        let (name, id) = (self.name(oid), self.dice.roll(self.next_id + 1));
        let columns = self.columns(oid);
        match self.dice.roll(8) {
            0 => format!("delete from {name} where id = {id}"),
            1 => format!("delete from {name} where id % 7 = {}", id % 7),
            2 => format!("update {name} set id = -id where id = {id}"),
            3..=5 if !columns.is_empty() => {
                let (column, kind) = columns[self.dice.roll(columns.len())].clone();
                let value = self.value(&kind);
                format!("update {name} set {column} = {value} where id % 3 = {}", id % 3)
            }
            _ => self.insert(oid),
        }
    }

    /// Some statement that alters a table in a way that a mirror follows in place.
    fn alter(&mut self, oid: u32) -> String {
        let name = self.name(oid);
        let columns = self.columns(oid);
        let column = match columns.len() {
            0 => None,
            count => Some(columns[self.dice.roll(count)].clone()),
        };
        let new = self.fresh_name();
        match (self.dice.roll(12), column) {
            (0 | 1, _) => {
                let (kind, _) = TYPES[self.dice.roll(TYPES.len())];
                format!("alter table {name} add column {new} {kind}")
            }
            (2..=4, _) => {
                let (kind, values) = TYPES[self.dice.roll(TYPES.len())];
                let value = self.dice.one(&values);
                format!("alter table {name} add column {new} {kind} default {value}")
            }
            (5, Some((column, _))) => format!("alter table {name} drop column {column}"),
            (6, Some((column, _))) => {
                format!("alter table {name} rename column {column} to {new}")
            }
            (7, Some((column, kind))) if kind.starts_with("character varying(") => {
                let to = self.dice.one(&["varchar(30)", "varchar", "text"]);
                format!("alter table {name} alter column {column} type {to}")
            }
            (7, Some((column, kind))) if kind == "numeric(12,3)" => {
                format!("alter table {name} alter column {column} type numeric(20,3)")
            }
            (8, Some((column, _))) if columns.len() > 1 => {
                // The names of two change hands.
                let other = &columns.iter().find(|(other, _)| *other != column).expect("two").0;
                format!(
                    "alter table {name} rename column {column} to between; \
                     alter table {name} rename column {other} to {column}; \
                     alter table {name} rename column between to {other}"
                )
            }
            (9, _) => {
                let new = format!("t{}", self.names);
                format!("alter table {name} rename to {new}")
            }
            (10, _) => {
                let schema = if name.starts_with("other.") { "public" } else { "other" };
                format!("alter table {name} set schema {schema}")
            }
            _ => {
                let kinds = ["full", if oid == self.tables[0] { "default" } else { "full" }];
                let identity = self.dice.one(&kinds);
                format!("alter table {name} replica identity {identity}")
            }
        }
    }
}

/// A follower, and why it ended.
fn follow(road: &Road) -> (Follower, Receiver<Option<Error>>) {
    let (send, receive) = channel();
    let on_event = move |event| {
        if let Event::Ended { error } = event {
            let _ = send.send(error);
        }
    };
    (road.follow_with("m.db", Box::new(on_event)), receive)
}

/// Waits until the mirror has all that is committed; why it stopped, if it did.
fn settle(road: &Road, ended: &Receiver<Option<Error>>) -> Option<Error> {
    let sql = "select (pg_logical_emit_message(true, 'test', 'settle') - '0/0')::text";
    let row = road.client().query_one(sql, &[]).expect("message");
    let wanted: u64 = row.get::<_, String>(0).parse().expect("number");
    let db = road.db("m.db");
    support::wait_for("the mirror to settle", Duration::from_secs(60), || {
        if let Ok(Some(error)) = ended.try_recv() {
            return Some(Some(error));
        }
        let stream = state::stream(&db).expect("state").expect("mirror");
        (stream.lsn.0 > wanted).then_some(None)
    })
}

fn play(seed: u64) {
    let setup = "create schema other;
        create table k (id int primary key, a text, b varchar(10), n numeric(12,3));
        create table f (id int, a text, x integer); alter table f replica identity full;
        insert into k select i, 'row ' || i, i, i / 8.0 from generate_series(1, 50) i;
        insert into f select i, 'row', i % 3 from generate_series(1, 50) i";
    let road = Road::new(&format!("ddl_oracle_{seed}"), setup, &[]);
    road.init("m.db", &[]).expect("init");
    let oids = road
        .client()
        .query("select oid from pg_class where relname in ('k', 'f') order by 1", &[])
        .expect("tables");
    let tables = oids.iter().map(|row| row.get(0)).collect();
    let dice = Dice(seed);
    let mut game = Game { road: &road, dice, tables, names: 0, next_id: 50 };
    let (mut follower, mut ended) = follow(&road);
    let mut log: Vec<String> = Vec::new();
    let settled = |ended: &Receiver<Option<Error>>, log: &[String]| {
        if let Some(error) = settle(&road, ended) {
            panic!("seed {seed}: {}: {error}\n{}", reason(&error), log.join("\n"));
        }
    };
    for _ in 0..40 {
        let oid = game.table();
        let mut script = Vec::new();
        for _ in 0..game.dice.roll(3) {
            script.push(game.change(oid));
        }
        match game.dice.roll(8) {
            // NOTE: a definition that holds only inside of a transaction is known to pgoutput by
            // its names alone.
            0..=3 => {
                road.sql(&script.join("; "));
                settled(&ended, &log);
                let alter = game.alter(oid);
                road.sql(&alter);
                log.push(alter);
                script = vec![game.insert(oid)];
            }
            4 => {
                let (alter, change) = (game.alter(oid), game.change(oid));
                script.extend([
                    "savepoint s".to_owned(),
                    alter,
                    "rollback to s".to_owned(),
                    change,
                ]);
            }
            5 => road.sql(&format!("vacuum full {}", game.name(oid))),
            6 if game.dice.roll(2) == 0 => {
                road.stop_capture();
                road.capture();
            }
            6 => {
                drop(follower);
                (follower, ended) = follow(&road);
            }
            _ => {}
        }
        if !script.is_empty() {
            let script = format!("begin; {}; commit", script.join("; "));
            road.sql(&script);
            log.push(script);
        }
        settled(&ended, &log);
    }
    drop(follower);
    let (_follower, _) = follow(&road);
    road.assert_equal("m.db");
    let columns = "select t.name, c.name, c.type from _deltamirror_table t, \
                   pragma_table_info(t.name) c order by t.name, c.cid";
    let [ours, fresh] = ["m.db", "fresh-of-m.db"].map(|file| rows(&road.db(file), columns));
    assert_eq!(ours, fresh, "seed {seed}:\n{}", log.join("\n"));
}

#[test]
fn a_mirror_that_was_altered_at_random_is_what_a_fresh_one_is() {
    if let Some(seed) = std::env::var("PGSQLITE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return play(seed);
    }
    let seeds = if std::env::var_os("PGSQLITE_TEST_ALL").is_some() { 100 } else { 3 };
    (1..=seeds).for_each(play);
}
