//! Compressed segments: the same lines as before, from any place; damage is found; a crash or a
//! failure at any step of compressing loses nothing.

mod log;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use log::{Dice, Hand, all, lines, reason, write};
use pgsqlite::daystream::{
    Compressed, Error, Keep, Operation, Reader, ReaderOptions, Start, Storage, Which, Writer,
    WriterOptions, compress, info, retain, verify,
};
use pgsqlite::error::Coded;

fn squeeze(dir: &Path) -> Result<Compressed, Error> {
    compress(dir, Which::Closed, &Storage::default(), &|| true)
}

/// The files of a stream's days, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for day in std::fs::read_dir(dir).unwrap().flatten().filter(|day| day.path().is_dir()) {
        files.extend(std::fs::read_dir(day.path()).unwrap().flatten().map(|file| file.path()));
    }
    files.sort();
    files
}

/// A stream of segments of about `segment_bytes`, with `count` transactions of 1 to 8 lines.
fn stream(dir: &Path, segment_bytes: u64, count: u32) -> Writer {
    let clock = Hand::at(1_507_500_000);
    let options = WriterOptions { segment_bytes, ..log::options(&clock) };
    let mut writer = Writer::open(dir, options).unwrap();
    let mut dice = Dice::new(5);
    for xid in 1..=count {
        write(&mut writer, xid, 1 + dice.below(8) as u32).unwrap();
        clock.set(clock.seconds() + dice.below(90) as i64);
    }
    writer.sync().unwrap();
    writer
}

#[test]
fn a_compressed_stream_is_the_same_stream() {
    let dir = log::folder();
    let writer = stream(dir.path(), 40_000, 2000);
    let before = (lines(dir.path()).0, info(dir.path()).unwrap(), files(dir.path()));
    let done = squeeze(dir.path()).unwrap();
    assert_eq!(done.segments + 1, before.2.len() as u64);
    assert!(done.segments > 10 && done.bytes * 3 < done.text_bytes);
    let names = files(dir.path());
    assert!(names[..names.len() - 1].iter().all(|file| file.to_str().unwrap().ends_with(".zst")));
    assert!(names.last().unwrap().to_str().unwrap().ends_with(".tsv"));
    let after = info(dir.path()).unwrap();
    assert_eq!(lines(dir.path()).0, before.0);
    assert_eq!((after.lines, after.last, &after.tables), {
        (before.1.lines, before.1.last, &before.1.tables)
    });
    assert_eq!(after.compressed, done.segments);
    assert_eq!(after.bytes, before.1.bytes - done.text_bytes + done.bytes);
    // A second call finds nothing to do; a writer goes on.
    assert_eq!(squeeze(dir.path()).unwrap(), Compressed::default());
    drop(writer);
    let mut writer = log::open(dir.path());
    write(&mut writer, 2001, 1).unwrap();
    writer.sync().unwrap();
    assert_eq!(all(dir.path()).last(), Some(&(2001, 1)));
}

#[test]
fn any_zstd_program_decompresses_it() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    // Larger than a frame.
    write(&mut writer, 1, 30_000).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let plain = files(dir.path()).remove(0);
    let text = std::fs::read(&plain).unwrap();
    let options = WriterOptions { segment_bytes: 1, ..WriterOptions::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    write(&mut writer, 2, 1).unwrap();
    writer.sync().unwrap();
    assert_eq!(squeeze(dir.path()).unwrap().segments, 1);
    let packed = std::fs::read(plain.with_extension("tsv.zst")).unwrap();
    let mut out = Vec::with_capacity(text.len());
    zstd_safe::decompress(&mut out, &packed).unwrap();
    assert!(text.len() > 1 << 20 && out == text);
}

