# Rows of PostgreSQL kept in memory by a Tcl program, and dropped as soon as they change.
#
#   source cache.tcl
#   cache::watch /var/lib/shop/stream {orders id items {order line}} {snapshot $conn}
#   set row [cache::get orders 17 {load_order 17}]
#
# `watch` follows a daystream from its end, in the event loop: tables, and the columns of their
# keys. `get` gives the cached value of a key, or evaluates the script and keeps its result. A
# change of a row drops its key, a truncate the whole table. When the stream cannot be read, nothing
# is cached any more: a slow program is better than a wrong one.
#
# The script reads from the database. A change that it did not see and that comes here afterwards
# drops the value. But a change may also come here before a query can see it, as when its COMMIT
# waits for a standby: what is read then is old, and nothing comes that would drop it. So before
# each script the third word of `watch` is asked for a snapshot of the same server, as text, and the
# value is kept only when that snapshot sees the last change of the key:
#
#   proc snapshot {conn} {
#       set result [pg_exec $conn "select pg_catalog.pg_current_snapshot()"]
#       try { pg_result $result -list } finally { pg_result $result -clear }
#   }
#
# A change that comes while the script serves events keeps the value from being cached at all.

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
    # What a snapshot must see. changes: {table key} -> number of the transaction that changed it
    # last, oldest first; the key `all` for a whole table. floor: of those that were too many to
    # keep, the greatest.
    variable snapshot {}
    variable changes {}
    variable floor {}
    variable changes_max 10000
}

# Begins to follow; the tables are those of the keys.
proc ::cache::watch {source tables snapshot_script} {
    variable keys $tables
    variable error {}
    variable snapshot $snapshot_script
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
    variable snapshot
    if {[info exists values($table)] && [dict exists $values($table) $key]} {
        return [dict get $values($table) $key]
    }
    set before $told
    # NOTE: taken first: what it sees, the script sees too.
    set seen [expr {$error eq {} && [sees [uplevel #0 $snapshot] $table $key]}]
    set value [uplevel 1 $script]
    if {$seen && $error eq {} && $told == $before} { dict set values($table) $key $value }
    return $value
}

# Whether the snapshot, `xmin:xmax:xid,xid...`, sees the last change of a key.
proc ::cache::sees {snapshot table key} {
    variable changes
    variable floor
    lassign [split $snapshot :] xmin xmax running
    # Transactions have 32 bits in the stream, and begin again at 3 after 2^32.
    set running [lmap xid [split $running ,] { expr {$xid & 0xffffffff} }]
    # What it sees, every later one sees too: that needs no memory.
    dict for {changed xid} $changes {
        if {![visible $xid $xmax $running]} break
        dict unset changes $changed
    }
    if {$floor ne {}} {
        if {![before $floor $xmin]} { return 0 }
        set floor {}
    }
    foreach changed [list [list $table key $key] [list $table all]] {
        if {[dict exists $changes $changed]
                && ![visible [dict get $changes $changed] $xmax $running]} {
            return 0
        }
    }
    return 1
}

proc ::cache::visible {xid xmax running} {
    expr {[before $xid $xmax] && $xid ni $running}
}

# Whether a transaction's number comes before another one, round the end of 32 bits.
proc ::cache::before {xid other} {
    set ahead [expr {($other - $xid) & 0xffffffff}]
    expr {$ahead > 0 && $ahead < 0x80000000}
}

# A transaction has changed a key, or `all` of a table.
proc ::cache::note {changed xid} {
    variable changes
    variable changes_max
    variable floor
    # NOTE: at the end, where the newest are.
    dict unset changes $changed
    dict set changes $changed $xid
    if {[dict size $changes] > $changes_max} {
        dict for {oldest xid} $changes break
        dict unset changes $oldest
        if {$floor eq {} || [before $floor $xid]} { set floor $xid }
    }
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
    set columns $change
    # Where a column is called as a pseudo-column is, all stand there.
    if {[dict exists $change _columns]} { set columns [dict get $change _columns] }
    set key {}
    foreach column [dict get $keys $table] {
        # A truncate, or a line that does not tell the key, as of a table without one: everything
        # may have changed.
        if {[dict get $change _action] eq "truncate" || ![dict exists $columns $column]} {
            note [list $table all] [dict get $change _xid]
            unset -nocomplain values($table)
            return
        }
        lappend key [dict get $columns $column]
    }
    if {[llength $key] == 1} { set key [lindex $key 0] }
    note [list $table key $key] [dict get $change _xid]
    if {[info exists values($table)]} { dict unset values($table) $key }
}
