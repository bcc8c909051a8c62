# Rows of PostgreSQL kept in memory by a Tcl program, and dropped as soon as they change.
#
#   source cache.tcl
#   cache::watch /var/lib/shop/stream {orders id items {order line}}
#   set row [cache::get orders 17 {load_order 17}]
#
# `watch` follows a daystream from its end, in the event loop: tables, and the columns of their
# keys. `get` gives the cached value of a key, or evaluates the script and keeps its result. A
# change of a row drops its key, a truncate the whole table. When the stream cannot be read, nothing
# is cached any more: a slow program is better than a wrong one.
#
# A value cannot be older than the last change seen: the script reads from the database, and a
# change that it did not see yet arrives here afterwards, and drops it. One that arrives while the
# script serves events keeps the value from being cached at all.

package require pgsqlite

namespace eval ::cache {
    # values: a dict for each table; keys: table -> columns of its key; error: why it does not work;
    # told: how often the stream has told something.
    variable values
    variable told 0
    array set values {}
    variable keys {}
    variable stream {}
    variable error {not watching}
}

# Begins to follow; the tables are those of the keys.
proc ::cache::watch {source tables} {
    variable keys $tables
    variable error {}
    variable stream
    forget
    set stream [daystream open $source -from end -tables [dict keys $tables] -as dict \
        -actions {insert update replace delete truncate}]
    $stream follow -command ::cache::changed
}

# Stops following, and caching.
proc ::cache::stop {} {
    variable stream
    variable error {not watching}
    forget
    if {$stream ne {}} { $stream close }
    set stream {}
}

# The value of a key (a list, where the key has several columns), from memory or by the script.
proc ::cache::get {table key script} {
    variable values
    variable error
    variable told
    if {[info exists values($table)] && [dict exists $values($table) $key]} {
        return [dict get $values($table) $key]
    }
    set before $told
    set value [uplevel 1 $script]
    if {$error eq {} && $told == $before} { dict set values($table) $key $value }
    return $value
}

proc ::cache::forget {} {
    variable values
    array unset values
}

# What the stream tells.
proc ::cache::changed {what args} {
    variable values
    variable keys
    variable error
    variable told
    incr told
    if {$what ne "change"} {
        set error [expr {$what eq "error" ? [dict get $args message] : "the stream has ended"}]
        forget
        return
    }
    set change [lindex $args 0]
    set table [dict get $change _table]
    if {[dict exists $change _schema]} { set table [dict get $change _schema].$table }
    if {![info exists values($table)]} return
    if {[dict get $change _action] eq "truncate"} {
        unset values($table)
        return
    }
    set key {}
    foreach column [dict get $keys $table] {
        # A line that does not tell the key, as of a table without one: everything may have changed.
        if {![dict exists $change $column]} {
            unset values($table)
            return
        }
        lappend key [dict get $change $column]
    }
    if {[llength $key] == 1} { set key [lindex $key 0] }
    dict unset values($table) $key
}
