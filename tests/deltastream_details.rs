//! What `schema` lines tell of a table beyond names, with pgoutput.

mod support;

use deltaflood::{Details, Gone, TypeId, Verb};
use pgsqlite::daystream::{Reader, ReaderOptions, Start};
use support::Cluster;
use support::stream::Source;

/// The details of the last `schema` line of a table.
fn last(source: &Source, table: &str) -> Details {
    let lines = source.details().into_iter().rev();
    let found = lines.filter(|(name, _)| name == table).find_map(|(_, details)| details);
    found.expect("a line with details")
}

fn words(words: &[Vec<u8>]) -> Vec<&str> {
    words.iter().map(|word| std::str::from_utf8(word).expect("UTF-8")).collect()
}

fn types(details: &Details) -> Vec<(u32, Option<i32>)> {
    details.types.iter().map(|TypeId { base, modifier }| (*base, *modifier)).collect()
}

impl Source {
    fn number(&mut self, sql: &str) -> u32 {
        self.text(&format!("select ({sql})::text")).parse().expect(sql)
    }
}

#[test]
fn all_of_a_table_is_told() {
    let mut source = Source::set_up(
        Cluster::shared(),
        "details",
        "create type mood as enum ('sad', 'so so'); create domain short as varchar(5); \
         create domain shorter as short; create type pair as (n int, m mood); \
         create table t(gone int, a int, b shorter, c mood[], d numeric(8,2), e pair, f text, \
           primary key (d, a) include (b)); \
         alter table t drop gone",
    );
    source.execute("insert into t(a, d) values (1, 1)");
    source.execute(
        "alter table t add g bool default true, add h shorter default E'x\\ty', \
         add i int[] default '{1,2}', add j int, add k float default random()",
    );
    source.execute("insert into t(a, d) values (2, 2)");
    source.catch_up().expect("capture");
    let details = last(&source, "t");
    assert_eq!(words(&details.primary), ["d", "a"]);
    assert_eq!((details.natts, details.kind, details.identity), (12, b'r', b'd'));
    assert_eq!(details.attnums, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let (moods, pair) =
        (source.number("'mood[]'::regtype::oid"), source.number("'pair'::regtype::oid"));
    assert_eq!(
        types(&details),
        [
            (23, None),
            (1043, Some(9)),
            (moods, None),
            (1700, Some((8 << 16 | 2) + 4)),
            (pair, None),
            (25, None),
            (16, None),
            (1043, Some(9)),
            (1007, None),
            (23, None),
            (701, None),
        ]
    );
    let stamp = source
        .number("select xmin from pg_attribute where attname = 'j' and attrelid = 't'::regclass");
    assert_eq!(details.stamps[9], stamp);
    assert_ne!(details.stamps[0], stamp);
    // The volatile default has made the rows anew: none lacks a value.
    assert!(details.missing.is_empty(), "{:?}", details.missing);
    let labels = source.client.query("select oid, enumlabel::text from pg_enum order by oid", &[]);
    let labels: Vec<(u32, Vec<u8>)> = labels
        .expect("labels")
        .iter()
        .map(|row| (row.get(0), row.get::<_, String>(1).into_bytes()))
        .collect();
    assert_eq!((details.labels.len(), &details.labels), (2, &labels));
    let file = source.text("select relfilenode::text from pg_class where oid = 't'::regclass");
    assert_eq!(details.storage, file.into_bytes());
    assert_eq!(details.filter, None);
}

#[test]
fn a_constant_default_is_told_as_a_row_would_have_it() {
    let mut source = Source::set_up(
        Cluster::shared(),
        "missing",
        "set datestyle = 'German'; create table t(a int); alter table t replica identity full; \
         insert into t values (0)",
    );
    source.execute(
        "set datestyle = 'German'; alter table t add b bool default true, add c text default E'x\\ty {\"}', \
         add d text[] default '{a,NULL,\"b c\"}', add e date default '24.12.2026', add f text default '', \
         add g bytea default '\\x00ff', add h int; insert into t values (1)",
    );
    source.catch_up().expect("capture");
    let details = last(&source, "t");
    let told: Vec<_> = details
        .missing
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
        .collect();
    // The row of before, as its own line has it now.
    source.execute("update t set a = 5 where a = 0");
    source.catch_up().expect("capture");
    let changes = source.changes();
    let line = changes.last().expect("the update");
    let wanted: Vec<&str> = line.split('|').skip(6).collect();
    let wanted: Vec<(&str, &str)> = wanted.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    assert!(line.starts_with("_table|t|_action|update|a|5|b|1|c|x\\ty {\"}|"), "{line}");
    let escaped: Vec<_> = told
        .iter()
        .map(|(name, value)| (&**name, value.replace('\t', "\\t").replace("\\x00", "\\\\x00")))
        .collect();
    assert_eq!(escaped.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>(), wanted);
}

#[test]
fn what_a_statement_did_is_seen() {
    let mut source = Source::set_up(
        Cluster::shared(),
        "altered",
        "create table t(a int primary key, b varchar(10), c int)",
    );
    let mut row = 0;
    let mut after = |source: &mut Source, sql: &str| {
        row += 1;
        source.execute(sql);
        source.execute(&format!("insert into t(a) values ({row})"));
        source.catch_up().expect("capture");
        last(source, "t")
    };
    let one = after(&mut source, "");
    let two = after(&mut source, "alter table t alter b type varchar(20)");
    assert_eq!((&one.storage, one.stamps[0]), (&two.storage, two.stamps[0]), "a widening");
    assert!(one.stamps[1] != two.stamps[1] && one.types[1] != two.types[1]);
    let three = after(&mut source, "alter table t alter c type bigint");
    assert!(three.storage != two.storage && three.stamps[2] != two.stamps[2], "written anew");
    let four = after(&mut source, "vacuum full t");
    assert!(four.storage != three.storage && four.stamps == three.stamps, "VACUUM FULL");
    let five = after(&mut source, "alter table t alter c type bigint using c + 1");
    assert!(five.types == four.types && five.storage != four.storage && five.stamps != four.stamps);
    let six = after(&mut source, "alter table t rename c to d");
    assert_eq!((six.attnums.as_slice(), six.natts), ([1, 2, 3].as_slice(), 3));
    let seven = after(&mut source, "alter table t drop b, add b int");
    assert_eq!((seven.attnums.as_slice(), seven.natts), ([1, 3, 4].as_slice(), 4));
    let eight = after(&mut source, "alter table t replica identity full");
    assert_eq!(eight.identity, b'f');
    let nine = after(&mut source, "alter table t drop constraint t_pkey");
    assert!(nine.primary.is_empty());
}

/// The catalogs tell of today: of a definition that is no more they tell nothing.
#[test]
fn a_definition_of_before_has_no_details() {
    let mut source =
        Source::set_up(Cluster::shared(), "ahead", "create table t(a int primary key, b int)");
    source.execute("insert into t values (1)");
    source.execute("alter table t add c int; insert into t values (2)");
    source.execute("alter table t rename c to d; insert into t values (3)");
    source.catch_up().expect("capture");
    let told: Vec<bool> = source.details().iter().map(|(_, details)| details.is_some()).collect();
    assert_eq!(told, [false, false, true]);
}

#[test]
fn partitions_have_one_storage_and_what_comes_and_goes_changes_it() {
    let mut source = Source::set_up(
        Cluster::shared(),
        "leaves",
        "create table p(a int primary key) partition by range (a); \
         create table p1 partition of p for values from (0) to (10) partition by range (a); \
         create table p11 partition of p1 for values from (0) to (10); \
         create table p2(a int primary key); insert into p2 values (15)",
    );
    let mut row = 0;
    let mut after = |source: &mut Source, sql: &str| {
        row += 1;
        source.execute(sql);
        source.execute(&format!("insert into p values ({row})"));
        source.catch_up().expect("capture");
        last(source, "p")
    };
    let one = after(&mut source, "");
    assert_eq!((one.kind, one.storage.len()), (b'p', 32));
    let two = after(&mut source, "analyze p; create index on p11(a)");
    assert_eq!(one.storage, two.storage);
    let three =
        after(&mut source, "alter table p attach partition p2 for values from (10) to (20)");
    assert_ne!(two.storage, three.storage);
    let four = after(&mut source, "alter table p detach partition p2");
    assert_eq!(two.storage, four.storage);
    let leaves = source
        .client
        .query("select oid, relfilenode from pg_class where oid = 'p11'::regclass", &[]);
    let leaves: Vec<(u32, u32)> =
        leaves.expect("leaves").iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(four.storage, deltaflood::storage_of_leaves(&leaves));
}

#[test]
fn a_publication_s_filter_is_told_and_its_column_list_counts() {
    let mut source = Source::new(
        Cluster::shared(),
        "filtered",
        "create table t(a int primary key, b int, c int generated always as (a + 1) stored)",
    );
    if source
        .client
        .execute("create publication filtered for table t (a) where (a > 0)", &[])
        .is_err()
    {
        // Before PostgreSQL 15 there are none.
        return;
    }
    let mut options = source.setup_options();
    options.publication = Some("filtered".to_owned());
    pgsqlite::deltastream::setup(&options).expect("setup");
    source.execute("insert into t values (1, 1)");
    source.catch_up().expect("capture");
    let details = last(&source, "t");
    assert_eq!(details.filter.as_deref(), Some(b"(a > 0)".as_slice()));
    assert_eq!((details.attnums.as_slice(), details.natts), ([1].as_slice(), 3));
    source.execute("alter publication filtered set table t (a, b) where (a > 5)");
    source.execute("insert into t values (6, 1)");
    source.catch_up().expect("capture");
    let details = last(&source, "t");
    assert_eq!(details.filter.as_deref(), Some(b"(a > 5)".as_slice()));
    assert_eq!(details.attnums, [1, 2]);
    source.execute("alter publication filtered set table t; insert into t values (7)");
    source.catch_up().expect("capture");
    assert_eq!(last(&source, "t").filter, None);
}

/// A capture with quick heartbeats, and the lines that come of statements alone.
struct Silent {
    source: Source,
    capture: pgsqlite::deltastream::Capture,
}

impl Silent {
    fn begin(mut source: Source) -> Silent {
        // The baseline is what a first capture finds.
        let capture = start(&source);
        wait_for_beats(&capture);
        source.execute("select 1");
        Silent { source, capture }
    }

    /// The first `schema` line that comes of a statement of which `wanted` says yes.
    fn after(&mut self, sql: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        let before = told(&self.source).len();
        self.source.execute(sql);
        support::wait_for(sql, std::time::Duration::from_secs(20), || {
            let status = self.capture.status();
            assert!(status.error.is_empty(), "{}", status.error);
            let lines = told(&self.source);
            lines.get(before..)?.iter().find(|told| wanted(told)).cloned()
        })
    }
}

fn start(source: &Source) -> pgsqlite::deltastream::Capture {
    let mut options = source.options();
    options.heartbeat_ms = 100;
    let capture = pgsqlite::deltastream::Capture::start(options, Box::new(|_| {})).expect("start");
    support::stream::wait_streaming(&capture);
    capture
}

/// Two more heartbeats have come: what was there before the first was looked at.
fn wait_for_beats(capture: &pgsqlite::deltastream::Capture) {
    for _ in 0..2 {
        let last = capture.status().pulse.last;
        support::wait_until("a heartbeat", || capture.status().pulse.last != last);
    }
}

/// A `schema` line.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    name: String,
    columns: Vec<String>,
    oid: Option<u32>,
    details: Option<Details>,
    gone: Option<Gone>,
}

