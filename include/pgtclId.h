/*
 * For C extensions of Tcl that use the connections and results which a script has opened by Pgtcl's
 * commands. Link with libpgtcl<version> (or look the functions up in it) and with libpq.
 *
 * What is returned stays the script's: never PQfinish or PQclear it, and do not keep it longer than
 * the call of your command, for the script may disconnect or clear. Call from the interpreter's
 * own thread. Without such a handle the result is NULL, and the interpreter's result says why.
 */
#ifndef PGTCLID_H
#define PGTCLID_H

#include <tcl.h>
#include <libpq-fe.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque: what stands behind a connection handle. */
typedef struct Pg_ConnectionId_s Pg_ConnectionId;

/* The connection behind a handle. `connid` may be NULL; else it gets the opaque pointer. */
extern PGconn *PgGetConnectionId(Tcl_Interp *interp, const char *handle, Pg_ConnectionId **connid);

/* Opaque: what stands behind a result handle. */
typedef struct Pg_resultid_s Pg_resultid;

/* The result behind a handle. `resultid` may be NULL; else it gets the opaque pointer. */
extern PGresult *PgGetResultId(Tcl_Interp *interp, const char *handle, Pg_resultid **resultid);

#ifdef __cplusplus
}
#endif

#endif
