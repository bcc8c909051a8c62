# One side of apply.tcl, as it is written without this package: stream, SQLite file.
source [file join [file dirname [file normalize [info script]]] measure.tcl]
package require sqlite3
lassign $argv stream file

sqlite3 db $file
db eval {pragma synchronous = normal}
set began [clock microseconds]
db eval begin
foreach segment [lsort -dictionary [glob $stream/*/*.tsv]] {
    set f [open $segment]
    fconfigure $f -encoding utf-8 -translation lf -buffersize 1000000
    while {[gets $f line] >= 0} {
        unset -nocomplain row
        array set row [split $line \t]
        if {[string first \\ $line] >= 0} {
            foreach {name value} [array get row] {
                set row($name) [subst -nocommands -novariables $value]
            }
        }
        switch -- $row(_action) {
            insert {
                db eval {insert into event values ($row(id), $row(name), $row(n), $row(price),
                    $row(at), $row(done), $row(note))}
            }
            update {
                db eval {update event set name = $row(name), n = $row(n), price = $row(price),
                    at = $row(at), done = $row(done), note = $row(note) where id = $row(id)}
            }
            delete { db eval {delete from event where id = $row(id)} }
            commit { db eval commit; db eval begin }
        }
    }
    close $f
}
db eval commit
measure::report [expr {([clock microseconds] - $began) / 1e6}]
