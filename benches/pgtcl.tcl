# The same scripts by this package's Pgtcl and by the C Pgtcl of the distribution (libpgtcl), on one
# server in one run: rows of 14 columns in every form, and short statements. A ratio is what C Pgtcl
# takes by what this package takes: above 1 this one is faster. CPU seconds are the client's own,
# and the steadier measure on a machine that does other things too.

set pgtcl_rows [expr {min(200000, $measure::rows)}]
set pgtcl_server [measure::server]
set pgtcl_conninfo [cluster::dsn $pgtcl_server bench]
cluster::psql $pgtcl_server bench -v rows=$pgtcl_rows -f $measure::here/flights.sql

# One process of one package does all jobs once, after a first round that warms up; a dict of job
# to {seconds cpu}.
proc pgtcl_round {package} {
    global pgtcl_conninfo
    exec [info nameofexecutable] $measure::here/pgtcl_jobs.tcl $package $pgtcl_conninfo
}

if {[catch {pgtcl_round c} pgtcl_values]} {
    puts "pgtcl: no C Pgtcl on this machine (Debian: libpgtcl), nothing to compare with"
    puts $pgtcl_values
} else {
    array unset pgtcl_all
    for {set run 1} {$run <= $measure::runs} {incr run} {
        foreach package {ours c} {
            dict for {job taken} [pgtcl_round $package] {
                lappend pgtcl_all($job,$package,seconds) [lindex $taken 0]
                lappend pgtcl_all($job,$package,cpu) [lindex $taken 1]
                if {$job ni [expr {[info exists pgtcl_jobs] ? $pgtcl_jobs : {}}]} {
                    lappend pgtcl_jobs $job
                }
            }
        }
    }
    puts "\npgtcl: $pgtcl_rows rows of 14 columns; 20000 short statements"
    puts [format "%-22s %9s %9s %7s   %9s %9s %7s" "" "C s" "ours s" ratio "C cpu" "ours cpu" \
        ratio]
    foreach job $pgtcl_jobs {
        set line [format %-22s $job]
        foreach what {seconds cpu} {
            set theirs [measure::median $pgtcl_all($job,c,$what)]
            set ours [measure::median $pgtcl_all($job,ours,$what)]
            append line [format " %9.3f %9.3f %7.2f  " $theirs $ours [expr {$theirs / $ours}]]
        }
        puts $line
    }
}
cluster::destroy $pgtcl_server
