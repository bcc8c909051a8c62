# One side of copy.tcl, the insert half alone: conninfo, SQLite file with the empty table.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require pgsqlite
package require sqlite3
lassign $argv conninfo file

set conn [pg_connect -conninfo $conninfo]
sqlite3 db $file
set result [pg_exec $conn {select * from flights}]
set began [clock microseconds]
pg_sqlite db import_postgres_result $result -into flights -columns auto
measure::report [expr {([clock microseconds] - $began) / 1e6}]
