# One process of the benchmark pgtcl: `pgtcl_jobs.tcl ours|c CONNINFO` prints a list of jobs and
# {seconds cpu} of each.

lassign $argv package conninfo
if {$package eq "c"} {
    package require Pgtcl 2.0-3.1
} else {
    package require pgsqlite
}
set conn [pg_connect -conninfo $conninfo]
set all "select * from flights"

# CPU seconds of this process, by the kernel's fine clock where it has one.
proc cpu {} {
    set f [open /proc/self/schedstat]
    set ns [lindex [gets $f] 0]
    close $f
    return [expr {$ns / 1e9}]
}

proc job {name script} {
    global taken
    set cpu [cpu]
    set began [clock microseconds]
    uplevel #0 $script
    set seconds [expr {([clock microseconds] - $began) / 1e6}]
    lappend taken $name [list $seconds [expr {[cpu] - $cpu}]]
}

proc select {conn sql} { pg_select $conn $sql row { set x $row(ident) } }
proc select_plain {conn sql} { pg_select -nodotfields -withoutnulls $conn $sql row {} }
proc get_tuple {r n} { for {set i 0} {$i < $n} {incr i} { pg_result $r -getTuple $i } }
proc tuple_array {r n} { for {set i 0} {$i < $n} {incr i} { pg_result $r -tupleArray $i row } }
proc foreach_row {r} { pg_result $r -foreach row { set x $row(ident) } }
proc execute {conn sql} { pg_execute -array row $conn $sql { set x $row(ident) } }
proc shortest {conn n} {
    for {set i 0} {$i < $n} {incr i} { pg_result [pg_exec $conn {select 1}] -clear }
}
proc with_parameters {conn n} {
    for {set i 0} {$i < $n} {incr i} {
        set r [pg_exec $conn {select $1::int + 1, $2::text} $i name]
        pg_result $r -getTuple 0
        pg_result $r -clear
    }
}

foreach round {warm measured} {
    set taken {}
    job pg_select {select $conn $all}
    job {pg_select (plain)} {select_plain $conn $all}
    job pg_execute {execute $conn $all}
    set r [pg_exec $conn $all]
    set n [pg_result $r -numTuples]
    job -getTuple {get_tuple $r $n}
    job -tupleArray {tuple_array $r $n}
    job -foreach {foreach_row $r}
    job -llist {set x [pg_result $r -llist]}
    unset x
    job -list {set x [pg_result $r -list]}
    unset x
    job -dict {set x [pg_result $r -dict]}
    unset x
    pg_result $r -clear
    job {pg_exec {select 1}} {shortest $conn 20000}
    job {pg_exec, parameters} {with_parameters $conn 20000}
}
puts $taken
exit
