# What the crash test is made of: an installation with failpoints, a writer, capture and apply as
# processes of their own, and the comparison at the end. All state is in the namespace.
#
# Randomness: PGSQLITE_SEED repeats the choices of an earlier run (which process dies, how long
# after what); the moments themselves are those of the machine.

namespace eval ::crash {
    variable here [file dirname [file normalize [info script]]]
    variable running {}
    # How long each process's log was when it was last started.
    variable logged {}
    variable seed [expr {[info exists ::env(PGSQLITE_SEED)] ? $::env(PGSQLITE_SEED)
        : [clock microseconds] % 1000000}]
    variable slot crash
    variable plugin pgoutput
    variable tables {ticker journal account loose {"Other Side"."vault ""A"""} wide scratch}
    # Tables of the next init.
    variable init_tables $tables
    expr {srand($seed)}
}

# A random whole number from low to high.
proc ::crash::random {low high} { expr {$low + int(rand() * ($high - $low + 1))} }

proc ::crash::slurp {file} {
    set f [open $file]
    fconfigure $f -encoding utf-8
    set text [read $f]
    close $f
    return $text
}

# What a process has logged since it was started (the end of it), for messages.
proc ::crash::log_end {name} {
    variable folder
    variable logged
    if {[catch {slurp $folder/$name.log} text]} { return "(no log)" }
    if {[dict exists $logged $name]} { set text [string range $text [dict get $logged $name] end] }
    string range $text end-3000 end
}

# --- the installation ---------------------------------------------------------------------------

# A copy of the installation under test whose library has the failpoints; returns its folder.
proc ::crash::install {to} {
    variable here
    set top [file dirname [file dirname $here]]
    set index [package ifneeded pgsqlite [package present pgsqlite]]
    set package [file dirname [lindex $index 1]]
    set from [file dirname [file dirname $package]]
    set target [expr {[info exists ::env(CARGO_TARGET_DIR)] ? $::env(CARGO_TARGET_DIR)
        : "$top/target"}]
    set cargo [expr {[info exists ::env(CARGO)] ? $::env(CARGO) : "cargo"}]
    # The development profile in the usual place: the Rust tests have built all of it already.
    exec $cargo build --quiet --locked --features failpoints --manifest-path $top/Cargo.toml \
        --target-dir $target 2>@1
    file mkdir $to/bin $to/lib
    set library $to/lib/[file tail $package]
    file copy $package $library
    set so [file tail [lindex $index 1]]
    file delete $library/$so
    file copy $target/debug/libpgsqlite.so $library/$so
    foreach program {deltastream deltamirror daystream} {
        set f [open $to/bin/$program {WRONLY CREAT} 0755]
        puts -nonewline $f [string map [list $from $to] [slurp $from/bin/$program]]
        close $f
    }
    return $to
}

# The names of the points at which that library kills, from the library itself, in the order in
# which they are passed.
proc ::crash::failpoints {} {
    variable stage
    lassign [glob $stage/lib/pgsqlite*/libpgsqlite*.so] so
    exec [info nameofexecutable] << "[list load $so Pgsqlite]; puts \[pgsqlite::failpoints\]"
}

# --- processes ----------------------------------------------------------------------------------

# Starts a program of the installation under a name; `failpoint` is empty or name:n.
proc ::crash::begin {name failpoint program args} {
    variable stage
    launch $name env TCLLIBPATH=[list $stage/lib] PGSQLITE_FAILPOINT=$failpoint \
        $stage/bin/$program {*}$args
}

# Starts any command under a name.
proc ::crash::launch {name args} {
    variable folder
    variable running
    variable logged
    set log $folder/$name.log
    catch {dict set logged $name [file size $log]}
    # NOTE: words, since the folder may have a space in its name.
    set command [list setpriv --pdeathsig KILL -- {*}$args >>$log 2>>$log]
    dict set running $name [open "|$command" w]
}

proc ::crash::process {name} {
    variable running
    pid [dict get $running $name]
}

proc ::crash::alive {name} {
    variable running
    expr {[dict exists $running $name] && [::cluster::alive [process $name]]}
}

# Takes a process that ended off the list; how it ended: `0`, an exit code, or a signal's name.
proc ::crash::collect {name} {
    variable running
    set channel [dict get $running $name]
    dict unset running $name
    if {![catch {close $channel} message options]} { return 0 }
    set code [dict get $options -errorcode]
    switch -- [lindex $code 0] {
        CHILDSTATUS { return [lindex $code 2] }
        CHILDKILLED { return [lindex $code 2] }
        default { return $code }
    }
}

proc ::crash::kill {name {signal KILL}} {
    # One that has ended by itself is a fault, whoever wanted it dead now.
    exec kill -$signal [process $name]
    ::wait::until {![alive $name]} 30000 "the end of $name after $signal"
    set how [collect $name]
    if {$how ne "SIG$signal" && !($signal eq "TERM" && $how eq "0")} {
        error "$name ended with $how after SIG$signal\n[log_end $name]"
    }
}

# Whether the slot is read.
proc ::crash::connected {} {
    variable server
    variable slot
    expr {[::cluster::sql $server crash [subst {
        select active from pg_replication_slots where slot_name = '$slot'}]] eq "t"}
}

