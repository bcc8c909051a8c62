//! Setup: what it makes and takes back, what it leaves alone, and that nothing of it breaks what
//! the owner of the tables does.

mod support;

use pgsqlite::deltastream::{
    Error, SetupOptions, Waiting, drop_slot, setup, setup_with, status_of,
};
use pgsqlite::error::Coded;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::stream::Source;
use support::{Cluster, Stop, wait_until};

fn code(result: Result<impl Sized, Error>) -> &'static str {
    result.map(|_| ()).expect_err("an error").code().reason
}

fn wanted(source: &Source, slot: &str, tables: &[&str]) -> SetupOptions {
    SetupOptions {
        slot: slot.to_owned(),
        stream: Some(source.stream().with_file_name(slot)),
        tables: tables.iter().map(|table| (*table).to_owned()).collect(),
        ..source.setup_options()
    }
}

fn publications(source: &mut Source) -> String {
    source
        .text("select coalesce(string_agg(pubname, ' ' order by pubname), '') from pg_publication")
}

fn slots(source: &mut Source) -> String {
    source.text(
        "select coalesce(string_agg(slot_name, ' ' order by slot_name), '') \
         from pg_replication_slots where database = current_database()",
    )
}

#[test]
fn publications_of_others_are_left_as_they_are() {
    let tables = "create table t(a int primary key); create table u(a int primary key);
        create publication shop for table t; create publication idle for table t";
    let mut source = Source::new(Cluster::shared(), "setup_others", tables);
    // One that is there is used as it is.
    let done = setup(&wanted(&source, "shop", &["t"])).expect("setup");
    assert!(!done.publication_created && done.added.is_empty());
    let error = setup(&wanted(&source, "shop", &["t", "u"])).expect_err("not ours");
    assert_eq!(error.code().reason, "NOTOURS");
    // The command that is told works when it is typed.
    let text = error.to_string();
    let command = text.split('`').nth(1).expect("a command").to_owned();
    assert!(command.starts_with("ALTER PUBLICATION \"shop\" ADD TABLE \"public\".\"u\""), "{text}");
    source.execute(&command);
    setup(&wanted(&source, "shop", &["t", "u"])).expect("setup");
    // Dropping the slot leaves it, and says so; without a slot, too.
    let dropped = drop_slot(&source.conninfo(), "shop", None).expect("drop");
    assert!(dropped.slot && !dropped.publication);
    assert_eq!(dropped.kept.as_deref(), Some("shop"));
    let nothing = drop_slot(&source.conninfo(), "idle", None).expect("nothing to drop");
    assert!(!nothing.slot && !nothing.publication);
    assert_eq!(nothing.kept.as_deref(), Some("idle"));
    assert_eq!(publications(&mut source), "idle shop");
}

#[test]
fn what_setup_made_is_extended_and_dropped() {
    let tables = "create table t(a int primary key); create table u(a int primary key)";
    let mut source = Source::new(Cluster::shared(), "setup_own", tables);
    setup(&wanted(&source, "own_a", &["t"])).expect("setup");
    assert_eq!(setup(&wanted(&source, "own_a", &["u"])).expect("again").added, ["u"]);
    // Another slot may use it, and does not own it.
    let publication = Some("own_a".to_owned());
    let second = SetupOptions { publication, ..wanted(&source, "own_b", &["t"]) };
    setup(&second).expect("second slot");
    let dropped = drop_slot(&source.conninfo(), "own_b", Some("own_a")).expect("drop");
    assert_eq!((dropped.publication, dropped.kept.as_deref()), (false, Some("own_a")));
    // An older setup noted nothing: its stream says that it was that one's, and the next notes it.
    source.execute("comment on publication own_a is null; alter publication own_a drop table u");
    assert_eq!(setup(&wanted(&source, "own_a", &["u"])).expect("older").added, ["u"]);
    let dropped = drop_slot(&source.conninfo(), "own_a", None).expect("drop");
    assert!(dropped.slot && dropped.publication);
    assert_eq!((publications(&mut source), slots(&mut source)), (String::new(), String::new()));
}

