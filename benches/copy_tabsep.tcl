# Two sides of copy.tcl: `read` or `write`, SQLite file, file of COPY's text.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require pgsqlite
package require sqlite3
lassign $argv what file text

sqlite3 db $file
set began [clock microseconds]
if {$what eq {read}} {
    set channel [open $text]
    fconfigure $channel -encoding utf-8
    pg_sqlite db read_tabsep -file $channel -into flights -null {\N} -as {
        flight_id integer ident text reg text origin text destination text filed_time text
        departure text arrival text lat double lon double alt integer gs integer cancelled boolean
        remarks text
    }
} else {
    set channel [open $text w]
    fconfigure $channel -encoding utf-8 -translation lf
    pg_sqlite db write_tabsep $channel {select * from flights} -null {\N}
}
close $channel
measure::report [expr {([clock microseconds] - $began) / 1e6}]
