# Private PostgreSQL clusters for tests, benchmarks and the demo.
#
# A cluster lives in a folder of its own under the system's temporary folder, listens on a Unix
# socket in it (and on 127.0.0.1 only when asked), has wal_level=logical, and goes away with the
# process that made it, also when that one is killed. fsync is off: a test kills processes, not
# machines. PostgreSQL refuses to run as root, so for root it runs as the user postgres.
#
#   set c [cluster::create ?-bindir DIR? ?-settings {name value ...}? ?-tcp 1? ?-dir DIR -keep 1?]
#   cluster::conninfo $c ?database? ?keyword value ...?
#   cluster::sql $c ?database? TEXT                 by psql: rows as lines, columns by TAB
#   cluster::psql $c database ARG ...               any other call of psql
#   cluster::stop $c ?fast|immediate|smart?; start $c; restart $c; crash $c (kill -9)
#   cluster::postmaster $c                          its process id
#   cluster::dsn $c name                            makes a fresh database
#   cluster::destroy $c

package require Tcl 8.6-
source [file join [file dirname [file normalize [info script]]] wait.tcl]

namespace eval ::cluster {
    variable made {}
    variable sequence 0
}

# Where the server's programs are: PGSQLITE_PG_BINDIR, else the newest on this machine.
proc ::cluster::default_bindir {} {
    if {[info exists ::env(PGSQLITE_PG_BINDIR)]} { return $::env(PGSQLITE_PG_BINDIR) }
    set found {}
    foreach pattern {/usr/lib/postgresql/*/bin /usr/pgsql-*/bin} {
        lappend found {*}[glob -nocomplain $pattern]
    }
    foreach dir [lsort -dictionary -decreasing $found] {
        if {[file executable $dir/initdb] && [file executable $dir/postgres]} { return $dir }
    }
    foreach dir [split $::env(PATH) :] {
        if {[file executable $dir/initdb] && [file executable $dir/postgres]} { return $dir }
    }
    error "no PostgreSQL server found: tools/install-packages, or set PGSQLITE_PG_BINDIR"
}