#[test]
fn no_table_refuses_its_owners_statements_after_a_setup() {
    let cluster = Cluster::shared();
    let mut source = Source::new(cluster, "setup_kinds", "");
    let version: i32 = source.text("show server_version_num").parse().expect("number");
    // A definition of table x, and what setup says of it from version 18 on.
    let mut kinds = vec![
        ("a int primary key, b int", ""),
        ("a int primary key, b int, g int generated always as (a + b) stored", ""),
        ("a int, b int, g int generated always as (a + b) stored primary key", ""),
        ("a int, b int, primary key (a, b)) partition by range (a", ""),
        ("a int primary key deferrable, b int", "NOIDENTITY"),
        ("a int, b int); alter table x replica identity full; select (1", ""),
        (
            "a int, b int, g int generated always as (a) stored); \
          alter table x replica identity full; select (1",
            "",
        ),
        (
            "a int, b int, g int generated always as (a + b) stored not null unique); \
          alter table x replica identity using index x_g_key; select (1",
            "",
        ),
        ("a int, b int", "NOIDENTITY"),
        (
            "a int primary key, b int); alter table x replica identity nothing; select (1",
            "NOIDENTITY",
        ),
    ];
    if version >= 180_000 {
        kinds.push((
            "a int, b int, v int generated always as (a + 1) virtual); \
            alter table x replica identity full; select (1",
            "GENERATEDKEY",
        ));
        kinds.push(("a int primary key, b int, v int generated always as (a + 1) virtual", ""));
    }
    let statements = "insert into x (a, b) values (1, 2), (2, 3); update x set b = 70 where a = 1; \
        update x set a = 5 where a = 2; delete from x where a = 1; delete from x where true";
    for (number, (kind, refused)) in kinds.into_iter().enumerate() {
        source.execute(&format!("drop table if exists x; create table x ({kind})"));
        if kind.contains("partition by") {
            source.execute("create table x_1 partition of x default");
        }
        source.execute(statements);
        for all in [false, true] {
            let slot = format!("kind_{number}_{all}");
            let tables: &[&str] = if all { &[] } else { &["x"] };
            let outcome = setup(&wanted(&source, &slot, tables));
            match &outcome {
                Ok(done) => {
                    assert_eq!(refused, "", "{kind}");
                    let of_all = done.warnings.iter().any(|w| w.contains("of all tables"));
                    assert_eq!(of_all, all, "{:?}", done.warnings);
                    let of_text = done.warnings.iter().any(|w| w.contains("more than 1 GB"));
                    assert_eq!(of_text, all, "{:?}", done.warnings);
                }
                Err(error) => {
                    assert_eq!(error.code().reason, refused, "{kind}: {error}");
                    assert!(error.to_string().contains('x'), "{error}");
                }
            }
            source.execute(statements);
            if outcome.is_ok() {
                drop_slot(&source.conninfo(), &slot, None).expect("drop");
            }
        }
        assert_eq!((publications(&mut source), slots(&mut source)), (String::new(), String::new()));
    }
}

#[test]
fn generated_columns_of_other_tables_do_not_begin_to_be_sent() {
    let tables = "create table a(a int primary key, g int generated always as (a) stored);
        create table k(a int, g int generated always as (a) stored primary key)";
    let mut source = Source::new(Cluster::shared(), "setup_sent", tables);
    let version: i32 = source.text("show server_version_num").parse().expect("number");
    setup(&wanted(&source, "sent", &["a"])).expect("setup");
    let added = setup(&wanted(&source, "sent", &["k"]));
    if version >= 180_000 {
        assert_eq!(code(added), "GENERATEDKEY");
    } else {
        let warnings = added.expect("setup").warnings.join("\n");
        assert!(warnings.contains("identity of table k has generated columns"), "{warnings}");
    }
    source.execute("insert into k values (1); update k set a = 2; delete from k");
    drop_slot(&source.conninfo(), "sent", None).expect("drop");
}

