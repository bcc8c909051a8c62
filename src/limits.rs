//! Every cap and default in one place, with units.

/// Size at which a daystream segment is cut, in bytes: the transaction that passes it is the
/// segment's last. A segment can be larger by one transaction.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Text of a compressed segment that is compressed by itself, in bytes: what a reader decompresses
/// to get at any place in it.
pub const SEGMENT_FRAME_BYTES: usize = 1 << 20;
/// Largest such piece that a reader takes of a segment that another program compressed, in bytes.
pub const SEGMENT_FRAME_BYTES_MAX: usize = 4 << 20;
/// Most such pieces in a segment: 256 GiB of ours. A larger segment is not compressed.
pub const SEGMENT_FRAMES_MAX: usize = 1 << 18;
/// zstd's level for segments: its default.
pub const SEGMENT_COMPRESSION_LEVEL: i32 = 3;

/// Milliseconds to ask a server what it keeps for a slot, when a program ends.
pub const SLOT_ASK_MS: u64 = 3_000;

/// Seconds that a capture's clock may be ahead of its server's: beyond that, what it writes is
/// stamped as if it were no more.
pub const CLOCK_AHEAD_S: i64 = 3_600;

/// Milliseconds between two saves of a registered reader's position, while changes come.
pub const READER_CONFIRM_MS: u64 = 1_000;

/// Lines that are not shown which a reader in an event loop passes over before other events have
/// their turn.
pub const LINES_PASSED_MAX: usize = 1_000;

/// Capture: milliseconds between two looks for segments to compress.
pub const COMPRESS_INTERVAL_MS: u64 = 10_000;

/// Bytes that a daystream writer holds before it writes them to the file, also in mid-transaction.
pub const LOG_WRITER_BUFFER_BYTES: usize = 1 << 20;

/// Bytes that a daystream reader reads ahead. A longer line makes the buffer grow to its length.
pub const LOG_READER_BUFFER_BYTES: usize = 1 << 20;

/// Longest line that a daystream reader takes into memory, in bytes: a row of PostgreSQL has at
/// most 1 GiB of text, which escapes can double, and names.
pub const LINE_BYTES_MAX: usize = 3 << 30;

/// Bytes within which the head of a line must be, where the line is too long for a reader that
/// takes only so much into memory. One with a longer head is read as a whole.
pub const LINE_HEAD_BYTES: usize = 64 << 10;

/// Milliseconds between two looks at a followed daystream when the kernel reports no change (as on
/// network file systems).
pub const FOLLOW_POLL_MS: u64 = 1_000;

/// Bytes of lines of a stream on another host that are read from its client at once. A longer line
/// makes the buffer grow to its length.
pub const REMOTE_BUFFER_BYTES: usize = 256 << 10;

/// Milliseconds of failing in a row after which a stream on another host that is read to its end is
/// given up.
pub const REMOTE_RETRY_MS: u64 = 30_000;

/// Milliseconds without a byte after which a client that has begun to hand over a transaction, of
/// which it has all, is given up.
pub const REMOTE_STALL_MS: u64 = 10_000;
/// Fewer bytes than these in that time are none.
pub const REMOTE_STALL_BYTES: usize = 4 << 10;

/// Milliseconds between two looks whether to stop, of a reader that waits for such a client.
pub const REMOTE_STOP_MS: u64 = 200;

/// Tables of a reader, and bytes of their names, up to which the server of a stream on another host
/// is asked for them alone; of more it sends all lines.
pub const REMOTE_TABLES_MAX: usize = 1_000;
/// See [`REMOTE_TABLES_MAX`]. In a request each byte may take three.
pub const REMOTE_TABLES_BYTES_MAX: usize = 4 << 10;

