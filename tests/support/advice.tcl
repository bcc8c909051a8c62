# For advice*.test: the commands in messages, typed; and the strings of the sources.

# The commands that a message advises. A log line has quotes of its own, and backslashes before
# those of the message.
proc advised {text} {
    set text [string map {\\\\ \\ \\\" \"} $text]
    lmap {- command} [regexp -all -inline {`([^`]+)`} $text] { set command }
}

# Commands that did what they were advised for, as the messages had them.
set worked {}

# A command of the shell, with what the message could not know.
proc completed {command known} {
    foreach {option value} $known {
        regsub -- "$option \\.\\.\\." $command "$option '[string map {' '\\''} $value]'" command
    }
    return $command
}

# Types it; its exit code and its output.
proc typed {command {known {}}} {
    set advised $command
    set command [completed $command $known]
    set failed [catch {
        exec env PATH=$::bin:$::env(PATH) sh -c "exec 2>&1; $command" < /dev/null
    } out info]
    if {!$failed} { lappend ::worked $advised }
    list [expr {$failed ? [lindex [dict get $info -errorcode] 2] : 0}] $out $command
}

# Types a statement of SQL; each `...` stands for the next of WORDS.
proc stated {statement args} {
    lappend ::worked $statement
    foreach word $args { regsub {\.\.\.} $statement $word statement }
    support::psql $statement
}

# All commands that a message advises, typed one after the other.
proc all {text known} {
    lmap command [advised $text] { lindex [typed $command $known] 0 }
}

# What a program says when it fails, and its exit code.
proc failing {args} {
    lassign [support::run {*}$args] code out err
    if {!$code} { error "no error: $args" }
    list $code $err
}

# Advised, and not typed in advice.test, and where or why not; what advice_more.test types it says.
set elsewhere {
    {ALTER TABLE ... REPLICA IDENTITY USING INDEX ...} {6.5, where columns can be left out}
    {ALTER PUBLICATION {} SET (publish_via_partition_root = true)} {6.5}
    {ALTER TABLE {} REPLICA IDENTITY FULL} {6.8, where rows can be left out}
    {SELECT pg_catalog.pg_drop_replication_slot('{}')} {deltastream_setup.rs, on a standby}
    {make install-plugin PG_CONFIG=...} {plugin_install.test}
    {deltamirror init -conninfo ... -db {} -stream ...} {1.2}
    {deltamirror run -conninfo ... -db ... -stream ...} advice_more
    {deltamirror run -conninfo ... -db {} -stream {}} {deltamirror_resync-1.2}
    {ALTER TABLE {} RENAME COLUMN {} TO ...} advice_more
    {ALTER TABLE {} DROP COLUMN {}} advice_more
    {DROP {} {}} {6.6, in the file}
    {DROP TABLE {}} advice_more
    {db config defensive 0} advice_more
    versions {a word of a command, not a command}
    sqlite3_interrupt {a function of SQLite}
    {man $name} advice_more
}

# Whether a command of the sources, {} or a variable for what they put in, was typed.
proc was_typed {command} {
    regsub -all {\$\w+} $command \{\} command
    set pattern [string map {\\ \\\\ \[ \\\[ ? \\? * \\* {{}} *} $command]
    expr {[lsearch -glob $::worked $pattern] >= 0}
}

# What the sources advise. Strings of Rust and of Tcl, without comments and tests.
proc sources {dir} {
    set files [lsort [glob -nocomplain -directory $dir *.rs *.tcl *.in]]
    set files [lsearch -all -inline -not $files */tests.rs]
    foreach sub [lsort [glob -nocomplain -type d -directory $dir *]] {
        if {[file tail $sub] ne "tests"} { lappend files {*}[sources $sub] }
    }
    return $files
}

proc literals {file} {
    set f [open $file]
    fconfigure $f -encoding utf-8
    set text [read $f]
    close $f
    regsub {#\[cfg\(test\)\].*} $text {} text
    regsub -all -line {^\s*//.*$} $text {} text
    regsub -all {\\\n\s*} $text {} text
    regsub -all {'"'} $text {} text
    lmap {- text} [regexp -all -inline {"((?:[^"\\]|\\.)*)"} $text] { string map {\\\" \"} $text }
}