#[test]
fn a_follower_goes_on_while_segments_are_compressed() {
    let dir = log::folder();
    let mut writer = stream(dir.path(), 2000, 1);
    let stop = Arc::new(AtomicBool::new(false));
    let path = dir.path().to_owned();
    let stopped = Arc::clone(&stop);
    let presser = std::thread::spawn(move || {
        let mut segments = 0;
        while !stopped.load(Ordering::SeqCst) {
            segments += squeeze(&path).unwrap().segments;
        }
        segments
    });
    let path = dir.path().to_owned();
    let follower = std::thread::spawn(move || {
        let mut reader = Reader::open(path, Start::Begin, ReaderOptions::default()).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 1501 {
            seen.append(&mut log::rest(&mut reader).unwrap());
            reader.wait(Some(Duration::from_millis(5)), None).unwrap();
        }
        seen
    });
    let mut wanted = all(dir.path());
    for xid in 2..=1501 {
        write(&mut writer, xid, 1 + xid % 5).unwrap();
        writer.flush().unwrap();
        wanted.push((xid, 1 + xid as usize % 5));
        // Late readers find either form.
        if xid % 300 == 0 {
            assert_eq!(all(dir.path()), wanted);
        }
    }
    assert_eq!(follower.join().unwrap(), wanted);
    stop.store(true, Ordering::SeqCst);
    assert!(presser.join().unwrap() > 10);
}

#[test]
fn the_plain_file_counts_where_there_are_both_and_retention_removes_both() {
    let dir = log::folder();
    let _writer = stream(dir.path(), 40_000, 1000);
    let plain = files(dir.path()).remove(0);
    let text = std::fs::read(&plain).unwrap();
    let wanted = all(dir.path());
    squeeze(dir.path()).unwrap();
    let packed = plain.with_extension("tsv.zst");
    std::fs::write(&packed, "half").unwrap();
    std::fs::write(&plain, &text).unwrap();
    std::fs::write(plain.with_extension("tsv.zst.new"), "a crash left this").unwrap();
    assert_eq!(all(dir.path()), wanted);
    assert_eq!(squeeze(dir.path()).unwrap().segments, 1);
    assert!(!plain.exists() && !plain.with_extension("tsv.zst.new").exists());
    assert_eq!(all(dir.path()), wanted);
    std::fs::write(&plain, &text).unwrap();
    let keep = Keep { bytes: Some(1), ..Keep::default() };
    retain(dir.path(), keep, 0, &Storage::default()).unwrap();
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn only_what_is_old_is_compressed_and_only_by_one_at_a_time() {
    let dir = log::folder();
    let _writer = stream(dir.path(), 20_000, 1000);
    let second = info(dir.path()).unwrap().first.unwrap().clock + 2;
    let old = |clock| compress(dir.path(), Which::Before(clock), &Storage::default(), &|| true);
    assert_eq!(old(second).unwrap().segments, 0);
    let some = old(second + 20_000).unwrap().segments;
    assert!(some > 0 && some < files(dir.path()).len() as u64 - 1);
    let busy = std::cell::Cell::new(None);
    let inside = || {
        busy.set(squeeze(dir.path()).err());
        false
    };
    let stopped = compress(dir.path(), Which::Closed, &Storage::default(), &inside).unwrap();
    assert_eq!(stopped, Compressed::default());
    assert_eq!(reason(&busy.take().unwrap()), "UPKEEP");
    let foreign = log::folder();
    assert_eq!(reason(&squeeze(foreign.path()).unwrap_err()), "FOREIGN");
}

/// The word of what is wrong.
fn damage_of(error: &Error) -> String {
    let details = error.code().details;
    details.into_iter().find(|(key, _)| *key == "damage").map(|(_, word)| word).unwrap()
}

/// A stream whose first segment is compressed: its file and all lines.
fn compressed(dir: &Path) -> (PathBuf, Vec<u8>, Vec<Vec<u8>>) {
    drop(stream(dir, 3000, 60));
    squeeze(dir).unwrap();
    let path = files(dir).remove(0);
    let bytes = std::fs::read(&path).unwrap();
    let lines = lines(dir).0;
    (path, bytes, lines)
}

#[test]
fn a_changed_byte_is_found() {
    let dir = log::folder();
    let (path, bytes, wanted) = compressed(dir.path());
    let mut found = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, &changed).unwrap();
        let open = Reader::open(dir.path(), Start::Begin, ReaderOptions::default());
        let error = match open {
            Err(error) => error,
            Ok(_) => {
                let (lines, error) = lines(dir.path());
                assert!(wanted.starts_with(&lines), "byte {at}: other lines");
                // A bit that says nothing, as a reserved one: the text is the same.
                let Some(error) = error else {
                    assert_eq!(lines.len(), wanted.len());
                    continue;
                };
                error
            }
        };
        assert_eq!(reason(&error), "CORRUPT", "byte {at}: {error}");
        let Error::Corrupt { segment, byte, .. } = error else { unreachable!() };
        assert!(path.ends_with(&segment) && byte == 0, "{segment}");
        found += 1;
    }
    assert!(found * 10 > bytes.len() * 9, "{found} of {}", bytes.len());
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let open = Reader::open(dir.path(), Start::Begin, ReaderOptions::default());
        let error = open.unwrap_err();
        assert_eq!(damage_of(&error), "SEEKTABLE");
    }
}

