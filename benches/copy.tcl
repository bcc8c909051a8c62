# Bulk copy of a million rows of 14 columns into a SQLite file in WAL mode. All sides have SQLite's
# own default for `synchronous` (FULL): each row is on disk when the time is taken.

set copy_folder [measure::folder]
set copy_server [measure::server]
set copy_conninfo [cluster::dsn $copy_server bench]
cluster::psql $copy_server bench -v rows=$measure::rows -f $measure::here/flights.sql
set copy_psql [list [cluster::program $copy_server psql] -X -q -d $copy_conninfo]
set copy_bytes [string trim [exec {*}$copy_psql -c {copy flights to stdout} | wc -c]]

# A file in WAL mode with the empty table, or without.
proc copy_file {name {table 1}} {
    global copy_folder
    set file $copy_folder/$name.db
    file delete $file $file-wal $file-shm
    set sql "pragma journal_mode = wal;"
    if {$table} { append sql [exec cat $measure::here/flights_sqlite.sql] }
    exec sqlite3 $file $sql
    return $file
}

# One run of a script of this folder in a process of its own, with a fresh SQLite file.
proc copy_script {name {table 0} args} {
    global copy_server copy_conninfo
    set file [copy_file $name $table]
    set taken [measure::command $copy_server [list [info nameofexecutable] \
        $measure::here/copy_$name.tcl $copy_conninfo $file {*}$args]]
    copy_check $file
    return $taken
}

proc copy_import {} {
    global copy_server copy_folder copy_psql
    set file [copy_file import]
    set f [open $copy_folder/import.sql w]
    puts $f ".mode csv\n.import /dev/stdin flights"
    close $f
    set taken [measure::command $copy_server [list {*}$copy_psql -c {copy flights to stdout csv} \
        | sqlite3 -batch -bail $file -cmd ".read $copy_folder/import.sql" .exit]]
    copy_check $file
    return $taken
}

# The prepared-insert loop in C, built here.
proc copy_c {} {
    global copy_server copy_folder copy_conninfo
    set program $copy_folder/insert_loop
    if {![file exists $program]} {
        exec cc -O2 -o $program $measure::here/insert_loop.c -I[exec pg_config --includedir] \
            -lpq -lsqlite3
    }
    set file [copy_file c]
    set taken [measure::command $copy_server [list $program $copy_conninfo $file]]
    copy_check $file
    return $taken
}

# The first fill of a mirror: the table and what the stream's changes go on from.
proc copy_init {} {
    global copy_server copy_folder copy_conninfo
    set stream $copy_folder/stream
    if {![file exists $stream]} {
        exec [measure::program deltastream] setup -conninfo $copy_conninfo -slot bench \
            -stream $stream -tables flights 2>@1
    }
    set file $copy_folder/init.db
    file delete $file $file-wal $file-shm
    set taken [measure::command $copy_server [list [measure::program deltamirror] init \
        -conninfo $copy_conninfo -stream $stream -db $file]]
    copy_check $file
    return $taken
}

# DuckDB's own copy, when the Python named by PGSQLITE_BENCH_DUCKDB has it with its extensions.
proc copy_duckdb {} {
    global copy_server copy_folder copy_conninfo
    set file [copy_file duckdb]
    set taken [measure::command $copy_server [list $::env(PGSQLITE_BENCH_DUCKDB) \
        $measure::here/copy_duckdb.py $copy_conninfo $file]]
    copy_check $file
    return $taken
}

# `read` from COPY's text into a fresh file, `write` of what `copy` has made.
proc copy_tabsep {what} {
    global copy_folder
    if {$what eq {read}} {
        set file [copy_file tabsep]
        set text $copy_folder/flights.tsv
    } else {
        set file $copy_folder/copy.db
        set text $copy_folder/written.tsv
    }
    set taken [measure::command {} [list [info nameofexecutable] $measure::here/copy_tabsep.tcl \
        $what $file $text]]
    copy_check $file
    return $taken
}

# The files must be what was asked for, or the times mean nothing.
proc copy_check {file} {
    set rows [exec sqlite3 $file {select count(*) from flights}]
    if {$rows != $measure::rows} { error "$file holds $rows rows" }
}

proc copy_ratio {medians a b} {
    format %.2f [expr {[dict get $medians $a seconds] / [dict get $medians $b seconds]}]
}

set copy_sides {
    "pg_sqlite copy" { copy_script copy }
    "pg_sqlite copy -exclusive 0" { copy_script copy 0 -exclusive 0 }
    "pg_sqlite copy -parallel 2" { copy_script copy 0 -parallel 2 }
    "pg_sqlite import_postgres_result -rowbyrow" { copy_script ours }
    "deltamirror init" { copy_init }
    "Pgtcl pg_select, db eval insert" { copy_script loop }
    "psql copy csv | sqlite3 .import" { copy_import }
    "psql copy to /dev/null (floor)" {
        measure::command $copy_server [list {*}$copy_psql -c "\\copy flights to /dev/null"]
    }
}
if {[info exists env(PGSQLITE_BENCH_DUCKDB)]} { dict set copy_sides DuckDB { copy_duckdb } }
set copy_medians [measure::compare "copy: PostgreSQL -> SQLite (WAL)" rows $measure::rows \
    $copy_bytes $copy_sides]
set copy_ours [dict get $copy_medians "pg_sqlite import_postgres_result -rowbyrow"]
measure::target "seconds for a million rows at most 1.95" \
    [format %.2f [expr {[dict get $copy_ours seconds] * 1e6 / $measure::rows}]] "<= 1.95"
measure::target "copy: times the floor" \
    [copy_ratio $copy_medians "pg_sqlite copy" "psql copy to /dev/null (floor)"] "<= 1.25"
measure::target "copy: times .import" \
    [copy_ratio $copy_medians "pg_sqlite copy" "psql copy csv | sqlite3 .import"] "<= 0.5"
if {[dict exists $copy_medians DuckDB]} {
    measure::target "copy: times DuckDB" \
        [copy_ratio $copy_medians "pg_sqlite copy" DuckDB] "<= 0.5"
}
measure::target "peak memory under 64 MiB" [format %.1f [expr {max([dict get $copy_ours peak],
    [dict get $copy_medians "pg_sqlite copy" peak])}]] "< 64"

set copy_medians [measure::compare "copy: the insert half, from a ready result" rows \
    $measure::rows $copy_bytes {
    "pg_sqlite import_postgres_result" { copy_script ready 1 }
    "prepared insert in C" { copy_c }
}]
measure::target "insert half: times a prepared insert in C" [copy_ratio $copy_medians \
    "pg_sqlite import_postgres_result" "prepared insert in C"] "<= 0.9"

exec {*}$copy_psql -c {copy flights to stdout} > $copy_folder/flights.tsv
set copy_medians [measure::compare "copy: text files" rows $measure::rows $copy_bytes {
    "pg_sqlite read_tabsep" { copy_tabsep read }
    "pg_sqlite write_tabsep" { copy_tabsep write }
}]
measure::target "read_tabsep, million rows per second" [format %.2f [expr {$measure::rows / 1e6 /
    [dict get $copy_medians "pg_sqlite read_tabsep" seconds]}]] ">= 0.8"
measure::target "write_tabsep, MB per second" [format %.0f [expr {$copy_bytes / 1e6 /
    [dict get $copy_medians "pg_sqlite write_tabsep" seconds]}]] ">= 100"
cluster::destroy $copy_server
file delete -force $copy_folder
