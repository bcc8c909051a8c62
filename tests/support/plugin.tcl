# A server of one's own with the output plugin, and what comes through its slots.
#
#   plugin::cluster ?cluster::create's options? ?-failpoints 1?    a server that loads the plugin
#   plugin::slot $c NAME                                          a slot in the database postgres
#   plugin::lines $c NAME ?OPTION VALUE ...?                      what it has, and steps on
#   plugin::peek $c NAME ?OPTION VALUE ...?                       the same without stepping on
#   plugin::row LINE                                              a line as a dict
#
# The constraint `plugin`: the plugin could be built for the server that tests use; else standard
# output says why not, and tests that need it are skipped. They are also under Tcl 9, of which the
# server knows nothing. PGSQLITE_PLUGIN: a library that was built before.

namespace eval ::plugin {
    variable folder {}
}

# The library for the server that tests use; an error with the code {PLUGIN MISSING} when it cannot
# be built on this machine.
proc ::plugin::library {{failpoints 0}} {
    if {!$failpoints && [info exists ::env(PGSQLITE_PLUGIN)]} { return $::env(PGSQLITE_PLUGIN) }
    set config [file join [::cluster::default_bindir] pg_config]
    set root [file dirname [file dirname $::support::here]]
    set words [expr {$failpoints ? "--failpoints" : {}}]
    if {![file executable $config]} { set config /nonexistent/pg_config }
    if {[catch {exec env PG_CONFIG=$config $root/tools/build-plugin {*}$words} path info]} {
        if {[lindex [dict get $info -errorcode] 2] == 77} {
            return -code error -errorcode {PLUGIN MISSING} [lindex [split $path \n] 0]
        }
        error $path
    }
    return [lindex [split $path \n] end]
}

# Copies of the libraries, where the server's user can read them.
proc ::plugin::folder {failpoints} {
    set parent [exec mktemp -d -t pgsqlite.XXXXXXXX]
    lappend ::support::folders $parent
    file attributes $parent -permissions 0755
    file copy [library $failpoints] [file join $parent deltaflood.so]
    file attributes [file join $parent deltaflood.so] -permissions 0644
    return $parent
}

proc ::plugin::cluster {args} {
    set options [dict merge {-failpoints 0 -settings {}} $args]
    set folder [folder [dict get $options -failpoints]]
    set settings [dict merge [dict create dynamic_library_path "'$folder:\$libdir'" \
        max_prepared_transactions 10 logical_decoding_work_mem 64kB] [dict get $options -settings]]
    # A developer's setting, which no server has: panics would be slow, or need memory.
    unset -nocomplain ::env(RUST_BACKTRACE)
    set c [::cluster::create {*}[dict remove $options -failpoints -settings] -settings $settings]
    # Newer minor releases load only the plugins that are listed.
    set name output_plugin_libraries
    if {[::cluster::sql $c "select 1 from pg_settings where name = '$name'"] eq "1"} {
        ::cluster::sql $c "alter system set $name = pgoutput, test_decoding, deltaflood;
            select pg_reload_conf();"
        ::wait::until {[string match *deltaflood* [::cluster::sql $c "show $name"]]} 10000 $name
    }
    return $c
}

proc ::plugin::slot {c name} {
    ::cluster::sql $c "select from pg_create_logical_replication_slot('$name', 'deltaflood')"
    return $name
}

proc ::plugin::options {list} {
    set text {}
    foreach word $list { append text ", '[string map {' ''} $word]'" }
    return $text
}

proc ::plugin::lines {c slot args} { get $c $slot get $args }
proc ::plugin::peek {c slot args} { get $c $slot peek $args }

proc ::plugin::get {c slot how list} {
    # A line has no line feed, and no row that psql prints has more than the line.
    # What the plugin warns of is in the server's log.
    split [::cluster::sql $c "set client_min_messages = error; select data from
        pg_logical_slot_${how}_changes('$slot', null, null[options $list])"] \n
}

# The pure Tcl reader of a line, columns and head in one dict.
proc ::plugin::row {line} {
    set row {}
    foreach field [split $line \t] { lappend row [subst -nocommands -novariables $field] }
    return $row
}

testConstraint plugin 1
if {[testConstraint tcl9]} {
    testConstraint plugin 0
    puts "tests of the plugin are skipped: they run under Tcl 8.6"
} elseif {[catch {::plugin::library} ::plugin::why ::plugin::info]} {
    if {[dict get $::plugin::info -errorcode] ne {PLUGIN MISSING}} { error $::plugin::why }
    testConstraint plugin 0
    puts "tests of the plugin are skipped: $::plugin::why"
}
unset -nocomplain ::plugin::info ::plugin::why
