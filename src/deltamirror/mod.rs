//! A daystream applied to SQLite, exactly once.
