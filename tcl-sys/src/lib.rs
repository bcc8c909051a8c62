//! Raw Tcl C functions through the stub table.
