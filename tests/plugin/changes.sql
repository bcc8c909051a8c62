-- What happens to those tables. Each statement that stands alone is a transaction.
insert into types values (1, -32768, 9223372036854775807, 12345678901234567890.0123456789, 1.500,
    'NaN', '-Infinity', true, false, E'tab\there\nline\rcr\\back', 'vé日本', 'c', 'a name', '\x00ff09',
    '2026-02-28', '23:59:59.123456', '12:00:00.5+02', '2026-02-28 12:00:00.000001',
    '2026-02-28 12:00:00+05', '1 year -2 mons 3 days 04:05:06.7', gen_random_uuid(),
    E'{"a":\t1}', '{"a": [1, null]}', '<a b="c"/>', '192.168.0.1/24', '10.0.0.0/8',
    '08:00:2b:01:02:03', '1011', '(1.5,2)', '(3,4),(1,2)', '{1,NULL,3}',
    array[[E'a"b', 'NULL'], [null, E'x\\y{}']], 12.34, 'it''s ok', 'short', (1, E'b,"c\\'),
    array[row(1, 'x')::shop.pair, null], '[1,5)', '{[2020-01-01,2021-01-01)}', 'a:1 fat:2 cat',
    '16/B374D848', 4294967295, array['sad', E'tab\there']::shop.mood[], '{t,f,NULL}');
insert into types(id) values (2);
insert into types(id, i2, d, r, t, v, b, f, dt, ts, n) values (3, 0, 1e300, 1e-30, '', '', false,
    true, 'infinity', '-infinity', 'NaN'), (4, 1, 0.1, 0.1, 'NULL', '\N', null, null, '0044-03-15 BC',
    '294276-12-31 23:59:59', 'Infinity'), (5, 7, 'Infinity', '-0', E'\x01\x1a\x7f', ' ', true, null,
    '5874897-12-31', '4713-01-01 00:00:00 BC', '-0.00');
update types set t = null, n = 1 where id = 1;
update types set id = 100 where id = 2;
delete from types where id in (3, 100);

-- NULL, a value kept out of line and left alone, a new one, under every identity.
insert into identity_default select i, 'p', 'n' || i, repeat(md5(i::text), 200)
    from generate_series(1, 6) i;
insert into identity_full select i, 'n' || i, repeat(md5(i::text), 200) from generate_series(1, 6) i;
insert into identity_index select i, 'n' || i, repeat(md5(i::text), 200), i * 2
    from generate_series(1, 6) i;
create table identity_nothing(id integer, note text);
alter table identity_nothing replica identity nothing;
insert into identity_nothing values (1, 'one'), (2, null);
update identity_default set note = null where id = 1;
update identity_full set note = null where id = 1;
update identity_index set note = null where id = 1;
update identity_default set big = null where id = 2;
update identity_full set big = null where id = 2;
update identity_index set big = null where id = 2;
update identity_default set big = big || 'x' where id = 3;
update identity_full set big = big || 'x' where id = 3;
update identity_index set big = big || 'x' where id = 3;
update identity_default set part = 'q' where id in (3, 4);
update identity_index set other = 77 where id = 4;
update identity_index set id = 78 where id = 5;
update identity_full set id = null where id = 5;
update identity_full set id = id where id = 6;
delete from identity_default where id > 4;
delete from identity_full where id is null or id = 6;
delete from identity_index where id > 5;

insert into "Odd ""Schema""	tab"."a ""table"" with \ back
line" values (1, 'delete', E'\t', E'\n', repeat(E'\\\t', 3000), '$y', '\N', repeat('ö日', 2000));
update "Odd ""Schema""	tab"."a ""table"" with \ back
line" set "_action" = null;
update "Odd ""Schema""	tab"."a ""table"" with \ back
line" set "_table" = 2, "\N" = '\\N';
delete from "Odd ""Schema""	tab"."a ""table"" with \ back
line";

insert into made(a, c) values (1, 'c'), (2, null);
update made set a = 3, c = 'd' where a = 1;
delete from made;

insert into parted select i, r, r || i
    from generate_series(1, 3) i, unnest(array['north', 'south', 'deep', 'deeper']) r;
