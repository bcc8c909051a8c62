# One WAL decoded by each output plugin, sent to pg_recvlogical, which throws it away: what the
# server's own CPU takes per change. Each run of each plugin has a slot of its own, all of them
# copies of one slot, at one position.

if {![info exists env(PGSQLITE_PLUGIN)]} {
    set env(PGSQLITE_PLUGIN) [exec [file join $measure::here .. tools build-plugin] 2>@stderr]
}
set plugin_folder [measure::folder]
file attributes $plugin_folder -permissions 0755
file copy $env(PGSQLITE_PLUGIN) $plugin_folder/deltaflood.so
file attributes $plugin_folder/deltaflood.so -permissions 0644

set plugin_server [measure::server wal_level logical max_replication_slots 100 \
    logical_decoding_work_mem 256MB dynamic_library_path '$plugin_folder:\$libdir']
if {[cluster::sql $plugin_server {
    select current_setting('output_plugin_libraries', true) is not null}] eq "t"} {
    cluster::sql $plugin_server {alter system set
        output_plugin_libraries = pgoutput, test_decoding, deltaflood}
    cluster::restart $plugin_server
}
set plugin_conninfo [cluster::dsn $plugin_server bench]
foreach file {event changes} {
    cluster::psql $plugin_server bench -f $measure::here/$file.sql
}
cluster::sql $plugin_server bench {
    create publication bench for table event;
    select pg_create_logical_replication_slot('base', 'pgoutput')
}
cluster::sql $plugin_server bench "call change($measure::rows, 100)"
cluster::sql $plugin_server checkpoint
set plugin_end [cluster::sql $plugin_server bench {select pg_current_wal_lsn()}]

# What deltastream asks for; it prints the same lines as deltastream makes of pgoutput's messages.
set plugin_whole {include-transaction on include-schema on include-truncate on include-messages on
    publish-via-root on}
set plugin_sides [list \
    "pgoutput (text)" {pgoutput {proto_version 1 publication_names bench}} \
    "deltaflood, as pg-deltaflood" {deltaflood {}} \
    "deltaflood, as deltastream asks" [list deltaflood $plugin_whole] \
    "test_decoding" {test_decoding {}}]

proc plugin_read {plugin options {file /dev/null}} {
    global plugin_server plugin_conninfo plugin_end
    set slot read_[clock microseconds]
    cluster::sql $plugin_server bench \
        "select pg_copy_logical_replication_slot('base', '$slot', false, '$plugin')"
    set words {}
    foreach {name value} $options { lappend words -o $name=$value }
    set taken [measure::command $plugin_server [list \
        [cluster::program $plugin_server pg_recvlogical] -d $plugin_conninfo -S $slot --start \
        --endpos=$plugin_end --no-loop --fsync-interval=0 {*}$words -f $file]]
    cluster::sql $plugin_server bench "select pg_drop_replication_slot('$slot')"
    return $taken
}

# Not timed: how much there is, and the WAL comes into memory.
plugin_read deltaflood {} $plugin_folder/lines
set plugin_changes [exec grep -c {} $plugin_folder/lines]
set plugin_bytes [file size $plugin_folder/lines]
set plugin_scripts {}
foreach {name side} $plugin_sides { lappend plugin_scripts $name [list plugin_read {*}$side] }
set plugin_medians [measure::compare "plugin: slot -> pg_recvlogical -f /dev/null" changes \
    $plugin_changes $plugin_bytes $plugin_scripts]
puts ""
foreach {name side} $plugin_sides {
    set cpu [dict get $plugin_medians $name server]
    puts [format "%-44s %6.2f us of server CPU per change" $name \
        [expr {1e6 * $cpu / $plugin_changes}]]
}
foreach name [list "deltaflood, as pg-deltaflood" "deltaflood, as deltastream asks"] {
    measure::target "server CPU of $name / of pgoutput at most 1" [format %.2f [expr {
        [dict get $plugin_medians $name server]
        / [dict get $plugin_medians "pgoutput (text)" server]}]] "<= 1.0"
}
cluster::destroy $plugin_server
file delete -force $plugin_folder
