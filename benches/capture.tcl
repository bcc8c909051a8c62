# The same WAL read by deltastream and by pg_recvlogical, each from slots of its own.

set capture_folder [measure::folder]
set capture_server [measure::server wal_level logical max_replication_slots 40]
set capture_conninfo [cluster::dsn $capture_server bench]
foreach file {event changes} {
    cluster::psql $capture_server bench -f $measure::here/$file.sql
}
for {set run 0} {$run <= $measure::runs} {incr run} {
    exec [measure::program deltastream] setup -conninfo $capture_conninfo -slot ours$run \
        -stream $capture_folder/ours$run -tables event -publication bench 2>@1
    cluster::sql $capture_server bench \
        "select pg_create_logical_replication_slot('theirs$run', 'pgoutput')"
}
cluster::sql $capture_server bench "call change($measure::rows, 100)"
set capture_end [cluster::sql $capture_server bench {select pg_current_wal_lsn()}]

proc capture_ours {run} {
    global capture_server capture_conninfo capture_folder capture_end
    measure::command $capture_server [list [measure::program deltastream] run \
        -conninfo $capture_conninfo -slot ours$run -stream $capture_folder/ours$run \
        -until_lsn $capture_end]
}

proc capture_theirs {run} {
    global capture_server capture_conninfo capture_folder capture_end
    measure::command $capture_server [list [cluster::program $capture_server pg_recvlogical] \
        -d $capture_conninfo -S theirs$run --start --endpos=$capture_end -o proto_version=1 \
        -o publication_names=bench -f $capture_folder/theirs$run]
}

# The first capture is not timed: it says how much there is, and brings the WAL into memory.
capture_ours 0
capture_theirs 0
lassign [exec [measure::program daystream] cat $capture_folder/ours0 \
    | awk {/\t_action\t(insert|update|delete)/ { n++ } { b += length($0) + 1 }
        END { print n, b }}] capture_changes capture_bytes
set capture_medians [measure::compare "capture: slot -> daystream" changes $capture_changes \
        $capture_bytes {
    "pg_recvlogical, pgoutput, into a file" { capture_theirs $measure::run }
    "deltastream run" { capture_ours $measure::run }
}]
# Nothing was left out to be fast.
for {set run 0} {$run <= $measure::runs} {incr run} {
    regexp -line {^transactions\s+(\d+)$} \
        [exec [measure::program daystream] info $capture_folder/ours$run] -> transactions
    if {$run > 0 && $transactions != $before} {
        error "$transactions transactions in run $run, $before before"
    }
    set before $transactions
}
measure::target "rate of deltastream / rate of pg_recvlogical at least 0.8" [format %.2f [expr {
    [dict get $capture_medians "pg_recvlogical, pgoutput, into a file" seconds]
    / [dict get $capture_medians "deltastream run" seconds]}]] ">= 0.8"
cluster::destroy $capture_server
file delete -force $capture_folder
