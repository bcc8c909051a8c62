//! Tables altered at random, by seed, in ways that the stream does not tell the rows of, while they
//! are written to and the follower and the capture end at any moment: at the end the mirror is what
//! a fresh one is. Needs `--features failpoints`.
//!
//! `PGSQLITE_TEST_ALL=1` runs the seeds, `PGSQLITE_SEED=N` that one. What goes on at the same
//! time is another each time: one that fails may have to be run again. `PGSQLITE_KEEP=FOLDER` keeps
//! what is left of it.
#![cfg(feature = "failpoints")]

mod mirror;
mod support;

use mirror::dice::Dice;
use mirror::live::Road;
use mirror::rows;
use pgsqlite::deltamirror::{CompareOptions, Event, Follower, Options, Reloading, StreamSource};
use pgsqlite::failpoint;
use pgsqlite::libpq::Conninfo;
use pgsqlite::sqlite;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FILE: &str = "PGSQLITE_TEST_ORACLE_FILE";
const STREAM: &str = "PGSQLITE_TEST_ORACLE_STREAM";
const CONNINFO: &str = "PGSQLITE_TEST_ORACLE_CONNINFO";

/// Not a test by itself: the follower that runs in a process of its own, to be killed. Why it ends
/// by itself it writes into a file.
#[test]
fn follower_of_a_child_process() {
    let Ok(file) = std::env::var(FILE) else { return };
    sqlite::testing::load().expect("sqlite");
    let of = |name| std::env::var(name).expect("set");
    let source = StreamSource::open(std::path::Path::new(&of(STREAM))).expect("stream");
    let conninfo = Conninfo::parse(&of(CONNINFO)).expect("conninfo");
    let with = Reloading { conninfo, fill: None };
    let ended = format!("{file}.ended");
    let on_event = move |event| {
        if let Event::Ended { error } = event {
            let why = error.map_or_else(|| "stopped".to_owned(), |error| error.to_string());
            std::fs::write(&ended, why).expect("written");
        }
    };
    let options = Options::default();
    let follower =
        Follower::start_with(file.into(), source, options, Some(with), Box::new(on_event));
    follower.expect("follow").join();
}

/// A child that is killed when it is dropped.
struct Follows(Child);

impl Drop for Follows {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(road: &Road, failpoint: &str) -> Follows {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["follower_of_a_child_process", "--exact", "--nocapture"]);
    command.env(FILE, road.file("m.db")).env(STREAM, road.stream());
    command.env(CONNINFO, road.conninfo()).env("PGSQLITE_FAILPOINT", failpoint);
    Follows(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("child"))
}

struct Game<'r> {
    road: &'r Road,
    dice: Dice,
    publication: String,
    names: usize,
    next_id: usize,
    label: String,
    /// `apart` is a partition.
    is_attached: bool,
    /// `p2` is one.
    is_whole: bool,
    /// What the publication says of `k`.
    of_k: String,
    log: Vec<String>,
}

