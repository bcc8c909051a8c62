# From commit in PostgreSQL to a reader of the SQLite file, at 200 transactions a second through
# deltastream and deltamirror as processes of their own. Measured by a reader that knows nothing of
# the package: each row carries the server's clock just before its commit.

set latency_folder [measure::folder]
set latency_server [measure::server wal_level logical]
set latency_conninfo [cluster::dsn $latency_server bench]
cluster::sql $latency_server bench {
    create table tick(id bigserial primary key, at_us bigint not null, filler text);
}
set latency_names [list -conninfo $latency_conninfo -stream $latency_folder/stream]
exec [measure::program deltastream] setup {*}$latency_names -slot bench -tables tick 2>@1
exec [measure::program deltamirror] init {*}$latency_names -db $latency_folder/mirror.db \
    -tables tick 2>@1

proc latency_begin {name words} {
    global latency_folder
    set log $latency_folder/$name.log
    open "|[list setpriv --pdeathsig KILL -- {*}$words] >>$log 2>>$log" w
}

proc latency_end {channel} {
    exec kill -TERM [pid $channel]
    catch {close $channel}
}

set latency_capture [latency_begin capture [list [measure::program deltastream] run \
    {*}$latency_names -slot bench]]
set latency_apply [latency_begin apply [list [measure::program deltamirror] run \
    -db $latency_folder/mirror.db -stream $latency_folder/stream]]
set f [open $latency_folder/tick.sql w]
puts $f {insert into tick(at_us, filler)
    values ((extract(epoch from clock_timestamp()) * 1000000)::bigint, repeat('x', 100));}
close $f

# The first row shows that all are running; it is not counted.
cluster::psql $latency_server bench -f $latency_folder/tick.sql
wait::until {[exec sqlite3 $latency_folder/mirror.db {select count(*) from tick}] == 1} 30000
set latency_cpu [lmap channel [list $latency_capture $latency_apply] {
    measure::ticks_of [pid $channel]
}]
set latency_reader [open [list |[info nameofexecutable] $measure::here/latency_reader.tcl \
    $latency_folder/mirror.db $latency_folder/done] r]
gets $latency_reader
set latency_seconds 15
exec [cluster::program $latency_server pgbench] -n -c 4 -R 200 -T $latency_seconds \
    -f $latency_folder/tick.sql $latency_conninfo >& $latency_folder/pgbench.log
set latency_count [cluster::sql $latency_server bench {select count(*) from tick}]
wait::until {[exec sqlite3 $latency_folder/mirror.db {select count(*) from tick}]
    == $latency_count} 30000
close [open $latency_folder/done w]
set latencies [split [string trim [read $latency_reader]] \n]
close $latency_reader

puts "\nlatency: commit -> visible to a reader, 200 transactions/s for $latency_seconds s"
puts "[llength $latencies] transactions; milliseconds: median\
    [format %.2f [measure::quantile $latencies 0.5]], 90th percentile\
    [format %.2f [measure::quantile $latencies 0.9]], 99th\
    [format %.2f [measure::quantile $latencies 0.99]], highest\
    [format %.2f [measure::quantile $latencies 1]]"
foreach name {capture apply} channel [list $latency_capture $latency_apply] before $latency_cpu {
    puts [format "%s: %.2f CPU seconds, peak %.1f MiB" $name \
        [expr {double([measure::ticks_of [pid $channel]] - $before) / $measure::ticks}] \
        [expr {[measure::peak_of [pid $channel]] / 1024.0}]]
    latency_end $channel
}
# What the program says when it ends has the product's own measurement.
set f [open $latency_folder/apply.log]
set own [lindex [split [string trim [read $f]] \n] end]
close $f
puts "deltamirror run: $own"
measure::target "median under 20 ms" [format %.2f [measure::quantile $latencies 0.5]] "< 20"
cluster::destroy $latency_server
file delete -force $latency_folder