/// Bulk import: bytes of text and blobs after which a batch of rows goes to SQLite. One longer row
/// is a batch of its own.
pub const IMPORT_BATCH_BYTES: usize = 256 * 1024;
/// Bulk import: cells after which a batch of rows goes to SQLite (16 to 24 bytes each).
pub const IMPORT_BATCH_CELLS: usize = 16 * 1024;
/// Bulk import: batches that may wait for SQLite while the next one is read.
pub const IMPORT_BATCHES_WAITING: usize = 4;
/// Parallel copy: connections at most; each has a batch of its own in memory.
pub const PARALLEL_READERS_MAX: usize = 16;
/// Parallel copy: ranges of pages for each connection, so that one with more rows in its pages does
/// not keep the others waiting for long.
pub const PARALLEL_RANGES_EACH: u64 = 8;
/// Parallel copy: pages of a range at least (8 KiB each, unless the server was built otherwise).
pub const PARALLEL_RANGE_PAGES: u64 = 128;

/// Bulk import: batches from which it pays to load an empty database without its WAL: for fewer
/// rows the few more fsyncs of changing the journal cost more than writing the pages twice.
pub const IMPORT_WAL_BATCHES: usize = 4;
/// Bulk import: milliseconds within which so many batches must have come.
pub const IMPORT_WAL_BATCHES_MS: u64 = 5_000;

/// Bulk import: page cache of the user's connection while rows go into a table with indexes, in
/// bytes: with SQLite's default of 2 MB, keys in random order take twice the time.
pub const IMPORT_CACHE_BYTES: u64 = 24 << 20;

/// Export: bytes of rows that are handed to libpq at once.
pub const EXPORT_CHUNK_BYTES: usize = 64 << 10;

/// Size of a table in PostgreSQL, in bytes, from which the first fill of a mirror loads it without
/// the file's WAL: for less the few more fsyncs of changing the journal cost more than they save.
pub const MIRROR_WAL_TABLE_BYTES: u64 = 4 << 20;

/// How long a mirror waits for a locked SQLite database, in milliseconds, unless told otherwise.
pub const MIRROR_BUSY_MS: u64 = 5_000;

/// Changes after which a mirror commits in SQLite at the next end of a transaction.
pub const MIRROR_BATCH_CHANGES: u64 = 100_000;

/// Bytes that a mirror keeps for the values of a row, for the next one; what a larger one needed is
/// given back.
pub const MIRROR_ROW_BYTES: usize = 1 << 20;

/// Milliseconds after which a mirror commits in SQLite at the next end of a transaction.
pub const MIRROR_BATCH_MS: u64 = 500;

/// Page cache of a mirror's own SQLite connection, in bytes: with SQLite's default of 2 MB, updates
/// by key in a large table take twice the time.
pub const MIRROR_CACHE_BYTES: u64 = 48 << 20;

/// Rows of a table's sample, by which the columns of an index are chosen.
pub const MIRROR_SAMPLE_ROWS: i64 = 10_000;

/// Columns that come into question for it, the most various ones.
pub const MIRROR_SAMPLE_COLUMNS: usize = 16;

/// Seconds before the end of the log, or before the oldest transaction that is known of, at which
/// `compare` begins to read: a transaction can be in the log before it is visible to others (it
/// waits for a synchronous standby).
pub const MIRROR_START_SLACK_S: i64 = 300;

/// How long a copy waits for transactions that wrote to its tables before, in milliseconds.
pub const MIRROR_WRITERS_MS: u64 = 600_000;

