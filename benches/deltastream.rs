//! How fast a slot is captured: `cargo bench --bench deltastream`.
//!
//! The same WAL through slots of their own, in turns: `pg_recvlogical` with pgoutput into a file,
//! and a capture into a stream. Changes per second of each run, and the ratio of the medians.
//! `ROWS` in the environment sets the number of changes (a million).

#[path = "../tests/support/mod.rs"]
mod support;

use pgsqlite::deltastream::{Options, Plugin, SetupOptions, run, setup};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use support::Cluster;
use support::stream::Source;

const RUNS: usize = 3;

/// `count` changes in transactions of `size`: half inserts, four in ten updates, one in ten
/// deletes.
const CHANGES: &str = "create procedure change(count int, size int) language plpgsql as $$
    begin
        for top in 0 .. count / 2 - 1 by size / 2 loop
            insert into event select top + i, 'name ' || i % 1000, i % 77, i * 0.25,
                timestamptz '2026-01-01 00:00+00' + (top + i) * interval '1 s', i % 3 = 0
                from generate_series(1, size / 2) i;
            update event set n = n + 1, note = 'changed by ' || top
                where id between top + 1 and top + size * 4 / 10;
            delete from event where id between top + 1 and top + size / 10;
            commit;
        end loop;
    end $$;";

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    let rows: u32 = std::env::var("ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    for size in [100, 10_000] {
        compare(rows, size);
    }
}

fn compare(rows: u32, size: u32) {
    let cluster = Arc::new(Cluster::start_with("max_wal_size = '8GB'\nshared_buffers = 256MB\n"));
    let tables = format!("{};{CHANGES}", include_str!("event.sql"));
    let mut source = Source::new(Arc::clone(&cluster), "bench", &tables);
    for n in 0..RUNS {
        let options = SetupOptions {
            slot: format!("ours{n}"),
            stream: Some(source.stream().with_file_name(format!("ours{n}"))),
            publication: Some("bench".to_owned()),
            tables: vec!["event".to_owned()],
            plugin: Plugin::Pgoutput,
            ..source.setup_options()
        };
        setup(&options).expect("setup");
        source.execute(&format!(
            "select pg_create_logical_replication_slot('theirs{n}', 'pgoutput')"
        ));
    }
    source.execute(&format!("call change({rows}, {size})"));
    let end = source.wal_lsn();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..RUNS {
        let started = Instant::now();
        let done = Command::new(cluster.bindir().join("pg_recvlogical"))
            .args(["-d", &source.conninfo(), "-S", &format!("theirs{n}"), "--start", "--no-loop"])
            .args(["--endpos", &end.to_string(), "-o", "proto_version=1"])
            .args(["-o", "publication_names=bench", "-f"])
            .arg(source.stream().with_file_name(format!("theirs{n}")))
            .status();
        assert!(done.is_ok_and(|s| s.success()));
        theirs.push(started.elapsed().as_secs_f64());
        let stream = source.stream().with_file_name(format!("ours{n}"));
        let mut options = Options::new(&source.conninfo(), &format!("ours{n}"), stream);
        options.until_lsn = Some(end);
        let started = Instant::now();
        let status = run(options, Box::new(|_| {})).expect("capture");
        ours.push(started.elapsed().as_secs_f64());
        assert!(status.lines >= u64::from(rows));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let rate = |seconds: f64| f64::from(rows) / seconds / 1e3;
    println!("{rows} changes in transactions of {size}");
    println!("  pg_recvlogical {:>8.0} k changes/s", rate(theirs));
    println!("  capture        {:>8.0} k changes/s, ratio {:.2}", rate(ours), theirs / ours);
}
