# One side of copy.tcl: conninfo, SQLite file.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require pgsqlite
package require sqlite3
lassign $argv conninfo file

set conn [pg_connect -conninfo $conninfo]
sqlite3 db $file
db eval {pragma journal_mode = wal; pragma synchronous = normal}
set began [clock microseconds]
pg_sqlite db copy $conn flights -create flights -columns auto -pkey flight_id
measure::report [expr {([clock microseconds] - $began) / 1e6}]