impl Game<'_> {
    fn run(&mut self, sql: String) {
        self.road.sql(&sql);
        self.log.push(sql);
    }

    fn fresh(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn list(&self, sql: &str) -> Vec<String> {
        let found = self.road.client().query(sql, &[]).expect(sql);
        found.iter().map(|row| row.get(0)).collect()
    }

    /// The columns of `k` that came later.
    fn added(&self) -> Vec<String> {
        self.list(
            "select attname::text from pg_attribute where attrelid = 'k'::regclass and attnum > 4 \
             and not attisdropped order by attnum",
        )
    }

    /// Some statement that changes rows.
    fn change(&mut self) -> String {
        let id = self.dice.roll(self.next_id + 1);
        self.next_id += 1;
        let (new, rest) = (self.next_id, id % 5);
        let table = self.dice.one(&["k", "k", "f", "p"]);
        let label = self.label.replace('\'', "''");
        match (table, self.dice.roll(6)) {
            (_, 0) => format!("delete from {table} where id = {id}"),
            (_, 1) => format!("update {table} set a = a || 'u' where id % 5 = {rest}"),
            ("k", 2) => format!("update k set m = '{label}', id = -id where id = {id}"),
            ("p", 2) => format!("update p set id = (id + 7) % 30 + 1000 * {new} where id = {id}"),
            ("k", _) => {
                format!("insert into k (id, a, m, n) values ({new}, 'new', '{label}', '{id}')")
            }
            ("p", _) => format!("insert into p (id, a) values ({new}, 'new')"),
            _ => format!("insert into f (id, a) values ({new}, 'new'), ({new}, 'new')"),
        }
    }

    fn publish(&mut self) -> String {
        format!("alter publication {} set table k{}, f, p", self.publication, self.of_k)
    }

    /// Some statement whose rows the stream does not tell.
    fn alter(&mut self) -> String {
        let n = self.fresh();
        match self.dice.roll(16) {
            0 => format!("alter table k add column c{n} float8 default random()"),
            1 => format!("alter table k add column c{n} int generated by default as identity"),
            2 => format!("alter table k add column c{n} serial"),
            3 => {
                let (kind, using) = [
                    ("text", "'x' || n::text"),
                    ("bigint", "coalesce(length(n::text), 0)"),
                    ("numeric", "length(n::text) + 0.50"),
                ][self.dice.roll(3)];
                format!("alter table k alter column n type {kind} using {using}")
            }
            4 => {
                let table = self.dice.one(&["k", "f", "p"]);
                format!("alter table {table} alter column a type text using a || '!'")
            }
            5 | 6 => {
                let all = self.publish();
                let made = match n % 2 {
                    0 => "drop table k; create table k (id int primary key, a text, m mood, \
                          n text); insert into k select i, 'again', null, i from \
                          generate_series(1, 20) i"
                        .to_owned(),
                    _ => {
                        "alter table k rename to was; create table k (id int primary key, a text, \
                          m mood, n text); insert into k select id, a, m, n from was \
                          where id % 3 <> 0; drop table was cascade"
                            .to_owned()
                    }
                };
                format!("{made}; {all}")
            }
            7 if !self.is_attached => {
                self.is_attached = true;
                "alter table p attach partition apart for values from (-40) to (-30)".to_owned()
            }
            7 if self.is_whole => {
                self.is_whole = false;
                "alter table p detach partition p2".to_owned()
            }
            8 => format!("truncate {}", self.dice.one(&["p1", "p2", "p1, p9", "k", "f"])),
            9 | 10 => {
                let was = std::mem::replace(&mut self.label, format!("it's {n}"));
                let (was, now) = (was.replace('\'', "''"), format!("it''s {n}"));
                format!("alter type mood rename value '{was}' to '{now}'")
            }
            11 => format!("alter type mood add value 'more {n}'"),
            // NOTE: never one of before again: nobody can see what comes and goes between two looks
            // at the catalogs.
            12 if self.added().is_empty() && self.of_k != " (id, a, n)" && n.is_multiple_of(3) => {
                self.of_k = " (id, a, n)".to_owned();
                self.publish()
            }
            12 => {
                self.of_k = format!(" where (id % 2 = 0 or id = -{n})");
                self.publish()
            }
            13 => format!("alter table p add column c{n} int default {n}"),
            14 => match self.added().pop() {
                Some(column) => format!("alter table k drop column {column}"),
                None => format!("alter table k add column c{n} int default {n}"),
            },
            _ => {
                format!("insert into apart (id, a) values ({}, 'apart')", -30 - (n % 9) as i64 - 1)
                    + " on conflict do nothing"
            }
        }
    }

    /// Alters something, when it is made ready for that.
    fn step(&mut self) {
        let alter = self.alter();
        if alter.contains(" attach ") {
            self.run(like_p());
        }
        if alter.starts_with("alter table k a") && self.of_k.starts_with(" (") {
            // PostgreSQL lets nobody alter a column that a publication names.
            self.of_k.clear();
            let all = self.publish();
            self.run(all);
        }
        self.run(alter);
    }

    /// A transaction: rows, perhaps something altered in the middle, perhaps in vain.
    fn transaction(&mut self) {
        let mut script = Vec::new();
        for _ in 0..self.dice.roll(4) {
            script.push(self.change());
        }
        if self.dice.roll(4) == 0 {
            let (column, change) = (self.fresh(), self.change());
            script.extend([
                "savepoint s".to_owned(),
                format!("alter table k add column c{column} float8 default random()"),
                "rollback to s".to_owned(),
                change,
            ]);
        }
        if !script.is_empty() {
            self.run(format!("begin; {}; commit", script.join("; ")));
        }
    }
}

/// Why the follower has ended by itself, if it has; a failpoint kills it.
fn ended(road: &Road, follows: &mut Follows) -> Option<Result<(), String>> {
    let status = follows.0.try_wait().expect("child")?;
    if status.signal() == Some(9) {
        return Some(Ok(()));
    }
    let why = std::fs::read_to_string(why(road)).unwrap_or_default();
    Some(Err(format!("{status}: {why}")))
}

fn why(road: &Road) -> PathBuf {
    road.file("m.db.ended")
}

const SETUP: &str = "create type mood as enum ('sad', 'glad');
    create table k (id int primary key, a text, m mood, n bigint);
    create table f (id int, a text); alter table f replica identity full;
    create table p (id int primary key, a text) partition by range (id);
    create table p1 partition of p for values from (0) to (10);
    create table p2 partition of p for values from (10) to (20);
    create table p9 partition of p default;
    create table apart (id int primary key, a text);
    insert into k select i, 'row', 'sad', i from generate_series(1, 40) i;
    insert into f select i % 20, 'row' from generate_series(1, 40) i;
    insert into p select i, 'row' from generate_series(1, 40) i;
    insert into apart values (-35, 'apart');";

