/* A sqlite3 package with a SQLite of its own and no symbol visible but the package's entry. */
#include "sqlite3.c"
#undef MIN
#undef MAX
#include "tclsqlite.c"
__attribute__((visibility("default"))) int Second_Init(Tcl_Interp *interp);
int Second_Init(Tcl_Interp *interp) { return Sqlite3_Init(interp); }