fn told(source: &Source) -> Vec<Told> {
    let mut found = Vec::new();
    let options = ReaderOptions::default();
    let mut reader = Reader::open(source.stream(), Start::Begin, options).expect("reader");
    while let Some(entry) = reader.next().expect("line") {
        let change = entry.change;
        change.validate().expect("valid");
        let text = |text: deltaflood::Text<'_>| {
            String::from_utf8(text.decode().into_owned()).expect("UTF-8")
        };
        assert!(!change.line().windows(15).any(|part| part == b"pgsqlite.schema"), "a raw message");
        if change.verb == Verb::Schema {
            found.push(Told {
                name: text(change.table.expect("a table")),
                columns: change.columns().map(|c| text(c.expect("column").0)).collect(),
                oid: change.oid,
                details: change.details().expect("details"),
                gone: change.gone(),
            });
        }
    }
    found
}

#[test]
fn what_no_change_follows_is_told_by_itself() {
    let source = Source::set_up(
        Cluster::shared(),
        "silent",
        "create type mood as enum ('sad', 'ok'); create table t(a int primary key, m mood); \
         create table p(a int primary key) partition by range (a); \
         create table p1 partition of p for values from (0) to (10); \
         create table p2(a int primary key); insert into p2 values (15); \
         create table \"\u{e9} % x\"(a int primary key)",
    );
    let mut silent = Silent::begin(source);
    assert_eq!(told(&silent.source), [], "nothing was altered");
    let added = silent.after("alter table t add b int default 7", |told| told.columns.len() == 3);
    let details = added.details.expect("details");
    assert_eq!(details.missing, [(b"b".to_vec(), b"7".to_vec())]);
    let renamed = silent.after("alter type mood rename value 'ok' to 'fine'", |told| {
        told.details.as_ref().is_some_and(|d| d.labels.iter().any(|(_, label)| label == b"fine"))
    });
    let labels = renamed.details.expect("details").labels;
    assert_eq!(
        labels.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        details.labels.iter().map(|(id, _)| id).collect::<Vec<_>>()
    );
    let attach = "alter table p attach partition p2 for values from (10) to (20)";
    let attached = silent.after(attach, |told| told.name == "p");
    let detached = silent.after("alter table p detach partition p2", |told| told.name == "p");
    assert_ne!(
        attached.details.expect("details").storage,
        detached.details.expect("details").storage
    );
    let odd = silent.after("alter table \"\u{e9} % x\" rename to \"\u{e9}\ty\"", |told| {
        told.name == "\u{e9}\ty"
    });
    let made = silent.after("create table u(a int primary key)", |told| told.name == "u");
    assert!(made.details.is_some() && odd.details.is_some() && made.oid.is_some());
    let gone = silent.after("drop table u", |told| told.name == "u" && told.gone.is_some());
    assert_eq!((gone.gone, gone.oid, gone.columns.len()), (Some(Gone::Dropped), made.oid, 0));
    // What a row's line fits is said once: what comes with changes is no other.
    let before = told(&silent.source).len();
    silent.source.execute("insert into t values (1, 'fine', 2); insert into p values (5)");
    let end = silent.source.wal_lsn();
    support::wait_until("all of it", || silent.capture.status().durable >= end);
    wait_for_beats(&silent.capture);
    assert_eq!(told(&silent.source).len(), before, "{:?}", &told(&silent.source)[before..]);
    silent.capture.stop();
    silent.capture.join().expect("capture");
}

