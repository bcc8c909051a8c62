//! The capture is killed at each of its failpoints and of the log's: nothing is lost, nothing comes
//! twice, and the server was never told more than the stream has. Needs `--features failpoints`.
#![cfg(feature = "failpoints")]

mod support;

use pgsqlite::deltastream::run;
use pgsqlite::failpoint;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use support::Cluster;
use support::stream::{Source, child_options};

/// Not a test by itself: the capture that runs in a process of its own, to be killed.
#[test]
fn capture_of_a_child_process() {
    if let Some(mut options) = child_options() {
        // Segments are cut and idle positions saved often enough to pass every point soon.
        (options.segment_bytes, options.idle_confirm_ms) = (20_000, 1);
        let _ = run(options, Box::new(|_| {}));
    }
}

#[test]
fn a_capture_killed_at_any_point_goes_on_without_a_gap_and_without_a_repeat() {
    let mut source = Source::set_up_t(Cluster::shared(), "crashed");
    let mut last = 0;
    let points =
        failpoint::ALL.iter().filter(|p| p.starts_with("stream_") || p.starts_with("log_"));
    for point in points {
        for passage in ["1", "3"] {
            let wanted = format!("{point}:{passage}");
            // Streaming begins once per connection.
            let wanted = if *point == failpoint::STREAM_STARTED { *point } else { &wanted };
            let mut child = source.spawn(&[("PGSQLITE_FAILPOINT", wanted)]);
            let started = Instant::now();
            let ended = loop {
                source.insert(last + 1, last + 50);
                source.execute("insert into other values (1)");
                last += 50;
                // Quiet for a moment now and then, or no idle position is ever saved.
                std::thread::sleep(Duration::from_millis(u64::from(last) / 50 % 2 * 20));
                if let Some(status) = child.0.try_wait().expect("child") {
                    break status;
                }
                assert!(started.elapsed() < Duration::from_secs(20), "{wanted} is not passed");
            };
            // Another end would be an error of its own: AHEAD, a damaged stream.
            assert_eq!(ended.signal(), Some(9), "{wanted}: {ended}");
        }
    }
    source.catch_up().expect("capture");
    source.assert_complete(last);
}
