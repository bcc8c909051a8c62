# sc_postgres: small helpers that scripts written for Pgtcl use, in the namespace sc_pg.
#
# SQL is made from table and column names as they are given: a schema-qualified or quoted name works
# as one would write it in SQL, and a name must never come from outside the program. Values are
# quoted. Procedures that perform something return the result's status; they do not raise.

package require Pgtcl
package provide sc_postgres 1.3

namespace eval ::sc_pg {
    namespace export *
}

# Runs a body for each row of a result, with the row in an array of the caller.
proc ::sc_pg::foreach_tuple {result arrayName body} {
    upvar 1 $arrayName row
    set count [pg_result $result -numTuples]
    for {set n 0} {$n < $count} {incr n} {
        pg_result $result -tupleArray $n row
        set code [catch {uplevel 1 $body} value options]
        switch -- $code {
            0 - 4 {}
            3 { return }
            default {
                dict incr options -level
                return -options $options $value
            }
        }
    }
    return
}

proc ::sc_pg::quote_sql {string} {
    pg_quote $string
}

# `insert into T (...) values (` and `...);`, to be put together by the caller.
proc ::sc_pg::gen_insert_front_part {tableName nameList} {
    return "insert into $tableName ([join $nameList ,]) values ("
}

proc ::sc_pg::gen_insert_simplex_front_part {tableName} {
    return "insert into $tableName values ("
}

proc ::sc_pg::gen_insert_back_part {valueList} {
    return "[join [lmap value $valueList {pg_quote $value}] ,]);"
}

proc ::sc_pg::gen_insert_from_lists {tableName nameList valueList} {
    return [gen_insert_front_part $tableName $nameList][gen_insert_back_part $valueList]
}

proc ::sc_pg::gen_insert_from_array {tableName arrayName} {
    upvar 1 $arrayName row
    set names [lsort [array names row]]
    gen_insert_from_lists $tableName $names [lmap name $names {set row($name)}]
}

# An update of all elements but the key's, for the row with that key. Elements named in
# nullableColumns become NULL where they are empty.
proc ::sc_pg::gen_update_from_array {tableName arrayName keyFields {nullableColumns {}}} {
    upvar 1 $arrayName row
    set conditions {}
    foreach name $keyFields {
        if {![info exists row($name)]} {
            error "required key field '$name' not found in array '$arrayName'"
        }
        lappend conditions "$name = [pg_quote $row($name)]"
    }
    set settings {}
    foreach name [lsort [array names row]] {
        if {$name in $keyFields} continue
        if {$row($name) eq {} && $name in $nullableColumns} {
            lappend settings "$name = null"
        } else {
            lappend settings "$name = [pg_quote $row($name)]"
        }
    }
    return "update $tableName set [join $settings {, }] where ([join $conditions { and }]);"
}

# Runs a statement whose result nobody wants; the status.
proc ::sc_pg::perform_insert {session insertStatement} {
    set result [pg_exec $session $insertStatement]
    set status [pg_result $result -status]
    pg_result $result -clear
    return $status
}

proc ::sc_pg::perform_insert_from_lists {session tableName nameList valueList} {
    perform_insert $session [gen_insert_from_lists $tableName $nameList $valueList]
}

proc ::sc_pg::perform_insert_from_array {session tableName arrayName} {
    upvar 1 $arrayName row
    perform_insert $session [gen_insert_from_array $tableName row]
}

proc ::sc_pg::perform_update_from_array {session tableName arrayName keyFields} {
    upvar 1 $arrayName row
    perform_insert $session [gen_update_from_array $tableName row $keyFields]
}

proc ::sc_pg::clock_to_sql_time {clock} {
    clock format $clock -format "%b %d %Y" -gmt 1
}

proc ::sc_pg::clock_to_precise_sql_time {clock} {
    clock format $clock -format "%b %d %H:%M:%S %Y GMT" -gmt 1
}

# In the local time zone, which is not said.
proc ::sc_pg::clock_to_precise_sql_time_without_timezone {clock} {
    clock format $clock -format "%b %d %H:%M:%S %Y"
}

# A timestamp in UTC as epoch seconds; 0 for an empty one. Fractions are cut off.
proc ::sc_pg::sql_time_to_clock {date} {
    if {$date eq {}} { return 0 }
    scan_time $date 1
}

# A timestamp with its offset, as PostgreSQL prints it; without one it is local time.
proc ::sc_pg::sql_time_with_timezone_to_clock {date} {
    if {$date eq {}} { return 0 }
    if {![regexp {^(.*\d\d:\d\d.*?)([-+])(\d\d)(?::?(\d\d))?$} $date -> date sign hours minutes]} {
        return [scan_time $date 0]
    }
    if {$minutes eq {}} { set minutes 00 }
    scan $hours:$minutes %d:%d hours minutes
    expr {[scan_time $date 1] - "${sign}1" * ($hours * 3600 + $minutes * 60)}
}

proc ::sc_pg::scan_time {date gmt} {
    clock scan [regsub {\.\d+\s*$} [string trim $date] {}] -gmt $gmt
}

# Raises a result's error; clears the result.
proc ::sc_pg::res_must_succeed {result} {
    set status [pg_result $result -status]
    set message [pg_result $result -error]
    pg_result $result -clear
    if {![string match PGRES_*_OK $status]} {
        error $message {} [list POSTGRESQL $status [lindex [split $message \n] 0]]
    }
    return
}

# Did it succeed? Clears the result, and lets an error be.
proc ::sc_pg::res_dont_care {result} {
    set status [pg_result $result -status]
    pg_result $result -clear
    string match PGRES_*_OK $status
}
