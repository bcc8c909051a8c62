//! A disk that is really full, under a capture of a real server.
//!
//! Needs the right to mount a file system; without it the test says that it is skipped.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use deltaflood::Lsn;
use pgsqlite::daystream::verify;
use pgsqlite::deltastream::{Capture, State, setup};
use pgsqlite::error::{Class, Coded};
use support::stream::{Source, wait_streaming};
use support::{Cluster, wait_for, wait_until};

/// A file system of 64 MiB in memory, unmounted with this value.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Disk> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m,mode=0750", "pgsqlite-full"]).arg(at);
        let done = mount.output().ok()?.status.success();
        done.then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_the_capture_and_with_space_it_goes_on() {
    let tables = "create table t(a int primary key, b text)";
    let mut source = Source::new(Cluster::shared(), "no_space", tables);
    let folder = source.stream().parent().expect("folder").to_owned();
    let Some(_disk) = Disk::mount(&folder) else {
        eprintln!("skipped: a_full_disk: no right to mount a file system here");
        return;
    };
    setup(&source.setup_options()).expect("setup");
    let ballast = folder.join("ballast");
    let (mut last, mut end) = (0, Lsn(0));
    for cycle in 0..3 {
        // All but some MiB are taken; the stream itself grows from cycle to cycle.
        let capture = Capture::start(source.options(), Box::new(|_| {})).expect("start");
        wait_streaming(&capture);
        let taken = std::fs::File::create(&ballast).expect("ballast");
        let free = rustix::fs::statvfs(&folder).expect("space");
        let bytes = free.f_bavail * free.f_frsize - (1 << 20);
        rustix::fs::fallocate(&taken, rustix::fs::FallocateFlags::empty(), 0, bytes)
            .expect("ballast");
        // Small transactions, and in every second cycle a large one that cannot fit.
        let rows = if cycle % 2 == 0 { 1000 } else { 30_000 };
        wait_for("the disk to be full", std::time::Duration::from_secs(60), || {
            if capture.is_finished() {
                return Some(());
            }
            source.execute(&format!(
                "insert into t select g, repeat('x', 100) from generate_series({}, {}) g",
                last + 1,
                last + rows
            ));
            last += rows;
            end = source.wal_lsn();
            None
        });
        let error = capture.join().expect_err("the disk is full");
        assert_eq!(error.code().reason, "IO", "{}", error.report());
        assert_eq!(error.class(), Class::Retry, "{}", error.report());
        assert!(error.report().contains("No space left"), "{}", error.report());
        // What readers see are whole transactions, as far as there was room.
        let (info, damage) = verify(&source.stream()).expect("stream");
        assert!(damage.is_none() && info.transactions > 0, "{damage:?}");
        let rows = source.changes().len();
        assert!(rows < last as usize, "{rows} of {last}");
        // While it is full, it says so again, and changes nothing.
        let again = Capture::start(source.options(), Box::new(|_| {})).expect("start").join();
        assert_eq!(again.expect_err("still full").class(), Class::Retry);
        drop(taken);
        std::fs::remove_file(&ballast).expect("ballast");
        // What others write after `end` counts as passed only after a while.
        let mut options = source.options();
        options.idle_confirm_ms = 100;
        let capture = Capture::start(options, Box::new(|_| {})).expect("start");
        wait_until("all of it", || {
            let status = capture.status();
            assert!(status.state != State::Failed, "{}", status.error);
            status.durable >= end
        });
        capture.stop();
        capture.join().expect("capture");
        source.assert_complete(last as u32);
    }
}
