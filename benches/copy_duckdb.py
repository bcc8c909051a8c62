# One side of copy.tcl: DuckDB reads PostgreSQL and writes SQLite; conninfo, SQLite file.
import sys
import time

import duckdb

try:
    import duckdb_extensions

    for name in ("postgres_scanner", "sqlite_scanner"):
        duckdb_extensions.import_extension(name)
except ImportError:
    pass  # DuckDB fetches its extensions by itself.

def quote(text):
    return "'" + text.replace("'", "''") + "'"


db = duckdb.connect()
db.execute(f"attach {quote(sys.argv[1])} as pg (type postgres, read_only)")
db.execute(f"attach {quote(sys.argv[2])} as lite (type sqlite)")
began = time.time()
db.execute("insert into lite.flights select * from pg.flights")
print("seconds", time.time() - began)
