-- Everything by which a role that may CREATE in a schema can put code into somebody's statement:
-- a function by the name and the types of each of the system's, an operator likewise, types by the
-- names of the system's that run code when a value becomes one, and relations by the names of the
-- catalogs. All of them work as the real ones do, and count that they were called.
create schema evil;
create sequence evil.caught;
create function evil.hit() returns boolean language plpgsql as
  $$ begin perform pg_catalog.nextval('evil.caught'); return true; end $$;

do $$
declare
  f record;
  body text;
  made int := 0;
begin
  for f in
    select p.oid, p.proname, p.prorettype::regtype::text as result, p.proretset as many,
      pg_get_function_identity_arguments(p.oid) as arguments,
      (select string_agg('$' || n, ', ' order by n) from generate_series(1, p.pronargs) n) as given
    from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.provariadic = 0
      and p.proallargtypes is null
      and p.prorettype <> all ('{internal,cstring,trigger,event_trigger,void,record,index_am_handler,table_am_handler,fdw_handler,tsm_handler,language_handler}'::regtype[])
      and not exists (select from unnest(p.proargtypes) t(id)
        join pg_type y on y.oid = t.id where y.typtype = 'p')
      and p.prorettype::regtype::text !~ '^any'
      -- The set of what a session of ours could call, not the thousands of support functions.
      and (p.proname ~ '^(pg_|current_|set_config|to_reg|has_|format|quote_|coalesce|now|version|row_security|nameeq|texteq|nameconcatoid|unnest|generate_|array_|starts_with|floor|extract|length|replace|lower|upper|clock_|txid_|obj_|col_|regexp_|string_|concat|session_|count|sum|max|min)'
        or p.oid in (select oprcode from pg_operator))
  loop
    body := case when f.many
      then format('begin perform evil.hit(); return query select * from pg_catalog.%I(%s); end',
        f.proname, f.given)
      else format('begin perform evil.hit(); return pg_catalog.%I(%s); end', f.proname, f.given) end;
    begin
      execute format('create function evil.%I(%s) returns %s %s language plpgsql as %L', f.proname,
        f.arguments, case when f.many then 'setof' else '' end, f.result, body);
      made := made + 1;
    exception when others then null;
    end;
  end loop;
  for f in
    select o.oprname, o.oprleft::regtype::text as l, o.oprright::regtype::text as r,
      o.oprcode::oid::regproc::text as code
    from pg_operator o join pg_type a on a.oid = o.oprleft join pg_type b on b.oid = o.oprright
    where o.oprnamespace = 'pg_catalog'::regnamespace and a.typtype <> 'p' and b.typtype <> 'p'
  loop
    begin
      execute format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.%s)',
        f.oprname, f.l, f.r, regexp_replace(f.code, '^.*\.', ''));
      made := made + 1;
    exception when others then null;
    end;
  end loop;
  -- Pairs for which the system has an operator of other types only: an exact match wins.
  execute 'create function evil.cc(name, name) returns text language plpgsql as
    ''begin perform evil.hit(); return pg_catalog.concat($1, $2); end''';
  execute 'create operator evil.|| (leftarg = name, rightarg = name, function = evil.cc)';
  execute 'create function evil.ct(name, text) returns text language plpgsql as
    ''begin perform evil.hit(); return pg_catalog.concat($1, $2); end''';
  execute 'create operator evil.|| (leftarg = name, rightarg = text, function = evil.ct)';
  if made < 500 then raise exception 'only % hostile objects', made; end if;
end $$;

create domain evil.oid as pg_catalog.oid check (evil.hit());
create domain evil.text as pg_catalog.text check (evil.hit());
create domain evil.int4 as pg_catalog.int4 check (evil.hit());
create domain evil.int8 as pg_catalog.int8 check (evil.hit());
create domain evil.name as pg_catalog.name check (evil.hit());
create domain evil.bool as pg_catalog.bool check (evil.hit());
create domain evil.regclass as pg_catalog.regclass check (evil.hit());
create domain evil.pg_lsn as pg_catalog.pg_lsn check (evil.hit());
do $$
declare name text;
begin
  foreach name in array '{pg_class,pg_namespace,pg_index,pg_type,pg_roles,pg_settings,
    pg_publication,pg_publication_tables,pg_replication_slots,pg_stat_replication,pg_locks,
    pg_database,pg_am,pg_inherits,pg_constraint,pg_attrdef}'::text[] loop
    execute format('create view evil.%I as select *, evil.hit() from pg_catalog.%I', name, name);
  end loop;
end $$;
