-- The transactions of the writer, each a pgbench script of its own: `-- name weight` begins one,
-- and `tick` stands for the statement that gives a transaction its number. Rows are locked in one
-- order everywhere (other tables, accounts by number, ticker), so that nothing deadlocks.

-- transfer 8
\set a random(1, 299)
\set b random(:a + 1, 300)
\set d random(-5000, 5000)
begin;
update account set balance = balance - :d where aid = :a;
update account set balance = balance + :d,
    note = case when :d % 3 = 0 then null else 'moved ' || :d || E'\t\\x\n' end where aid = :b;
tick
commit;

-- loose_in 4
\set a random(1, 300)
\set d random(1, 9)
begin;
insert into loose values (:d, 'twin', true), (:d, 'twin', true), (0, null, null);
update account set balance = balance - 2 * :d where aid = :a;
tick
commit;

-- loose_change 3
\set d random(1, 1000)
begin;
update loose set tag = case when tag is null then 'twin' else null end, flag = not flag
    where ctid = (select ctid from loose offset :d % 30 limit 1 for update skip locked);
tick
commit;

-- loose_out 3
\set a random(1, 300)
begin;
with gone as (delete from loose where ctid in
    (select ctid from loose limit 3 for update skip locked) returning amount)
update account set balance = balance + (select coalesce(sum(amount), 0) from gone) where aid = :a;
tick
commit;

-- vault_move 3
\set a random(1, 300)
\set d random(-70, 70)
begin;
with v as (update "Other Side"."vault ""A""" set amount = amount + :d where id =
    (select id from "Other Side"."vault ""A""" offset :a % 40 limit 1 for update skip locked)
    returning 1)
update account set balance = balance - :d * (select count(*) from v) where aid = :a;
tick
commit;

-- vault_key 3
\set a random(1, 40)
begin;
update "Other Side"."vault ""A""" set id = nextval('"Other Side".vault_id'),
    "a label" = case when :a % 2 = 0 then null else 'moved' end
    where id = (select id from "Other Side"."vault ""A""" offset :a limit 1 for update skip locked);
tick
commit;

-- wide_amount 5
\set a random(1, 300)
\set d random(-900, 900)
begin;
with w as (update wide set amount = amount + :d, seen = clock_timestamp(), ok = not ok where id =
    (select id from wide where id = 1 + :a % 30 for update skip locked) returning 1)
update account set balance = balance - :d * (select count(*) from w) where aid = :a;
tick
commit;

-- wide_doc 2
\set a random(1, 30)
begin;
update wide set doc = case when :a % 5 = 0 then null else repeat(md5(random()::text), 150) end,
    price = random() * 1000000 where id = :a;
tick
commit;

-- scratch_in 3
\set a random(1, 300)
\set d random(1, 500)
begin;
insert into scratch values (nextval('scratch_id'), :d), (nextval('scratch_id'), -1);
update account set balance = balance - :d + 1 where aid = :a;
tick
commit;

-- scratch_truncate 1
\set a random(1, 300)
begin;
lock table scratch in access exclusive mode;
update account set balance = balance + (select coalesce(sum(amount), 0) from scratch)
    where aid = :a;
truncate scratch;
insert into scratch values (nextval('scratch_id'), 0);
tick
commit;

-- bulk 1
\set a random(1, 300)
begin;
insert into loose select i, 'bulk', i % 2 = 0 from generate_series(1, 150) i;
insert into loose select -i, 'bulk', i % 2 = 0 from generate_series(1, 150) i;
with gone as (delete from loose where ctid in
    (select ctid from loose limit 300 for update skip locked) returning amount)
update account set balance = balance + (select coalesce(sum(amount), 0) from gone) where aid = :a;
tick
commit;

-- partly_undone 2
\set a random(1, 300)
begin;
savepoint one;
update account set balance = balance + 12345 where aid = :a;
insert into loose values (777, 'never', null);
rollback to savepoint one;
savepoint two;
update account set note = 'kept' where aid = :a;
release savepoint two;
tick
commit;

-- undone 2
\set a random(1, 300)
begin;
update account set balance = balance + 12345 where aid = :a;
insert into loose values (777, 'never', null);
rollback;

-- late 3
begin;
insert into late values (nextval('late_id'), clock_timestamp());
update late set "at once" = null where id = (select id from late offset 3 limit 1 for update
    skip locked);
delete from late where id in (select id from late offset 200 for update skip locked);
tick
commit;

-- elsewhere 2
insert into bystander select i, repeat('x', 100) from generate_series(1, 50) i;
