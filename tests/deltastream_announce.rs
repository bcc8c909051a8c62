//! Looks at the catalogs that somebody asks for, and what asks by itself.

mod support;

use deltaflood::Verb;
use pgsqlite::deltastream::{
    Announce, Capture, Dropped, Error, Setup, SetupOptions, drop_slot, setup, status_of,
};
use pgsqlite::error::Coded;
use std::sync::Arc;
use support::Cluster;
use support::stream::{Source, wait_streaming};

/// A capture that no heartbeat helps, and that has seen the catalogs.
fn start(source: &Source) -> Capture {
    let mut options = source.options();
    options.heartbeat_ms = 3_600_000;
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    wait_streaming(&capture);
    let file = source.stream().join("catalog.tsv");
    support::wait_until("the first look", || file.exists());
    capture
}

const ALTERED: &str = "begin; alter table t add b int; \
    select pg_logical_emit_message(true, 'pgsqlite.schema', ''); commit";

/// Makes commits wait for a standby of this name; empty: for none.
fn wait_for_standby(client: &mut postgres::Client, name: &str) {
    client
        .batch_execute(&format!("alter system set synchronous_standby_names = '{name}'"))
        .unwrap();
    client.batch_execute("select pg_reload_conf()").unwrap();
}

#[test]
fn who_is_not_seen_yet_is_not_forgotten() {
    let cluster = Arc::new(Cluster::start_with(""));
    let mut source =
        Source::set_up(Arc::clone(&cluster), "unseen", "create table t(a int primary key)");
    let mut other = cluster.client("unseen");
    let capture = start(&source);
    wait_for_standby(&mut source.client, "nobody");
    let setting = "select current_setting('synchronous_standby_names')";
    support::wait_until("the setting", || {
        cluster.client("unseen").query_one(setting, &[]).unwrap().get::<_, String>(0) == "nobody"
    });
    let altered = std::thread::spawn(move || other.batch_execute(ALTERED));
    // It is in the WAL, and nobody sees it; the capture looks in vain, more than once.
    let waiting = "select count(*)::text from pg_stat_activity where wait_event = 'SyncRep'";
    support::wait_until("the commit", || source.text(waiting) == "1");
    let looked = "select coalesce(max(query_start)::text, '') from pg_stat_activity \
        where application_name = 'deltastream' and backend_type = 'client backend'";
    let before = source.text(looked);
    support::wait_until("another look", || source.text(looked) != before);
    assert_eq!(source.of_verb(Verb::Schema), [""; 0]);
    wait_for_standby(&mut source.client, "");
    altered.join().expect("thread").expect("altered");
    support::wait_until("the line", || source.of_verb(Verb::Schema).len() == 1);
    assert!(capture.status().error.is_empty());
}

#[test]
fn who_asks_while_the_table_is_held_is_heard_when_it_is_let_go() {
    let source = Source::set_up(Cluster::shared(), "held", "create table t(a int primary key)");
    let mut other = source.cluster.client("held");
    let mut asking = source.cluster.client("held");
    let _capture = start(&source);
    asking.batch_execute(ALTERED).expect("altered");
    other.batch_execute("begin; lock table t").expect("held");
    asking.batch_execute(ALTERED.split("; ").nth(2).expect("the request")).expect("asked");
    other.batch_execute("commit").expect("let go");
    support::wait_until("the line", || source.of_verb(Verb::Schema).len() == 1);
}

/// A table, its publication, and what is to tell captures.
fn announced(source: &Source, announce: Announce) -> Result<Setup, Error> {
    setup(&SetupOptions { announce, ..source.setup_options() })
}

fn drop_of(source: &Source) -> Dropped {
    drop_slot(&source.conninfo(), &source.name, None).expect("drop")
}

