# The reader of latency.tcl: SQLite file, file that ends it. Prints a line when it is ready, and at
# the end one line for each row that came: milliseconds from the server's clock to its sight.
package require sqlite3
lassign $argv file done

sqlite3 db $file -readonly 1
db timeout 1000
set last [db onecolumn {select max(id) from tick}]
puts ready
flush stdout
set version [db onecolumn {pragma data_version}]
set found {}
set idle 0
while 1 {
    set now_version [db onecolumn {pragma data_version}]
    if {$now_version == $version} {
        # A look at the folder costs more than a look at the file: not at each turn.
        if {[incr idle] % 100 == 0 && [file exists $done]} break
        after 1
        continue
    }
    set version $now_version
    set rows [db eval {select id, at_us from tick where id > $last order by id}]
    set now [clock microseconds]
    foreach {id at} $rows {
        lappend found [expr {($now - $at) / 1000.0}]
        set last $id
    }
}
puts [join $found \n]
