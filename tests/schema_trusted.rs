//! The tables of saved schemas are used only when nobody else's code can hang on them.

mod support;

use pgsqlite::error::Coded;
use pgsqlite::libpq::{Conn, Conninfo};
use pgsqlite::schema::saved;
use support::Cluster;

/// A superuser's connection to a new database, where the role `trusted_other` made what `sql` says.
fn made_by_other(cluster: &Cluster, name: &str, sql: &str) -> Conn {
    let mut client = cluster.database(name);
    client
        .batch_execute(&format!(
            "do $$ begin create role trusted_other; exception when others then null; end $$;
             grant create on database {name} to trusted_other;
             create sequence ran; grant usage on sequence ran to trusted_other;
             create function trap() returns boolean language plpgsql as
               $$ begin perform nextval('public.ran'); return true; end $$;
             set role trusted_other; {sql}; reset role"
        ))
        .expect(sql);
    Conn::connect(&Conninfo::parse(&cluster.conninfo(name)).expect("conninfo")).expect("connect")
}

/// Every command of the schema is refused, by a code that names object and owner, and ran nothing.
fn assert_refused(conn: &Conn, object: &str, owner: &str) {
    let none = |result: Result<(), pgsqlite::schema::Error>| {
        let error = result.expect_err("refused");
        let code = error.code();
        let pairs: Vec<_> = code.details.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!((code.reason, pairs.as_slice()), ("UNSAFE", [object, owner].as_slice()));
        assert!(error.to_string().contains(owner), "{error}");
    };
    none(saved::versions(conn, "pgsqlite").map(drop));
    none(saved::show(conn, 1, "pgsqlite").map(drop));
    none(saved::difference(conn, 1, 2, "pgsqlite").map(drop));
    none(saved::capture(conn, &[], "pgsqlite").map(drop));
    let ran = conn.query("select is_called from public.ran").expect("sequence");
    assert_eq!(ran.text(0, 0).as_deref(), Some("f"), "somebody's code ran");
}

#[test]
fn a_schema_that_somebody_else_made_is_refused() {
    let cluster = Cluster::shared();
    let view = "create schema pgsqlite; create view pgsqlite.schema_version as
        select 1::bigint as version, now() as captured_at, '' as server_version, public.trap()";
    let conn = made_by_other(&cluster, "trusted_view", view);
    assert_refused(&conn, "schema pgsqlite", "trusted_other");
    let empty = made_by_other(&cluster, "trusted_empty", "create schema pgsqlite");
    assert_refused(&empty, "schema pgsqlite", "trusted_other");
}

#[test]
fn tables_that_somebody_else_made_in_our_schema_are_refused() {
    let cluster = Cluster::shared();
    let conn = made_by_other(&cluster, "trusted_table", "select");
    conn.query("create schema pgsqlite; grant create, usage on schema pgsqlite to trusted_other")
        .expect("schema");
    conn.query("set role trusted_other; create table pgsqlite.schema_column (a int); reset role")
        .expect("table");
    assert_refused(&conn, "schema_column", "trusted_other");
}

#[test]
fn what_runs_code_on_a_table_of_ours_is_refused() {
    let cluster = Cluster::shared();
    let trigger = "create function public.fire() returns trigger language plpgsql as
        $$ begin perform public.trap(); return new; end $$;";
    let conn = made_by_other(&cluster, "trusted_code", "select");
    for (object, sql) in [
        (
            "schema_version",
            format!(
                "{trigger} create trigger x before insert on {{}} for each row \
            execute function public.fire()"
            ),
        ),
        ("schema_table", "create rule x as on insert to {} do also select public.trap()".into()),
        ("schema_column", "alter table {} enable row level security".into()),
        ("schema_index", "create policy p on {} using (public.trap())".into()),
        ("schema_version", "alter table {} add x boolean default public.trap()".into()),
        ("schema_table", "alter table {} add check (public.trap())".into()),
        ("schema_column", "create index on {} ((public.trap() or number > 0))".into()),
        (
            "schema_index",
            "create domain public.d as text check (public.trap()); \
            alter table {} add y public.d"
                .into(),
        ),
        ("schema_version", "create table public.child () inherits ({})".into()),
    ] {
        saved::capture(&conn, &[], "pgsqlite").expect("capture");
        let sql = sql.replace("{}", &format!("pgsqlite.{object}"));
        let immutable = "alter function public.trap() immutable";
        conn.query(&format!("{immutable}; {sql}; alter sequence public.ran restart")).expect(&sql);
        assert_refused(&conn, object, "postgres");
        conn.query(
            "drop schema pgsqlite cascade; drop domain if exists public.d; \
             drop function if exists public.fire()",
        )
        .expect("drop");
    }
}

#[test]
fn versions_of_another_trusted_role_are_used() {
    let cluster = Cluster::shared();
    let conn = made_by_other(&cluster, "trusted_super", "create schema mine");
    // A superuser's are used by everybody who may read them; the owner's own are, too.
    assert_eq!(saved::capture(&conn, &[], "pgsqlite").expect("capture"), 1);
    conn.query(
        "grant usage on schema pgsqlite to trusted_other;
         grant select on all tables in schema pgsqlite to trusted_other;
         set role trusted_other",
    )
    .expect("role");
    assert_eq!(saved::versions(&conn, "pgsqlite").expect("versions").len(), 1);
    assert_eq!(saved::capture(&conn, &[], "mine").expect("capture"), 1);
    assert_eq!(saved::versions(&conn, "mine").expect("versions").len(), 1);
}