#[test]
fn what_is_altered_while_no_capture_runs_is_told_by_the_next_one() {
    let source =
        Source::set_up(Cluster::shared(), "meanwhile_ddl", "create table t(a int primary key)");
    let mut silent = Silent::begin(source);
    silent.capture.stop();
    silent.capture.join().expect("capture");
    silent.source.execute("alter table t add b int; drop table if exists none");
    silent.capture = start(&silent.source);
    support::wait_until("the line", || told(&silent.source).len() == 1);
    assert_eq!(told(&silent.source)[0].columns, ["a", "b"]);
    wait_for_beats(&silent.capture);
    silent.capture.stop();
    silent.capture.join().expect("capture");
    let capture = start(&silent.source);
    wait_for_beats(&capture);
    assert_eq!(told(&silent.source).len(), 1, "not twice");
}

/// The server may lose what it has committed, as in a failover: what was told counts as told once
/// the stream has it.
#[test]
fn what_was_told_is_kept_when_it_is_durable_in_the_stream() {
    let source = Source::set_up(Cluster::shared(), "owed", "create table t(a int primary key)");
    let mut options = source.options();
    (options.heartbeat_ms, options.sync_interval_ms) = (100, 3_600_000);
    let start = |options: &pgsqlite::deltastream::Options| {
        let capture = pgsqlite::deltastream::Capture::start(options.clone(), Box::new(|_| {}));
        let capture = capture.expect("start");
        support::stream::wait_streaming(&capture);
        capture
    };
    let file = source.stream().join("catalog.tsv");
    let has = |what: &str| std::fs::read_to_string(&file).is_ok_and(|text| text.contains(what));
    let capture = start(&options);
    support::wait_until("the baseline", || has("integer"));
    let mut silent = Silent { source, capture };
    silent.after("alter table t add later int", |told| told.columns.len() == 2);
    assert!(!has("later"));
    silent.capture.stop();
    silent.capture.join().expect("capture");
    options.sync_interval_ms = 10;
    let capture = start(&options);
    support::wait_until("the same again", || told(&silent.source).len() == 2);
    support::wait_until("it is kept", || has("later"));
    capture.stop();
    capture.join().expect("capture");
}

