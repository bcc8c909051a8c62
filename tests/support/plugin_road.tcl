# The road pg_recvlogical | deltastream read, for tests.
#
#   road::start FILE c database slot stream ?word ...?   starts both; their log lines go to FILE;
#                                                        the words are options of deltastream read
#   road::pids ROAD        the processes of pg_recvlogical and of deltastream
#   road::finish ROAD      ends pg_recvlogical; deltastream ends at the end of its input
#   road::lines STREAM ?details?
#                          a stream's lines, as bytes, without stamps and what sums them up; the
#                          details of tables only when they are asked for: what pgoutput's come from
#                          may be ahead of the stream
#   road::differences A B ?details?
#                          the first lines of two streams that differ; nothing when none do

namespace eval ::road {
    # Everything that deltastream asks the plugin for when it reads the slot itself.
    variable whole {include-transaction on include-schema on include-details on
        include-truncate on include-messages on publish-via-root on}
}

# The words that run pg_recvlogical, writing into FILE (`-`: standard output).
proc ::road::receive {c database slot file options args} {
    set words [list [::cluster::program $c pg_recvlogical] -d [::cluster::conninfo $c $database] \
        -S $slot --start --no-loop -f $file {*}$args]
    foreach {name value} $options { lappend words -o $name=$value }
    return $words
}

proc ::road::start {file c database slot stream args} {
    variable whole
    # --status-interval: what the pipe has taken is confirmed once a second.
    set pids [exec {*}[receive $c $database $slot - $whole --status-interval=1] 2>> $file \
        | {*}[::support::program deltastream read -stream $stream {*}$args] >> $file 2>> $file &]
    return $pids
}

proc ::road::ended {pids} {
    foreach pid $pids { if {[::cluster::alive $pid]} { return 0 } }
    return 1
}

proc ::road::finish {pids} {
    catch {exec kill -INT [lindex $pids 0]}
    ::wait::until {[ended $pids]} 30000 "the end of the road"
}

# A schema line without details.
proc ::road::plain {line} {
    set end [string first "\t_action\tschema" $line]
    foreach first {_primary _natts} {
        set from [string first "\t$first\t" $line]
        if {$from >= 0 && $from < $end} { return [string replace $line $from $end-1] }
    }
    return $line
}

proc ::road::lines {stream {details {}}} {
    set f [open |[::support::program daystream cat $stream] rb]
    set found {}
    set known [dict create]
    foreach line [split [read $f] \n] {
        regsub {^_c\t\d+\t_s\t\d+\t} $line {} line
        # Checksums and chain are of bytes in which the object ids differ.
        regsub {\t_crc\t\w+(\t_chain\t\w+)?\t_commit_crc\t\w+(\t_action\tcommit)$} $line {\2} line
        # A message outside of any transaction has the time at which it was read.
        regsub {^(_xid\t0\t.*_time\t)\d+} $line {\1} line
        if {$details eq {} && [string first "\t_action\tschema" $line] >= 0} {
            set line [plain $line]
            regexp {^(.*?)\t_xid\t\d+(.*)$} $line -> head tail
            # One that tells other details than the last, and nothing else.
            if {[dict exists $known $head] && [dict get $known $head] eq $tail} continue
            dict set known $head $tail
        }
        if {$details eq {}} { regsub {\t_lines\t\d+(\t_action\tcommit)$} $line {\1} line }
        lappend found $line
    }
    close $f
    return $found
}

proc ::road::differences {one other {details {}}} {
    set found {}
    foreach a [lines $one $details] b [lines $other $details] {
        if {$a eq $b} continue
        lappend found "[file tail $one]: [string range $a 0 1000]" \
            "[file tail $other]: [string range $b 0 1000]"
        if {[llength $found] > 5} break
    }
    join $found \n
}
