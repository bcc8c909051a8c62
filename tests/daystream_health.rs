//! Health of a stream whose heartbeats are further apart than its last minute.

mod log;

use deltaflood::Lsn;
use pgsqlite::daystream::heartbeat::{Health, Tail, content};
use pgsqlite::daystream::{Commit, Identity, Source, Writer};

/// A transaction of one line, committed at `second`.
fn commit(writer: &mut Writer, line: &str, second: i64) {
    writer.line(line.as_bytes()).unwrap();
    let lsn = writer.last_lsn().unwrap_or_default().0 + 10;
    let time_us = Some(second * 1_000_000);
    writer.commit(Commit { xid: Some(7), lsn: Some(Lsn(lsn)), time_us }).unwrap();
    writer.sync().unwrap();
}

#[test]
fn a_heartbeat_is_looked_for_as_far_back_as_the_captures_pace() {
    let dir = log::folder();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let clock = log::Hand::at(now - 3000);
    let mut writer = Writer::open(dir.path(), log::options(&clock)).unwrap();
    let source = Source::from(dir.path());
    let change = "_table\tt\t_xid\t7\t_action\tinsert\ta\t1";
    commit(&mut writer, change, clock.seconds());
    // An hour apart; the last one before forty minutes, and a change just now.
    clock.set(now - 2400);
    let beat = format!(
        "_xid\t7\t_action\tmessage\tprefix\tpgsqlite.heartbeat\tcontent\t{}\treceived_us\t{}\t\
         offset_us\t0",
        content("s", 3_600_000, "feed"),
        clock.seconds() * 1_000_000
    );
    commit(&mut writer, &beat, clock.seconds());
    clock.set(now - 2);
    commit(&mut writer, change, clock.seconds());

    let mut identity =
        Identity { system_id: 1, slot: "s".to_owned(), heartbeat_ms: 0, ..Identity::default() };
    writer.save_identity(&identity).unwrap();
    assert_eq!(Tail::of(&source).unwrap(), None);
    identity.heartbeat_ms = 3_600_000;
    writer.save_identity(&identity).unwrap();
    assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity.clone()));
    let tail = Tail::of(&source).unwrap();
    assert_eq!(tail.unwrap().beat.every_ms, 3_600_000);
    assert_eq!(Health::of_stream(tail.as_ref()), Health::Live);
    // A pace of minutes: what is older is not looked for.
    identity.heartbeat_ms = 300_000;
    writer.save_identity(&identity).unwrap();
    assert_eq!(Tail::of(&source).unwrap(), None);
}
