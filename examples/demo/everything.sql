-- One table with every kind of value that has a mapping of its own, and rows at its edges.
create type mood as enum ('sad', 'ok', 'happy');
create domain positive as integer check (value > 0);
create type pair as (a integer, b text);
create table everything (
    id bigint primary key,
    small smallint, middle integer, big bigint, o oid,
    r real, d double precision, flag boolean, n numeric, n2 numeric(12, 2),
    t text, v varchar(40), c char(6), nm name, m mood, u uuid, i inet, x xml, dm positive,
    bytes bytea,
    tz timestamptz, ts timestamp, day date, clock time, span interval,
    j json, jb jsonb,
    list integer[], words text[], range int4range, p pair, pt point, b bit(5), vb bit varying(9),
    doubled integer generated always as (middle * 2) stored
);

create function fill_everything(k bigint) returns void language sql as $$
    insert into everything values (
        k, k % 32767, k * 1013 % 2147483647, k * 92233720368547, k % 4294967295,
        k / 7.0, case k % 11 when 0 then 'NaN'::float8 when 1 then 'infinity' else sqrt(k) end,
        k % 2 = 0,
        case k % 5 when 0 then (k || '.' || repeat('123456789', 4))::numeric
            when 1 then 'NaN' when 2 then k * 1e20 else k / 8.0 end, k / 3.0,
        case k % 4 when 0 then E'tab\tnew\nline\\back\rreturn' when 1 then 'Größe 東京 🚀'
            when 2 then repeat(md5(k::text), 100 + (k % 900)::int) else '' end,
        'v' || k, 'c' || k % 1000, 'name' || k, (enum_range(null::mood))[k % 3 + 1],
        md5(k::text)::uuid, ('10.0.0.' || k % 256)::inet, '<a>1 &lt; 2</a>', k % 1000 + 1,
        decode(md5(k::text), 'hex') || '\x00ff'::bytea,
        timestamptz '2026-01-01 00:00:00+00' + k * interval '1.234567 s',
        timestamp '1999-12-31 23:59:59.5' + k * interval '1 day',
        case k % 9 when 0 then date '0044-03-15 BC' when 1 then 'infinity'
            else date '2000-02-29' + (k % 1000)::int end,
        time '00:00:00.000001' + k * interval '1 ms', k * interval '1 month 2 days 03:04:05.5',
        json_build_object('k', k, 'deep', json_build_array(1, null, 'x')),
        jsonb_build_object('k', k, 'text', E'q"\\ü'),
        array[k % 10, null, 3]::integer[], array['a', 'b c', null, '"q"'],
        int4range(k::int % 100, k::int % 100 + 7), row(k % 100, 'x,"y')::pair, point(k, -k),
        (k % 32)::int::bit(5), (k % 8)::int::bit(3)::bit varying(9))
    on conflict (id) do nothing
$$;
select fill_everything(k) from generate_series(1, 2000) k;
-- A row of nothing but NULLs.
insert into everything(id) values (0);
