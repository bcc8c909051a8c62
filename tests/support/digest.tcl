# The oracle: is a SQLite file what PostgreSQL holds, value by value, in the documented mapping?
#
# Every row of a table becomes one line of canonical fields, on either side by means that share no
# code with the package: psql and COPY here, Tcl's own sqlite3 there. Lines are sorted bytewise and
# compared.
#
#   digest::differences $cluster database sqliteHandle ?tables?    empty when all are equal
#
# A field is a tag and a value: i integer, r real (17 digits), n numeric in plain decimal, t text,
# b bytes in hex, ~ NULL. The tag says how SQLite stores it: an integer kept as text is a
# difference. Escapes are COPY's.

package require Tcl 8.6-

namespace eval ::digest {}

# Qualified names of the user's tables, as `schema.table`.
proc ::digest::tables {c database} {
    split [::cluster::sql $c $database "
        select n.nspname || '.' || c.relname from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'pgsqlite')
        order by n.nspname, c.relname"] \n
}

# {name base-type ...} of a table's columns that a mirror holds: not the generated ones.
proc ::digest::columns {c database table} {
    lassign [split_name $table] schema name
    set found {}
    foreach line [split [::cluster::sql $c $database "
        with recursive base(oid, typ) as (
            select oid, oid from pg_type
            union all select b.oid, t.typbasetype from base b
            join pg_type t on t.oid = b.typ where t.typtype = 'd')
        select a.attname, t.typname from pg_attribute a
        join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        join base b on b.oid = a.atttypid
        join pg_type t on t.oid = b.typ and t.typtype <> 'd'
        where n.nspname = [literal $schema] and c.relname = [literal $name]
          and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
        order by a.attnum"] \n] {
        lappend found {*}[split $line \t]
    }
    return $found
}

proc ::digest::split_name {table} {
    set dot [string first . $table]
    list [string range $table 0 $dot-1] [string range $table $dot+1 end]
}

proc ::digest::literal {text} { return '[string map {' ''} $text]' }
proc ::digest::identifier {text} { return "\"[string map {\" \"\"} $text]\"" }

# The sorted lines of a PostgreSQL table.
proc ::digest::postgres {c database table} {
    lassign [split_name $table] schema name
    set columns [columns $c $database $table]
    set fields {}
    foreach {column type} $columns { lappend fields "[identifier $column]::text" }
    if {$fields eq {}} { return {} }
    set source "[identifier $schema].[identifier $name]"
    set text [::cluster::psql $c $database -c "set timezone = 'UTC'; set datestyle = 'ISO';
        set intervalstyle = 'postgres'; set extra_float_digits = 1; set bytea_output = 'hex';
        set lc_monetary = 'C'" -c "copy (select [join $fields {, }] from $source) to stdout"]
    if {$text eq {}} { return {} }
    set lines {}
    foreach line [split $text \n] {
        set row {}
        foreach field [split $line \t] {column type} $columns {
            lappend row [from_postgres $type $field]
        }
        lappend lines [join $row \t]
    }
    lsort $lines
}

proc ::digest::from_postgres {type field} {
    if {$field eq {\N}} { return ~ }
    switch -- $type {
        int2 - int4 - int8 - oid { return i$field }
        bool { return i[expr {$field eq "true" || $field eq "t"}] }
        float4 - float8 { return [expr {$field eq "NaN" ? "tNaN" : "r[real $field]"}] }
        numeric { return n[decimal $field] }
        bytea { return b[string range $field 3 end] }
        timestamptz { return t[regsub {\+00$} $field Z] }
        default { return t$field }
    }
}

proc ::digest::real {text} {
    set text [string map {Infinity Inf} $text]
    format %.17g $text
}

# Plain decimal without needless zeros, of whatever notation a number is written in.
proc ::digest::decimal {text} {
    if {![regexp {^(-?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$} $text -> sign whole part exponent]} {
        return $text
    }
    if {$exponent ne {}} {
        scan $exponent %d exponent
        set digits $whole$part
        set point [expr {[string length $whole] + $exponent}]
        if {$point <= 0} {
            set whole 0
            set part [string repeat 0 [expr {-$point}]]$digits
        } else {
            append digits [string repeat 0 [expr {max(0, $point - [string length $digits])}]]
            set whole [string range $digits 0 $point-1]
            set part [string range $digits $point end]
        }
    }
    set whole [string trimleft $whole 0]
    set part [string trimright $part 0]
    if {$whole eq {}} { set whole 0 }
    if {$whole eq "0" && $part eq {}} { return 0 }
    if {$part ne {}} { append whole . $part }
    return $sign$whole
}

# The name under which a mirror keeps a table, or nothing.
proc ::digest::sqlite_name {db table} {
    lassign [split_name $table] schema name
    foreach candidate [expr {$schema eq "public" ? [list $name $table] : [list $table]}] {
        if {[$db exists {select 1 from sqlite_master where type = 'table' and name = $candidate}]} {
            return $candidate
        }
    }
    return
}

# The sorted lines of a mirror's table; columns is as of `digest::columns`.
proc ::digest::sqlite {db name columns} {
    set fields {}
    foreach {column type} $columns {
        set c [identifier $column]
        lappend fields "typeof($c)" "case typeof($c) when 'blob' then hex($c) else $c end"
    }
    if {$fields eq {}} { return {} }
    set lines {}
    set width [llength $fields]
    set row {}
    set types {}
    foreach {column type} $columns { lappend types $type }
    set values [$db eval "select [join $fields {, }] from [identifier $name]"]
    set at 0
    foreach {kind value} $values {
        lappend row [from_sqlite [lindex $types $at] $kind $value]
        if {[incr at] * 2 == $width} {
            lappend lines [join $row \t]
            set row {}
            set at 0
        }
    }
    lsort $lines
}

proc ::digest::from_sqlite {type kind value} {
    if {$type eq "numeric" && $kind ni {null blob}} { return n[decimal $value] }
    switch -- $kind {
        null { return ~ }
        integer { return i$value }
        real { return r[real $value] }
        blob { return b[string tolower $value] }
        text { return t[string map {\\ \\\\ \b \\b \f \\f \n \\n \r \\r \t \\t \v \\v} $value] }
    }
}

proc ::digest::differences {c database db {tables {}}} {
    if {$tables eq {}} { set tables [tables $c $database] }
    set found {}
    foreach table $tables {
        set name [sqlite_name $db $table]
        if {$name eq {}} {
            lappend found "$table is not in the mirror"
            continue
        }
        set there [postgres $c $database $table]
        set here [sqlite $db $name [columns $c $database $table]]
        if {$there eq $here} continue
        lappend found "$table: [llength $there] rows in PostgreSQL, [llength $here] in SQLite"
        lappend found {*}[lrange [only $there $here "only in PostgreSQL"] 0 4]
        lappend found {*}[lrange [only $here $there "only in SQLite"] 0 4]
    }
    set check [$db onecolumn {pragma integrity_check}]
    if {$check ne "ok"} { lappend found "integrity_check: $check" }
    return $found
}

# The lines that one side has more often than the other.
proc ::digest::only {these those label} {
    set count {}
    foreach line $those { dict incr count $line }
    set found {}
    foreach line $these {
        if {[dict exists $count $line] && [dict get $count $line] > 0} {
            dict incr count $line -1
        } else {
            lappend found "  $label: $line"
        }
    }
    return $found
}
