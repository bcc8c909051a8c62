#!/usr/bin/env wish
# A window with the first rows of a mirrored table, which are always those that the mirror has.
#
#   wish table.tcl FILE TABLE ?ROWS?
#
# The mirror may be followed by any process (deltamirror run -db FILE ...). Nothing is read again
# unless this very table has changed.

package require Tk
package require sqlite3
source [file join [file dirname [file normalize [info script]]] watch.tcl]

namespace eval ::table {}

# Fills the widget with the first rows; the line that is chosen stays chosen.
proc ::table::refresh {db tree table limit changed} {
    set quoted "\"[string map {\" \"\"} $table]\""
    set focus [$tree focus]
    set items {}
    $db eval "select rowid as \"\", * from main.$quoted limit $limit" row {
        # The row's number is the line's name; the columns follow.
        set columns [lrange $row(*) 1 end]
        lappend items $row() [lmap column $columns { set row($column) }]
    }
    if {![info exists columns]} {
        set columns [$db eval "select name from pragma_table_info('[string map {' ''} $table]')"]
    }
    $tree configure -columns $columns -show headings
    foreach column $columns { $tree heading $column -text $column }
    $tree delete [$tree children {}]
    foreach {id values} $items { $tree insert {} end -id $id -values $values }
    if {$focus ne {} && [$tree exists $focus]} { $tree selection set [list $focus] }
}

proc ::table::open {file table limit} {
    sqlite3 ::table::db $file -readonly 1
    ttk::treeview .rows -yscrollcommand {.bar set}
    ttk::scrollbar .bar -command {.rows yview}
    pack .bar -side right -fill y
    pack .rows -side left -fill both -expand 1
    wm title . "$table: [file tail $file]"
    watch::start ::table::db [list $table] [list ::table::refresh ::table::db .rows $table $limit]
}

if {[llength $argv] ni {2 3}} {
    puts stderr "usage: wish table.tcl FILE TABLE ?ROWS?"
    exit 2
}
lassign $argv file table limit
::table::open $file $table [expr {$limit eq {} ? 1000 : int($limit)}]