/// What is there of ours.
fn there(source: &mut Source) -> String {
    source.text(
        "select concat_ws(' ', (select string_agg(nspname, ' ') from pg_namespace \
           where nspname = 'pgsqlite'), (select string_agg(proname, ' ' order by proname) \
           from pg_proc where pronamespace = to_regnamespace('pgsqlite')), \
         (select string_agg(evtname, ' ' order by evtname) from pg_event_trigger), \
         (select 'usage' where has_schema_privilege('public', to_regnamespace('pgsqlite'), \
           'usage')))",
    )
}

const ALL: &str = "pgsqlite schema_changed schema_changed_trigger \
    pgsqlite_schema_changed pgsqlite_schema_dropped usage";

#[test]
fn a_migration_of_any_role_tells_a_capture_at_once() {
    let tables = "create role migrates; create table t(a int primary key)";
    let mut source = Source::new(Cluster::shared(), "calls", tables);
    let done = announced(&source, Announce::Function).expect("setup");
    assert!(done.schema_changed && !done.event_trigger);
    assert!(!announced(&source, Announce::Function).expect("again").schema_changed);
    let _capture = start(&source);
    source.execute(
        "begin; alter table t add b int; set local role migrates; \
         select pgsqlite.schema_changed(); commit",
    );
    support::wait_until("the line", || source.of_verb(Verb::Schema).len() == 1);
    let status = status_of(&source.conninfo(), "calls", None, None).expect("status");
    let found = status.announced;
    assert!(found.function && !found.event_trigger && found.distrusted.is_none());
}

#[test]
fn event_triggers_tell_of_what_is_altered_made_and_dropped() {
    let tables = "create role plain; create table t(a int primary key); \
        create table u(a int primary key); grant all on schema public to plain; \
        alter table u owner to plain";
    let mut source = Source::new(Cluster::shared(), "triggers", tables);
    let done = announced(&source, Announce::EventTrigger).expect("setup");
    assert!(done.schema_changed && done.event_trigger);
    assert_eq!(there(&mut source), ALL);
    let found = status_of(&source.conninfo(), "triggers", None, None).expect("status").announced;
    assert!(found.function && found.event_trigger && found.distrusted.is_none());
    let _capture = start(&source);
    let lines = |source: &Source, count: usize| {
        support::wait_until("a line", || source.of_verb(Verb::Schema).len() == count);
    };
    source.execute("alter table t add b int");
    lines(&source, 1);
    source.execute("set role plain; alter table u add b int; reset role");
    lines(&source, 2);
    source.execute("drop table u");
    lines(&source, 3);
    let line = source.of_verb(Verb::Schema).pop().expect("a line");
    assert!(line.contains("_gone|dropped"), "{line}");
    // Nobody is told of what is temporary.
    let end = "select pg_current_wal_insert_lsn()::text";
    let before = source.text(end);
    source.execute(
        "create temp table v(a int primary key, b text); alter table v add c int; \
         create index on v(b); drop table v; create temp view w as select 1; drop view w",
    );
    let messages = format!(
        "select count(*)::text from pg_logical_slot_peek_binary_changes('beside', null, null, \
         'proto_version', '1', 'publication_names', 'triggers', 'messages', 'true') \
         where get_byte(data, 0) = ascii('M') and lsn >= '{before}'"
    );
    source.execute("select pg_create_logical_replication_slot('beside', 'pgoutput')");
    assert_eq!(source.text(&messages), "0");
    source.execute("alter table t add c int");
    assert_eq!(source.text(&messages), "1");
    source.execute("select pg_drop_replication_slot('beside')");
}