# Every process that should run does; else an error with the end of its log.
proc ::crash::tend {} {
    variable running
    foreach name [dict keys $running] {
        if {![alive $name]} {
            error "$name ended by itself with [collect $name]\n[log_end $name]"
        }
    }
    return 1
}

proc ::crash::capture {{failpoint {}}} {
    variable conninfo
    variable stream
    variable slot
    # Small segments, so that there are many.
    begin capture $failpoint deltastream run -conninfo $conninfo -slot $slot -stream $stream \
        -segment_bytes 50000
}

proc ::crash::apply {{failpoint {}}} {
    variable file
    variable stream
    begin apply $failpoint deltamirror run -db $file -stream $stream
}

proc ::crash::init {{failpoint {}}} {
    variable conninfo
    variable file
    variable stream
    variable init_tables
    begin init $failpoint deltamirror init -conninfo $conninfo -db $file -stream $stream \
        -tables $init_tables
}

proc ::crash::setup {{failpoint {}}} {
    variable conninfo
    variable stream
    variable slot
    variable plugin
    variable tables
    begin setup $failpoint deltastream setup -conninfo $conninfo -slot $slot -stream $stream \
        -plugin $plugin -tables [concat $tables late]
}

# Changes in a table that nobody mirrors.
proc ::crash::elsewhere {} {
    variable server
    # More than the capture lets pass without confirming that it has read it.
    ::cluster::sql $server crash {
        insert into bystander select i, repeat('x', 1000) from generate_series(1, 20000) i
    }
}

# A program of the installation, to its end; returns its output, an error for a bad exit code.
proc ::crash::call {program args} {
    variable stage
    exec env TCLLIBPATH=[list $stage/lib] $stage/bin/$program {*}$args < /dev/null 2>@1
}

# --- the writer and the reader ------------------------------------------------------------------

proc ::crash::transactions {} {
    variable here
    variable folder
    set tick {with t as (update ticker set n = n + 1 where id = 1 returning n)
        insert into journal select n, txid_current(), '@' from t;}
    set words {}
    set name {}
    foreach line [split [slurp $here/crash/transactions.sql] \n] {
        if {[regexp {^-- (\w+) (\d+)$} $line -> name weight]} {
            set f($name) [open $folder/$name.sql w]
            lappend words -f $folder/$name.sql@$weight
        } elseif {$name ne {}} {
            puts $f($name) [expr {$line eq "tick" ? [string map [list @ $name] $tick] : $line}]
        }
    }
    foreach name [array names f] { close $f($name) }
    return $words
}

# Starts the writer: short runs of pgbench one after the other, since each ends with the server.
proc ::crash::write_on {rate} {
    variable conninfo
    variable folder
    variable server
    close [open $folder/writing w]
    set pgbench [list [::cluster::program $server pgbench] -n -c 3 -R $rate -T 20 --max-tries 20 \
        {*}[transactions] $conninfo]
    set quoted {}
    foreach word $pgbench { append quoted { '} [string map {' '\\''} $word] ' }
    set loop "while \[ -e '$folder/writing' \]; do $quoted; sleep 0.1; done"
    launch writer sh -c $loop
}

proc ::crash::write_no_more {} {
    variable folder
    file delete $folder/writing
    catch {exec kill -TERM {*}[::cluster::children [process writer]]}
    ::wait::until {![alive writer]} 30000 "the writer's end"
    collect writer
    # What a client that was killed has asked for is committed all the same, a moment later.
    variable server
    ::wait::until {[::cluster::sql $server {select count(*) from pg_stat_activity
        where application_name = 'pgbench'}] == 0} 30000 "the end of the writer's sessions"
}

proc ::crash::read_on {} {
    variable here
    variable folder
    variable file
    launch reader [info nameofexecutable] $here/crash/reader.tcl $file $folder/report $folder/read
}

# Ends the reader; its report.
proc ::crash::read_no_more {} {
    variable folder
    close [open $folder/read w]
    ::wait::until {![alive reader]} 30000 "the reader's end"
    set how [collect reader]
    if {$how ne "0"} { error "the reader ended with $how\n[log_end reader]" }
    slurp $folder/report
}

# --- how far it is ------------------------------------------------------------------------------

# The last transaction in the mirror; 0 when there is none yet.
proc ::crash::mirrored {} {
    variable file
    sqlite3 ::crash::peek $file -readonly 1
    try {
        ::crash::peek timeout 20000
        if {[catch {::crash::peek onecolumn {select n from ticker}} n]} { return 0 }
        expr {$n eq {} ? 0 : $n}
    } finally {
        ::crash::peek close
    }
}

proc ::crash::written {} {
    variable server
    ::cluster::sql $server crash {select n from ticker}
}

# Waits until the mirror has every transaction that is committed now.
proc ::crash::catch_up {} { beyond [expr {[written] - 1}] }

# Waits until the mirror has a later transaction than `n`.
proc ::crash::beyond {n} {
    if {[catch {::wait::until {[tend] && [mirrored] > $n} 60000} message]} {
        error "the mirror stays at $n: $message\ncapture: [log_end capture]\napply: [log_end apply]"
    }
}
