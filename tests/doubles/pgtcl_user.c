/*
 * An extension as others write them: it takes connections and results of a script through Pgtcl's
 * C functions and uses them by libpq. It is linked with -lpgtcl<version> -lpq.
 */
#include <pgtclId.h>

/* pgtcl_user::database HANDLE: the name of the connection's database, asked for by PQdb, and what
 * the server answers when it is asked. */
static int database(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    Pg_ConnectionId *id = NULL;
    PGconn *plain, *conn;
    PGresult *result;
    Tcl_Obj *list;
    (void)data;
    if (objc != 2) { Tcl_WrongNumArgs(interp, 1, objv, "handle"); return TCL_ERROR; }
    conn = PgGetConnectionId(interp, Tcl_GetString(objv[1]), &id);
    if (conn == NULL) return TCL_ERROR;
    plain = PgGetConnectionId(interp, Tcl_GetString(objv[1]), NULL);
    result = PQexec(conn, "select current_database()");
    list = Tcl_NewListObj(0, NULL);
    Tcl_ListObjAppendElement(NULL, list, Tcl_NewStringObj(PQdb(conn), -1));
    Tcl_ListObjAppendElement(NULL, list, Tcl_NewStringObj(PQgetvalue(result, 0, 0), -1));
    Tcl_ListObjAppendElement(NULL, list, Tcl_NewIntObj(plain == conn && id != NULL));
    PQclear(result);
    Tcl_SetObjResult(interp, list);
    return TCL_OK;
}

/* pgtcl_user::corner HANDLE: rows, columns and the first value of a result. */
static int corner(void *data, Tcl_Interp *interp, int objc, Tcl_Obj *const objv[]) {
    Pg_resultid *id = NULL;
    PGresult *result;
    (void)data;
    if (objc != 2) { Tcl_WrongNumArgs(interp, 1, objv, "handle"); return TCL_ERROR; }
    result = PgGetResultId(interp, Tcl_GetString(objv[1]), &id);
    if (result == NULL) return TCL_ERROR;
    if (PgGetResultId(interp, Tcl_GetString(objv[1]), NULL) != result) return TCL_ERROR;
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("%d %d %s %d", PQntuples(result), PQnfields(result),
        PQgetvalue(result, 0, 0), id != NULL));
    return TCL_OK;
}

int Pgtcluser_Init(Tcl_Interp *interp) {
    if (Tcl_InitStubs(interp, "8.6-", 0) == NULL) return TCL_ERROR;
    Tcl_CreateObjCommand(interp, "::pgtcl_user::database", database, NULL, NULL);
    Tcl_CreateObjCommand(interp, "::pgtcl_user::corner", corner, NULL, NULL);
    return TCL_OK;
}
