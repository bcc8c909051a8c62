# A ready daystream applied to a SQLite file; PostgreSQL is gone by then.

set apply_folder [measure::folder]

# A mirror at the beginning and a daystream of `rows` changes in transactions of `size`.
proc apply_prepare {size} {
    global apply_folder
    set server [measure::server]
    set conninfo [cluster::dsn $server bench]
    set stream $apply_folder/stream$size
    foreach file {event changes} { cluster::psql $server bench -f $measure::here/$file.sql }
    exec [measure::program deltastream] setup -conninfo $conninfo -slot bench -stream $stream \
        -tables event 2>@1
    exec [measure::program deltamirror] init -conninfo $conninfo -stream $stream \
        -db $apply_folder/empty$size.db -tables event 2>@1
    cluster::sql $server bench "call change($measure::rows, $size)"
    exec [measure::program deltastream] run -conninfo $conninfo -slot bench -stream $stream \
        -until_lsn [cluster::sql $server bench {select pg_current_wal_lsn()}] 2>@1
    set digest [cluster::sql $server bench {select count(*), sum(id::bigint), sum(n) from event}]
    cluster::destroy $server
    return [list $stream $digest]
}

proc apply_script {name size stream digest} {
    global apply_folder
    set file $apply_folder/$name.db
    file delete $file $file-wal $file-shm
    file copy $apply_folder/empty$size.db $file
    set taken [measure::command {} [list [info nameofexecutable] \
        $measure::here/apply_$name.tcl $stream $file]]
    set found [exec sqlite3 -separator \t $file {select count(*), sum(id), sum(n) from event}]
    if {$found ne $digest} { error "$name: $found instead of $digest" }
    return $taken
}

foreach size {1000 10} {
    lassign [apply_prepare $size] stream digest
    set info [exec [measure::program daystream] cat $stream \
        | awk {-F\t} {/\t_action\t(insert|update|delete)/ { n++; b += length($0) + 1 }
            END { print n, b }}]
    lassign $info changes bytes
    set name "deltamirror apply"
    set medians [measure::compare "apply: daystream -> SQLite, transactions of $size" changes \
        $changes $bytes [list \
        $name [list apply_script ours $size $stream $digest] \
        "gets, split, array set, db eval" [list apply_script loop $size $stream $digest]]]
    measure::target "at least 300000 changes/s, transactions of $size" \
        [format %.0f [expr {$changes / [dict get $medians $name seconds]}]] ">= 300000"
}
file delete -force $apply_folder