#[test]
fn what_a_publication_takes_is_told() {
    let mut source = Source::new(
        Cluster::shared(),
        "taken_out",
        "create table t(a int primary key, b int); create table u(a int primary key)",
    );
    if source.text("select current_setting('server_version_num')").as_str() < "150000" {
        return;
    }
    source.execute("create publication taken_out for table t, u");
    let mut options = source.setup_options();
    options.publication = Some("taken_out".to_owned());
    pgsqlite::deltastream::setup(&options).expect("setup");
    let mut silent = Silent::begin(source);
    let filtered = "alter publication taken_out set table t where (a > 0), u";
    let filter = |told: &Told| told.details.as_ref().and_then(|details| details.filter.clone());
    let line = silent.after(filtered, |told| filter(told).is_some());
    assert_eq!((line.name.as_str(), filter(&line)), ("t", Some(b"(a > 0)".to_vec())));
    let listed = "alter publication taken_out set table t (a), u";
    let line = silent.after(listed, |told| told.name == "t" && told.columns.len() == 1);
    assert_eq!(filter(&line), None);
    let line = silent.after("alter publication taken_out drop table u", |told| told.gone.is_some());
    assert_eq!((line.name.as_str(), line.gone), ("u", Some(Gone::Unpublished)));
    let line = silent.after("alter publication taken_out add table u", |told| told.name == "u");
    assert_eq!((line.gone, line.columns.len()), (None, 1));
}

