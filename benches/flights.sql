-- Flights: 14 columns of mixed types, with NULLs, one in ten with a longer text.
create table flights(
    flight_id bigint primary key,
    ident text not null,
    reg text,
    origin text,
    destination text,
    filed_time timestamptz,
    departure timestamptz,
    arrival timestamptz,
    lat double precision,
    lon double precision,
    alt integer,
    gs integer,
    cancelled boolean,
    remarks text);
insert into flights
select i,
    'UAL' || i % 9999,
    case when i % 7 <> 0 then 'N' || i % 99999 || 'UA' end,
    'K' || chr(65 + i % 26) || chr(65 + i / 26 % 26) || chr(65 + i / 676 % 26),
    'E' || chr(65 + i / 3 % 26) || chr(65 + i / 7 % 26) || chr(65 + i / 11 % 26),
    timestamptz '2017-10-09 00:00+00' + i * interval '1 s',
    case when i % 5 <> 0 then timestamptz '2017-10-09 00:00+00' + i * interval '1.1 s' end,
    null,
    i % 180000 / 1000.0 - 90,
    i % 360000 / 1000.0 - 180,
    i % 45000,
    i % 600,
    i % 50 = 0,
    case when i % 10 = 0 then 'remark for flight ' || i || ' with some extra text' end
from generate_series(1, :rows) i;
vacuum analyze flights;
