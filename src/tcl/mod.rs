//! Safe Tcl: interpreters, objects, commands, channels, events, text.
