# The crash test's own comparison, which shares no code with the package: every table written by
# psql and by the sqlite3 program in one canonical text, sorted, and compared line by line.

namespace eval ::crash {
    # Table in PostgreSQL, table in SQLite, {column kind} ...: kinds are plain (integers), text,
    # bytes, numeric, time, bool.
    variable columns {
        ticker ticker {id plain n plain}
        journal journal {n plain xid plain kind text}
        account account {aid plain balance plain note text}
        loose loose {amount plain tag text flag bool}
        {"Other Side"."vault ""A"""} {"Other Side.vault ""A"""}
            {id plain amount plain {"a label"} text}
        wide wide {id plain amount plain doc text image bytes price numeric seen time ok bool}
        scratch scratch {id plain amount plain}
        late late {id plain {"at once"} time}
    }
    variable in_postgres {
        plain {%s::text} text {encode(convert_to(%s, 'UTF8'), 'hex')} bytes {encode(%s, 'hex')}
        numeric {trim_scale(%s)::text} time {replace(%s::text, '+00', 'Z')} bool {%s::int::text}
    }
    variable in_sqlite {
        plain {cast(%s as text)} text {lower(hex(%s))} bytes {lower(hex(%s))}
        numeric {rtrim(rtrim(printf('%%.4f', %s), '0'), '.')} time {%s} bool {cast(%s as text)}
    }
    # What SQLite itself must say of a value, so that 1 and '1' do not pass for each other.
    variable stored {
        plain integer text text bytes blob numeric {integer real} time text bool integer
    }
}

proc ::crash::column_list {forms columns} {
    set parts {}
    foreach {column kind} $columns {
        set value [format [dict get $forms $kind] $column]
        lappend parts "case when $column is null then 'null' else '=' || $value end"
    }
    join $parts ", "
}

# Differences between PostgreSQL and the mirror, table by table; empty when there are none.
proc ::crash::differences {} {
    variable server
    variable file
    variable columns
    variable in_postgres
    variable in_sqlite
    variable stored
    set found {}
    foreach {there here list} $columns {
        set there_rows [lsort [split [::cluster::sql $server crash \
            "set timezone = 'UTC'; select [column_list $in_postgres $list] from $there"] \n]]
        set here_rows [lsort [split [exec sqlite3 -batch -bail -noheader -separator \t $file \
            "select [column_list $in_sqlite $list] from $here"] \n]]
        if {$there_rows ne $here_rows} {
            lappend found "$here: [llength $there_rows] rows in PostgreSQL, [llength $here_rows]\
                here; [first_difference $there_rows $here_rows]"
        }
        foreach {column kind} $list {
            set kinds '[join [dict get $stored $kind] ',']'
            set odd [exec sqlite3 -batch $file "select distinct typeof($column) from $here\
                where $column is not null and typeof($column) not in ($kinds)"]
            if {$odd ne {}} { lappend found "$here.$column is stored as $odd" }
        }
    }
    join $found \n
}

proc ::crash::first_difference {there here} {
    foreach one $there other $here {
        foreach value [split $one \t] its [split $other \t] {
            if {$value ne $its} {
                return "first: in {[string range $one 0 60]} it is {[string range $value 0 200]}\
                    there and {[string range $its 0 200]} here"
            }
        }
    }
}

# The numbers of the transactions in the daystream, from the journal's lines, in their order.
proc ::crash::streamed {} {
    variable stream
    variable stage
    set f [open [list |env TCLLIBPATH=[list $stage/lib] $stage/bin/daystream cat $stream 2>@stderr]]
    fconfigure $f -encoding utf-8 -translation lf
    set numbers {}
    while {[gets $f line] >= 0} {
        if {[regexp {\t_table\tjournal\t.*\t_action\tinsert\tn\t(\d+)\t} $line -> n]} {
            lappend numbers $n
        }
    }
    close $f
    return $numbers
}
