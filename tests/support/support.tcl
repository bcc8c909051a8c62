# What every tests/*.test file sources first: tcltest, the package under test, waiting, and the
# run's shared server.
#
#   source [file join [file dirname [file normalize [info script]]] support support.tcl]
#   test name-1.1 {a sentence} -body {...} -result ...
#   support::done
#
# support::conninfo          of a database of this file's own, on the server that all files of a run
#                            share; made at the first call. Tests that stop or crash a server make
#                            one of their own by cluster::create.
# support::psql TEXT         runs SQL there by psql, which shares no code with the package
# support::folder name       an empty folder that is gone at the end
# support::run|start         an installed program, see below
# support::segments dir      the segments of a stream, compressed or not, the oldest first
# support::allowed MODE      what the umask leaves of an octal mode, as `file attributes` ends
# support::double name       what tools/build-doubles builds for the running Tcl; {}: not to be had
# Constraints: tcl86, tcl9, valgrind (slow), notValgrind, sqlite (the sqlite3 package is there),
# thread.

package require Tcl 8.6-
package require tcltest 2.5-
namespace import -force ::tcltest::*

source [file join [file dirname [file normalize [info script]]] cluster.tcl]

namespace eval ::support {
    variable here [file dirname [file normalize [info script]]]
    variable name [file rootname [file tail [info script]]]
    variable folders {}
    variable server {}
    variable database {}
}

testConstraint tcl86 [expr {![package vsatisfies [package provide Tcl] 9-]}]
testConstraint tcl9 [package vsatisfies [package provide Tcl] 9-]
testConstraint valgrind [info exists ::env(PGSQLITE_VALGRIND)]
testConstraint notValgrind [expr {![info exists ::env(PGSQLITE_VALGRIND)]}]
testConstraint sqlite [expr {![catch {package require sqlite3}]}]
testConstraint thread [expr {![catch {package require Thread}]}]

# Connects to the run's server: the one tests/all.tcl has started, else one for this file alone.
proc ::support::server {} {
    variable server
    if {$server ne {}} { return $server }
    if {[info exists ::env(PGSQLITE_TEST_SERVER)]} {
        set server [::cluster::adopt {*}$::env(PGSQLITE_TEST_SERVER)]
    } else {
        set server [::cluster::create]
    }
}

proc ::support::conninfo {args} {
    variable database
    if {$database eq {}} {
        set file [file rootname [file tail $::argv0]]
        set database "t_${file}_[::pid]"
        ::cluster::dsn [server] $database
    }
    ::cluster::conninfo [server] $database {*}$args
}

proc ::support::psql {text} {
    variable database
    conninfo
    ::cluster::sql [server] $database $text
}

proc ::support::folder {name} {
    variable folders
    set parent [exec mktemp -d -t pgsqlite.XXXXXXXX]
    lappend folders $parent
    set folder [file join $parent $name]
    file mkdir $folder
    return $folder
}

# A stream has files beside its days, readers/NAME.tsv: only what lies in a day's folder counts.
proc ::support::segments {stream {pattern *}} {
    lsort -dictionary [glob -nocomplain -directory $stream ????-??-??/$pattern]
}

# Files that are made are less open than the umask allows, and in some places even less.
proc ::support::allowed {mode} {
    scan $mode %o bits
    scan [exec sh -c umask] %o mask
    format %03o [expr {$bits & ~$mask}]
}

# A test double's file; empty when this machine cannot build it.
proc ::support::double {name args} {
    variable here
    set tool [file join [file dirname [file dirname $here]] tools build-doubles]
    if {[catch {exec $tool -tcl [info tclversion] $name {*}$args 2>/dev/null} path]} {
        return {}
    }
    return $path
}

# The error code of a script that fails; the result of one that does not is an error.
proc ::support::errorcode {script} {
    if {![catch {uplevel 1 $script} result options]} { error "no error, but: $result" }
    dict get $options -errorcode
}

# The installed program NAME, to be run by the Tcl that runs the test: words for exec.
proc ::support::program {name args} {
    foreach dir $::auto_path {
        set file [file join [file dirname $dir] bin $name]
        if {[file executable $file]} { return [list [info nameofexecutable] $file {*}$args] }
    }
    error "no program $name beside the package"
}

# Runs a program to its end; returns {exit-code stdout stderr}.
proc ::support::run {name args} {
    set file [exec mktemp]
    set failed [catch {exec {*}[program $name {*}$args] 2> $file < /dev/null} out info]
    set f [open $file]
    fconfigure $f -encoding utf-8
    set err [string trimright [read $f] \n]
    close $f
    file delete $file
    if {!$failed} { return [list 0 $out $err] }
    # exec adds a line of its own to the output of a program that fails.
    regsub {\n?child process exited abnormally$} $out {} out
    list [lindex [dict get $info -errorcode] 2] $out $err
}

# Starts a program that goes on; returns its process id. Its log lines are appended to FILE. It does
# not outlive the test.
proc ::support::start {file name args} {
    exec setpriv --pdeathsig KILL -- {*}[program $name {*}$args] < /dev/null >>& $file &
}

# Ends it cleanly, and waits until it has ended.
proc ::support::terminate {pid {signal TERM}} {
    exec kill -$signal $pid
    ::wait::until {![::cluster::alive $pid]} 20000 "the end of process $pid"
}

proc ::support::text {file} {
    set f [open $file]
    fconfigure $f -encoding utf-8
    set text [read $f]
    close $f
    return $text
}

# Ends a test file: its database and folders go, the counts are printed.
proc ::support::done {} {
    variable folders
    variable database
    variable server
    foreach folder $folders { file delete -force $folder }
    if {$database ne {}} {
        catch {::cluster::sql $server "drop database if exists \"$database\" with (force)"}
    }
    set failed [expr {$::tcltest::numTests(Failed) > 0}]
    ::tcltest::cleanupTests
    exit $failed
}

package require pgsqlite
