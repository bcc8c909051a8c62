# What the programs deltastream, deltamirror and daystream share: options, log lines, progress,
# signals, exit codes. The work itself is the commands' of the same names.
#
# Exit codes: see `exit_code`. Log lines go to stderr, one per event, as text or
# (-log json) as JSON objects. Progress is one line of a terminal, rewritten; none in a pipe.

namespace eval ::pgsqlite::program {
    variable name {}
    variable commands {}
    variable log text
    variable stopping {}
    variable progress_shown 0
    variable progress_began 0
    variable progress_last 0
    variable given {}
    # How often work without a terminal says that it goes on.
    variable still_ms 60000
}

# Runs the program NAME with its words.
#
# COMMANDS is a dict: sub-command -> {usage options summary script}. `usage` shows the options as
# help does, `options` maps each option's name (without its dash) to its default, an empty list
# `{}` standing for none and `!` for "must be given"; `-` names words without an option,
# as in `- {SOURCE}`. The script gets the variable `option`, an array by name; its result 1 is the
# exit code 1.
proc ::pgsqlite::program::main {program summary table words} {
    variable name $program
    variable commands $table
    variable about $summary
    foreach channel {stdout stderr} { fconfigure $channel -encoding utf-8 }
    set words [lmap word $words { decoded $word }]
    set word [lindex $words 0]
    if {$word in {version -version --version}} { told "$program [package require pgsqlite]" }
    set helped [expr {$word in {help -help --help -h}}]
    if {$helped} { set word [lindex $words 1] }
    if {$helped && $word eq {}} { told [help] }
    if {![dict exists $commands $word]} {
        if {$word ne {}} { puts stderr "$program: there is no command \"[shown $word]\"" }
        puts stderr [help]
        exit 2
    }
    set words [lrange $words 1 end]
    if {$helped || $words eq "help" || [lsearch -regexp $words {^(--?help|-h)$}] >= 0} {
        told [help $word]
    }
    if {[catch {parse $word $words} options]} {
        puts stderr "$program $word: [shown $options]"
        puts stderr [help $word]
        exit 2
    }
    variable log [dict get $options log]
    set done 1
    set status [catch {
        set done [run [dict get $commands $word script] $options]
        if {$done ni {1 3 4 5}} { set done 0 }
        flush stdout
        set done
    } result info]
    exit [finish $status $result $info $done]
}

# A word of the command line as UTF-8, which is what files and databases get. In the C locale, that
# of cron and of many a container, Tcl takes its bytes for Latin-1.
proc ::pgsqlite::program::decoded {word} {
    if {[encoding system] eq "utf-8"} { return $word }
    set bytes [encoding convertto [encoding system] $word]
    if {[catch {encoding convertfrom utf-8 $bytes} text]} { return $word }
    # Bytes that are no UTF-8 are what the locale says.
    expr {[encoding convertto utf-8 $text] eq $bytes ? $text : $word}
}

# Prints what was asked for, and nothing else is to be done.
proc ::pgsqlite::program::told {text} {
    set status [catch { puts $text; flush stdout } result info]
    exit [finish $status $result $info 0]
}

# The script runs in a procedure of its own, with the options in the array `option`.
proc ::pgsqlite::program::run {script options} {
    array set option $options
    eval $script
}

# Turns how the work ended into an exit code, and says so. `unheard`: the code of work whose end
# nobody reads.
proc ::pgsqlite::program::finish {status result info {unheard 1}} {
    variable stopping
    progress_end
    if {$status in {0 2}} { return [expr {$result in {1 3 4 5} ? $result : 0}] }
    set code [dict get $info -errorcode]
    # What waits for another host is ended by a signal whose script has not run yet.
    set lost [expr {[lrange $code 0 2] eq {PGSQLITE DAYSTREAM LOST}}]
    if {$lost} update
    if {[lrange $code 0 1] eq {PGSQLITE STOPPED} || ($lost && $stopping ne {})} {
        event info stopped signal $stopping
        return 0
    }
    # A reader that has enough (`daystream info ... | head`) wants to hear no more, nor why.
    if {[lrange $code 0 1] eq {POSIX EPIPE}} { return $unheard }
    event error failed message $result code $code
    exit_code $code [expr {[dict exists $info -class] ? [dict get $info -class] : {}}]
}

# What a supervisor does about it: 0 done; 1 failed, or what was compared or verified differs; 2
# the words are wrong; 3 the same command may succeed later, by itself (a server that is down, a
# lock); 4 the two sides no longer fit, which a person mends (a changed table, a lost slot); 5 a
# change that cannot be applied as it is.
proc ::pgsqlite::program::exit_code {code class} {
    if {[usage_error $code]} { return 2 }
    switch -- $class {
        retry { return 3 }
        drift { return 4 }
        poison { return 5 }
    }
    return 1
}