#[test]
fn a_partitioned_table_that_comes_under_other_names_is_told() {
    let tables = "create table p(a int primary key) partition by range (a);
        create table p_1 partition of p default; create publication parts for table p";
    let source = Source::new(Cluster::shared(), "setup_parts", tables);
    let done = setup(&wanted(&source, "parts", &["p"])).expect("setup");
    let warnings = done.warnings.join("\n");
    assert!(warnings.contains("p under the names of its partitions, as p_1"), "{warnings}");
    drop_slot(&source.conninfo(), "parts", None).expect("drop");
}

#[test]
fn status_tells_where_the_stream_ends_and_of_a_server_that_was_left_behind() {
    let tables = "create table t(a int primary key, b text)";
    let mut source = Source::set_up(Cluster::shared(), "setup_status", tables);
    let begin = source.wal_lsn();
    source.insert(1, 3);
    source.catch_up().expect("capture");
    let status = |source: &Source| {
        status_of(&source.conninfo(), "setup_status", Some(&source.stream()), None).expect("status")
    };
    // What was saved while idle may be far behind what the stream has.
    let state = source.stream().join("stream.tsv");
    let text = std::fs::read_to_string(&state).expect("state");
    let (head, tail) = text.split_once("\tconfirmed\t").expect("confirmed");
    let (_, tail) = tail.split_once(['\t', '\n']).expect("a value");
    let text = format!("{head}\tconfirmed\t0/1\t{tail}");
    let text = text.strip_suffix('\t').map_or(text.clone(), |text| format!("{text}\n"));
    std::fs::write(&state, &text).expect("state");
    assert!(status(&source).stream_lsn > Some(begin), "{:?}", status(&source));
    // Another server has gone on: the stream knows of a later timeline than this one has.
    std::fs::write(&state, text.replace("timeline\t1\t", "timeline\t2\t")).expect("state");
    assert_eq!((status(&source).state, status(&source).health().word()), ("diverged", "unknown"));
}

#[test]
fn a_setup_that_is_stopped_while_it_waits_leaves_nothing() {
    let mut source =
        Source::new(Cluster::shared(), "setup_stop", "create table t(a int primary key)");
    // A time limit of the database is not one for what waits on purpose.
    source.execute(
        "alter database setup_stop set statement_timeout = 100; \
         alter database setup_stop set lock_timeout = 100",
    );
    let mut other = source.cluster.client("setup_stop");
    other.batch_execute("begin; insert into t values (1)").expect("writer");
    let pid: i32 = other.query_one("select pg_backend_pid()", &[]).expect("pid").get(0);
    let stop = AtomicBool::new(false);
    let mut told = Vec::new();
    let mut waiting = |step: &Waiting| {
        told.push(step.holders.clone());
        stop.store(true, Ordering::Relaxed);
    };
    let outcome = setup_with(&wanted(&source, "setup_stop", &["t"]), &stop, &mut waiting);
    assert_eq!(code(outcome), "STOPPED");
    assert!(told.first().is_some_and(|holders| holders.contains(&pid.to_string())), "{told:?}");
    assert_eq!((publications(&mut source), slots(&mut source)), (String::new(), String::new()));
    other.batch_execute("rollback").expect("rollback");
}

/// Runs a setup in a process of its own, to be killed.
#[test]
fn setup_of_a_child_process() {
    let Ok(conninfo) = std::env::var("PGSQLITE_TEST_SETUP") else { return };
    let mut words = conninfo.split('|');
    let mut word = || words.next().expect("word").to_owned();
    let (conninfo, slot, stream) = (word(), word(), word());
    let options = SetupOptions {
        conninfo,
        slot,
        stream: Some(stream.into()),
        tables: vec!["t".to_owned()],
        publication: None,
        plugin: pgsqlite::deltastream::Plugin::Pgoutput,
        announce: pgsqlite::deltastream::Announce::Nothing,
    };
    let _ = setup(&options);
}

