# Reads the mirror all the time, as any user of the file would, and writes down what it finds wrong:
# each snapshot must hold whole source transactions, in commit order.
#
#   tclsh reader.tcl FILE REPORT STOP      until the file STOP is there; REPORT gets one line for
#                                          each fault, and `checks N` as the last one

package require sqlite3
lassign $argv file report stop

set checks 0
set faults [open $report w]
fconfigure $faults -buffering line
while {![file exists $stop]} {
    # A connection of its own now and then: the last one to close a file does more than others. Not
    # opened read-only: such a one cannot read what a killed writer left until somebody else has.
    sqlite3 db $file
    db eval {pragma query_only = 1}
    db timeout 20000
    for {set i 0} {$i < 40 && ![file exists $stop]} {incr i} {
        set broken [catch {
            db eval {
                select (select sum(balance) from account)
                    + (select ifnull(sum(amount), 0) from loose)
                    + (select sum(amount) from "Other Side.vault ""A""")
                    + (select sum(amount) from wide)
                    + (select ifnull(sum(amount), 0) from scratch) as total,
                    (select n from ticker) as ticked, count(*) as rows,
                    count(distinct n) as different, max(n) as last from journal
            } found {
                if {$found(total) != 0} { puts $faults "the sum is $found(total)" }
                if {$found(rows) != $found(last) || $found(different) != $found(last)
                        || $found(ticked) != $found(last)} {
                    puts $faults "transactions: $found(ticked) ticked, $found(rows) in the journal,\
                        $found(different) different, the last is $found(last)"
                }
            }
        } message]
        if {$broken} { puts $faults $message }
        incr checks
        after 25
    }
    db close
}
puts $faults "checks $checks"
close $faults
