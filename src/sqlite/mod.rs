//! Safe SQLite on a borrowed or owned connection, through the owner's API table.
