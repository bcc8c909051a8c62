# One side of copy.tcl: conninfo, SQLite file.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require pgsqlite
package require sqlite3
lassign $argv conninfo file

set conn [pg_connect -conninfo $conninfo]
sqlite3 db $file
set began [clock microseconds]
pg_sendquery $conn {select * from flights}
pg_set_single_row_mode $conn
pg_sqlite db import_postgres_result $conn -rowbyrow -create flights -pkey flight_id -as {
    flight_id integer ident text reg text origin text destination text filed_time text
    departure text arrival text lat double lon double alt integer gs integer cancelled boolean
    remarks text
}
measure::report [expr {([clock microseconds] - $began) / 1e6}]