#[test]
fn a_setup_that_is_killed_while_it_waits_leaves_no_slot_and_the_next_one_waits() {
    let mut source =
        Source::new(Cluster::shared(), "setup_kill", "create table t(a int primary key)");
    let mut other = source.cluster.client("setup_kill");
    other.batch_execute("begin; insert into t values (1)").expect("writer");
    let options = wanted(&source, "setup_kill", &["t"]);
    let stream = options.stream.clone().expect("stream");
    for last in [false, true] {
        let words = format!("{}|setup_kill|{}", options.conninfo, stream.display());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "setup_of_a_child_process", "--quiet"])
            .env("PGSQLITE_TEST_SETUP", words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("child");
        wait_until("the slot to be begun", || slots(&mut source) == "setup_kill");
        // What is not ready is told as such, and read by nobody.
        let status = status_of(&options.conninfo, "setup_kill", None, None).expect("status");
        assert_eq!(status.state, "unready");
        child.kill().expect("kill");
        assert_eq!(child.wait().expect("child").signal(), Some(9));
        if std::env::var_os("FAKETIME").is_some() {
            // PostgreSQL's timers, by which it looks for its client, stand still under libfaketime.
            source.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots \
                 where slot_name = 'setup_kill' and active",
            );
        }
        if !last {
            wait_until("the slot to go with its setup", || slots(&mut source).is_empty());
        }
    }
    // The server has not noticed yet, perhaps: the next setup waits, and then makes its own.
    let (stop, mut told) = (AtomicBool::new(false), 0);
    let done = setup_with(&options, &stop, &mut |_| {
        told += 1;
        if told == 1 {
            other.batch_execute("commit").expect("commit");
        }
    });
    let done = done.expect("setup");
    // That of the setup that was killed may have become ready first: then it is taken.
    assert!(done.consistent_point.0 > 0 && told > 0, "{done:?}");
    drop_slot(&options.conninfo, "setup_kill", None).expect("drop");
}

#[test]
fn a_setup_whose_stream_cannot_be_noted_leaves_nothing() {
    let mut source =
        Source::new(Cluster::shared(), "setup_note", "create table t(a int primary key)");
    let options = wanted(&source, "setup_note", &["t"]);
    let stream = options.stream.clone().expect("stream");
    std::fs::create_dir_all(stream.join("stream.tsv.new/in_the_way")).expect("folder");
    setup(&options).expect_err("the state file cannot be written");
    assert_eq!((publications(&mut source), slots(&mut source)), (String::new(), String::new()));
}

#[test]
fn an_unlimited_server_is_warned_of_and_a_standby_refused() {
    let cluster = Arc::new(Cluster::start_with(""));
    let mut source = Source::new(Arc::clone(&cluster), "setup_standby", "create table t(a int)");
    source.execute("alter table t replica identity full");
    let options = wanted(&source, "setup_standby", &["t"]);
    let warnings = setup(&options).expect("setup").warnings.join("\n");
    assert!(warnings.contains("max_slot_wal_keep_size"), "{warnings}");
    source.execute("alter system set max_slot_wal_keep_size = '1GB'");
    source.execute("select pg_reload_conf()");
    wait_until("the setting", || source.text("show max_slot_wal_keep_size") == "1GB");
    assert_eq!(setup(&options).expect("setup").warnings, Vec::<String>::new());
    cluster.stop(Stop::Fast);
    std::fs::write(cluster.data().join("standby.signal"), "").expect("standby.signal");
    cluster.start();
    assert_eq!(code(setup(&options)), "STANDBY");
    let error = drop_slot(&options.conninfo, "setup_standby", None).expect_err("a standby");
    assert_eq!(error.code().reason, "STANDBY");
    let advised = "SELECT pg_catalog.pg_drop_replication_slot('setup_standby')";
    assert!(error.to_string().contains(&format!("`{advised}`")), "{error}");
    let status = || status_of(&options.conninfo, "setup_standby", options.stream.as_deref(), None);
    assert_eq!(status().expect("status").state, "standby");
    cluster.client("setup_standby").batch_execute(advised).expect("as advised");
    assert_eq!(code(status()), "SLOTMISSING");
}
