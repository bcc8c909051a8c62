//! The libpq layer against a real server.

mod support;

use pgsqlite::error::Coded;
use pgsqlite::libpq::{Conn, Conninfo, ErrorField, Status, TransactionStatus, wait};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Cluster, wait_until};

fn connect(cluster: &Cluster) -> Conn {
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    Conn::connect(&info).expect("connect")
}

#[test]
fn results_have_values_names_types_and_nulls() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let params = [Some(b"7".as_slice()), None, Some("é\t".as_bytes())];
    let sql = "select $1::int as a, $2::text as \"B b\", $3::text as c, ''::text as empty";
    let result = conn.query_params(sql, &params).expect("query");
    assert_eq!((result.status(), result.ntuples(), result.nfields()), (Status::TuplesOk, 1, 4));
    let row: Vec<_> = result.row(0).collect();
    assert_eq!(row, [Some(b"7".as_slice()), None, Some("é\t".as_bytes()), Some(b"".as_slice())]);
    assert_eq!(result.fname(1).as_deref(), Some("B b"));
    assert_eq!(
        (result.ftype(0), result.fsize(0), result.fnumber("c")),
        (Some(23), Some(4), Some(2))
    );
    assert_eq!((result.value(1, 0), result.value(0, 4), result.fname(4)), (None, None, None));
    let done =
        conn.query("create temp table t(a int); insert into t values (1),(2)").expect("insert");
    assert_eq!((done.status(), done.cmd_tuples()), (Status::CommandOk, "2".to_owned()));
    assert_eq!(conn.parameter_status("client_encoding").as_deref(), Some("UTF8"));
}

#[test]
fn errors_carry_the_servers_code_and_fields() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let result = conn.exec("select 1/0").expect("a result");
    assert_eq!(result.error_field(ErrorField::Sqlstate).as_deref(), Some("22012"));
    let error = result.into_ok().expect_err("division by zero");
    assert_eq!(error.sqlstate(), Some("22012"));
    assert_eq!(error.code().details, [("sqlstate", "22012".to_owned())]);
    assert_eq!(conn.exec("a\0b").expect_err("NUL").code().reason, "NUL");
    assert_eq!(conn.transaction_status(), TransactionStatus::Idle);
}

#[test]
fn a_refused_connection_tells_its_sqlstate() {
    let cluster = Cluster::shared();
    let info = Conninfo::parse(&cluster.conninfo("no_such_database")).expect("conninfo");
    let refused = Conn::connect_within(&info, Duration::from_secs(10), None).expect_err("refused");
    assert_eq!(refused.sqlstate(), Some("3D000"));
    assert!(!refused.to_string().contains("LOCATION"), "{refused}");
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    let conn = Conn::connect_within(&info, Duration::from_secs(10), None).expect("connect");
    assert!(conn.is_ok() && conn.server_version() >= 130_000);
}

#[test]
fn copy_goes_out_and_in_and_may_be_left_early() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    conn.query("create temp table c(a int, b text)").expect("create");
    conn.copy_in("copy c from stdin").expect("copy in");
    for i in 0..1000 {
        assert!(conn.put_copy_data(format!("{i}\tvalue {i}\n").as_bytes()).expect("put"));
    }
    assert_eq!(conn.finish_copy_in().expect("end").cmd_tuples(), "1000");
    let mut rows = conn.copy_out("copy (select * from c order by a) to stdout").expect("copy out");
    let mut n = 0;
    while let Some(row) = rows.next_row().expect("row") {
        assert_eq!(&*row, format!("{n}\tvalue {n}\n").as_bytes());
        n += 1;
    }
    assert_eq!(n, 1000);
    drop(rows);
    let big = "copy (select g, repeat('x', 100) from generate_series(1, 3000000) g) to stdout";
    let mut rows = conn.copy_out(big).expect("copy out");
    assert!(rows.next_row().expect("row").is_some());
    drop(rows);
    assert_eq!(conn.query("select 1").expect("usable").ntuples(), 1);
    conn.copy_in("copy c from stdin").expect("copy in");
    conn.put_copy_data(b"not a number\tx\n").expect("put");
    assert_eq!(conn.finish_copy_in().expect_err("refused").sqlstate(), Some("22P02"));
}