#[test]
fn damage_far_in_is_named_by_its_byte_in_the_text() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    for xid in 1..=100 {
        write(&mut writer, xid, 1000).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    let options = WriterOptions { segment_bytes: 1, ..WriterOptions::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    write(&mut writer, 101, 1).unwrap();
    writer.sync().unwrap();
    squeeze(dir.path()).unwrap();
    let path = files(dir.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&path, &bytes).unwrap();
    let (info, damage) = verify(dir.path()).unwrap();
    let Some(Error::Corrupt { segment, byte, damage }) = damage else { panic!("{damage:?}") };
    assert_eq!((segment.as_str(), damage.word()), ("2017-10-09/1507507200.0.tsv.zst", "FRAME"));
    assert!(byte > 0 && byte.is_multiple_of(1 << 20), "{byte}");
    assert!(info.transactions > 10 && info.transactions < 100);
}

/// A file of one frame, and a table that tells something else of it.
fn lying(frame: &[u8], sizes: &[(u32, u32)], count: u32) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes.extend_from_slice(&0x184D_2A5E_u32.to_le_bytes());
    bytes.extend_from_slice(&(sizes.len() as u32 * 8 + 9).to_le_bytes());
    for (compressed, text) in sizes {
        bytes.extend_from_slice(&compressed.to_le_bytes());
        bytes.extend_from_slice(&text.to_le_bytes());
    }
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&0x8F92_EAB1_u32.to_le_bytes());
    bytes
}

#[test]
fn a_hostile_file_is_refused_before_anything_large_is_allocated() {
    let dir = log::folder();
    let (path, _, _) = compressed(dir.path());
    let mut bomb = Vec::with_capacity(1 << 20);
    zstd_safe::compress(&mut bomb, &vec![b'x'; 1 << 30], 3).unwrap();
    let size = bomb.len() as u32;
    for (bytes, damage) in [
        (lying(&bomb, &[(size, 1 << 30)], 1), "SEEKTABLE"),
        (lying(&bomb, &[(size, u32::MAX)], 1), "SEEKTABLE"),
        (lying(&bomb, &[(size, 1 << 20)], 1), "FRAME"),
        (lying(&bomb, &[(size - 1, 1 << 20), (1, 1)], 2), "FRAME"),
        (lying(&bomb, &[(size, 1 << 20)], u32::MAX), "SEEKTABLE"),
        (lying(&bomb, &[(size, 1 << 20)], 2), "SEEKTABLE"),
        (lying(&bomb, &[(size + 1, 1 << 20)], 1), "SEEKTABLE"),
        (bomb.clone(), "SEEKTABLE"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let open = Reader::open(dir.path(), Start::Begin, ReaderOptions::default());
        let error = open.and_then(|mut reader| reader.next().map(|_| ())).unwrap_err();
        assert_eq!(damage_of(&error), damage);
    }
}

#[test]
fn every_failed_operation_leaves_every_line() {
    let mut failures = 0;
    for n in 1.. {
        let dir = log::folder();
        let writer = stream(dir.path(), 3000, 60);
        let wanted = lines(dir.path()).0;
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let storage = Storage::with_fault(Arc::new(move |_: Operation| {
            if counted.fetch_add(1, Ordering::SeqCst) + 1 == n {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            Ok(())
        }));
        let done = compress(dir.path(), Which::Closed, &storage, &|| true);
        assert!(lines(dir.path()).1.is_none() && lines(dir.path()).0 == wanted, "operation {n}");
        drop(writer);
        if count.load(Ordering::SeqCst) < n {
            done.unwrap();
            break;
        }
        assert_eq!(reason(&done.unwrap_err()), "IO", "operation {n}");
        failures += 1;
        squeeze(dir.path()).unwrap();
        assert_eq!(lines(dir.path()).0, wanted);
        let names = files(dir.path());
        assert!(names.iter().rev().skip(1).all(|name| name.extension().unwrap() == "zst"));
    }
    assert!(failures > 20);
}
