# Runs processes and says what they took: wall clock, CPU, peak memory; prints tables of medians.

source [file join [file dirname [file normalize [info script]]] .. tests support cluster.tcl]

namespace eval ::measure {
    variable here [file dirname [file normalize [info script]]]
    variable runs 3
    variable rows 1000000
    if {[info exists ::env(PGSQLITE_BENCH_RUNS)]} { set runs $::env(PGSQLITE_BENCH_RUNS) }
    if {[info exists ::env(PGSQLITE_BENCH_ROWS)]} { set rows $::env(PGSQLITE_BENCH_ROWS) }
    variable ticks [exec getconf CLK_TCK]
}

# Folder of the installation under test.
proc ::measure::stage {} {
    if {[info exists ::env(STAGE)]} { return $::env(STAGE) }
    file dirname [lindex $::env(TCLLIBPATH) 0]
}

proc ::measure::program {name} { return [stage]/bin/$name }

# An empty folder for the files of a benchmark.
proc ::measure::folder {} { exec mktemp -d -t pgsqlite-bench.XXXXXXXX }

# A server as an installation has it: fsync off, since no machine fails here, but no
# development settings.
proc ::measure::server {args} {
    ::cluster::create -settings [dict merge {shared_buffers 256MB max_wal_size 4GB
        autovacuum off wal_sender_timeout 60s} $args]
}

# Fields 14 to 17 of /proc/PID/stat: user and system time, own and of collected children, in ticks.
proc ::measure::ticks_of {pid {with_children 0}} {
    if {[catch {open /proc/$pid/stat} f]} { return 0 }
    set text [read $f]
    close $f
    set fields [string range $text [string last ) $text]+2 end]
    expr {[lindex $fields 11] + [lindex $fields 12]
        + ($with_children ? [lindex $fields 13] + [lindex $fields 14] : 0)}
}

# Peak resident memory in KiB; 0 when the process is gone.
proc ::measure::peak_of {pid} {
    if {[catch {open /proc/$pid/status} f]} { return 0 }
    set text [read $f]
    close $f
    expr {[regexp {VmHWM:\s+(\d+)} $text -> kib] ? $kib : 0}
}

# CPU ticks of a server with all its processes, dead and alive.
proc ::measure::server_ticks {c} {
    set postmaster [::cluster::postmaster $c]
    set sum [ticks_of $postmaster 1]
    foreach pid [::cluster::children $postmaster] { incr sum [ticks_of $pid] }
    return $sum
}

# Runs a command (words of a Tcl pipeline) to its end. A dict: seconds, cpu (of all its
# processes), server (CPU of the server meanwhile), peak (MiB), output. When the command prints a
# line `seconds S`, that is the time (of the job without loading and connecting), else the whole.
proc ::measure::command {server words} {
    variable ticks
    variable output {}
    variable ended 0
    set server_before [expr {$server eq {} ? 0 : [server_ticks $server]}]
    set began [clock microseconds]
    close [file tempfile errors]
    set channel [open |[list {*}$words < /dev/null 2> $errors] r]
    fconfigure $channel -blocking 0 -translation lf
    fileevent $channel readable [list ::measure::readable $channel]
    set pids [pid $channel]
    set peak 0
    while {!$ended} {
        foreach pid $pids { set peak [expr {max($peak, [peak_of $pid])}] }
        set alarm [after 10 {set ::measure::ended $::measure::ended}]
        vwait ::measure::ended
        after cancel $alarm
    }
    set seconds [expr {($ended - $began) / 1e6}]
    set spent 0
    foreach pid $pids {
        ::wait::until {![::cluster::alive $pid]} 60000
        incr spent [ticks_of $pid 1]
    }
    fconfigure $channel -blocking 1
    set failed [catch {close $channel} message]
    set said [exec cat $errors]
    file delete $errors
    if {$failed} { error "[lindex $words 0]: $message\n$said" }
    set server_spent [expr {$server eq {} ? 0 : [server_ticks $server] - $server_before}]
    regexp -line {^seconds ([0-9.]+)$} $output -> seconds
    regexp -line {^peak (\d+)$} $output -> peak
    dict create seconds $seconds cpu [expr {double($spent) / $ticks}] \
        server [expr {double($server_spent) / $ticks}] peak [expr {$peak / 1024.0}] output $output
}

proc ::measure::readable {channel} {
    variable output
    variable ended
    append output [read $channel]
    if {[eof $channel]} {
        fileevent $channel readable {}
        set ended [clock microseconds]
    }
}

# For a script that measures itself: what its process has taken so far.
proc ::measure::report {seconds} {
    puts "seconds $seconds"
    puts "peak [peak_of [pid]]"
}

proc ::measure::median {values} {
    set values [lsort -real $values]
    set n [llength $values]
    expr {$n % 2 ? [lindex $values [expr {$n / 2}]]
        : ([lindex $values [expr {$n / 2 - 1}]] + [lindex $values [expr {$n / 2}]]) / 2.0}
}

# The value below which the share q (0 to 1) of the values lies.
proc ::measure::quantile {values q} {
    set values [lsort -real $values]
    lindex $values [expr {min([llength $values] - 1, int($q * [llength $values]))}]
}

# Runs each side `runs` times, in turns, so that what disturbs the machine disturbs all.
# SIDES: name, script that returns the dict of `command`, ... Prints the table: `count` things
# (called `unit`) and `bytes` bytes are what one run deals with. Returns the medians, by name and
# `seconds`, `cpu`, `server`, `peak`. A side's script sees the number of the run as measure::run.
proc ::measure::compare {title unit count bytes sides} {
    variable runs
    variable run
    for {set run 1} {$run <= $runs} {incr run} {
        dict for {name script} $sides {
            set taken [uplevel #0 $script]
            foreach key {seconds cpu server peak} {
                dict lappend values $name.$key [dict get $taken $key]
            }
        }
    }
    puts "\n$title"
    puts "$count $unit, [format %.1f [expr {$bytes / 1e6}]] MB; medians of $runs runs"
    puts [format "%-44s %8s %11s %7s %8s %8s %8s %6s" {} seconds $unit/s MB/s {client s} \
        {server s} {peak MiB} ratio]
    set first {}
    dict for {name script} $sides {
        foreach key {seconds cpu server peak} { set $key [median [dict get $values $name.$key]] }
        if {$first eq {}} { set first $seconds }
        puts [format "%-44s %8.2f %11.0f %7.1f %8.2f %8.2f %8.1f %6.2f" $name $seconds \
            [expr {$count / $seconds}] [expr {$bytes / 1e6 / $seconds}] $cpu $server $peak \
            [expr {$seconds / $first}]]
        dict set medians $name [dict create seconds $seconds cpu $cpu server $server peak $peak]
    }
    return $medians
}

# A line `met` or `NOT met` for a target.
proc ::measure::target {text value condition} {
    set met [expr "$value $condition"]
    puts [format "%-70s %s" "target: $text: $value" \
        [expr {$met ? "met" : "NOT met"}]]
}
