# One side of copy.tcl, as it is written without this package: conninfo, SQLite file.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
# The distribution's Pgtcl, not the alias that this package installs.
set auto_path [lsearch -all -inline -not -glob $auto_path [measure::stage]*]
package require Pgtcl
package require sqlite3
lassign $argv conninfo file

set conn [pg_connect -conninfo $conninfo]
sqlite3 db $file
set f [open [file join $measure::here flights_sqlite.sql]]
db eval [read $f]
close $f
set began [clock microseconds]
db eval begin
# -withoutnulls: an element that is not there is NULL to `db eval`.
pg_select -withoutnulls -nodotfields $conn {select * from flights} row {
    db eval {insert into flights values ($row(flight_id), $row(ident), $row(reg), $row(origin),
        $row(destination), $row(filed_time), $row(departure), $row(arrival), $row(lat), $row(lon),
        $row(alt), $row(gs), $row(cancelled) = 't', $row(remarks))}
}
db eval commit
measure::report [expr {([clock microseconds] - $began) / 1e6}]