fn play(seed: u64) {
    let name = format!("reload_oracle_{seed}");
    let setup = format!(
        "{SETUP} create publication {name} for table k, f, p with (publish_via_partition_root)"
    );
    let road = Road::published(&name, &setup, &[], Some(&name));
    road.init("m.db", &[]).expect("init");
    let mut game = Game {
        road: &road,
        dice: Dice(seed),
        publication: name,
        names: 0,
        next_id: 100,
        label: "sad".to_owned(),
        is_attached: false,
        is_whole: true,
        of_k: String::new(),
        log: Vec::new(),
    };
    let points: Vec<&str> = failpoint::ALL
        .iter()
        .copied()
        .filter(|point| point.starts_with("reload_") || point.starts_with("mirror_"))
        .collect();
    let mut follows = follow(&road, "none");
    for _ in 0..30 {
        match game.dice.roll(8) {
            0..=3 => game.step(),
            4 => {
                drop(follows);
                let point = if game.dice.roll(2) == 0 { "none" } else { game.dice.one(&points) };
                game.log.push(format!("-- killed, goes on until {point}"));
                follows = follow(&road, point);
            }
            5 if game.dice.roll(2) == 0 => {
                game.log.push("-- no capture".to_owned());
                road.stop_capture();
                game.step();
                game.transaction();
                road.capture();
            }
            5 => game.run("vacuum full k".to_owned()),
            6 => {
                let settle = "select pg_logical_emit_message(true, 'pgsqlite.schema', '')";
                game.run(settle.to_owned());
            }
            _ => std::thread::sleep(Duration::from_millis(game.dice.roll(200) as u64)),
        }
        game.transaction();
        match ended(&road, &mut follows) {
            None => {}
            Some(Ok(())) => {
                game.log.push("-- killed by a failpoint".to_owned());
                follows = follow(&road, "none");
            }
            Some(Err(why)) => {
                keep(&road);
                panic!("seed {seed}: {why}\n{}", game.log.join("\n"));
            }
        }
    }
    drop(follows);
    let mut follows = follow(&road, "none");
    road.sql("select pg_logical_emit_message(true, 'pgsqlite.schema', '')");
    let began = Instant::now();
    while !is_equal(&road) {
        let why = ended(&road, &mut follows).and_then(Result::err);
        if why.is_some() || began.elapsed() > Duration::from_secs(60) {
            keep(&road);
            let db = road.db("m.db");
            let due = rows(&db, "select * from _deltamirror_reload");
            let differs = road.compare_with("m.db", &CompareOptions::default());
            panic!("seed {seed}: {why:?} {due:?} {differs:?}\n{}", game.log.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    road.assert_equal("m.db");
    let columns = "select t.name, c.name, c.type from _deltamirror_table t, \
                   pragma_table_info(t.name) c order by t.name, c.cid";
    let [ours, fresh] = ["m.db", "fresh-of-m.db"].map(|file| rows(&road.db(file), columns));
    assert_eq!(ours, fresh, "seed {seed}:\n{}", game.log.join("\n"));
}

/// Keeps the folder of what failed, where one is named for that.
fn keep(road: &Road) {
    if let Some(to) = std::env::var_os("PGSQLITE_KEEP") {
        let copied = Command::new("cp").arg("-r").arg(road.dir.path()).arg(to).status();
        copied.expect("copied");
    }
}

/// Gives `apart` the columns that `p` has, in its order.
fn like_p() -> String {
    "do $$ declare c record; begin
       for c in select attname, format_type(atttypid, atttypmod) as kind from pg_attribute
         where attrelid = 'p'::regclass and attnum > 0 and not attisdropped order by attnum loop
         execute format('alter table apart add column if not exists %I %s', c.attname, c.kind);
       end loop; end $$"
        .to_owned()
}

/// Whether no table waits for a copy, and every row is PostgreSQL's.
fn is_equal(road: &Road) -> bool {
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    let options = CompareOptions { wait: Duration::from_secs(5), ..CompareOptions::default() };
    rows(&db, "select * from _deltamirror_reload").is_empty()
        && road.compare_with("m.db", &options).is_ok_and(|found| found.reached && found.is_equal())
}

#[test]
fn a_mirror_whose_tables_are_copied_again_at_random_is_what_a_fresh_one_is() {
    if let Some(seed) = std::env::var("PGSQLITE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return play(seed);
    }
    if std::env::var_os("PGSQLITE_TEST_ALL").is_some() {
        (1..=60).for_each(play);
    }
}
