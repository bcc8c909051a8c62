-- Tables that both plugins decode: every replica identity, odd names, partitions, and what they
-- must leave out (a materialized view, an unlogged table).
create schema "Odd ""Schema""	tab";
create schema shop;
create type shop.mood as enum ('sad', 'it''s ok', E'tab\there');
create domain shop.flag as boolean;
create domain shop.short as varchar(20) check (length(value) < 20);
create type shop.pair as (a integer, b text);

create table types(
    id integer primary key, i2 smallint, i8 bigint, n numeric, n2 numeric(12,3), r real,
    d double precision, b boolean, f shop.flag, t text, v varchar(30), c char(5), name name,
    bytes bytea, dt date, tm time, tmtz timetz(3), ts timestamp, tstz timestamptz, iv interval,
    u uuid, j json, jb jsonb, x xml, ip inet, net cidr, mac macaddr, bits bit varying,
    point point, box box, ints integer[], texts text[][], money money, mood shop.mood,
    short shop.short, pair shop.pair, pairs shop.pair[], range int4range, ranges tstzmultirange,
    vec tsvector, lsn pg_lsn, oid oid, moods shop.mood[], bools boolean[]);
create table identity_default(id integer, part text, note text, big text, primary key (part, id));
create table identity_full(id integer, note text, big text);
alter table identity_full replica identity full;
create table identity_index(id integer not null, note text, big text, other integer not null);
create unique index identity_index_key on identity_index (other, id);
alter table identity_index replica identity using index identity_index_key;
alter table identity_default alter big set storage external;
alter table identity_full alter big set storage external;
alter table identity_index alter big set storage external;

create table "Odd ""Schema""	tab"."a ""table"" with \ back
line"("_table" integer primary key, "_action" text, "a	tab" text, "a
line" text, "#hash {" text, "$x[;]" text, "\N" text, "é日本" text);
alter table "Odd ""Schema""	tab"."a ""table"" with \ back
line" alter "#hash {" set storage external, alter "é日本" set storage external;

create table made(a integer primary key, b integer generated always as (a * 2) stored,
    gone text, c text);
alter table made drop gone;

create table parted(id integer, region text, note text, primary key (region, id))
    partition by list (region);
create table parted_north partition of parted for values in ('north');
create table parted_south(note text, id integer not null, region text not null,
    primary key (region, id));
alter table parted attach partition parted_south for values in ('south');
create table parted_deep partition of parted for values in ('deep', 'deeper')
    partition by list (region);
create table parted_deep_1 partition of parted_deep for values in ('deep');
create table parted_deep_2 partition of parted_deep for values in ('deeper');

create table emptied(a integer primary key);
create table emptied_too(a integer primary key references emptied);
create table changing(id integer primary key, a text);
create unlogged table unlogged(a integer primary key);
create table counter(id integer primary key, n integer);
create materialized view view as select count(*) as n, 1 as one from counter;
create unique index on view (one);
create table parent(a integer primary key);
create table child(b integer) inherits (parent);
alter table child add primary key (a);
