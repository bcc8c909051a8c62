# What the suites of deltamirror share: a server's tables, and slots and files that come and go.
#
# begin NAME ?TABLES?   a fresh slot, stream and file; sets `options` and `file` in the caller
# forget                drops those slots
# capture OPTIONS       everything that PostgreSQL has now is in the stream
# look FILE SQL         rows of a file, seen by somebody else
# heard, listen         a callback that keeps what it hears in ::heard and ::details

package require sqlite3
set conninfo [support::conninfo]
support::psql {
    create schema farm;
    create table bird (a text primary key, b integer);
    create table farm.egg (n bigint primary key, w numeric);
    insert into bird values ('fox', 1), ('hen', null);
    insert into farm.egg values (1, 1.5), (2, 12345678901234567890.5);
    create table later (a integer primary key);
    insert into later select generate_series(1, 25000);
}

# A fresh slot, stream and file: sets `options` and `file` in the caller.
proc begin {name {tables {bird farm.egg later}}} {
    upvar 1 options options file file
    set folder [support::folder deltamirror]
    set options [list -conninfo $::conninfo -slot $name -stream $folder/stream]
    set file $folder/mirror.db
    deltastream setup {*}$options -tables $tables
    lappend ::slots $name
}

# The server may need a moment to see that a reader is gone.
proc forget {} {
    foreach slot $::slots {
        wait::until {
            ![catch {deltastream drop -conninfo $::conninfo -slot $slot} {} info] ||
            [lindex [dict get $info -errorcode] 2] eq "SLOTMISSING"
        }
    }
    set ::slots {}
}
set slots {}

# Everything that PostgreSQL has now is in the stream.
proc capture {options} {
    deltastream run {*}$options -until_lsn [support::psql {select pg_current_wal_lsn()}]
}

proc stream {options} { list -stream [dict get $options -stream] }

proc rows {db sql} {
    set rows {}
    $db eval $sql row { lappend rows [lmap name $row(*) { set row($name) }] }
    return $rows
}

# What a file holds, seen by somebody else.
proc look {file sql} {
    sqlite3 ::looking $file -readonly 1
    try {
        rows ::looking $sql
    } finally {
        ::looking close
    }
}

proc open_on {file} {
    set n 0
    foreach link [glob -nocomplain /proc/self/fd/*] {
        if {![catch {file readlink $link} target] && $target eq $file} { incr n }
    }
    return $n
}

proc heard {what args} {
    lappend ::heard $what
    dict set ::details $what $args
}

proc listen {} {
    set ::heard {}
    set ::details {}
}
