# Which tables of a mirror have changed, for a program that reads its file, whoever applies to it.
#
#   source watch.tcl
#   watch::start db {orders items} refresh
#
# `db` is a handle of the sqlite3 package on the mirror's file, for reading. In the event loop, ten
# times a second unless told otherwise, SQLite is asked whether another connection has written to
# the file (PRAGMA data_version, which reads no page of it). Only then the mirror's own counts are
# read: `touched` of a table is another number whenever any row of it may be another one. `refresh`
# is called with the list of the tables that have changed, at first with all of them, inside a read
# transaction: what it reads of several tables is of one moment, with whole transactions of the
# source. A name is that of the table in SQLite; one that is not in the mirror is never told.
#
#   watch::stop db

package require sqlite3

namespace eval ::watch {
    # By handle: tables, command, milliseconds, the version that was seen, touched by table.
    variable watched
    array set watched {}
    variable timers
    array set timers {}
}

proc ::watch::start {db tables command {every 100}} {
    variable watched
    stop $db
    set watched($db) [dict create tables $tables command $command every $every seen {} touched {}]
    look $db
}

proc ::watch::stop {db} {
    variable watched
    variable timers
    if {[info exists timers($db)]} { after cancel $timers($db) }
    unset -nocomplain timers($db) watched($db)
}

# Looks once, and again later. What `refresh` fails with is told as background errors are, and the
# tables are told again at the next look.
proc ::watch::look {db} {
    variable watched
    variable timers
    if {![info exists watched($db)]} return
    set status [catch { changes $db } result info]
    # The file may be locked for a moment, as while it is filled for the first time.
    if {$status && ![string match {*database is locked*} $result]} {
        {*}[interp bgerror {}] $result $info
    }
    if {![info exists watched($db)]} return
    set timers($db) [after [dict get $watched($db) every] [list ::watch::look $db]]
}

# Tells what has changed since the last time.
proc ::watch::changes {db} {
    variable watched
    # Before anything is read: what is written meanwhile makes it another one at the next look.
    set version [$db onecolumn {pragma data_version}]
    if {$version eq [dict get $watched($db) seen]} return
    $db transaction deferred {
        set now [$db eval {select name, touched from _deltamirror_table}]
        set changed {}
        foreach table [dict get $watched($db) tables] {
            if {![dict exists $now $table]} continue
            set before {}
            catch { set before [dict get $watched($db) touched $table] }
            if {$before ne [dict get $now $table]} { lappend changed $table }
        }
        if {[llength $changed]} {
            uplevel #0 [linsert [dict get $watched($db) command] end $changed]
        }
    }
    if {![info exists watched($db)]} return
    dict set watched($db) touched $now
    dict set watched($db) seen $version
}
