-- One column of every type that is mirrored.
create type mood as enum ('sad', 'it''s ok');
create type pair as (a int, b text);
create domain cents as numeric(12,2);
create table everything (
  id bigint primary key, si smallint, i integer, o oid, r real, d double precision, b boolean,
  n numeric, n2 numeric(20,5), c cents, t text, v varchar(20), ch char(5), nm name, m mood,
  u uuid, ba bytea, tz timestamptz, ts timestamp, da date, ti time, ttz timetz, iv interval,
  js json, jb jsonb, ia int[], ta text[], rg int4range, cp pair, pt point, bt bit(4), vb varbit,
  ip inet, mac macaddr, x xml, mo money, tsv tsvector, pgl pg_lsn);
