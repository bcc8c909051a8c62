//! Every cap and default of server and client in one place, with units.

use std::time::Duration;

/// Bytes of lines in one part of an answer. A transaction may have any number of parts.
pub const SLICE_BYTES: usize = 32 << 10;
/// The same where it is compressed: each part is a zstd frame of its own.
pub const ZSTD_SLICE_BYTES: usize = 256 << 10;
/// Compression level: the least, since each part is compressed while somebody waits for it.
pub const ZSTD_LEVEL: i32 = 1;

/// A longer line is not taken into memory: it is checked and goes out in pieces of this, from its
/// file.
pub const PIECE_BYTES: usize = 128 << 10;

/// Bytes of the newest transactions of a stream that its followers share.
pub const RING_BYTES: usize = 4 << 20;
/// A larger transaction is not shared: each follower reads it for itself.
pub const RING_TRANSACTION_BYTES: usize = 1 << 20;
/// How long a stream that nobody follows any more is still watched.
pub const TAIL_LINGER: Duration = Duration::from_secs(30);

/// How long the head of an answer waits for its first lines: all of a transaction is checked before
/// the first of its lines is given out, and it can have any size.
pub const HEAD_PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer that fails waits for what was written of it to reach the socket.
pub const CUT_PATIENCE: Duration = Duration::from_millis(50);
/// Bytes that the reader of one answer reads ahead.
pub const READER_BUFFER_BYTES: usize = 128 << 10;
/// How long transactions without a line for a mirror are passed over before it is told where its
/// answer is.
pub const PASSING_OVER: Duration = Duration::from_millis(200);
/// Readers of answers that stand open between two parts. The reader of any other answer is opened
/// anew for its next part, where it was.
pub const READERS_PARKED_MAX: usize = 16;
/// Threads that read files.
pub const READING_THREADS: usize = 16;
/// Of those, how many may read lines at once: a large transaction is checked for minutes, and
/// pages, heads and segments are answered all the same.
pub const READING_LINES_MAX: usize = 12;
/// Threads that serve connections.
pub const SERVING_THREADS: usize = 2;

/// Connections at once, unless told otherwise.
pub const CONNECTIONS_MAX: usize = 4096;
/// Bytes of a request's head, and of an answer that wait for the client on the way to the socket.
pub const CONNECTION_BUFFER_BYTES: usize = 32 << 10;
/// Bytes of a TLS connection that wait for the client.
pub const TLS_BUFFER_BYTES: usize = 32 << 10;
/// Bytes of an answer that the kernel holds unsent for a client.
pub const UNSENT_BYTES: u32 = 128 << 10;
/// Header fields of a request.
pub const HEADERS_MAX: usize = 64;
/// Time for a request's head, from its first byte or from the end of the answer before it.
pub const HEAD_TIME: Duration = Duration::from_secs(15);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// A client that has an answer waiting and takes less than [`STALL_BYTES`] of it in this time is
/// let go.
pub const STALL_TIME: Duration = Duration::from_secs(30);
/// See [`STALL_TIME`]; in bytes.
pub const STALL_BYTES: u64 = 16 << 10;
/// Time after which a peer that does not acknowledge is given up by the kernel.
pub const TCP_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that a request may ask to wait for lines, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 300;
/// Time between two empty lines to a client that asked for them, in seconds: least and most.
pub const HEARTBEAT_SECONDS: (u64, u64) = (1, 60);
/// Time for answers to end when the server is stopped.
pub const STOP_TIME: Duration = Duration::from_secs(5);
/// Tables that a request may name.
pub const TABLES_MAX: usize = 1000;
/// Bytes of their names, with what stands between them. In a request's head each may take three.
pub const TABLES_BYTES_MAX: usize = 8 << 10;
/// How often files of tokens and certificates are looked at for changes.
pub const FILE_CHECK: Duration = Duration::from_secs(1);
/// Largest file of tokens, in bytes.
pub const TOKENS_BYTES_MAX: u64 = 4 << 20;

/// Client: time for an attempt to connect, TLS and the head of the answer included.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Client: empty lines that it asks for, in seconds.
pub const CLIENT_HEARTBEAT_SECONDS: u64 = 5;
/// Client: time without a byte after which a connection is given up.
pub const SILENCE_TIME: Duration = Duration::from_secs(20);
/// Client: first and longest pause before connecting again.
pub const RECONNECT_PAUSE: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));
/// Client: time of failing in a row after which a fetch that does not follow gives up.
pub const RETRY_TIME: Duration = Duration::from_secs(30);
/// Client: bytes of a transaction that are held in memory; the rest waits in a file without a name.
pub const SPOOL_MEMORY_BYTES: usize = 4 << 20;
/// Client: longest head of an answer, in bytes: the names of a stream's tables, each byte of them
/// as three, and room.
pub const HEAD_BYTES_MAX: usize = (3 << 20) + (64 << 10);
/// Client: last second of the year 9999, beyond which no position is.
pub const CLOCK_MAX: i64 = 253_402_300_799;
/// Client: largest window of what is compressed, as a power of two, in bytes: 8 MiB.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Client: longest answer to a request that failed, in bytes.
pub const FAULT_BYTES_MAX: usize = 4 << 10;