# Client programs (psql, pgbench) beside the server, else of the system.
proc ::cluster::program {c name} {
    variable $c
    set path [file join [set ${c}(bindir)] $name]
    if {[file executable $path]} { return $path }
    foreach dir [concat [split $::env(PATH) :] [glob -nocomplain /usr/lib/postgresql/*/bin]] {
        if {[file executable $dir/$name]} { return $dir/$name }
    }
    error "no $name on this machine"
}

proc ::cluster::root {} {
    variable uid
    if {![info exists uid]} { set uid [exec id -u] }
    expr {$uid == 0}
}

# The words that run a program as the server's user, dying with this process when tied.
proc ::cluster::as_server {c {tied 0}} {
    variable $c
    set words {}
    if {[root]} { lappend words --reuid=postgres --regid=postgres --init-groups }
    if {$tied} { lappend words --pdeathsig QUIT }
    if {[llength $words]} { set words [list setpriv {*}$words --] }
    if {[set ${c}(libdir)] ne {}} {
        set words [list {*}$words env LD_LIBRARY_PATH=[set ${c}(libdir)]]
    }
    return $words
}

proc ::cluster::create {args} {
    variable made
    variable sequence
    array set option {-bindir {} -settings {} -tcp 0 -libdir {} -initdb {} -dir {} -keep 0}
    foreach {name value} $args {
        if {![info exists option($name)]} { error "no option $name of cluster::create" }
        set option($name) $value
    }
    set c cluster[incr sequence]
    variable $c
    if {$option(-bindir) eq {}} {
        set option(-bindir) [default_bindir]
        if {[info exists ::env(PGSQLITE_PG_LIBDIR)]} {
            set option(-libdir) $::env(PGSQLITE_PG_LIBDIR)
        }
    }
    array set $c [list bindir $option(-bindir) libdir $option(-libdir) tcp $option(-tcp) \
        owner [::pid] keep $option(-keep)]
    set dir $option(-dir)
    if {$dir eq {}} {
        set dir [exec mktemp -d -t pgsqlite.XXXXXXXX]
    } else {
        exec mkdir -m 700 $dir
    }
    set ${c}(dir) $dir
    set ${c}(data) $dir/data
    set ${c}(port) [expr {$option(-tcp) ? [free_port] : 5432}]
    if {!$option(-keep)} { lappend made $c }
    if {[root]} { exec chown postgres: $dir }
    file attributes $dir -permissions 0700
    # The server's programs must not depend on where we are: the folder may be closed to its user.
    in_dir $dir {
        exec {*}[as_server $c] $option(-bindir)/initdb -D $dir/data -U postgres -A trust \
            --encoding=UTF8 --locale=C --no-sync {*}$option(-initdb) >&@ [log $c]
    }
    set settings [dict merge [dict create \
        listen_addresses [expr {$option(-tcp) ? "'127.0.0.1'" : "''"}] \
        port [set ${c}(port)] unix_socket_directories '$dir' \
        wal_level logical max_wal_senders 20 max_replication_slots 20 \
        max_slot_wal_keep_size 10GB \
        max_connections 60 fsync off shared_buffers 64MB autovacuum_naptime 10s \
        wal_sender_timeout 10s log_min_messages warning timezone UTC \
        max_wal_size 256MB] $option(-settings)]
    set f [open $dir/settings w]
    dict for {name value} $settings { puts $f "$name = $value" }
    close $f
    set f [open $dir/data/postgresql.conf a]
    puts $f "include '$dir/settings'"
    close $f
    if {[root]} { exec chown postgres: $dir/settings }
    start $c
    return $c
}

# What another process needs to use the same server, and the other end of it: an adopted server can
# be talked to, but belongs to the process that made it.
proc ::cluster::address {c} {
    variable $c
    set words {}
    foreach name {bindir libdir dir data port tcp} { lappend words $name [set ${c}($name)] }
    return $words
}

proc ::cluster::adopt {args} {
    variable sequence
    set c cluster[incr sequence]
    variable $c
    array set $c [list keep 1 {*}$args]
    return $c
}

# A port nobody listens on now.
proc ::cluster::free_port {} {
    set server [socket -server {} -myaddr 127.0.0.1 0]
    set port [lindex [fconfigure $server -sockname] 2]
    close $server
    return $port
}

proc ::cluster::in_dir {dir body} {
    set here [pwd]
    cd $dir
    try { uplevel 1 $body } finally { cd $here }
}

# An open channel to the end of the server's log.
proc ::cluster::log {c} {
    variable $c
    if {![info exists ${c}(log)]} { set ${c}(log) [open [set ${c}(dir)]/log a] }
    return [set ${c}(log)]
}

proc ::cluster::log_text {c} {
    variable $c
    set f [open [set ${c}(dir)]/log]
    set text [read $f]
    close $f
    return $text
}

# Starts the server as a child of this process and waits until it takes connections.
proc ::cluster::start {c} {
    variable $c
    set dir [set ${c}(dir)]
    set command [list {*}[as_server $c [expr {![set ${c}(keep)]}]] \
        [set ${c}(bindir)]/postgres -D $dir/data]
    # One that stays must not hear of the terminal's Ctrl-C.
    if {[set ${c}(keep)]} { set command [list setsid {*}$command] }
    in_dir $dir {
        set ${c}(child) [exec {*}$command < /dev/null >&@ [log $c] &]
    }
    if {[catch {wait::until {[ready $c]} 60000} message]} {
        error "the server did not start: $message\n[log_text $c]"
    }
    return
}

# Takes connections? The server itself says so in its pid file, which needs no client program.
proc ::cluster::ready {c} {
    variable $c
    if {[catch {open [set ${c}(data)]/postmaster.pid} f]} {
        if {![alive [set ${c}(child)]]} { error "it ended\n[log_text $c]" }
        return 0
    }
    set lines [split [read $f] \n]
    close $f
    expr {[string trim [lindex $lines 7]] eq "ready" && [lindex $lines 0] == [set ${c}(child)]}
}

# Whether a process still holds its files, locks and ports: a killed one whose first thread is gone
# does as long as another of its threads is not.
proc ::cluster::alive {pid} {
    if {[catch {open /proc/$pid/stat} f]} { return 0 }
    set text [read $f]
    close $f
    set state [lindex [string range $text [string last ) $text]+2 end] 0]
    expr {$state ni {Z X} || [llength [glob -nocomplain -directory /proc/$pid/task *]] > 1}
}

proc ::cluster::postmaster {c} {
    variable $c
    return [set ${c}(child)]
}

proc ::cluster::stop {c {mode fast}} {
    variable $c
    set pid [set ${c}(child)]
    if {![alive $pid]} { return }
    exec kill -[dict get {smart TERM fast INT immediate QUIT} $mode] $pid
    wait::until {![alive $pid]} 60000 "the server's end"
    return
}

proc ::cluster::restart {c {mode fast}} {
    stop $c $mode
    start $c
}

# Kills the server with all its processes, as a power cut would, without touching its files.
proc ::cluster::crash {c} {
    variable $c
    set pid [set ${c}(child)]
    set all [list $pid {*}[children $pid]]
    catch {exec kill -KILL {*}$all}
    foreach one $all { wait::until {![alive $one]} 10000 "the end of $one" }
    file delete [set ${c}(data)]/postmaster.pid
    return
}

proc ::cluster::children {pid} {
    set found {}
    foreach file [glob -nocomplain /proc/$pid/task/*/children] {
        if {[catch {open $file} f]} continue
        lappend found {*}[read $f]
        close $f
    }
    return $found
}

# A libpq conninfo of the superuser; more keywords may follow, and override.
proc ::cluster::conninfo {c {database postgres} args} {
    variable $c
    set words [dict merge [dict create host [set ${c}(dir)] port [set ${c}(port)] \
        user postgres dbname $database] $args]
    set text {}
    dict for {name value} $words {
        lappend text "$name='[string map {\\ \\\\ ' \\'} $value]'"
    }
    join $text
}

# Host and port for `-host` and TCP clients; only with -tcp 1.
proc ::cluster::port {c} {
    variable $c
    return [set ${c}(port)]
}

proc ::cluster::dir {c} {
    variable $c
    return [set ${c}(dir)]
}

proc ::cluster::psql {c database args} {
    set f [open [list |[program $c psql] -X -q -v ON_ERROR_STOP=1 \
        -d [conninfo $c $database] {*}$args 2>@1]]
    fconfigure $f -encoding utf-8
    set text [read $f]
    if {[catch {close $f}]} { error [string trimright $text \n] }
    string trimright $text \n
}

proc ::cluster::sql {c args} {
    lassign [expr {[llength $args] == 1 ? [list postgres [lindex $args 0]] : $args}] database text
    set file [file join /tmp pgsqlite-[::pid]-[clock microseconds].sql]
    set f [open $file {WRONLY CREAT EXCL} 0600]
    fconfigure $f -encoding utf-8 -translation lf
    puts $f $text
    close $f
    try {
        psql $c $database -A -t -F \t -f $file
    } finally {
        file delete $file
    }
}

# A fresh, empty database of that name; returns its conninfo.
proc ::cluster::dsn {c name} {
    sql $c "drop database if exists \"$name\" with (force)"
    sql $c "create database \"$name\""
    conninfo $c $name
}

proc ::cluster::destroy {c} {
    variable made
    variable $c
    if {[info exists ${c}(child)]} { catch {stop $c immediate} }
    catch {close [set ${c}(log)]}
    file delete -force [set ${c}(dir)]
    set made [lsearch -all -inline -not -exact $made $c]
    unset $c
    return
}

proc ::cluster::destroy_all {} {
    variable made
    foreach c $made {
        variable $c
        # A forked child does not take its parent's clusters along.
        if {[set ${c}(owner)] == [::pid]} { catch {destroy $c} }
    }
}

# `exit` destroys what this process made.
if {[info commands ::cluster::exit_plainly] eq {}} {
    rename ::exit ::cluster::exit_plainly
    proc ::exit {{code 0}} {
        ::cluster::destroy_all
        ::cluster::exit_plainly $code
    }
}
