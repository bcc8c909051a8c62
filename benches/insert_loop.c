/* One side of copy.tcl: the plainest fast way in C from a PostgreSQL result to SQLite, a prepared
 * INSERT with a bind and a step for each row, in one transaction.
 *
 *   insert_loop CONNINFO FILE        prints `seconds S` of the insert half alone
 *
 * Values are bound in the types of the columns: i integer, r real, b boolean, t text (not copied).
 */
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char kinds[] = "ittttttt" "rriibt";

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "insert_loop: %s\n", what);
    exit(1);
}

static void bind(sqlite3_stmt *insert, PGresult *rows, int row, int column) {
    const char *text = PQgetvalue(rows, row, column);
    int at = column + 1;
    if (PQgetisnull(rows, row, column)) {
        sqlite3_bind_null(insert, at);
    } else if (kinds[column] == 'i') {
        sqlite3_bind_int64(insert, at, strtoll(text, NULL, 10));
    } else if (kinds[column] == 'r') {
        sqlite3_bind_double(insert, at, strtod(text, NULL));
    } else if (kinds[column] == 'b') {
        sqlite3_bind_int64(insert, at, *text == 't');
    } else {
        sqlite3_bind_text(insert, at, text, PQgetlength(rows, row, column), SQLITE_STATIC);
    }
}

int main(int argc, char **argv) {
    sqlite3 *db;
    sqlite3_stmt *insert;
    if (argc != 3) fail("needs conninfo and file");
    PGconn *conn = PQconnectdb(argv[1]);
    PGresult *rows = PQexec(conn, "select * from flights");
    if (PQresultStatus(rows) != PGRES_TUPLES_OK) fail(PQerrorMessage(conn));
    if (sqlite3_open(argv[2], &db) != SQLITE_OK) fail("cannot open the file");
    double began = now();
    sqlite3_exec(db, "begin", NULL, NULL, NULL);
    if (sqlite3_prepare_v2(db, "insert into flights values (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", -1,
            &insert, NULL) != SQLITE_OK) fail(sqlite3_errmsg(db));
    for (int row = 0; row < PQntuples(rows); row++) {
        for (int column = 0; kinds[column]; column++) bind(insert, rows, row, column);
        if (sqlite3_step(insert) != SQLITE_DONE) fail(sqlite3_errmsg(db));
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    if (sqlite3_exec(db, "commit", NULL, NULL, NULL) != SQLITE_OK) fail(sqlite3_errmsg(db));
    printf("seconds %f\n", now() - began);
    sqlite3_close(db);
    PQclear(rows);
    PQfinish(conn);
    return 0;
}
