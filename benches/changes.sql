-- A table and `:count` changes of it, in transactions of `:size`: half are inserts, four in ten
-- updates of rows found by key anywhere in the table, one in ten deletes.
create procedure change(count integer, size integer) language plpgsql as $$
declare
    top integer := 0;
begin
    -- The table grows from nothing while its plan stays: rows are to be found by key throughout.
    perform set_config(name, 'off', false)
        from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) name;
    for batch in 1 .. count / size loop
        insert into event select top + i, 'name ' || (top + i) % 1000, (top + i) % 77, i * 0.25,
            timestamptz '2026-01-01 00:00+00' + (top + i) * interval '1 s', i % 3 = 0
            from generate_series(1, size / 2) i;
        -- Keys spread over the whole table; none twice in a transaction.
        update event set n = n + 1, note = 'changed by ' || batch
            where id in (select batch % 10 + (top::bigint * i / (size * 4 / 10))::integer + 1
                from generate_series(0, size * 4 / 10 - 1) i);
        delete from event where id in (select top - 10 * i from generate_series(1, size / 10) i);
        top := top + size / 2;
        commit;
    end loop;
end $$;
