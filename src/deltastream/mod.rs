//! A replication slot read into a daystream.
