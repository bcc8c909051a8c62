//! Safe libpq: connection, result, COPY, replication stream.