#[test]
fn whoever_asks_for_a_look_gets_one_and_nobody_speaks_for_a_capture() {
    let source = Source::set_up(Cluster::shared(), "asked", "create table t(a int primary key)");
    let mut options = source.options();
    options.heartbeat_ms = 3_600_000;
    let capture = pgsqlite::deltastream::Capture::start(options, Box::new(|_| {})).expect("start");
    support::stream::wait_streaming(&capture);
    let mut silent = Silent { source, capture };
    let file = silent.source.stream().join("catalog.tsv");
    support::wait_until("the baseline", || file.exists());
    let forged = "_table\tt\t_oid\t7\t_action\tschema\tz\ttext";
    for id in ["", "0123456789abcdef"] {
        let sql = "select pg_logical_emit_message(true, 'pgsqlite.schema', $1)::text";
        let content = format!("id {id} slot asked\n{forged}");
        silent.source.client.query(sql, &[&content]).expect("sent");
    }
    silent.source.execute("alter table t add b int");
    let ask = "select pg_logical_emit_message(true, 'pgsqlite.schema', '')";
    let line = silent.after(ask, |told| told.columns.len() == 2);
    assert_eq!((line.name.as_str(), line.columns.len()), ("t", 2));
    assert_eq!(told(&silent.source).len(), 1);
}

/// Nobody waits long for a capture, and a capture for nobody.
#[test]
fn a_table_that_is_being_altered_is_left_to_the_next_heartbeat() {
    let source = Source::set_up(
        Cluster::shared(),
        "held",
        "create table t(a int primary key); create table u(a int primary key)",
    );
    let mut silent = Silent::begin(source);
    let mut other = silent.source.cluster.client("held");
    silent.source.execute("alter table t add b int");
    other.batch_execute("begin; alter table u add b int; lock table t").expect("locked");
    wait_for_beats(&silent.capture);
    other.batch_execute("alter table t add c int; commit").expect("altered");
    support::wait_until("both", || {
        let lines = told(&silent.source);
        let last =
            |name: &str| lines.iter().rfind(|told| told.name == name).map(|t| t.columns.len());
        (last("t"), last("u")) == (Some(3), Some(2))
    });
}
