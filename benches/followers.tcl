# How long until 64 followers on this machine see a line: from before the writer's flush to the
# callback of `follow`, each follower a process of its own.
#
#   TCLLIBPATH=P/lib tclsh benches/followers.tcl ?followers 64? ?lines 200? ?pause_ms 20?
#
# The writer is `deltastream read`, fed through a pipe with a transaction of one line that says when
# it was sent. Prints median, 99th percentile and the longest time of all, and the processor time
# that a line costs a follower and the writer. All take part on the same processors.
package require pgsqlite

lassign $argv followers lines pause_ms
foreach {name default} {followers 64 lines 200 pause_ms 20} {
    if {[set $name] eq {}} { set $name $default }
}

if {[lindex $argv 0] eq "follower"} {
    # One follower: prints what it saw when it has seen all.
    lassign $argv -> dir count
    proc saw {what args} {
        set now [clock microseconds]
        if {$what ne "change" || [dict get $args _action] ne "insert"} return
        set sent [dict get $args sent]
        if {$sent eq "0"} { puts ready; flush stdout; set ::before [cpu]; return }
        lappend ::times [expr {$now - $sent}]
        if {[llength $::times] == $::count} { set ::over 1 }
    }
    proc cpu {} {
        set f [open /proc/self/stat]
        set words [split [lindex [split [read $f] )] end]]
        close $f
        expr {([lindex $words 12] + [lindex $words 13]) * 10}
    }
    set times {}
    set stream [daystream open $dir -from begin]
    $stream follow -command saw
    vwait over
    puts "[expr {[cpu] - $before}] $times"
    exit
}

set dir [exec mktemp -d]
lassign [chan pipe] in out
fconfigure $out -translation binary -buffering none
set xid 0

# One transaction of one line.
proc send {value} {
    set xid [incr ::xid]
    puts -nonewline $::out [join [list _table t _xid $xid _action insert sent $value] \t]\n[join \
        [list _xid $xid _lsn 0/[format %X $xid] _time 0 _action commit] \t]\n
}

proc begin {} {
    send 0
    after 100 start
}

proc start {} {
    if {[llength [glob -nocomplain $::dir/stream/*/*.tsv]] == 0} { after 20 start; return }
    set self [list [info nameofexecutable] [info script]]
    for {set i 0} {$i < $::followers} {incr i} {
        set f [open |[list {*}$self follower $::dir/stream $::lines]]
        fconfigure $f -blocking 0
        fileevent $f readable [list heard $f]
        lappend ::open $f
    }
}

proc heard {f} {
    if {[gets $f line] < 0} {
        if {[eof $f]} { close $f }
        return
    }
    if {$line eq "ready"} {
        if {[incr ::ready] == $::followers} { after 500 [list feed $::lines] }
        return
    }
    lappend ::cpu [lindex $line 0]
    lappend ::all {*}[lrange $line 1 end]
    if {[incr ::done] == $::followers} { close $::out }
}

proc feed {left} {
    send [clock microseconds]
    if {$left > 1} { after $::pause_ms [list feed [expr {$left - 1}]] }
}

lassign {0 0 {} {}} ready done cpu all
after 0 begin
deltastream read -stream $dir/stream -channel $in
set all [lsort -integer $all]
proc percent {p} { lindex $::all [expr {([llength $::all] - 1) * $p / 100}] }
set each [expr {double([tcl::mathop::+ {*}$cpu]) / ($followers * $lines)}]
puts [format {%d followers, %d lines: median %.2f ms, 99 %% %.2f ms, longest %.2f ms} $followers \
    $lines [expr {[percent 50] / 1e3}] [expr {[percent 99] / 1e3}] [expr {[lindex $all end] / 1e3}]]
puts [format {processor time of a follower for a line: %.3f ms} $each]
file delete -force $dir
