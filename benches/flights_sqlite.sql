create table flights(flight_id integer primary key, ident text, reg text, origin text,
    destination text, filed_time text, departure text, arrival text, lat real, lon real,
    alt integer, gs integer, cancelled boolean, remarks text);
