//! The change line: one row change of PostgreSQL as tab-separated key-value text.
