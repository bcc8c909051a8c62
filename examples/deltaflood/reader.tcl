# A reader of change lines in plain Tcl: no package, Tcl 8.6 or 9.0. See doc/deltaflood.md.
#
#   pg_recvlogical -d db -S slot --start -f - | tclsh script that sources this file
#
#   fconfigure stdin -translation binary
#   while {[gets stdin line] >= 0} {
#       set change [deltaflood::parse $line]
#       dict with change { puts "$verb [dict get $head _table]: $columns" }
#   }
#
# deltaflood::parse LINE     LINE is bytes, without its line feed. A dict: `verb`; `head`, the
#                            pseudo-columns as they are named in the line; `columns`, names and
#                            values in the order of the line. A NULL is not there. Names and values
#                            are decoded text; `_unchanged`, `_key` and the lists among the
#                            details are Tcl lists.
# deltaflood::fields LINE    the same, of bytes: nothing is taken for UTF-8.
#
# Anything else than a change line is an error with the code {DELTAFLOOD KIND BYTE}.

package require Tcl 8.6-

namespace eval ::deltaflood {
    variable verbs {insert update replace delete truncate commit schema message}
    # What the value of each pseudo-column looks like.
    variable heads {
        _table name _schema name _qualified_table name _xid u32 _oid u32 _c i63 _s u64 _lines u64
        _lsn lsn _time i64 _crc crc _chain crc _commit_crc crc _unchanged list _key list
        _primary list _natts u16 _attnums list _types list _stamps list _missing list _labels list
        _storage name _kind {^[rp]$} _identity {^[dnfi]$} _filter name
        _gone {^(dropped|unpublished)$}
    }
    # The details of a schema line: the first are there together or not at all.
    variable always {_natts _attnums _types _stamps _storage _kind _identity}
    variable details [concat $always {_primary _missing _labels _filter}]
    # What the words of their lists are, by turns; and whether there is one for each column.
    variable words {
        _attnums {u16 1} _types {type 1} _stamps {u32 1}
        _missing {{any any} 0} _labels {{u32 any} 0}
    }
    # The largest numbers; Tcl's have no end of their own.
    variable largest {
        u16 65535 i31 2147483647 u32 4294967295 i63 9223372036854775807 u64 18446744073709551615
    }
}

proc ::deltaflood::fail {kind byte} {
    return -code error -errorcode [list DELTAFLOOD $kind $byte] "$kind at byte $byte"
}

proc ::deltaflood::parse {line} {
    set change [fields $line]
    dict for {key value} [dict get $change head] { dict set head $key [text $value] }
    foreach key {_unchanged _key _primary _missing _labels} {
        if {![dict exists $head $key]} continue
        dict set head $key [lmap name [dict get $change head $key] { text $name }]
    }
    set columns [lmap field [dict get $change columns] { text $field }]
    dict create verb [dict get $change verb] head $head columns $columns
}

proc ::deltaflood::text {bytes} { encoding convertfrom utf-8 $bytes }

proc ::deltaflood::fields {line} {
    variable verbs
    set end [string length $line]
    if {$end == 0} { fail NOVERB 0 }
    set raw [split $line \t]
    set head {}
    set lists {}
    set at 0
    set n 0
    while 1 {
        if {$n >= [llength $raw]} { fail NOVERB $end }
        lassign [pair $raw $n $at $end] key value next
        if {$key eq "_action"} break
        set value_at [expr {$at + [string length $key] + 1}]
        lassign [pseudo $head $key $value $at $value_at] kind decoded
        if {$kind eq "list"} { lappend lists $key $decoded $value $value_at }
        dict set head $key $decoded
        incr n 2
        set at $next
    }
    set verb_at [expr {$at + 8}]
    if {$value ni $verbs} { fail UNKNOWNVERB $verb_at }
    if {$value ni {commit message} && ![dict exists $head _table]
            && ![dict exists $head _qualified_table]} {
        fail NOTABLE $verb_at
    }
    incr n 2
    if {$value in {commit truncate} && $n < [llength $raw]} { fail COLUMNSNOTALLOWED $next }
    go_together $head $value $at
    set columns [columns $raw $n $next $end places]
    foreach {key decoded list list_at} $lists {
        dict set head $key [names $decoded $list $list_at]
        fit $key [dict get $head $key] [expr {[llength $columns] / 2}] $list_at
    }
    foreach {name place} $places {
        if {[dict exists $seen $name]} { fail DUPLICATECOLUMN $place }
        dict set seen $name 1
    }
    dict create verb $value head $head columns $columns
}

# The fields number n and n + 1, checked, still with their escapes; and where the next one begins.
proc ::deltaflood::pair {raw n at end} {
    set key [lindex $raw $n]
    check $key $at
    set value_at [expr {$at + [string length $key] + 1}]
    if {$n + 1 >= [llength $raw]} { fail ODDFIELDS $end }
    set value [lindex $raw $n+1]
    check $value $value_at
    list $key $value [expr {$value_at + [string length $value] + 1}]
}