#[test]
fn a_trigger_that_fails_ends_no_statement() {
    let mut source = Source::new(Cluster::shared(), "fails", "create table t(a int primary key)");
    announced(&source, Announce::EventTrigger).expect("setup");
    source.execute("create role nobody_else; grant all on schema public to nobody_else");
    source.execute(
        "do $$ declare f regprocedure; begin \
           for f in select oid from pg_proc where proname in ('pg_logical_emit_message', \
             'pg_event_trigger_ddl_commands', 'pg_event_trigger_dropped_objects') loop \
             execute format('revoke execute on function %s from public', f); end loop; end $$",
    );
    source.execute(
        "set role nobody_else; create table u(a int); alter table u add b int; \
         begin; create table v(a int); drop table u; commit; drop table v; reset role",
    );
    // Whatever the path, or who makes operators by the names of ours.
    source.execute(
        "grant execute on function pg_event_trigger_ddl_commands() to public; \
         create schema trap; create function trap.no(text, text) returns boolean \
           language plpgsql as 'begin raise exception ''trap''; end'; \
         create operator trap.= (leftarg = text, rightarg = text, function = trap.no); \
         set search_path = trap, pg_catalog, public; create table w(a int); drop table w; \
         reset search_path",
    );
}

#[test]
fn what_setup_made_goes_with_the_last_slot_and_nothing_else() {
    let mut source = Source::new(Cluster::shared(), "undone", "create table t(a int primary key)");
    announced(&source, Announce::EventTrigger).expect("setup");
    let other = SetupOptions {
        slot: "undone_2".to_owned(),
        stream: Some(source.stream().with_file_name("undone_2")),
        ..source.setup_options()
    };
    setup(&other).expect("another");
    let dropped = drop_of(&source);
    assert!(dropped.slot && !dropped.schema_changed && !dropped.event_trigger);
    assert_eq!(there(&mut source), ALL);
    let dropped = drop_slot(&source.conninfo(), "undone_2", None).expect("drop");
    assert!(dropped.schema_changed && dropped.event_trigger && dropped.left.is_none());
    assert_eq!(there(&mut source), "");
    // A schema that somebody has put something into stays, and one that was there before.
    std::fs::remove_dir_all(source.stream()).expect("the stream");
    announced(&source, Announce::Function).expect("setup");
    source.execute("create table pgsqlite.mine(a int primary key)");
    assert!(drop_of(&source).schema_changed);
    assert_eq!(there(&mut source), "pgsqlite");
    source.execute("comment on schema pgsqlite is null; drop table pgsqlite.mine");
    std::fs::remove_dir_all(source.stream()).expect("the stream");
    announced(&source, Announce::Function).expect("setup");
    assert_eq!(there(&mut source), "pgsqlite schema_changed usage");
    assert!(drop_of(&source).schema_changed);
    assert_eq!(there(&mut source), "pgsqlite");
    // What somebody else made by hand is not ours to drop.
    source.execute("drop schema pgsqlite");
    std::fs::remove_dir_all(source.stream()).expect("the stream");
    announced(&source, Announce::EventTrigger).expect("setup");
    source.execute(
        "comment on function pgsqlite.schema_changed() is 'mine'; \
         comment on event trigger pgsqlite_schema_dropped is 'mine'",
    );
    let dropped = drop_of(&source);
    assert!(!dropped.schema_changed && dropped.event_trigger);
    let left = "pgsqlite schema_changed schema_changed_trigger pgsqlite_schema_dropped usage";
    assert_eq!(there(&mut source), left);
    source.execute("drop schema pgsqlite cascade");
}

