# A walsender's client that speaks the protocol itself, and SQL before it streams, which those of
# PostgreSQL do not. The server must listen on TCP (cluster::create -tcp 1).
#
#   set w [walsender::connect $c database]
#   walsender::query $w SQL                        waits until it is done
#   walsender::start $w SLOT ?OPTION VALUE ...?    streams
#   walsender::lines $w N                          the next lines, N or more
#   walsender::close $w

namespace eval ::walsender {
    # How long the server may take to say something.
    variable deadline_ms 20000
}

proc ::walsender::connect {c database} {
    set w [socket 127.0.0.1 [::cluster::port $c]]
    fconfigure $w -translation binary -blocking 0
    set words [join [list user postgres database $database replication database {} {}] \0]
    puts -nonewline $w [binary format IIa* [expr {[string length $words] + 8}] 196608 $words]
    flush $w
    until $w Z
    return $w
}

proc ::walsender::query {w sql} {
    send $w $sql
    until $w Z
}

proc ::walsender::start {w slot args} {
    set words {}
    foreach {name value} $args { lappend words "\"$name\" '$value'" }
    send $w "START_REPLICATION SLOT \"$slot\" LOGICAL 0/0 ([join $words {, }])"
    until $w W
}

proc ::walsender::lines {w count} {
    set lines {}
    while {[llength $lines] < $count} {
        set data [until $w d]
        # What is no data of the WAL is a keepalive.
        if {[string index $data 0] eq "w"} {
            lappend lines {*}[split [encoding convertfrom utf-8 [string range $data 25 end]] \n]
        }
    }
    return $lines
}

proc ::walsender::close {w} { ::close $w }

proc ::walsender::send {w sql} {
    set bytes [encoding convertto utf-8 $sql]
    puts -nonewline $w [binary format aIa*x Q [expr {[string length $bytes] + 5}] $bytes]
    flush $w
}

# The next message of a kind; an error of the server is one here.
proc ::walsender::until {w kind} {
    while 1 {
        binary scan [bytes $w 5] aI got length
        set body [bytes $w [expr {$length - 4}]]
        if {$got eq $kind} { return $body }
        if {$got eq "E"} { error [string map [list \0 { }] $body] }
    }
}

proc ::walsender::bytes {w count} {
    variable deadline_ms
    variable have {}
    ::wait::until {[::walsender::arrived $w $count]} $deadline_ms "word of the walsender"
    return $have
}

proc ::walsender::arrived {w count} {
    variable have
    append have [read $w [expr {$count - [string length $have]}]]
    if {[eof $w]} { error "the walsender has gone" }
    expr {[string length $have] == $count}
}
