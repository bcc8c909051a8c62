# One side of apply.tcl: stream, SQLite file.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require pgsqlite
package require sqlite3
lassign $argv stream file

sqlite3 db $file
set mirror [deltamirror open -db db -stream $stream]
set began [clock microseconds]
$mirror apply
set seconds [expr {([clock microseconds] - $began) / 1e6}]
$mirror close
measure::report $seconds
