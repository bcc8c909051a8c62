/* heap::in_use: the bytes that are allocated now, by the C library's own count. */
#include <malloc.h>
#include <tcl.h>

static int in_use(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    struct mallinfo2 info = mallinfo2();
    (void)data; (void)objc; (void)objv;
    Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)(info.uordblks + info.hblkhd)));
    return TCL_OK;
}

int Heap_Init(Tcl_Interp *interp) {
    if (Tcl_InitStubs(interp, "8.6-", 0) == NULL) return TCL_ERROR;
    Tcl_CreateObjCommand(interp, "::heap::in_use", in_use, NULL, NULL);
    return TCL_OK;
}
