-- Tables of the crash test. Amounts only ever move: the sum over all tables is 0 in every
-- transaction, and journal.n counts 1, 2, 3, ... in commit order, because every transaction takes
-- the row of ticker last.
create table ticker(id integer primary key, n bigint not null);
create table journal(n bigint not null, xid bigint not null, kind text not null);
alter table journal replica identity full;
create table account(aid integer primary key, balance bigint not null, note text);
-- Without a key, and with rows that are equal in every column.
create table loose(amount bigint not null, tag text, flag boolean);
alter table loose replica identity full;
create schema "Other Side";
create table "Other Side"."vault ""A"""(
    id bigint primary key, amount bigint not null, "a label" varchar(40));
create sequence "Other Side".vault_id start 100000;
-- doc and image are kept out of line and not compressed: an update that leaves them alone does not
-- send them.
create table wide(id integer primary key, amount bigint not null, doc text, image bytea,
    price numeric(14,4), seen timestamptz, ok boolean);
alter table wide alter doc set storage external, alter image set storage external;
create table scratch(id bigint primary key, amount bigint not null);
create sequence scratch_id;
-- In the stream from the beginning, in the mirror later.
create table late(id bigint primary key, "at once" timestamptz);
create sequence late_id;
-- Not mirrored.
create table bystander(n bigint, filler text);

insert into ticker values (1, 1);
insert into journal values (1, txid_current(), 'begin');
insert into account select i, 0, case when i % 3 = 0 then null else 'account ' || i end
    from generate_series(1, 300) i;
insert into loose select 0, 'twin', i % 2 = 0 from generate_series(1, 40) i;
insert into "Other Side"."vault ""A""" select i, 0, 'room ' || i from generate_series(1, 50) i;
insert into wide select i, 0, repeat(md5(i::text), 200), decode(repeat(md5(i::text), 300), 'hex'),
    i * 1.25, timestamptz '2026-01-01 00:00:00+00' + i * interval '1.000001 s', i % 2 = 0
    from generate_series(1, 30) i;
insert into scratch select nextval('scratch_id'), 0 from generate_series(1, 5);