/// Rows between two reports of a copy's progress.
pub const MIRROR_PROGRESS_ROWS: u64 = 10_000;
/// Capture: milliseconds between two fsyncs of the daystream while transactions come.
pub const SYNC_INTERVAL_MS: u64 = 10;
/// Capture: bytes of rendered lines that may wait for the disk; past it nothing more is received.
/// One row larger than this still passes.
pub const CAPTURE_QUEUE_BYTES: usize = 32 << 20;
/// Capture: bytes of rendered lines after which a batch goes to the log's thread.
pub const CAPTURE_BATCH_BYTES: usize = 256 << 10;
/// Capture: longest time between two status updates to the server, in milliseconds; a quarter of
/// the server's `wal_sender_timeout` when that is less.
pub const STATUS_INTERVAL_MS: u64 = 5_000;
/// Capture: time between two questions to the server how far it is, in milliseconds, when the end
/// of the capture depends on the answer.
pub const END_POLL_MS: u64 = 100;
/// Capture: time between two confirmations of progress while idle, in milliseconds.
pub const IDLE_CONFIRM_MS: u64 = 10_000;
/// Reading lines in: time between two advances of the slot that keeps what is not durable, in
/// milliseconds. Each makes the server read the WAL in between once more.
pub const KEEPER_ADVANCE_MS: u64 = 5_000;
/// Capture: WAL passed while idle, in bytes, after which progress is confirmed at once.
pub const IDLE_CONFIRM_BYTES: u64 = 16 << 20;
/// Capture: first and longest pause before connecting again, in milliseconds.
pub const RECONNECT_MIN_MS: u64 = 100;
/// See [`RECONNECT_MIN_MS`].
pub const RECONNECT_MAX_MS: u64 = 5_000;
/// Capture: longest time, in milliseconds, that a stream waits for the details of a table. A
/// quarter of the server's `wal_sender_timeout` where that is less: the server must hear of us
/// meanwhile.
pub const DETAILS_MS: u64 = 3_000;
/// After a question for details that failed none is asked for this long, in milliseconds.
pub const DETAILS_PAUSE_MS: u64 = 5_000;
/// The connection for such questions is closed when none was asked for this long, in milliseconds.
pub const DETAILS_IDLE_MS: u64 = 10_000;
/// Capture: how long to wait, in milliseconds, for a table that is being altered, before it is
/// described: else it is left to the next heartbeat.
pub const DDL_LOCK_MS: u64 = 250;
/// Capture: tables that are described in one transaction.
pub const DESCRIBED_AT_ONCE: usize = 100;
/// Capture: shortest time, in milliseconds, between two looks at the catalogs that somebody asked
/// for.
pub const LOOK_MS: u64 = 250;
/// Capture: longest time, in milliseconds, between two looks that somebody asked for and that have
/// not seen yet what his transaction did.
pub const LOOK_AGAIN_MS: u64 = 2_000;
/// Capture: transactions that ask for a look and are told apart.
pub const LOOKS_ASKED_MAX: usize = 1_000;
/// Capture: milliseconds for one attempt to connect.
pub const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Capture: milliseconds to wait at the start for a slot that somebody else holds, as the server's
/// end of a process that was killed.
pub const SLOT_WAIT_MS: u64 = 15_000;
/// Setup: milliseconds between two looks at a slot that is not ready.
pub const SLOT_LOOK_MS: u64 = 200;
/// Setup: milliseconds between two looks of the server whether the client is still there for which
/// it makes a slot.
pub const SLOT_CLIENT_CHECK_MS: u64 = 1_000;
/// Setup: seconds between two times that it tells what it waits for.
pub const SLOT_TELL_S: u64 = 10;
/// Capture: milliseconds without a word from the server, asked to answer, before the connection is
/// given up. Long, since a server that decodes a huge transaction may not answer for a while.
pub const STALL_TIMEOUT_MS: u64 = 300_000;
/// Capture: pause that lets small messages arrive together, when they come one by one in quick
/// succession.
pub const TRICKLE_PAUSE: std::time::Duration = std::time::Duration::from_micros(200);
/// Capture: bytes received between two waits from which on there is no such pause.
pub const TRICKLE_BYTES: usize = 8 << 10;
/// Capture: quick waits, one after the other, before there is such a pause.
pub const TRICKLE_STREAK: u32 = 8;
/// Capture: longest wait at the end for the server to end its side of the stream, in milliseconds.
pub const STREAM_END_MS: u64 = 2_000;

/// Size to which the WAL of a mirror's own connection is cut back after a checkpoint, in bytes.
pub const MIRROR_WAL_BYTES: u64 = 64 << 20;

/// Size of a mirror's WAL, in bytes, past which nothing more is written to it until it was begun
/// anew, which a reader of the file prevents as long as its transaction is open. One transaction of
/// the source may pass it.
pub const MIRROR_WAL_BYTES_MAX: u64 = 1 << 30;

/// A follower that is behind commits at a size or a time, and has more to do: so long it leaves the
/// file to others then, whose verbs would not get a turn otherwise, in milliseconds.
pub const MIRROR_GAP_MS: u64 = 2;

/// How often a follower that has nothing to do looks whether others have asked for something, in
/// milliseconds.
pub const MIRROR_LOOK_MS: u64 = 100;

