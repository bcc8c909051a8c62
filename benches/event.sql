create table event(id integer primary key, name text not null, n integer, price double precision,
    at timestamptz, done boolean, note text);
