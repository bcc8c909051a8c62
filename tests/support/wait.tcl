# Waiting for a condition with a deadline. Nothing here or in any test sleeps and hopes.

namespace eval ::wait {
    namespace export until until_serving
}

# Evaluates the expression CONDITION in the caller until it is true, and returns how many
# milliseconds that took; after MS milliseconds it is an error that shows what WHAT was awaited.
# The caller's event loop does not run meanwhile.
proc ::wait::until {condition {ms 10000} {what {}}} {
    set began [clock milliseconds]
    while {![uplevel 1 [list expr $condition]]} {
        if {[clock milliseconds] - $began > $ms} {
            if {$what eq {}} { set what $condition }
            return -code error -errorcode {TEST DEADLINE} "not within $ms ms: $what"
        }
        after 5
    }
    expr {[clock milliseconds] - $began}
}

# The same while events are served: for what happens through callbacks.
proc ::wait::until_serving {condition {ms 10000} {what {}}} {
    set began [clock milliseconds]
    while {![uplevel 1 [list expr $condition]]} {
        if {[clock milliseconds] - $began > $ms} {
            if {$what eq {}} { set what $condition }
            return -code error -errorcode {TEST DEADLINE} "not within $ms ms: $what"
        }
        set alarm [after 5 {set ::wait::tick 1}]
        vwait ::wait::tick
        after cancel $alarm
    }
    expr {[clock milliseconds] - $began}
}
