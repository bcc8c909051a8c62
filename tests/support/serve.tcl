# What the suites of `daystream serve` share: certificates, a server as users start it, curl.
#
# serve::certificates FOLDER       makes ca.pem, other.pem (another authority), and for each of
#                                  good, expired, elsewhere (another host's name): NAME.pem, .key
# serve::start ROOT ?option ...?   a server on a port of its own; a dict: pid address log
# serve::stop SERVER ?signal?
# serve::url SERVER PATH           with the scheme that it speaks
# serve::curl ?option ...? URL     {status body}; 0 when there was no answer
# Constraints: curl, remote (the package was configured with it).

namespace eval ::serve {
    variable running {}
}

testConstraint curl [expr {[auto_execok curl] ne {} && [auto_execok openssl] ne {}}]
testConstraint remote [expr {![catch {support::program daystream-serve}]}]

proc ::serve::certificates {folder} {
    set key {-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes}
    foreach name {ca other} {
        exec openssl req -x509 {*}$key -keyout $folder/$name.key -out $folder/$name.pem \
            -days 2 -subj /CN=$name 2>@1
    }
    # A certificate that has expired: since 3.4 OpenSSL has options for dates, and refuses to count
    # days backwards, as was the way before.
    set past {-days -1}
    if {[string match *-not_after* [exec openssl x509 -help 2>@1]]} {
        set past {-not_before 20200101000000Z -not_after 20200102000000Z}
    }
    foreach {name validity host} [list \
        good {-days 2} IP:127.0.0.1,DNS:localhost,IP:10.77.0.1 \
        expired $past IP:127.0.0.1 \
        elsewhere {-days 2} DNS:elsewhere.example \
    ] {
        set f [open $folder/$name.ext w]
        puts $f "subjectAltName=$host\nbasicConstraints=CA:FALSE"
        close $f
        exec openssl req {*}$key -keyout $folder/$name.key -out $folder/$name.csr \
            -subj /CN=$name 2>@1
        exec openssl x509 -req -in $folder/$name.csr -CA $folder/ca.pem -CAkey $folder/ca.key \
            -CAcreateserial {*}$validity -extfile $folder/$name.ext -out $folder/$name.pem 2>@1
    }
    return $folder
}

# A port that nobody listens at, and that the system gives to nobody who connects: a server that was
# killed must get it again.
proc ::serve::port {} {
    while 1 {
        set port [expr {15000 + int(rand() * 15000)}]
        if {![catch {socket -server list -myaddr 127.0.0.1 $port} listening]} {
            close $listening
            return $port
        }
    }
}

# The installed program itself, as a shell would start it.
proc ::serve::program {name} { lindex [support::program $name] 1 }

# Starts a server, perhaps by the words `-in COMMAND` in front of it (`ip netns exec NAME`).
proc ::serve::start {root args} {
    variable running
    set before {}
    if {[lindex $args 0] eq "-in"} { set args [lassign $args - before] }
    set options [dict merge [list -listen 127.0.0.1:[port]] $args]
    set words {}
    dict for {option value} $options {
        if {$option eq "-tls"} { lappend words $option {*}$value } else {
            lappend words $option $value
        }
    }
    set log [file join [support::folder serve] log]
    set pid [exec setpriv --pdeathsig KILL -- {*}$before [program daystream] serve \
        -root $root {*}$words < /dev/null 2>> $log &]
    lappend running $pid
    wait::until {[regexp {listening address="?(.+?)"? scheme=(\S+)} [support::text $log] \
        - address scheme] || ![cluster::alive $pid]} 10000 "daystream serve"
    if {![info exists address]} { error "daystream serve: [support::text $log]" }
    dict create pid $pid address $address scheme $scheme log $log
}

proc ::serve::stop {server {signal TERM}} {
    variable running
    set pid [dict get $server pid]
    catch {exec kill -$signal $pid}
    wait::until {![cluster::alive $pid]} 10000 "the end of daystream serve"
    set running [lsearch -all -inline -not -exact $running $pid]
}

proc ::serve::stop_all {} {
    variable running
    foreach pid $running { catch {exec kill -KILL $pid} }
    set running {}
}

proc ::serve::url {server path} {
    return [dict get $server scheme]://[dict get $server address]$path
}

# Status and body. --path-as-is: what a browser would tidy up, somebody else will send.
proc ::serve::curl {args} {
    set folder [support::folder curl]
    set status [catch {
        exec curl -sS --path-as-is --max-time 30 -o $folder/body -w %{http_code} {*}$args 2>@1
    } code]
    if {$status} { regexp {\d+$|\d+(?=\n)} $code code }
    set body {}
    if {[file exists $folder/body]} {
        set f [open $folder/body rb]
        set body [read $f]
        close $f
    }
    file delete -force $folder
    list [expr {[regexp {^\d{3}$} $code] ? [scan $code %d] : 0}] $body
}

# A token for STREAMS, which FILE knows from now on.
proc ::serve::token {file streams} {
    exec [program daystream] serve token -name [lindex $streams 0] -streams $streams -tokens $file
}

# A stream of COUNT transactions of two rows each, in segments; more are added when it is there.
proc ::serve::write {stream count {first 1}} {
    set file [file join [support::folder lines] lines]
    set f [open $file w]
    for {set xid $first} {$xid < $first + $count} {incr xid} {
        puts $f "_table\tbird\t_xid\t$xid\t_action\tinsert\ta\t$xid\tb\tfox"
        puts $f "_table\tbird\t_xid\t$xid\t_action\tinsert\ta\t$xid\tb\then"
        puts $f "_xid\t$xid\t_lsn\t0/[format %X [expr {$xid * 16}]]\t_time\t1\t_action\tcommit"
    }
    close $f
    set channel [open $file]
    try { deltastream read -stream $stream -channel $channel } finally { close $channel }
}

# Everything that is in the files of a stream.
proc ::serve::lines {stream} {
    set text {}
    foreach file [support::segments $stream *.tsv] {
        set f [open $file rb]
        append text [read $f]
        close $f
    }
    return $text
}