# Sees that a field has no line feed, and no backslash but those of the four escapes.
proc ::deltaflood::check {field at} {
    if {[string first \\ $field] < 0 && [string first \n $field] < 0} return
    regexp -indices {^(?:[^\\\n]|\\[\\tnr])*} $field sound
    set bad [expr {[lindex $sound 1] + 1}]
    if {$bad == [string length $field]} return
    fail [expr {[string index $field $bad] eq "\n" ? "LINEFEED" : "BADESCAPE"}] \
        [expr {$at + $bad}]
}

proc ::deltaflood::unescape {field} {
    string map {\\\\ \\ \\t \t \\n \n \\r \r} $field
}

# Kind and value of a pseudo-column.
proc ::deltaflood::pseudo {head key value at value_at} {
    variable heads
    variable largest
    if {![dict exists $heads $key]} { fail UNKNOWNHEAD $at }
    if {[dict exists $head $key]} { fail DUPLICATEHEAD $at }
    set kind [dict get $heads $key]
    switch -- $kind {
        name { set sound [expr {$value ne {}}] }
        lsn { set sound [regexp {^[[:xdigit:]]{1,8}/[[:xdigit:]]{1,8}$} $value] }
        crc { set sound [regexp {^[0-9a-f]{8}$} $value] }
        i64 {
            set sound [expr {[regexp {^(0|-?[1-9][0-9]{0,18})$} $value]
                && $value <= 9223372036854775807 && $value >= -9223372036854775808}]
        }
        list { set sound 1 }
        u16 - u32 - i63 - u64 {
            set sound [expr {[regexp {^(0|[1-9][0-9]{0,19})$} $value]
                && $value <= [dict get $largest $kind]}]
        }
        default { set sound [regexp $kind [unescape $value]] }
    }
    if {!$sound} { fail BADHEAD $value_at }
    list $kind [unescape $value]
}

# Sees that details are those of a schema line, and all there; its verb's key is at `at`.
proc ::deltaflood::go_together {head verb at} {
    variable always
    variable details
    set found [lmap key [dict keys $head] { if {$key ni $details} continue; set key }]
    set needed [lmap key $always { if {$key in $found} continue; set key }]
    set gone [dict exists $head _gone]
    if {($gone || $found ne {}) && $verb ne "schema"
            || $found ne {} && ($needed ne {} || $gone)} {
        fail BADDETAILS $at
    }
}

# Sees that the words of a detail are of their kinds, and as many as they should be.
proc ::deltaflood::fit {key list columns at} {
    variable words
    if {![dict exists $words $key]} return
    lassign [dict get $words $key] kinds each
    set count [llength $list]
    set sound [expr {$each ? $count == $columns : $count % [llength $kinds] == 0}]
    set place 0
    foreach word $list {
        set kind [lindex $kinds [expr {$place % [llength $kinds]}]]
        set sound [expr {$sound && [is_word $kind $word]}]
        incr place
    }
    if {!$sound} { fail BADDETAILS $at }
}

proc ::deltaflood::is_word {kind word} {
    variable largest
    switch -- $kind {
        any { return 1 }
        type {
            lassign [split $word /] base modifier
            return [expr {[is_word u32 $base]
                && ($base eq $word || $word eq "$base/$modifier" && [is_word i31 $modifier])}]
        }
    }
    expr {[regexp {^(0|[1-9][0-9]{0,19})$} $word] && $word <= [dict get $largest $kind]}
}

# The columns from field n on; `places` in the caller becomes their names and where they stand.
proc ::deltaflood::columns {raw n at end places} {
    upvar 1 $places found seen seen
    set found {}
    set seen {}
    set columns {}
    for {} {$n < [llength $raw]} {incr n 2} {
        lassign [pair $raw $n $at $end] key value next
        if {$key eq {}} { fail EMPTYKEY $at }
        set name [unescape $key]
        lappend columns $name [unescape $value]
        lappend found $name $at
        set at $next
    }
    return $columns
}

# The names of a list in backslash form; `raw` is the field it came from, which is at `at`.
# NOTE: Tcl would take more than this one form (braces, several spaces): those are errors here.
proc ::deltaflood::names {list raw at} {
    set names {}
    set place 0
    set special { \\{}[]"$;}
    while {$place < [string length $list]} {
        set rest [string range $list $place end]
        if {$rest eq "{}" || [string match "{} *" $rest]} {
            set length 2
        } else {
            regexp -indices {^(?:\\#)?(?:[^]\\ {}["$;\t\n\r\v\f]|\\[]\\ {}["$;tnrvf])*} $rest sound
            set length [expr {[lindex $sound 1] + 1}]
            if {[string index $rest 0] eq "#"} { set length 0 }
        }
        set after [string index $rest $length]
        set wrong -1
        if {$length == 0 || $after ni {{} { }}} { set wrong [expr {$place + $length}] }
        if {$after eq { } && $place + $length + 1 == [string length $list] && $wrong < 0} {
            set wrong [expr {$place + $length}]
        }
        if {$wrong >= 0} {
            # The byte in the line: an escape is two bytes there and one here.
            set before [escape [string range $list 0 [expr {$wrong - 1}]]]
            fail BADLIST [expr {$at + min([string length $before], [string length $raw])}]
        }
        lappend names [lindex [string range $rest 0 [expr {$length - 1}]] 0]
        set place [expr {$place + $length + 1}]
    }
    return $names
}

proc ::deltaflood::escape {value} {
    string map {\\ \\\\ \t \\t \n \\n \r \\r} $value
}
