/*
 * Another Pgtcl, as small as the tests of living beside one need, for either Tcl: connections that
 * are channels, results by name, and the C functions by which other extensions reach both.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <tcl.h>

static Tcl_HashTable results;
static int made = 0;

static int closed(void *data, Tcl_Interp *interp, int flags) {
    (void)interp;
    if (flags & (TCL_CLOSE_READ | TCL_CLOSE_WRITE)) return EINVAL;
    PQfinish(data);
    return 0;
}

static int input(void *data, char *buffer, int size, int *error) {
    (void)data; (void)buffer; (void)size;
    *error = EBUSY;
    return -1;
}

static int output(void *data, const char *buffer, int size, int *error) {
    (void)data; (void)buffer; (void)size;
    *error = EBUSY;
    return -1;
}

static void watch(void *data, int mask) { (void)data; (void)mask; }

static Tcl_ChannelType type = {
    "other", TCL_CHANNEL_VERSION_5, TCL_CLOSE2PROC, input, output, NULL, NULL, NULL, watch, NULL,
    closed, NULL, NULL, NULL, NULL, NULL, NULL
};

PGconn *PgGetConnectionId(Tcl_Interp *interp, const char *name, void **id) {
    Tcl_Channel channel = Tcl_GetChannel(interp, name, NULL);
    if (channel == NULL || Tcl_GetChannelType(channel) != &type) return NULL;
    if (id != NULL) *id = channel;
    return Tcl_GetChannelInstanceData(channel);
}

PGresult *PgGetResultId(Tcl_Interp *interp, const char *name, void **id) {
    Tcl_HashEntry *entry = Tcl_FindHashEntry(&results, name);
    (void)interp;
    if (id != NULL) *id = NULL;
    return entry == NULL ? NULL : Tcl_GetHashValue(entry);
}

static int none(Tcl_Interp *interp, Tcl_Obj *name) {
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("%s is no handle", Tcl_GetString(name)));
    return TCL_ERROR;
}

/* pg_connect -conninfo STRING */
static int connect_to(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    char name[32];
    PGconn *conn;
    (void)data;
    if (objc != 3) { Tcl_WrongNumArgs(interp, 1, objv, "-conninfo string"); return TCL_ERROR; }
    conn = PQconnectdb(Tcl_GetString(objv[2]));
    if (PQstatus(conn) != CONNECTION_OK) { PQfinish(conn); return none(interp, objv[2]); }
    snprintf(name, sizeof name, "other%d", ++made);
    Tcl_RegisterChannel(interp,
        Tcl_CreateChannel(&type, name, conn, TCL_READABLE | TCL_WRITABLE));
    Tcl_SetObjResult(interp, Tcl_NewStringObj(name, -1));
    return TCL_OK;
}

static int disconnect(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    (void)data;
    if (objc != 2) { Tcl_WrongNumArgs(interp, 1, objv, "connection"); return TCL_ERROR; }
    if (PgGetConnectionId(interp, Tcl_GetString(objv[1]), NULL) == NULL)
        return none(interp, objv[1]);
    return Tcl_UnregisterChannel(interp, Tcl_GetChannel(interp, Tcl_GetString(objv[1]), NULL));
}

/* pg_exec CONNECTION SQL, and with data pg_sendquery. */
static int run(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    PGconn *conn;
    Tcl_Obj *name;
    int is_new;
    if (objc != 3) { Tcl_WrongNumArgs(interp, 1, objv, "connection sql"); return TCL_ERROR; }
    conn = PgGetConnectionId(interp, Tcl_GetString(objv[1]), NULL);
    if (conn == NULL) return none(interp, objv[1]);
    if (data != NULL) return PQsendQuery(conn, Tcl_GetString(objv[2])) ? TCL_OK : TCL_ERROR;
    name = Tcl_ObjPrintf("%s.%d", Tcl_GetString(objv[1]), ++made);
    Tcl_SetHashValue(Tcl_CreateHashEntry(&results, Tcl_GetString(name), &is_new),
        PQexec(conn, Tcl_GetString(objv[2])));
    Tcl_SetObjResult(interp, name);
    return TCL_OK;
}

/* pg_result RESULT -numTuples|-list */
static int result(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    PGresult *rows;
    Tcl_Obj *list;
    int row, column;
    (void)data;
    if (objc != 3) { Tcl_WrongNumArgs(interp, 1, objv, "result option"); return TCL_ERROR; }
    rows = PgGetResultId(interp, Tcl_GetString(objv[1]), NULL);
    if (rows == NULL) return none(interp, objv[1]);
    if (strcmp(Tcl_GetString(objv[2]), "-numTuples") == 0) {
        Tcl_SetObjResult(interp, Tcl_NewWideIntObj(PQntuples(rows)));
        return TCL_OK;
    }
    list = Tcl_NewListObj(0, NULL);
    for (row = 0; row < PQntuples(rows); row++)
        for (column = 0; column < PQnfields(rows); column++)
            Tcl_ListObjAppendElement(NULL, list,
                Tcl_NewStringObj(PQgetvalue(rows, row, column), -1));
    Tcl_SetObjResult(interp, list);
    return TCL_OK;
}

int Pgtcl_Init(Tcl_Interp *interp) {
    if (Tcl_InitStubs(interp, "8.6-", 0) == NULL) return TCL_ERROR;
    Tcl_InitHashTable(&results, TCL_STRING_KEYS);
    Tcl_CreateObjCommand(interp, "pg_connect", connect_to, NULL, NULL);
    Tcl_CreateObjCommand(interp, "pg_disconnect", disconnect, NULL, NULL);
    Tcl_CreateObjCommand(interp, "pg_exec", run, NULL, NULL);
    Tcl_CreateObjCommand(interp, "pg_sendquery", run, &made, NULL);
    Tcl_CreateObjCommand(interp, "pg_result", result, NULL, NULL);
    return Tcl_PkgProvide(interp, "Pgtcl", "2.9");
}
