# Runs every command of Pgtcl, with its options and its errors, by whichever library is given, and
# prints what came of each call: for tests/pgtcl_same.test, which compares two libraries.
#
#   tclsh pgtcl_calls.tcl CONNINFO FOLDER SCRIPT-THAT-LOADS-THE-LIBRARY
#
# Each line of the output is a list: the call, Tcl's code, the result or the message, the errorCode.

lassign $argv conninfo folder load
eval $load
proc connect {args} { pg_connect -conninfo $::conninfo {*}$args }

# Names that differ from run to run.
proc plain {text} {
    regsub -all {pgsql0x[0-9a-f]+(\.[0-9]+)?} $text HANDLE
}
proc say {call} {
    set ::errorCode NONE
    set code [catch {uplevel #0 $call} result options]
    set error NONE
    if {$code == 1} { set error [dict get $options -errorcode] }
    puts [list [string trim $call] $code [plain $result] [plain $error]]
    flush stdout
}

# Each call is a line; those that begin with a blank prepare or undo, and are not compared.
proc all {text} {
    foreach call [split $text \n] {
        switch -glob -- $call {
            "" - #* {}
            " *" { uplevel #0 $call }
            default { say $call }
        }
    }
}

set c [connect]
pg_execute $c "create temp table t(id int primary key, name text)"
pg_execute $c "insert into t values (1, 'one'), (2, null), (3, 'thr''ee')"
pg_execute $c "prepare p(int) as select name from t where id = \$1"
set three "select id, name from t order by id"
set f [open $folder/in w]
puts -nonewline $f text
close $f

set usage {}
foreach command [lsort [info commands pg_*]] {
    # What the other library does not have is not compared; pg_sqlite has tests of its own.
    if {$command in {pg_sqlite pg_conndefaults pg_copy_complete}} continue
    append usage $command \n "$command nope" \n "$command nope a" \n "$command nope a b" \n
    append usage "$command \$c \$c \$c \$c \$c \$c \$c \$c" \n
    # What was sent after all is over before the next call.
    append usage { while {[pg_getresult $c] ne {}} {}} \n
}
all $usage
foreach sub {quote escape_bytea unescape_bytea exec sqlexec execute select listen
        on_connection_loss lo_creat lo_open lo_close lo_read lo_write lo_lseek lo_tell lo_truncate
        lo_unlink lo_import lo_export sendquery exec_prepared sendquery_prepared null_value_string
        version protocol set_single_row_mode is_busy blocking
        cancel_request} {
    say "\$c $sub"
}
all {
llength [lindex [pg_conndefaults] 0]
pg_conndefaults x
$c
$c nonsense
$c conndefaults x
}

# Connecting.
all {
pg_connect
pg_connect -conninfo
pg_connect -nonsense x
pg_connect -conninfo nonsense
pg_connect -conninfo nonsense=1
pg_connect -connlist {a}
pg_connect -connlist {nonsense 1}
pg_connect -conninfo "host=/nowhere/at/all"
pg_connect -conninfo "$conninfo dbname=nowhere"
pg_connect -conninfo $conninfo -async maybe
pg_connect -conninfo $conninfo -connhandle $c
pg_disconnect nope
pg_disconnect $c x
pg_dbinfo
pg_dbinfo nonsense
pg_dbinfo nonsense $c
pg_dbinfo version
pg_dbinfo version nope
pg_dbinfo param $c
pg_dbinfo param $c TimeZone x
pg_dbinfo param $c nonsense
pg_dbinfo connections
pg_dbinfo results $c
pg_dbinfo protocol $c
pg_dbinfo dbname $c
pg_dbinfo user $c
pg_dbinfo status $c
pg_dbinfo transaction_status $c
 pg_exec $c "select 1"
pg_dbinfo error_message $c
pg_dbinfo needs_password $c
pg_dbinfo used_password $c
pg_dbinfo used_ssl $c
 set d [connect -connhandle other]
set d
other null_value_string
rename other renamed
renamed exec "select 1"
pg_dbinfo status renamed
pg_dbinfo status other
pg_disconnect other
info commands renamed
}

# Statements.
all {
pg_exec $c "select 1"
pg_exec $c "selec"
pg_exec $c ""
pg_exec $c {select $1::text} a b
pg_exec -nonsense $c "select 1"
pg_exec -variables $c "select :{x}" a
pg_exec -paramarray nowhere $c "select `x`::text"
pg_exec -paramarray nowhere $c "select `x"
pg_exec -paramarray nowhere $c "select ``"
pg_exec -paramarray nowhere $c "select `a b`"
pg_exec_prepared $c p 1
pg_exec_prepared $c nowhere 1
pg_exec_prepared nope p 1
 set r [pg_exec $c "select null::text as a, 'NULL' as b, \$1::text as c" NULL]
pg_result $r -list
pg_select $c $three row {lappend ids $row(id)}
set ids
pg_select $c $three row {array names row}
pg_select -withoutnulls $c $three row {lsort [array names row]}
pg_select -nodotfields $c $three row {lsort [array names row]}
pg_select -count n $c $three row {set n}
pg_select $c $three row {continue}
pg_select $c $three row {break}
pg_select $c $three row {error broken}
pg_select $c $three row {return -code 17 seventeen}
pg_select -rowbyrow $c $three row {set row(.tupno)}
pg_select -params {2} $c {select id from t where id = $1} row {set row(id)}
pg_select -nonsense $c $three row {}
pg_select -params {1} -variables $c $three row {}
pg_select $c "selec" row {}
pg_select $c "create temp table u(a int)" row {}
pg_select nope "select 1" row {}
pg_select $c $three c(x) {}
pg_execute $c "selec"
pg_execute $c "insert into t values (4, 'four')"
pg_execute $c "delete from t where id = 4"
pg_execute $c "create temp table v(a int)"
pg_execute -array a $c $three
lsort [array names a]
pg_execute $c $three
pg_execute $c $three {set name}
pg_execute $c $three {break}
pg_execute $c $three {error broken}
pg_execute -oid o $c "insert into t values (5, 'five')"
set o
pg_execute -array
pg_execute -nonsense x $c "select 1"
pg_execute nope "select 1"
pg_execute $c "delete from t where id = 5"
}

# Results.
all {
 set r [pg_exec $c $three]
}
foreach option {-status -error -conn -oid -numTuples -cmdTuples -numAttrs -attributes -lAttributes
        -list -llist -dict -null_value_string} {
    say "pg_result \$r $option"
    say "pg_result \$r $option x y"
}
all {
pg_result
pg_result $r
pg_result $r -nonsense
pg_result nope -status
$r
$r -nonsense
$r -status
pg_result $r -error primary
pg_result $r -error nonsense
pg_result $r -assign
pg_result $r -assign all
lsort [array names all]
pg_result $r -assignbyidx byidx
lsort [array names byidx]
pg_result $r -assignbyidx suffixed _s
lsort [array names suffixed]
pg_result $r -getTuple
pg_result $r -getTuple 0
pg_result $r -getTuple 9
pg_result $r -getTuple -1
pg_result $r -getTuple x
pg_result $r -tupleArray 0
pg_result $r -tupleArray 1 tuple
array get tuple
pg_result $r -tupleArray 9 tuple
pg_result $r -tupleArrayWithoutNulls 1 without
lsort [array names without]
pg_result $r -foreach row {set row(id)}
pg_result $r -foreach row {error broken}
pg_result $r -foreach row
 set bad [pg_exec $c "select * from nowhere"]
pg_result $bad -status
pg_result $bad -error
pg_result $bad -foreach row {}
}
foreach field {severity sqlstate primary detail hint position internal_position internal_query
        context function} {
    say "pg_result \$bad -error $field"
}
all {
pg_null_value_string $c
pg_null_value_string $c (null)
pg_result [pg_exec $c "select null"] -list
pg_result $r -list
pg_null_value_string $c ""
pg_result $r -clear
pg_result $r -status
$r -status
}

# Without waiting.
all {
pg_sendquery $c "select 7"
pg_set_single_row_mode $c
pg_exec $c "select 1"
pg_getresult $c
pg_getresult $c
pg_getresult $c
pg_sendquery $c {select $1::text} x
pg_getdata $c -result
pg_getdata $c -result
pg_getdata $c -nonsense
pg_sendquery_prepared $c p 1
pg_getresult $c
pg_getresult $c
pg_sendquery $c "-- a comment
select 1"
 while {[pg_getresult $c] ne {}} {}
pg_blocking $c
pg_blocking $c 0
pg_blocking $c
pg_blocking $c 1
pg_blocking $c maybe
pg_isbusy $c
pg_cancelrequest $c
pg_getresult nope
}

# Quoting.
all {
pg_quote it's
pg_quote $c it's
pg_quote -null ""
pg_quote -null $c ""
pg_escape_string $c {a\b}
pg_escape_bytea $c "a\x01b"
pg_unescape_bytea {\x6101}
pg_quote nope x
}

# Notifications.
all {
pg_listen $c news {set heard}
pg_listen $c news
pg_listen $c news
pg_listen $c other
pg_on_connection_loss $c {set lost 1}
pg_on_connection_loss $c
}

# Large objects.
all {
pg_lo_creat $c nonsense
pg_lo_open $c 1 x
pg_lo_open $c 999999 r
pg_lo_close $c 99
pg_lo_lseek $c 0 0 SEEK_NOWHERE
pg_lo_export $c 999999 $folder/out
pg_lo_import $c $folder/none
 pg_execute $c begin
 set oid [pg_lo_creat $c INV_READ|INV_WRITE]
 set fd [pg_lo_open $c $oid rw]
pg_lo_write $c $fd abcdef 6
pg_lo_write $c $fd abc 100
pg_lo_tell $c $fd
pg_lo_lseek $c $fd 1 SEEK_SET
pg_lo_read $c $fd buffer 3
set buffer
pg_lo_read $c $fd buffer 0
pg_lo_read $c $fd buffer -1
pg_lo_truncate $c $fd 2
pg_lo_close $c $fd
pg_lo_export $c $oid $folder/out
pg_lo_unlink $c $oid
string is integer -strict [pg_lo_import $c $folder/in]
 pg_execute $c rollback
}

# COPY.
all {
 pg_execute $c "create temp table w(a int, b text)"
 set r [pg_exec $c "copy w from stdin"]
pg_result $r -status
pg_exec $c "select 1"
puts $c "1\tone"
puts $c {\.}
pg_result $r -status
pg_result [pg_exec $c "select * from w"] -list
 set r [pg_exec $c "copy w to stdout"]
gets $c
gets $c
pg_result $r -status
gets $c
puts $c x
fconfigure $c -buffering
fconfigure $c -nonsense
eof $c
}

# Each option and each fact with a value that is good.
foreach fact {host port user dbname} { set $fact [pg_dbinfo $fact $c] }
array set values {x 2 y two}
set x 2
set y two
all {
lmap name {blocking exec_prepared sqlexec lo_open conninfo} {namespace which pg::$name}
 set d [pg_connect $dbname -host $host -port $port -user $user -options '' -password none]
pg_connect $dbname -host $host -port $port -user $user -tty none
pg_dbinfo dbname $d
pg_dbinfo password $d
pg_dbinfo options $d
pg_disconnect $d
pg_connect $dbname -nonsense x
pg_connect $dbname -host
pg_connect -connlist [list host $host port $port dbname nowhere user $user]
 set listed [list host $host port $port dbname $dbname user $user]
 set d [pg_connect -connlist $listed -connhandle listed]
set d
$d disconnect
expr {[pg_dbinfo backendpid $c] == [$c backendpid]}
string is integer -strict [pg_dbinfo socket $c]
expr {[pg_dbinfo socket $c] == [$c socket]}
string is integer -strict [pg_dbinfo sql_count $c]
expr {[pg_dbinfo host $c] eq $host && [pg_dbinfo port $c] eq $port}
$c param client_encoding
$c param nonsense
pg_dbinfo param $c standard_conforming_strings
pg_result [pg_exec -variables $c {select :x::int + 1, :y::text, ':x'}] -list
pg_result [pg_exec -paramarray values $c {select `x`::int + 1, `y`::text}] -list
pg_select -variables $c {select :y::text as v} row {set row(v)}
pg_select -paramarray values $c {select `y`::text as v} row {set row(v)}
pg_select -paramarray values -nodotfields $c {select `y`::text as v} row {array get row}
pg_select -variables -count n $c {select :x::int as v} row {list $n $row(v)}
pg_select -rowbyrow -withoutnulls $c $three row {lsort [array names row]}
pg_select $c {select 1 as a where false} row {error never}
lsort [array names row]
 pg_sendquery -variables $c {select :y || ':'}
pg_result [pg_getresult $c] -list
pg_getresult $c
 pg_sendquery -paramarray values $c {select `x`::text}
pg_result [pg_getresult $c] -list
pg_getresult $c
 pg_sendquery $c $three
pg_set_single_row_mode $c
pg_result [pg_getresult $c] -status
pg_result [pg_getresult $c] -list
pg_getdata $c -connection
 while {[pg_getresult $c] ne {}} {}
 set r [pg_exec $c "select * from nowhere"]
string is integer -strict [pg_result $r -error line]
pg_result $r -error file
pg_result $r -cmdTuples
pg_result $r -list
pg_result $r -llist
pg_result $r -dict
pg_result $r -numTuples
pg_result $r -attributes
 set r [pg_exec $c "update t set name = name"]
pg_result $r -cmdTuples
pg_result $r -oid
pg_result $r -list
pg_result $r -getTuple 0
pg_result $r -assign all
 set r [pg_exec $c "select 1 as a, 2 as a"]
pg_result $r -dict
pg_result $r -attributes
pg_result $r -list
pg_result $r -null_value_string none
pg_result [set n [pg_exec $c "select null as a, '' as b"]] -list
pg_result $n -null_value_string none
pg_result $n -llist
pg_result $n -getTuple 0
pg_result $n -dict
pg_result $n -tupleArray 0 nulls
array get nulls
}

# The same by the handle's command.
all {
$c quote it's
$c escape_bytea "a\x01b"
$c unescape_bytea {\x6101}
[$c exec "select 1 as a"] -list
[$c sqlexec "select 2 as a"] -list
$c execute "select 3 as a" {set a}
$c select "select 4 as a" row {set row(a)}
[$c exec_prepared p 1] -list
$c sendquery_prepared p 1
pg_result [pg_getresult $c] -list
$c sendquery "select 5"
$c set_single_row_mode
 while {[pg_getresult $c] ne {}} {}
$c is_busy
$c cancel_request
$c null_value_string
$c blocking
$c blocking 0
$c blocking 1
expr {[llength [$c conndefaults]] > 10}
$c listen handle {set heard}
 $c execute begin
 set oid [$c lo_creat INV_READ|INV_WRITE]
 set fd [$c lo_open $oid rw]
$c lo_write $fd abcdef 6
$c lo_lseek $fd 1 SEEK_SET
$c lo_tell $fd
$c lo_read $fd buffer 2
$c lo_truncate $fd 2
$c lo_close $fd
$c lo_export $oid $folder/out2
$c lo_unlink $oid
string is integer -strict [$c lo_import $folder/in]
 $c execute rollback
 $c exec "copy w from stdin"
puts $c "2\ttwo"
$c copy_complete
[$c exec "select * from w where a = 2"] -list
 pg_exec $c "copy w from stdin"
puts $c "three\tthree"
pg_copy_complete $c
pg_copy_complete nope
[$c exec "select count(*) from w"] -list
}

# Callbacks.
proc bgerror {message} { set ::heard $message }
proc told {args} { set ::heard [lreplace $args 1 1] }
proc notified {callback statement} {
    set ::heard {}
    pg_listen $::c told $callback
    pg_execute $::c $statement
    for {set i 0} {$i < 1000 && $::heard eq {}} {incr i} {
        after 5
        pg_result [pg_exec $::c "select 1"] -clear
        update
    }
    return $::heard
}
all {
notified told "notify told"
notified told "notify told, 'a word'"
notified {told x} "notify told"
pg_listen $c told
pg_listen $c {Odd Name} told
pg_listen $c {Odd Name}
}

# A connection that is lost.
all {
 set d [connect]
 pg_on_connection_loss $d {told lost}
 set heard {}
 catch {pg_execute $d "select pg_terminate_backend(pg_backend_pid())"}
 for {set i 0} {$i < 1000 && $heard eq {}} {incr i} {after 5; update}
lindex $heard 0
pg_exec $d "select 1"
pg_select $d "select 1" row {}
pg_execute $d "select 1"
pg_sendquery $d "select 1"
pg_exec_prepared $d p 1
pg_isbusy $d
pg_getresult $d
pg_dbinfo status $d
pg_dbinfo version $d
pg_listen $d news {set heard}
pg_lo_creat $d INV_READ
pg_cancelrequest $d
pg_disconnect $d
pg_exec $d "select 1"
}
pg_disconnect $c
