# Every change of some tables into an append-only audit table, exactly once.
#
#   tclsh audit.tcl STREAM FILE ?-tables {t1 t2}? ?-follow 1?
#
# STREAM is the folder of a daystream, FILE an SQLite database. Each change becomes a row of the
# table `audit`; triggers refuse to change or remove one. The stream gives each transaction at least
# once to a registered reader. A row's key is the position of its line, so that what comes twice is
# there once: kill this at any moment and start it again, nothing is missing and nothing double.

package require pgsqlite
package require sqlite3

namespace eval ::audit {}

# Makes the table, once.
proc ::audit::create {db} {
    $db eval {
        PRAGMA journal_mode = wal;
        PRAGMA synchronous = full;
        CREATE TABLE IF NOT EXISTS audit (
            clock INTEGER NOT NULL, seq INTEGER NOT NULL,   -- position of the line
            at TEXT NOT NULL,                               -- when the log had it, UTC
            xid INTEGER, action TEXT NOT NULL, "table" TEXT NOT NULL,
            change TEXT NOT NULL,                           -- a Tcl dict: names and values
            PRIMARY KEY (clock, seq)
        ) WITHOUT ROWID;
        CREATE TRIGGER IF NOT EXISTS audit_update BEFORE UPDATE ON audit
            BEGIN SELECT raise(abort, 'the audit is append-only'); END;
        CREATE TRIGGER IF NOT EXISTS audit_delete BEFORE DELETE ON audit
            BEGIN SELECT raise(abort, 'the audit is append-only'); END;
    }
}

# Appends one change, given as a dict.
proc ::audit::append_change {db change} {
    set clock [dict get $change _c]
    set seq [dict get $change _s]
    set at [clock format $clock -format "%Y-%m-%d %H:%M:%SZ" -gmt 1]
    set xid [expr {[dict exists $change _xid] ? [dict get $change _xid] : {}}]
    set action [dict get $change _action]
    set table [dict get $change _table]
    if {[dict exists $change _schema]} { set table [dict get $change _schema].$table }
    # A table may have a column that is called as a pseudo-column is: then all stand in _columns.
    if {[dict exists $change _columns]} {
        set columns [dict get $change _columns]
    } else {
        set columns [dict remove $change {*}[daystream pseudo]]
    }
    # What is there already came before a crash that kept us from saying so.
    $db eval {
        INSERT OR IGNORE INTO audit VALUES ($clock, $seq, $at, $xid, $action, $table, $columns)
    }
}

# Takes what the stream has now: many transactions in one of SQLite's; returns how many. When
# reading fails, what is whole before that is kept, and confirmed, before the error is raised.
proc ::audit::take {db reader {most 1000}} {
    set count 0
    set failed 0
    $db eval {BEGIN IMMEDIATE; SAVEPOINT one}
    try {
        while {$count < $most} {
            set failed [catch {$reader next change} more info]
            if {$failed || !$more} break
            switch -- [dict get $change _action] {
                commit - message - schema {}
                default { append_change $db $change }
            }
            # The last line of a transaction is at the position where the reader is then.
            if {[list [dict get $change _c] [dict get $change _s]] eq [$reader position]} {
                $db eval {RELEASE one; SAVEPOINT one}
                incr count
            }
        }
        $db eval {ROLLBACK TO one; COMMIT}
    } on error {message info} {
        catch {$db eval ROLLBACK}
        return -options $info $message
    }
    # Only now: committed here first, confirmed there afterwards.
    $reader confirm
    if {$failed} { return -options $info $more }
    return $count
}

# Goes on as the stream grows, until something fails: that is the caller's error, and not a line
# from an event loop in which nothing happens any more.
proc ::audit::follow {db reader milliseconds} {
    while 1 {
        while {[take $db $reader]} {}
        after $milliseconds {set ::audit::awake 1}
        vwait ::audit::awake
    }
}

proc ::audit::main {stream file args} {
    set options [dict merge {-follow 0} $args]
    set follow [dict get $options -follow]
    sqlite3 ::audit::db $file
    ::audit::db timeout 10000
    create ::audit::db
    set reader [daystream open $stream -register audit -confirm manual -as dict \
        {*}[dict remove $options -follow]]
    if {$follow} { follow ::audit::db $reader 100 }
    while {[take ::audit::db $reader]} {}
    $reader close
    ::audit::db close
}

if {[info exists argv0] && [file normalize $argv0] eq [file normalize [info script]]} {
    ::audit::main {*}$argv
}
