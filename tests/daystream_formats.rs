//! Streams of an older format, and keys of a newer one.

mod log;

use std::path::{Path, PathBuf};

use log::{Hand, reason};
use pgsqlite::daystream::{
    Identity, Mark, Reader, ReaderOptions, Registration, Start, Storage, Writer, WriterOptions,
    bytes_behind, registered, verify,
};
use pgsqlite::error::Coded;

/// A copy of a stream that is kept in `tests/streams`.
fn kept(name: &str) -> (tempfile::TempDir, PathBuf) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams").join(name);
    let to = log::folder();
    let stream = to.path().join("stream");
    copy(&from, &stream);
    (to, stream)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let there = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}

fn writer(dir: &Path) -> Writer {
    let clock = Hand::at(1_507_594_500);
    Writer::open(dir, WriterOptions { segment_bytes: 900, ..log::options(&clock) }).unwrap()
}

fn state(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stream.tsv")).unwrap()
}

/// Ids of the transactions that a reader gives out.
fn xids(reader: &mut Reader) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if entry.end {
            found.push(entry.change.xid.unwrap());
        }
    }
    found
}

#[test]
fn a_stream_of_format_1_opens_is_read_goes_on_and_verifies() {
    let (_folder, dir) = kept("format1");
    let (info, damage) = verify(&dir).unwrap();
    assert!(damage.is_none(), "{damage:?}");
    assert_eq!((info.segments, info.compressed), (4, 1));
    assert_eq!((info.transactions, info.heartbeats), (11, 3));
    let old = Reader::open(&dir, Start::Begin, ReaderOptions::default());
    assert_eq!(xids(&mut old.unwrap()), (5..=18).collect::<Vec<_>>());
    let reader = registered(&dir).unwrap().remove(0);
    assert!(bytes_behind(&dir, reader.confirmed).unwrap() > 0);
    let identity = Identity::load(&dir).unwrap().unwrap();
    assert_eq!((identity.slot.as_str(), identity.id), ("flights", None));
    let follower = Reader::open(&dir, Start::Begin, ReaderOptions::default());
    let mut follower = follower.unwrap();
    xids(&mut follower);

    let mut writer = writer(&dir);
    assert!(state(&dir).starts_with("format\t2\tsystem_id\t7412345678901234567\t"));
    assert_eq!(writer.last_lsn().map(|lsn| lsn.0), Some(1800));
    for xid in 19..=40 {
        log::write(&mut writer, xid, 3).unwrap();
    }
    writer.sync().unwrap();
    writer.save_identity(&Identity { id: Some(0xfeed), ..identity }).unwrap();
    assert!(state(&dir).contains("\tid\t000000000000feed\t"));
    assert!(state(&dir).contains("\tend_lsn\t0/FA0\tend_chain\t"));
    assert_eq!(xids(&mut follower), (19..=40).collect::<Vec<_>>());
    assert_eq!(follower.mark(), writer.last_mark());
    drop(writer);
    assert_eq!(verify(&dir).unwrap().1.map(|damage| damage.to_string()), None);
    let all = Reader::open(&dir, Start::Begin, ReaderOptions::default());
    assert_eq!(xids(&mut all.unwrap()), (5..=40).collect::<Vec<_>>());

    // A registered reader goes on, and its mark is a whole one from now on.
    let options = ReaderOptions::default();
    let opened = Registration::open(&dir, "audit", Start::End, options, Storage::default());
    let (mut reader, mut registration) = opened.unwrap();
    let rest = xids(&mut reader);
    assert_eq!(rest.last(), Some(&40));
    assert!(rest.len() > 22, "{rest:?}");
    registration.confirm(reader.position().unwrap()).unwrap();
    drop(registration);
    let known = registered(&dir).unwrap().remove(0);
    assert_eq!(known.confirmed, reader.mark());
}

#[test]
fn a_missing_transaction_behind_the_change_of_format_is_found() {
    let (_folder, dir) = kept("format1");
    let mut writer = writer(&dir);
    for xid in 19..=20 {
        log::write(&mut writer, xid, 3).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    // The last segment of the old format.
    std::fs::remove_file(dir.join("2017-10-10/1507594040.0.tsv")).unwrap();
    let damage = verify(&dir).unwrap().1.unwrap();
    assert_eq!(damage.code().details[2], ("damage", "CHAIN".to_owned()));
}

#[test]
fn keys_that_may_be_passed_over_are_kept_and_others_refused() {
    let (_folder, dir) = kept("format1");
    let put = |text: &str| std::fs::write(dir.join("stream.tsv"), text).unwrap();
    put("format\t2\tsystem_id\t1\tx_new\ta\\tb\tslot\ts\tx_other\t\n");
    let identity = Identity::load(&dir).unwrap().unwrap();
    assert_eq!((identity.system_id, identity.slot.as_str()), (1, "s"));
    let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
    writer.save_identity(&identity).unwrap();
    assert!(state(&dir).ends_with("\tx_new\ta\\tb\tx_other\t\n"), "{}", state(&dir));
    drop(writer);
    for (text, format, key) in [
        ("format\t2\tsystem_id\t1\tslot\ts\tnew\t1\n", "2", "new"),
        ("format\t3\tsystem_id\t1\tslot\ts\tnew\t1\n", "3", "new"),
        ("format\t3\tsystem_id\t1\tslot\ts\n", "3", "format"),
        ("system_id\t1\tslot\ts\tnew\t1\n", "1", "new"),
    ] {
        put(text);
        for error in [
            Identity::load(&dir).unwrap_err(),
            Writer::open(&dir, WriterOptions::default()).unwrap_err(),
        ] {
            assert_eq!(reason(&error), "FORMAT", "{text}");
            let details = error.code().details;
            assert_eq!(details[1..], [("format", format.into()), ("key", key.into())], "{text}");
            assert!(error.to_string().contains("a newer one"), "{error}");
        }
    }
    for bad in ["format\t0\t", "format\tx\t", "id\tFEED\t", "end_chain\t12\t", "end_lsn\t0/1\t"] {
        put(&format!("{bad}system_id\t1\tslot\ts\n"));
        assert_eq!(reason(&Identity::load(&dir).unwrap_err()), "STATE", "{bad}");
    }
}

#[test]
fn the_first_commit_line_has_an_empty_chain_and_the_next_ones_the_sum_before() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    let mut chain = 0;
    for xid in 1..=3 {
        log::write(&mut writer, xid, 1).unwrap();
        writer.sync().unwrap();
        let (lines, error) = log::lines(dir.path());
        assert!(error.is_none());
        let commit = deltaflood::Change::parse(lines.last().unwrap()).unwrap();
        assert_eq!(commit.chain, Some(chain));
        let digits = format!("{chain:08x}{:08x}", commit.commit_crc.unwrap());
        chain = crc32c::crc32c(digits.as_bytes());
        let mark: Mark = writer.last_mark().unwrap();
        assert_eq!(mark.chain, Some(chain));
    }
}
