# Runs every tests/*.test, each in a process of its own, under the tclsh that runs this.
#
#   TCLLIBPATH=P/lib tclsh tests/all.tcl ?-file PATTERN ...? ?tcltest options?
#
# One private PostgreSQL server is started for the whole run; files that need it find it through
# PGSQLITE_TEST_SERVER. Closes with `N passed, N failed`; the exit code is 1 when a test failed, a
# file ended without its counts, or there was nothing to run. PGSQLITE_TEST_WRAPPER holds words put
# before the tclsh (valgrind and its options). A file that takes longer than PGSQLITE_TEST_SECONDS
# (900) is ended and has failed. Processes that a file leaves behind end with it, and all end with
# this one.

package require Tcl 8.6-
set here [file dirname [file normalize [info script]]]
source [file join $here support cluster.tcl]

set patterns *.test
set options {}
foreach {name value} $argv {
    if {$name eq "-file"} { set patterns $value } else { lappend options $name $value }
}
set wrapper {}
if {[info exists env(PGSQLITE_TEST_WRAPPER)]} { set wrapper $env(PGSQLITE_TEST_WRAPPER) }
set seconds 900
if {[info exists env(PGSQLITE_TEST_SECONDS)]} { set seconds $env(PGSQLITE_TEST_SECONDS) }

# Ends what is left of a process group. Its leader was not waited for: the number is still its own.
proc end_group {leader} {
    catch {exec kill -KILL -- -$leader 2>@1}
}

# Runs one file and returns {passed skipped failed}; its output appears as it comes.
proc run {file} {
    global wrapper options seconds
    set command [list setpriv --pdeathsig TERM -- timeout -k 10 $seconds {*}$wrapper \
        [info nameofexecutable] $file {*}$options]
    set channel [open |[list {*}$command < /dev/null 2>@1]]
    # timeout makes a process group of itself and all that it starts.
    set leader [pid $channel]
    fconfigure $channel -encoding utf-8 -buffering line -translation lf -blocking 0
    if {[package vsatisfies [package provide Tcl] 9-]} { fconfigure $channel -profile replace }
    set counts {}
    while {![eof $channel]} {
        if {[gets $channel line] < 0} {
            # What a file leaves behind holds the channel open.
            if {![cluster::alive $leader]} { end_group $leader }
            after 20
            continue
        }
        if {[regexp {\tTotal\t\d+\tPassed\t(\d+)\tSkipped\t(\d+)\tFailed\t(\d+)} $line -> \
                passed skipped failed]} {
            set counts [list $passed $skipped $failed]
        } else {
            puts $line
        }
    }
    end_group $leader
    fconfigure $channel -blocking 1
    set broken [catch {close $channel} message]
    if {$counts eq {}} {
        puts "$file ended without its counts: $message"
        return {0 0 1}
    }
    if {$broken && [lindex $counts 2] == 0} {
        puts "$file failed at its end: $message"
        lset counts 2 1
    }
    return $counts
}

set files [lsort [glob -nocomplain -directory $here -- {*}$patterns]]
# Those of the output plugin need a build of their own, for one server: they run where they are
# named (tools/check-plugin).
if {![string match *plugin* $patterns]} {
    set files [lmap file $files {
        if {[string match plugin*.test [file tail $file]]} continue
        set file
    }]
}
lassign {0 0 0} passed skipped failed
set status [catch {
    set server [cluster::create]
    set env(PGSQLITE_TEST_SERVER) [cluster::address $server]
    foreach file $files {
        set began [clock milliseconds]
        lassign [run $file] p s f
        incr passed $p
        incr skipped $s
        incr failed $f
        puts [format {%-28s %4d passed %3d skipped %3d failed  %.1f s} [file tail $file] \
            $p $s $f [expr {([clock milliseconds] - $began) / 1000.0}]]
    }
} message info]
if {$status} {
    puts [dict get $info -errorinfo]
    incr failed
}
if {$files eq {}} {
    puts "no test file matches $patterns"
    incr failed
}
puts "Tcl [info patchlevel]: $skipped skipped"
puts "$passed passed, $failed failed"
exit [expr {$failed > 0}]
