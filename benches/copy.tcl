# Bulk copy of a million rows of 14 columns into a SQLite file in WAL mode.

set copy_folder [measure::folder]
set copy_server [measure::server]
set copy_conninfo [cluster::dsn $copy_server bench]
cluster::psql $copy_server bench -v rows=$measure::rows -f $measure::here/flights.sql
set copy_psql [list [cluster::program $copy_server psql] -X -q -d $copy_conninfo]
set copy_bytes [string trim [exec {*}$copy_psql -c {copy flights to stdout} | wc -c]]

# One run of a script of this folder in a process of its own, with a fresh SQLite file.
proc copy_script {name} {
    global copy_server copy_folder copy_conninfo
    set file $copy_folder/$name.db
    file delete $file $file-wal $file-shm
    set taken [measure::command $copy_server [list [info nameofexecutable] \
        $measure::here/copy_$name.tcl $copy_conninfo $file]]
    copy_check $file
    return $taken
}

proc copy_import {} {
    global copy_server copy_folder copy_psql
    set file $copy_folder/import.db
    file delete $file $file-wal $file-shm
    set f [open $copy_folder/import.sql w]
    puts $f "pragma journal_mode = wal;\npragma synchronous = normal;"
    puts $f [exec cat $measure::here/flights_sqlite.sql]
    puts $f ".mode csv\n.import /dev/stdin flights"
    close $f
    set taken [measure::command $copy_server [list {*}$copy_psql -c {copy flights to stdout csv} \
        | sqlite3 -batch -bail $file -cmd ".read $copy_folder/import.sql" .exit]]
    copy_check $file
    return $taken
}

# The files must be what was asked for, or the times mean nothing.
proc copy_check {file} {
    set rows [exec sqlite3 $file {select count(*) from flights}]
    if {$rows != $measure::rows} { error "$file holds $rows rows" }
}

set copy_medians [measure::compare "copy: PostgreSQL -> SQLite (WAL)" rows $measure::rows \
        $copy_bytes {
    "pg_sqlite import_postgres_result -rowbyrow" { copy_script ours }
    "Pgtcl pg_select, db eval insert" { copy_script loop }
    "psql copy csv | sqlite3 .import" { copy_import }
    "psql copy to /dev/null (floor)" {
        measure::command $copy_server [list {*}$copy_psql -c "\\copy flights to /dev/null"]
    }
}]
set copy_ours [dict get $copy_medians "pg_sqlite import_postgres_result -rowbyrow"]
measure::target "seconds for a million rows at most 1.95" \
    [format %.2f [expr {[dict get $copy_ours seconds] * 1e6 / $measure::rows}]] "<= 1.95"
measure::target "peak memory under 64 MiB" [format %.1f [dict get $copy_ours peak]] "< 64"
cluster::destroy $copy_server
file delete -force $copy_folder