proc ::pgsqlite::program::usage_error {code} {
    expr {[lrange $code 0 1] in {{TCL WRONGARGS} {PGSQLITE USAGE} {TCL VALUE}}
        || [lrange $code 0 2] eq {TCL LOOKUP INDEX}}
}

# Options of a sub-command, with their defaults, as a dict. An error is a usage error.
proc ::pgsqlite::program::parse {command words} {
    variable commands
    variable given {}
    set known [dict merge [dict get $commands $command options] {log text}]
    set plain {}
    while {[llength $words]} {
        set words [lassign $words word]
        if {![regexp {^--?([a-z][a-z0-9_]*)(?:=(.*))?$} $word -> option value]} {
            if {[string match -?* $word]} { error "bad option \"$word\"" }
            lappend plain $word
            continue
        }
        if {![dict exists $known $option]} {
            error "bad option \"$word\": [meant $option $known]must be\
                -[join [lsort [named $known]] {, -}]"
        }
        if {![string match *=* $word]} {
            if {![llength $words]} { error "value for \"$word\" missing" }
            set words [lassign $words value]
        }
        dict set given $option $value
    }
    foreach what [expr {[dict exists $known -] ? [dict get $known -] : {}}] {
        if {![llength $plain]} { error "$what is missing" }
        set plain [lassign $plain value]
        dict set given $what $value
    }
    if {[llength $plain]} { error "\"[lindex $plain 0]\" is one word too many" }
    set options $given
    dict for {option default} $known {
        if {$option eq "-" || [dict exists $given $option]} continue
        if {$default eq "!"} { error "-$option is missing" }
        dict set options $option $default
    }
    if {[dict exists $options tables]} { check_tables [dict get $options tables] }
    if {[dict get $options log] ni {text json}} { error "-log must be text or json" }
    return $options
}

# The option that was meant, where one begins like it or the other way round.
proc ::pgsqlite::program::meant {option known} {
    foreach name [named $known] {
        if {[string match $name* $option] || [string match $option* $name]} {
            return "did you mean -$name? "
        }
    }
}

# Words that are a list of tables: blanks stand between them.
proc ::pgsqlite::program::check_tables {tables} {
    if {[catch {llength $tables}]} return
    foreach table $tables {
        if {[regexp {^[^"]+,[^"]*$} $table]} {
            error "-tables has a comma in \"$table\": write blanks between tables,\
                -tables \"[join [string map {, { }} [join $tables]]]\""
        }
    }
}

proc ::pgsqlite::program::named {known} {
    lsearch -all -inline -not -exact [dict keys $known] -
}

# The words `-option value` of those options that were given, for the Tcl command.
proc ::pgsqlite::program::words {args} {
    variable given
    set words {}
    foreach name $args {
        if {[dict exists $given $name]} { lappend words -$name [dict get $given $name] }
    }
    return $words
}

proc ::pgsqlite::program::help {{command {}}} {
    variable name
    variable commands
    variable about
    if {[dict exists $commands $command]} {
        set lines [list "usage: $name $command [dict get $commands $command usage]"]
        lappend lines {} [dict get $commands $command summary]
        lappend lines {} "Options may be written -option value, --option value or --option=value."
        lappend lines "-log json writes log lines as JSON. Exit code: 0 done, 1 failed, 2 usage," \
            "3 may succeed later, 4 the two sides no longer fit, 5 a change cannot be applied."
        return [join $lines \n]
    }
    set lines [list "$name: $about" {} "usage: $name command ?-option value ...?" {}]
    dict for {command entry} $commands {
        lappend lines [format "  %-8s %s" $command [lindex [split [dict get $entry summary] \n] 0]]
    }
    lappend lines {} "$name help COMMAND tells more; `man $name` tells all."
    join $lines \n
}

