//! Speed and memory of a bulk import: 1,000,000 rows of 14 columns from a local server into a WAL
//! file.
//!
//! `PGSQLITE_BENCH_CONNINFO=... cargo bench --bench import -- [stream|here|result|copy] [query]`;
//! without a query it makes and reads a table `flights`. Prints rows/s, CPU seconds of this
//! process, and its peak memory; the same rows by COPY to nowhere are the floor to compare with.

use std::time::Instant;

use pgsqlite::libpq::{Conn, Conninfo};
use pgsqlite::pg_sqlite::{Columns, Import, KeyPart, Source, TableName, Target};
use pgsqlite::sqlite::{Access, Db, testing};

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let how = words.next().unwrap_or_else(|| "stream".to_owned());
    let sql = words.next().unwrap_or_else(|| "select * from flights".to_owned());
    let Ok(conninfo) = std::env::var("PGSQLITE_BENCH_CONNINFO") else {
        println!("set PGSQLITE_BENCH_CONNINFO to run this");
        return;
    };
    let mut conn = Conn::connect(&Conninfo::parse(&conninfo).expect("conninfo")).expect("connect");
    testing::load().expect("sqlite");
    let folder = tempfile::tempdir().expect("folder");
    let db = Db::open(&folder.path().join("x.db"), Access::Create).expect("db");
    db.exec("pragma journal_mode=wal; pragma synchronous=normal").expect("wal");

    let started = Instant::now();
    let copy = format!("copy ({sql}) to stdout");
    let mut bytes = 0;
    let mut rows = conn.copy_out(&copy).expect("copy");
    while let Some(row) = rows.next_row().expect("row") {
        bytes += row.len();
    }
    drop(rows);
    let floor = started.elapsed().as_secs_f64();

    let cpu = cpu_seconds();
    let started = Instant::now();
    let mut import = Import::new(Target::Create(TableName::new("flights")), Columns::Auto);
    import.key = vec![KeyPart::from_words(&["flight_id"]).expect("key")];
    let imported = match how.as_str() {
        "stream" => {
            conn.send_query(&sql).expect("send");
            import.run(&db, Source::Stream(&mut conn))
        }
        "here" => {
            conn.send_query(&sql).expect("send");
            import.run(&db, Source::StreamHere(&conn))
        }
        "copy" => {
            let described = conn.query(&format!("{sql} limit 0")).expect("columns");
            import.columns = Columns::Given(Columns::describe(&described));
            import.run(&db, Source::Copy { conn: &mut conn, sql: &copy })
        }
        _ => {
            let result = conn.query(&sql).expect("query");
            println!("query {:.2} s", started.elapsed().as_secs_f64());
            import.run(&db, Source::Result(&result))
        }
    };
    let n = imported.expect("import").rows;
    let elapsed = started.elapsed().as_secs_f64();
    println!(
        "{how}: {n} rows in {elapsed:.2} s = {:.0} k/s, {:.0} MB/s; cpu {:.2} s; peak {} MiB; \
         copy alone {floor:.2} s",
        n as f64 / elapsed / 1e3,
        bytes as f64 / elapsed / 1e6,
        cpu_seconds() - cpu,
        peak_mib(),
    );
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") / 1024
}
