//! The log: positions, segments, writer, reader.