#[test]
fn asynchronous_queries_single_rows_and_cancel() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    conn.send_query("select g from generate_series(1, 500) g").expect("send");
    assert!(conn.set_single_row_mode());
    let mut rows = 0;
    loop {
        while conn.is_busy() {
            wait(conn.socket(), true, false, None, Some(Duration::from_secs(10))).expect("wait");
            conn.consume_input().expect("input");
        }
        let Some(result) = conn.get_result() else { break };
        rows += result.ntuples();
    }
    assert_eq!(rows, 500);
    conn.send_query("select pg_sleep(100)").expect("send");
    let cancel = conn.cancel_handle().expect("handle");
    // A request that comes before the statement has begun does nothing: ask until it is heard.
    wait_until("the cancelled result", || {
        cancel.cancel().expect("cancel");
        conn.consume_input().expect("input");
        !conn.is_busy()
    });
    let result = conn.get_result().expect("a result");
    assert_eq!(result.into_ok().expect_err("cancelled").sqlstate(), Some("57014"));
    conn.drain();
}

thread_local! {
    static HELD: std::cell::RefCell<Option<Conn>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_notice_hook_may_set_the_notice_hook() {
    let cluster = Cluster::shared();
    let (first, second) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(String::new())));
    let conn = connect(&cluster);
    let (count, ear) = (Arc::clone(&first), Arc::clone(&second));
    conn.set_notice_hook(Some(Box::new(move |_| {
        *count.lock().expect("count") += 1;
        let ear = Arc::clone(&ear);
        HELD.with_borrow(|held| {
            let hook = Box::new(move |text: &str| ear.lock().expect("ear").push_str(text));
            held.as_ref().expect("held").set_notice_hook(Some(hook));
        });
        // What the hook that is running has captured is there still.
        *count.lock().expect("count") += 1;
    })));
    HELD.set(Some(conn));
    HELD.with_borrow(|held| {
        let conn = held.as_ref().expect("held");
        conn.query("do $$ begin raise notice 'one'; raise notice 'two'; end $$").expect("notices");
        conn.set_notice_hook(None);
        conn.query("do $$ begin raise notice 'three'; end $$").expect("notice");
    });
    assert_eq!(*first.lock().expect("count"), 2);
    assert_eq!(*second.lock().expect("ear"), "NOTICE:  two\n");
}

#[test]
fn notices_are_silent_or_hooked_and_notifications_arrive() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    conn.query("do $$ begin raise notice 'lost'; end $$").expect("notice");
    let heard = Arc::new(Mutex::new(String::new()));
    let ear = Arc::clone(&heard);
    conn.set_notice_hook(Some(Box::new(move |text| ear.lock().expect("ear").push_str(text))));
    conn.query("do $$ begin raise notice 'found'; end $$").expect("notice");
    assert!(heard.lock().expect("heard").contains("found"));
    conn.query("listen l; notify l, 'payload'").expect("notify");
    wait_until("the notification", || {
        conn.consume_input().expect("input");
        conn.notification().is_some_and(|n| n.channel == "l" && n.payload == "payload")
    });
}

#[test]
fn escapes_survive_a_round_trip() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let text = "it's a \\ \"test\"\n";
    let sql = format!(
        "select {} as {}, '{}'::bytea",
        conn.escape_literal(text).expect("literal"),
        conn.escape_identifier(text).expect("identifier"),
        conn.escape_bytea(b"\x00'\\\xff").expect("bytea")
    );
    let result = conn.query(&sql).expect("query");
    assert_eq!(result.text(0, 0).as_deref(), Some(text));
    assert_eq!(result.fname(0).as_deref(), Some(text));
    let bytes = pgsqlite::libpq::unescape_bytea(result.value(0, 1).unwrap_or_default());
    assert_eq!(bytes.expect("bytes"), b"\x00'\\\xff");
}

#[test]
fn large_objects_are_written_read_and_removed() {
    use pgsqlite::libpq::{LargeObjectMode, Whence};
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let mode = LargeObjectMode { read: true, write: true };
    conn.query("begin").expect("begin");
    let oid = conn.lo_creat(mode).expect("create");
    let fd = conn.lo_open(oid, mode).expect("open");
    assert_eq!(conn.lo_write(fd, b"hello world").expect("write"), 11);
    assert_eq!(conn.lo_lseek(fd, 6, Whence::Set).expect("seek"), 6);
    assert_eq!(conn.lo_read(fd, 100).expect("read"), b"world");
    assert_eq!(conn.lo_tell(fd).expect("tell"), 11);
    conn.lo_truncate(fd, 5).expect("truncate");
    conn.lo_close(fd).expect("close");
    conn.lo_unlink(oid).expect("unlink");
    assert!(conn.lo_open(oid, mode).is_err());
}