# Writes one log line: what happened, and its details as names and values.
proc ::pgsqlite::program::event {level what args} {
    variable log
    variable name
    progress_end
    set now [clock microseconds]
    set time [clock format [expr {$now / 1000000}] -format %Y-%m-%dT%H:%M:%S -gmt 1]
    append time [format .%03dZ [expr {$now / 1000 % 1000}]]
    if {$log eq "json"} {
        set fields {}
        foreach {key value} [list time $time level $level program $name event $what {*}$args] {
            lappend fields "[json $key]:[json $value]"
        }
        puts stderr "{[join $fields ,]}"
    } else {
        set line "$time $level $what"
        foreach {key value} $args {
            if {[regexp {[\s"=]} $value] || $value eq {} || [shown $value] ne $value} {
                set value [quoted $value]
            }
            append line " $key=$value"
        }
        puts stderr $line
    }
}

# A JSON value: integers as they are, all else a string.
proc ::pgsqlite::program::json {value} {
    if {[regexp {^(0|-?[1-9][0-9]{0,17})$} $value]} { return $value }
    quoted $value
}

# A value in quotes, as JSON has it too.
proc ::pgsqlite::program::quoted {value} {
    return "\"[shown [string map {\\ \\\\ \" \\\" \n \\n \r \\r \t \\t} $value]]\""
}

# What others made, for a terminal or a log: what a terminal would obey (ESC, C1), what breaks or
# turns a line (U+2028, U+202E) and what cannot be seen, written out. As src/shown.rs has it.
proc ::pgsqlite::program::shown {text} {
    set hidden {[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e}
    append hidden {\u2060-\u206f\ufeff\ufff9-\ufffb]}
    if {![regexp $hidden $text]} { return $text }
    set out {}
    foreach char [split $text {}] {
        append out [expr {[regexp $hidden $char] ? [format \\u%04x [scan $char %c]] : $char}]
    }
    return $out
}

# SIGINT and SIGTERM end the work cleanly: SCRIPT is what begins the end.
proc ::pgsqlite::program::on_stop {script} {
    foreach signal {SIGINT SIGTERM} {
        ::pgsqlite::on_signal $signal [list ::pgsqlite::program::stop $signal $script]
    }
}

proc ::pgsqlite::program::stop {signal script} {
    variable stopping
    # A second signal does not wait for the clean end of the first.
    if {$stopping ne {}} { exit 1 }
    set stopping $signal
    uplevel #0 $script
}

# For long commands that block: called from their progress callbacks, raises the stop there.
proc ::pgsqlite::program::check_stop {} {
    variable stopping
    update
    if {$stopping ne {}} {
        return -code error -errorcode {PGSQLITE STOPPED} "stopped by $stopping"
    }
}

proc ::pgsqlite::program::terminal {} {
    variable is_terminal
    if {![info exists is_terminal]} { set is_terminal [expr {![catch {fconfigure stderr -mode}]}] }
    return $is_terminal
}

# Rewrites the terminal's progress line, at most ten times a second: rows, rows/s, time left.
# Without a terminal, a log line each minute.
proc ::pgsqlite::program::progress {what done {total 0}} {
    variable progress_shown
    variable progress_began
    variable progress_last
    set now [clock milliseconds]
    if {![terminal]} { return [still $now $what $done $total] }
    if {!$progress_shown} { set progress_began $now }
    if {$progress_shown && $now - $progress_last < 100} return
    set progress_last $now
    set progress_shown 1
    set rate [expr {$done * 1000 / max(1, $now - $progress_began)}]
    set line "$what: $done rows, $rate rows/s"
    if {$total > $done && $rate > 0} { append line ", [expr {($total - $done) / $rate}] s left" }
    puts -nonewline stderr "\r[shown $line]\033\[K"
    flush stderr
}

# Says that work goes on, when a minute has gone by without a line.
proc ::pgsqlite::program::still {now what done total} {
    variable said
    variable still_ms
    if {![info exists said]} { set said $now }
    if {$now - $said < $still_ms} return
    set said $now
    set details [list table $what rows $done]
    if {$total > $done} { lappend details of_about $total }
    event info copying {*}$details
}

proc ::pgsqlite::program::progress_end {} {
    variable progress_shown
    if {$progress_shown} { puts stderr {} }
    set progress_shown 0
}

# Says how long work ended: stopped by a signal or at its end, with these of its counts (or all).
proc ::pgsqlite::program::ended {counts {names {}}} {
    variable stopping
    if {$names eq {}} { set names [dict keys $counts] }
    set details {}
    foreach key $names {
        if {[dict exists $counts $key]} { lappend details $key [dict get $counts $key] }
    }
    if {$stopping ne {}} { lappend details signal $stopping }
    event info [expr {$stopping eq {} ? "ended" : "stopped"}] {*}$details
}

# A dict as lines `name value`, for status commands.
proc ::pgsqlite::program::print {dict} {
    set width 0
    dict for {key value} $dict { set width [expr {max($width, [string length $key])}] }
    dict for {key value} $dict { puts [format "%-*s  %s" $width $key [shown $value]] }
}
