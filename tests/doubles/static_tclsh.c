/* A tclsh with Tcl linked statically, as tclkits are: the package must load into it without a libtcl in the process. */
#include <tcl.h>

static int init(Tcl_Interp *interp) { return Tcl_Init(interp); }

int main(int argc, char **argv) {
    Tcl_Main(argc, argv, init);
    return 0;
}
