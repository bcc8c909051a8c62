//! A server whose system identifier does not fit a signed number, which `int8` prints as negative.

mod mirror;
mod support;

use mirror::live::Road;
use pgsqlite::deltastream::status_of;
use support::{Cluster, Stop};

/// Gives the stopped cluster another system identifier: the first number of its control file, whose
/// checksum stands behind the fields, and of its WAL, which is begun again.
fn identify(cluster: &Cluster, id: u64) {
    let path = cluster.data().join("global/pg_control");
    let mut bytes = std::fs::read(&path).expect("pg_control");
    let sum = |bytes: &[u8], at: usize| crc32c::crc32c(bytes.get(..at).expect("bytes"));
    let stored = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes.get(at..at + 4).expect("sum").try_into().expect("four"))
    };
    let at = (8..bytes.len() - 4).step_by(4).find(|at| sum(&bytes, *at) == stored(&bytes, *at));
    let at = at.expect("the checksum of pg_control");
    bytes.splice(..8, id.to_le_bytes());
    let new = sum(&bytes, at).to_le_bytes();
    bytes.splice(at..at + 4, new);
    std::fs::write(&path, bytes).expect("pg_control");
    let mut reset = cluster.command("pg_resetwal");
    let done = reset.arg("-f").arg(cluster.data()).output().expect("pg_resetwal");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn an_identifier_from_2_to_the_63_up_is_one_number_everywhere() {
    let cluster = std::sync::Arc::new(Cluster::start_with(""));
    cluster.stop(Stop::Fast);
    let id = (1 << 63) | 0x1234_5678;
    identify(&cluster, id);
    cluster.start();
    let road = Road::in_cluster(cluster, "system_id", "create table t(a int primary key)", &["t"]);
    road.sql("insert into t select generate_series(1, 10)");
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("delete from t where a = 3");
    road.assert_equal("m.db");
    follower.stop();
    let status = status_of(&road.conninfo(), "system_id", Some(&road.stream()), None);
    assert_eq!(status.expect("status").stream.expect("stream").system_id, id);
}
