# The demo: PostgreSQL to SQLite, copied and then live, with both programs killed in the middle.
#
#   TCLLIBPATH=P/lib tclsh demo.tcl P ?seconds?
#
# A private PostgreSQL gets pgbench's tables and one with every type. `deltamirror init` fills a
# SQLite file, `deltastream run` and `deltamirror run` keep it current while pgbench runs; in the
# middle both are killed with -9 and started again. At the end every table is compared value by
# value. The file stays, in build/demo.

package require Tcl 8.6-
package require sqlite3
package require pgsqlite

set here [file dirname [file normalize [info script]]]
set root [file dirname [file dirname $here]]
source [file join $root tests support cluster.tcl]

lassign $argv installation seconds
if {$seconds eq {}} { set seconds 16 }
set folder [file join $root build demo]
set file [file join $folder mirror.db]
set stream [file join $folder stream]
set scale 5

proc say {text} { puts $text; flush stdout }

# Runs one of the installed programs to its end; its output is the result.
proc program {name args} {
    global installation folder
    exec $installation/bin/$name {*}$args 2>> $folder/$name.log
}

# Starts one of the installed programs; the result is its process.
proc start {name args} {
    global installation folder started
    set pid [exec $installation/bin/$name {*}$args < /dev/null >>& $folder/$name.log &]
    lappend started $pid
    return $pid
}

# Kills with -9 and waits for the end, so that the next one does not find the lock taken.
proc kill_hard {args} {
    exec kill -KILL {*}$args
    foreach pid $args { wait::until {![cluster::alive $pid]} 10000 "the end of $pid" }
}

proc stop_cleanly {args} {
    exec kill -TERM {*}$args
    foreach pid $args { wait::until {![cluster::alive $pid]} 20000 "the clean end of $pid" }
}

# Commits one row and waits until a reader of the SQLite file sees it; the milliseconds between.
proc beat {} {
    global connection beats
    incr beats
    set result [pg_exec $connection "insert into beat values ($beats)"]
    if {[pg_result $result -status] ne "PGRES_COMMAND_OK"} { error [pg_result $result -error] }
    set committed [clock microseconds]
    pg_result $result -clear
    while {![reader exists {select 1 from beat where n = $beats}]} {
        if {[clock microseconds] - $committed > 60000000} { error "a commit never arrived" }
        after 1
    }
    expr {([clock microseconds] - $committed) / 1000.0}
}

# Beats for a while, about 30 a second; the latencies.
proc measure {milliseconds} {
    set until [expr {[clock milliseconds] + $milliseconds}]
    set latencies {}
    while {[clock milliseconds] < $until} {
        lappend latencies [beat]
        after 25
    }
    return $latencies
}

proc quantile {values q} {
    set sorted [lsort -real $values]
    lindex $sorted [expr {min([llength $sorted] - 1, int(ceil($q * [llength $sorted])) - 1)}]
}

proc demo {} {
    global folder file stream here scale seconds connection beats
    file delete -force $folder
    file mkdir $folder
    say "PostgreSQL: a private server, pgbench's tables, a table with every type"
    set server [cluster::create]
    set conninfo [cluster::conninfo $server]
    set pgbench [cluster::program $server pgbench]
    exec $pgbench -i -q -s $scale -h [cluster::dir $server] -U postgres postgres 2>@1
    cluster::psql $server postgres -f $here/everything.sql
    # pgbench's history has no key: its whole rows are its identity.
    cluster::sql $server {
        alter table pgbench_history replica identity full;
        create table beat(n integer primary key);
        analyze}

    say "deltastream: publication and slot"
    program deltastream setup -conninfo $conninfo -slot demo -stream $stream \
        -tables {pgbench_accounts pgbench_branches pgbench_tellers pgbench_history everything beat}
    set capture [start deltastream run -conninfo $conninfo -slot demo -stream $stream]
    set load [start_pgbench $pgbench $server]
    lappend ::started $load
    set began [clock milliseconds]

    say "deltamirror: copying while pgbench runs"
    program deltamirror init -conninfo $conninfo -db $file -stream $stream
    set copy_ms [expr {[clock milliseconds] - $began}]
    sqlite3 reader $file -readonly 1
    reader timeout 5000
    set rows 0
    foreach table {pgbench_accounts pgbench_branches pgbench_tellers pgbench_history everything} {
        incr rows [reader onecolumn "select count(*) from $table"]
    }
    set mirror [start deltamirror run -db $file -stream $stream]

    set connection [pg_connect -conninfo $conninfo]
    set beats 0
    beat
    set part [expr {max(1000, ($seconds * 1000 - ([clock milliseconds] - $began)) / 3)}]
    set latencies [measure $part]

    say "kill -9 to both programs, and again from the start"
    kill_hard $capture $mirror
    after 1000
    set capture [start deltastream run -conninfo $conninfo -slot demo -stream $stream]
    set mirror [start deltamirror run -db $file -stream $stream]
    set caught_up [beat]
    lappend latencies {*}[measure $part]

    wait::until {![cluster::alive $load]} 60000 "the end of pgbench"
    beat
    set status [program deltamirror status -db $file]
    report $rows $copy_ms $latencies $caught_up $status

    say "comparing every table, PostgreSQL against SQLite, value by value"
    set equal [expr {![catch {
        exec $::installation/bin/deltamirror compare -conninfo $conninfo -db $file \
            2>> $folder/deltamirror.log
    } differences]}]
    foreach line [split $differences \n] { say "  $line" }
    if {!$equal} { error "the tables differ" }
    stop_cleanly $mirror $capture
    reader close
    pg_disconnect $connection
    say "all equal"
    say "look at it:  sqlite3 '$file' 'select id, m, tz, n, t from everything limit 5'"
}

proc start_pgbench {pgbench server} {
    global seconds here folder
    exec $pgbench -n -c 4 -T $seconds -R 400 -b tpcb-like@6 -f $here/everything.pgbench@4 \
        -h [cluster::dir $server] -U postgres postgres >& $folder/pgbench.log &
}

proc report {rows copy_ms latencies caught_up status} {
    global folder
    set f [open $folder/pgbench.log]
    regexp {number of transactions actually processed: (\d+)} [read $f] -> transactions
    close $f
    set changes 0
    regexp -line {^changes\s+(\d+)} $status -> changes
    set rate [expr {$rows * 1000 / max(1, $copy_ms)}]
    say "  rows copied         $rows in [format %.1f [expr {$copy_ms / 1000.0}]] s, $rate rows/s"
    say "  transactions        $transactions by pgbench"
    say "  changes applied     $changes"
    say [format {  commit to visible   median %.1f ms, 99 %% under %.1f ms (%d samples)} \
        [quantile $latencies 0.5] [quantile $latencies 0.99] [llength $latencies]]
    say [format {  after the kill      caught up %.1f s after the restart} \
        [expr {$caught_up / 1000.0}]]
}

set started {}
set status [catch demo message info]
if {$status} {
    foreach pid $started { catch {exec kill -KILL $pid} }
    puts stderr "demo: $message"
    foreach log {deltastream deltamirror} {
        if {[file exists $folder/$log.log]} {
            puts stderr "$folder/$log.log ends:\n[exec tail -n 5 $folder/$log.log]"
        }
    }
    puts stderr [dict get $info -errorinfo]
}
exit $status