/// A verb that has much to do beside a follower holds the file for so long at a time, in
/// milliseconds, and for as long as one transaction of the source takes.
pub const MIRROR_SLICE_MS: u64 = 50;

/// Longest pause of a follower between two tries after a failure that may pass (a locked database,
/// a full disk), in milliseconds.
pub const MIRROR_RETRY_MS_MAX: u64 = 5_000;

/// Milliseconds that closing a capture waits for its clean end, before it is left to itself.
pub const CAPTURE_CLOSE_MS: u64 = 10_000;

/// How long a copy waits for the lock that keeps a table's definition as it is, in milliseconds.
pub const MIRROR_LOCK_MS: u64 = 60_000;

/// Milliseconds that the end of an interpreter or of a process waits for work on another thread to
/// give up, before that is left to itself.
pub const JOB_CLOSE_MS: u64 = 10_000;

/// How many notices of a server wait to be told to the handler of `pg_notice_handler`; the oldest
/// go first.
pub const NOTICES_MAX: usize = 10_000;

/// A large object is read in pieces of so many bytes (`pg_lo_read`).
pub const LARGE_OBJECT_PIECE_BYTES: usize = 1 << 20;

/// How long a statement that `pg_query` has given up may take to end.
pub const CANCEL_MS: u64 = 10_000;

/// Milliseconds between two heartbeats of a capture, unless told otherwise.
pub const HEARTBEAT_MS: u64 = 10_000;

/// Heartbeats that may be missing before what is between is called stalled.
pub const HEARTBEAT_MISSED: u64 = 3;

/// Milliseconds that a heartbeat may be late before what is between is called slow.
pub const HEARTBEAT_SLOW_MS: u64 = 2_000;

/// Tables that a capture knows at a time. Past that it connects again between two transactions, and
/// knows none: PostgreSQL describes each table once on a connection, and says nothing of those that
/// are dropped.
pub const CAPTURE_TABLES_MAX: usize = 20_000;

/// Milliseconds that a heartbeat may be ahead of the clock that looks at it.
pub const HEARTBEAT_AHEAD_MS: i64 = 2_000;

/// Seconds before the end of a stream in which the newest heartbeat is looked for.
pub const HEARTBEAT_TAIL_S: i64 = 60;

/// Milliseconds between two times that a mirror writes down a heartbeat without changes.
pub const MIRROR_BEAT_SAVE_MS: u64 = 60_000;

/// Microseconds by which the system's clock may differ from what has gone by, before it counts as
/// set.
pub const CLOCK_STEP_US: i64 = 500_000;

/// Seconds for which the smallest difference seen between the clocks of server and capture counts.
pub const CLOCK_OFFSET_S: u64 = 300;

/// How long messages of a worker thread are handed to their callback before other events of the
/// loop have their turn.
pub const MAILBOX_TURN: std::time::Duration = std::time::Duration::from_millis(5);

/// How many messages of a worker thread wait for a callback that is slower than they come; beyond
/// it a newer one takes the place of an older one of its kind.
pub const MAILBOX_MESSAGES_MAX: usize = 1_000;

/// Bytes that a channel which does not block may hold of what `daystream cat` has written, before
/// no more is read.
pub const CAT_PENDING_BYTES_MAX: usize = 1 << 20;

/// Milliseconds that `daystream cat`, asked to end, waits for such a channel to give away what it
/// holds.
pub const CAT_END_MS: u32 = 1_000;

/// How long a follower is at a reload before it looks at the stream again, in milliseconds.
pub const RELOAD_SLICE_MS: u64 = 40;

/// Pieces of a copy (`IMPORT_BATCH_BYTES` each) that wait to be inserted.
pub const RELOAD_PIECES_WAITING: usize = 4;

/// Shortest and longest pause before a reload that was hindered is tried again, in milliseconds.
pub const RELOAD_PAUSE_MS: [u64; 2] = [1_000, 60_000];

/// How long the end of a copy is waited for that is not wanted any more, in milliseconds.
pub const RELOAD_END_MS: u64 = 2_000;

/// Rows that are deleted at a time of a table that is no longer needed.
pub const RELOAD_SWEEP_ROWS: i64 = 2_000;