#[test]
fn who_may_not_is_told_what_it_takes_and_nothing_stays() {
    let tables = "create role least login replication; create table t(a int primary key); \
        alter table t owner to least";
    let mut source = Source::new(Cluster::shared(), "least", tables);
    let options = |source: &Source, announce| SetupOptions {
        conninfo: format!("{} user=least", source.conninfo()),
        tables: vec!["t".to_owned()],
        publication: Some("given".to_owned()),
        announce,
        ..source.setup_options()
    };
    source.execute("create publication given for table t");
    let error = setup(&options(&source, Announce::Function)).expect_err("refused");
    assert_eq!(error.code().reason, "NOTALLOWED");
    assert!(error.to_string().contains("`GRANT CREATE ON DATABASE least TO least`"), "{error}");
    source.execute("grant create on database least to least");
    let error = setup(&options(&source, Announce::EventTrigger)).expect_err("refused");
    assert_eq!(error.code().reason, "NOTALLOWED");
    assert!(error.to_string().contains("only a superuser makes an event trigger"), "{error}");
    assert_eq!((there(&mut source), source.text(SLOTS)), (String::new(), "0".to_owned()));
    // A superuser's event trigger, of a schema that the other made, is not made: it could be
    // taken away, and another function put in its place.
    assert!(setup(&options(&source, Announce::Function)).expect("setup").schema_changed);
    let error = announced(&source, Announce::EventTrigger).expect_err("not trusted");
    assert_eq!(error.code().reason, "UNSAFE");
    let left = drop_slot(&options(&source, Announce::Nothing).conninfo, "least", Some("given"));
    assert!(left.expect("drop").schema_changed);
    // What the other may not drop, it is told.
    std::fs::remove_dir_all(source.stream()).expect("the stream");
    let given =
        SetupOptions { conninfo: source.conninfo(), ..options(&source, Announce::EventTrigger) };
    setup(&given).expect("setup");
    let dropped = drop_slot(&options(&source, Announce::Nothing).conninfo, "least", Some("given"));
    let left = dropped.expect("drop").left.expect("something");
    assert!(left.contains("drop event trigger pgsqlite_schema_changed"), "{left}");
    assert_eq!(there(&mut source), ALL);
    source.execute(&left);
}

const SLOTS: &str = "select count(*)::text from pg_replication_slots \
    where database = current_database()";

#[test]
fn what_somebody_else_made_by_our_names_is_refused() {
    let cases: [(&str, &str); 6] = [
        ("set role stranger; create schema pgsqlite; reset role", "schema pgsqlite"),
        (
            "create schema pgsqlite; grant all on schema pgsqlite to stranger; set role stranger; \
             create function pgsqlite.schema_changed() returns void language sql as ''; reset role",
            "schema_changed()",
        ),
        (
            "create schema pgsqlite; grant all on schema pgsqlite to stranger; set role stranger; \
             create function pgsqlite.schema_changed(variadic text[] default '{}') returns void \
               language sql as ''; reset role",
            "schema_changed(VARIADIC text[])",
        ),
        (
            "create schema pgsqlite; create function pgsqlite.schema_changed() returns void \
               language sql security definer as ''",
            "schema_changed()",
        ),
        (
            "create schema pgsqlite; create function pgsqlite.schema_changed_trigger() \
               returns event_trigger language plpgsql as 'begin end'",
            "schema_changed_trigger()",
        ),
        (
            "create function mine() returns event_trigger language plpgsql as 'begin end'; \
             create event trigger pgsqlite_schema_dropped on sql_drop execute function mine()",
            "event trigger pgsqlite_schema_dropped",
        ),
    ];
    let tables = "create role stranger; create table t(a int primary key)";
    let mut source = Source::new(Cluster::shared(), "strange", tables);
    source.execute("grant create on database strange to stranger");
    for (sql, object) in cases {
        source.execute(sql);
        let error = announced(&source, Announce::EventTrigger).expect_err(object);
        let code = error.code();
        assert_eq!((code.reason, code.details[0].1.as_str()), ("UNSAFE", object), "{error}");
        assert_eq!(source.text(SLOTS), "0");
        setup(&source.setup_options()).expect("setup");
        let found = status_of(&source.conninfo(), "strange", None, None).expect("status");
        assert!(!found.announced.function && !found.announced.event_trigger, "{sql}");
        assert!(found.announced.distrusted.expect(object).contains(object));
        let dropped = drop_of(&source);
        assert!(dropped.slot && !dropped.schema_changed && !dropped.event_trigger);
        std::fs::remove_dir_all(source.stream()).expect("the stream");
        source.execute(
            "drop event trigger if exists pgsqlite_schema_dropped; \
             drop function if exists mine(); drop schema if exists pgsqlite cascade",
        );
    }
}