update parted set note = 'new' where id = 1;
update parted set region = 'south', id = 10 where region = 'north' and id = 2;
delete from parted where id = 3;
truncate parted;
insert into parted values (1, 'south', 'again');
truncate parted_north;
truncate parted_deep;

insert into emptied values (1), (2);
insert into emptied_too values (1);
truncate emptied, emptied_too restart identity;
insert into emptied values (3);
truncate emptied cascade;

begin;
insert into counter values (1, 1);
savepoint a;
insert into counter values (2, 2);
savepoint b;
insert into counter values (3, 3);
rollback to savepoint b;
insert into counter values (4, 4);
release savepoint a;
savepoint c;
update counter set n = 99;
truncate emptied_too;
rollback to savepoint c;
commit;
begin;
insert into counter values (5, 5);
rollback;
refresh materialized view view;
refresh materialized view concurrently view;
insert into unlogged values (1);
insert into parent values (1);
insert into child values (2, 2);
update parent set a = a + 10;
begin;
truncate only parent;
insert into parent values (5);
commit;

select pg_logical_emit_message(true, 'prefix', E'text\twith\nall\\');
begin;
select pg_logical_emit_message(true, E'odd\tprefix', '\x00ff10'::bytea);
select pg_logical_emit_message(true, 'zero', '\x6100'::bytea);
insert into counter values (6, 6);
select pg_logical_emit_message(true, '', '');
commit;
select pg_logical_emit_message(false, 'outside', 'of a transaction');
begin;
insert into counter values (7, 7);
select pg_logical_emit_message(false, 'from within', 'seen before the commit');
select pg_logical_emit_message(false, 'rolled back', 'seen all the same');
rollback;

-- Definitions that change between, and within, transactions.
insert into changing values (1, 'one');
alter table changing add b integer default 7;
update changing set a = 'uno';
begin;
insert into changing values (2, 'two', 2);
alter table changing add c text, alter a type varchar(40);
insert into changing values (3, 'three', 3, 'c');
alter table changing drop b;
update changing set c = 'all';
commit;
alter table changing rename a to "A a";
insert into changing values (4, 'four', 'd');
alter table changing rename to changed;
insert into changed values (5, 'five', 'e');
alter table changed rename to changing;
insert into changing values (6, 'six', 'f');
alter table changing set schema shop;
update shop.changing set c = 'shop' where id = 1;
alter table shop.changing drop constraint changing_pkey;
alter table shop.changing add primary key ("A a");
update shop.changing set "A a" = 'other' where id = 2;
delete from shop.changing where id = 3;
alter table shop.changing replica identity full;
update shop.changing set c = null where id = 4;
alter table shop.changing alter id type bigint;
insert into shop.changing values (10000000000, 'big', null);
drop table shop.changing;
create table shop.changing(id integer primary key);
insert into shop.changing values (1);
begin;
create table fresh(a integer primary key, t text);
insert into fresh select i, repeat('x', i) from generate_series(1, 50) i;
commit;
drop table fresh;
create table copied as select i as a, 'row ' || i as t from generate_series(1, 100) i;
alter table copied add primary key (a);
copy copied from stdin;
101	by\tcopy
102	\N
\.

-- More than logical_decoding_work_mem, with rolled back parts in the middle.
create table large(id integer primary key, t text);
begin;
insert into large select i, md5(i::text) from generate_series(1, 3000) i;
savepoint a;
insert into large select i, md5(i::text) from generate_series(3001, 6000) i;
rollback to savepoint a;
savepoint b;
update large set t = repeat('y', 100) where id % 3 = 0;
release savepoint b;
delete from large where id % 5 = 0;
commit;
begin;
insert into large select i, 'never' from generate_series(10000, 13000) i;
rollback;
insert into large values (-1, repeat('long ', 200000));

begin;
insert into counter values (8, 8);
update counter set n = 88 where id = 8;
prepare transaction 'two-phase';
insert into counter values (9, 9);
commit prepared 'two-phase';
begin;
insert into counter values (11, 11);
prepare transaction 'given up';
rollback prepared 'given up';
set session_replication_role = replica;
insert into counter values (12, 12);
reset session_replication_role;
delete from counter;
