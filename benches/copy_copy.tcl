# Some sides of copy.tcl: conninfo, SQLite file, options of copy.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require pgsqlite
package require sqlite3
set options [lassign $argv conninfo file]

set conn [pg_connect -conninfo $conninfo]
sqlite3 db $file
set began [clock microseconds]
pg_sqlite db copy $conn flights -create flights -columns auto -pkey flight_id {*}$options
measure::report [expr {([clock microseconds] - $began) / 1e6}]
