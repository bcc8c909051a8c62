//! A follower is killed at each step of a reload, and at random: the table is the old one or the
//! new one, and the next follower goes on. Needs `--features failpoints`.
#![cfg(feature = "failpoints")]

mod mirror;
mod support;

use mirror::live::Road;
use mirror::rows;
use pgsqlite::deltamirror::{Follower, Options, Reloading, StreamSource, request_reload};
use pgsqlite::failpoint;
use pgsqlite::libpq::Conninfo;
use pgsqlite::schema::TableName;
use pgsqlite::sqlite;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{wait_for, wait_until};

const FILE: &str = "PGSQLITE_TEST_RELOAD_FILE";
const STREAM: &str = "PGSQLITE_TEST_RELOAD_STREAM";
const CONNINFO: &str = "PGSQLITE_TEST_RELOAD_CONNINFO";

/// Not a test by itself: the follower that runs in a process of its own, to be killed.
#[test]
fn follower_of_a_child_process() {
    let Ok(file) = std::env::var(FILE) else { return };
    sqlite::testing::load().expect("sqlite");
    let of = |name| std::env::var(name).expect("set");
    let source = StreamSource::open(std::path::Path::new(&of(STREAM))).expect("stream");
    let conninfo = Conninfo::parse(&of(CONNINFO)).expect("conninfo");
    let with = Reloading { conninfo, fill: None };
    let mut follower =
        Follower::start_with(file.into(), source, Options::default(), Some(with), Box::new(|_| {}))
            .expect("follow");
    follower.join();
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

fn request(road: &Road) {
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    request_reload(&db, &TableName::new("public", "t"), "a test wants it").expect("requested");
}

/// A table of some pieces, and another one whose changes must not be lost meanwhile.
fn road(name: &str) -> Road {
    let road = Road::new(
        name,
        "create table t (id int primary key, a text); create table o (id int primary key);
         create unique index on t (a);
         insert into t select i, repeat(i::text, 20) from generate_series(1, 20000) i",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    road.db("m.db")
        .exec("create index own on t (a); create view v as select * from t")
        .expect("own");
    road
}

/// Something for the stream: the rows of `t` stay as many.
fn write(road: &Road, number: usize) {
    road.sql(&format!(
        "insert into o values ({number}); update t set a = a || 'x' where id % 1000 = {};
         delete from t where id = {number}; insert into t values ({number}, 'again {number}')",
        number % 1000
    ));
}

/// The file is whole, and the table is there with all its rows.
fn look(road: &Road, what: &str) {
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    assert_eq!(rows(&db, "select count(*) from v"), ["20000"], "{what}");
    assert_eq!(rows(&db, "pragma integrity_check"), ["'ok'"], "{what}");
}

fn is_over(road: &Road) -> bool {
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    let left = "select (select count(*) from _deltamirror_reload) + (select count(*) from \
                sqlite_master where name like '%mirror_new%' or name like '%mirror_old%')";
    rows(&db, left) == ["0"]
}

#[test]
fn a_follower_killed_at_any_point_of_a_reload_goes_on() {
    let road = road("reload_killed");
    let mut number = 0;
    for point in failpoint::ALL.iter().filter(|point| point.starts_with("reload_")) {
        request(&road);
        let mut follows = follow(&road, point);
        let ended = wait_for(point, Duration::from_secs(60), || {
            number += 1;
            write(&road, number);
            follows.0.try_wait().expect("child")
        });
        assert_eq!(ended.signal(), Some(9), "{point}: {ended}");
        look(&road, point);
    }
    let _follows = follow(&road, "none");
    wait_until("the reload is over", || is_over(&road));
    road.assert_equal("m.db");
    assert_eq!(rows(&road.db("m.db"), "select count(*) from o"), [number.to_string()]);
}

/// Killed at moments that nobody has thought of.
#[test]
fn a_follower_killed_at_random_while_it_reloads_goes_on() {
    let road = road("reload_random");
    let mut number = 0;
    let mut seed = u64::from(std::process::id());
    for _ in 0..12 {
        request(&road);
        let mut follows = follow(&road, "none");
        let db = road.db("m.db");
        db.busy_timeout(Duration::from_secs(60));
        let begun = "select count(*) from _deltamirror_reload where maker is null";
        wait_until("it is begun, or over", || rows(&db, begun) == ["0"]);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..seed >> 59 {
            number += 1;
            write(&road, number);
        }
        follows.0.kill().expect("kill");
        follows.0.wait().expect("child");
        look(&road, "killed at random");
    }
    let _follows = follow(&road, "none");
    wait_until("the reload is over", || is_over(&road));
    road.assert_equal("m.db");
}
