//! A logical replication stream: slots, starting, messages, status updates.
//!
//! LSNs are plain `u64` here. Format source: PostgreSQL manual, "Streaming Replication Protocol".

use super::copy::CopyRead;
use super::{Conn, Conninfo, CopyData, Error, Guarded, Status, Wake};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1970-01-01 to 2000-01-01, where PostgreSQL's clock begins.
const POSTGRES_EPOCH_S: i64 = 946_684_800;

/// Bytes before the payload of an XLogData message: kind, start, end, time.
const XLOG_DATA_HEAD: usize = 25;

/// What `IDENTIFY_SYSTEM` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemIdentity {
    /// The cluster's unique number.
    pub system_id: u64,
    /// The timeline.
    pub timeline: u32,
    /// Where the WAL is flushed to.
    pub flush_lsn: u64,
    /// The database of this connection.
    pub database: String,
}

/// A slot just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlot {
    /// Changes committed after this point come through the slot.
    pub consistent_point: u64,
    /// The name of the exported snapshot, where one was asked for; valid until the next command.
    pub snapshot: Option<String>,
}

/// A message of the stream.
#[derive(Debug)]
pub enum Message {
    /// A piece of what the output plugin wrote.
    Data(WalData),
    /// The server lives, and tells how far it is.
    Keepalive {
        /// End of the WAL that the server has sent or gone past.
        wal_end: u64,
        /// Whether it wants an answer at once.
        reply: bool,
        /// When it was sent, microseconds since the Unix epoch, by the server's clock.
        sent_us: i64,
    },
    /// The server ended the stream.
    End,
}

/// One message of the output plugin.
#[derive(Debug)]
pub struct WalData {
    raw: CopyData,
    /// WAL position of the message; 0 for some.
    pub start: u64,
    /// End of the WAL on the server.
    pub wal_end: u64,
    /// When it was sent, microseconds since the Unix epoch, by the server's clock.
    pub sent_us: i64,
}

impl WalData {
    /// What the output plugin wrote.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.raw.get(XLOG_DATA_HEAD..).unwrap_or_default()
    }
}

/// A connection in replication mode.
#[derive(Debug)]
pub struct Replication {
    conn: Guarded<'static>,
}

impl Replication {
    /// Connects in replication mode to a database. The settings of every session of ours are made
    /// first: they fix the text of values, too.
    ///
    /// # Errors
    /// Those of [`Conn::connect_within`].
    pub fn connect(
        conninfo: &Conninfo,
        timeout: Duration,
        wake: Option<&Wake>,
    ) -> Result<Replication, Error> {
        let mut conninfo = conninfo.clone();
        conninfo.set("replication", "database");
        let conn = Conn::connect_within(&conninfo, timeout, wake)?;
        Ok(Replication { conn: Guarded::whole_session(conn)? })
    }

    /// The connection, for plain SQL before streaming begins (simple statements only).
    #[must_use]
    pub fn conn(&self) -> &Guarded<'static> {
        &self.conn
    }

    /// Which system and database this is.
    ///
    /// # Errors
    /// `POSTGRES SERVER`, `POSTGRES LOST`, `POSTGRES UNEXPECTED`.
    pub fn identify_system(&self) -> Result<SystemIdentity, Error> {
        let result = self.conn.query("IDENTIFY_SYSTEM")?;
        let text = |col| result.text(0, col).unwrap_or_default();
        let wrong = || Error::Unexpected { wanted: "IDENTIFY_SYSTEM", got: text(1) };
        Ok(SystemIdentity {
            system_id: system_id(&text(0)).ok_or_else(wrong)?,
            timeline: text(1).parse().map_err(|_| wrong())?,
            flush_lsn: parse_lsn(&text(2)).ok_or_else(wrong)?,
            database: text(3),
        })
    }

    /// Makes a logical slot. With `export_snapshot` a snapshot of the consistent point is exported.
    ///
    /// # Errors
    /// `POSTGRES SERVER` (42710: the slot exists; 53400: no slot free), `POSTGRES LOST`.
    pub fn create_slot(
        &self,
        slot: &str,
        plugin: &str,
        export_snapshot: bool,
    ) -> Result<NewSlot, Error> {
        let slot = self.conn.escape_identifier(slot)?;
        let plugin = self.conn.escape_identifier(plugin)?;
        let snapshot = if export_snapshot { "EXPORT_SNAPSHOT" } else { "NOEXPORT_SNAPSHOT" };
        let sql = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL {plugin} {snapshot}");
        let result = self.conn.query(&sql)?;
        let point = result.text(0, 1).unwrap_or_default();
        let consistent_point = parse_lsn(&point)
            .ok_or(Error::Unexpected { wanted: "a consistent point", got: point })?;
        Ok(NewSlot { consistent_point, snapshot: result.text(0, 2) })
    }

    /// Starts streaming from `lsn` (0: from where the slot stands) and makes the connection
    /// non-blocking.
    ///
    /// # Errors
    /// `POSTGRES SERVER`, `POSTGRES LOST`, `POSTGRES UNEXPECTED`.
    pub fn start(&self, slot: &str, lsn: u64, options: &[(&str, &str)]) -> Result<(), Error> {
        let slot = self.conn.escape_identifier(slot)?;
        let mut sql = format!("START_REPLICATION SLOT {slot} LOGICAL {}", format_lsn(lsn));
        for (i, (name, value)) in options.iter().enumerate() {
            sql.push_str(if i == 0 { " (" } else { ", " });
            sql.push_str(&self.conn.escape_identifier(name)?);
            sql.push(' ');
            // The replication grammar knows '' inside quotes and no escape syntax.
            sql.push('\'');
            sql.push_str(&value.replace('\'', "''"));
            sql.push('\'');
        }
        if !options.is_empty() {
            sql.push(')');
        }
        let result = self.conn.query(&sql)?;
        match result.status() {
            Status::CopyBoth => self.conn.set_nonblocking(true),
            other => Err(Error::Unexpected { wanted: "COPY BOTH", got: other.name().to_owned() }),
        }
    }

    /// The next message that has arrived, `None` when there is none; never waits. Wait for the
    /// socket and call [`Conn::consume_input`] before trying again.
    ///
    /// # Errors
    /// `POSTGRES SERVER` when the server ended the stream with an error, `POSTGRES LOST`, `POSTGRES
    /// PROTOCOL`.
    pub fn try_receive(&self) -> Result<Option<Message>, Error> {
        let data = match self.conn.get_copy_data(false)? {
            CopyRead::Data(data) => data,
            CopyRead::Empty => return Ok(None),
            CopyRead::End => {
                if let Some(result) = self.conn.get_result() {
                    result.into_ok()?;
                }
                return Ok(Some(Message::End));
            }
        };
        match data.first() {
            Some(b'w') => {
                let (start, wal_end) = (u64_at(&data, 1)?, u64_at(&data, 9)?);
                if data.len() < XLOG_DATA_HEAD {
                    return Err(short(&data));
                }
                let sent_us = time_at(&data, 17)?;
                Ok(Some(Message::Data(WalData { raw: data, start, wal_end, sent_us })))
            }
            Some(b'k') => {
                let wal_end = u64_at(&data, 1)?;
                let reply = *data.get(17).ok_or_else(|| short(&data))? != 0;
                let sent_us = time_at(&data, 9)?;
                Ok(Some(Message::Keepalive { wal_end, reply, sent_us }))
            }
            _ => Err(short(&data)),
        }
    }

    /// Tells the server how far this side is: `written` received, `flushed` durable. True when
    /// sent, false when the socket must take the rest later ([`Conn::flush`]).
    ///
    /// # Errors
    /// `POSTGRES LOST`.
    pub fn send_status(&self, written: u64, flushed: u64, reply: bool) -> Result<bool, Error> {
        let mut message = [0u8; 34];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let clock = now_us.saturating_sub(POSTGRES_EPOCH_S * 1_000_000);
        let fields = [
            written.to_be_bytes(),
            flushed.to_be_bytes(),
            flushed.to_be_bytes(),
            clock.to_be_bytes(),
        ];
        let mut at = 1;
        message[0] = b'r';
        for field in fields {
            message[at..at + 8].copy_from_slice(&field);
            at += 8;
        }
        message[at] = u8::from(reply);
        if !self.conn.put_copy_data(&message)? {
            return Ok(false);
        }
        self.conn.flush()
    }

    /// Ends the stream in good order, waiting at most `timeout` for the server to agree, so that
    /// the slot is free when this returns. Messages still on the way are thrown away: the server
    /// sends them again.
    ///
    /// # Errors
    /// `POSTGRES LOST`; the connection is then closed by dropping it.
    pub fn finish(&self, timeout: Duration) -> Result<(), Error> {
        let started = std::time::Instant::now();
        self.conn.put_copy_end(None)?;
        while let Some(left) = timeout.checked_sub(started.elapsed()) {
            let flushed = self.conn.flush()?;
            match self.conn.get_copy_data(false)? {
                CopyRead::Data(_) => continue,
                CopyRead::End => return Ok(()),
                CopyRead::Empty => {}
            }
            super::wait(self.conn.socket(), true, !flushed, None, Some(left))?;
            self.conn.consume_input()?;
        }
        Ok(())
    }
}

/// A time of the protocol, as microseconds since the Unix epoch.
fn time_at(data: &[u8], at: usize) -> Result<i64, Error> {
    let since = u64_at(data, at)?.cast_signed();
    Ok(since.saturating_add(POSTGRES_EPOCH_S * 1_000_000))
}

fn short(data: &[u8]) -> Error {
    let kind = data.first().copied().unwrap_or(0);
    Error::Protocol { message: format!("kind {kind:#04x}, {} bytes", data.len()) }
}

fn u64_at(data: &[u8], at: usize) -> Result<u64, Error> {
    let bytes = data.get(at..at + 8).and_then(|b| b.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| short(data))
}

/// A system identifier as the server prints it: `IDENTIFY_SYSTEM` as a number without a sign, SQL
/// functions as an `int8`, which is negative from 2^63 up. `None`: it is none.
#[must_use]
pub fn system_id(text: &str) -> Option<u64> {
    let signed = || text.parse::<i64>().ok().map(i64::cast_unsigned);
    text.parse().ok().or_else(signed)
}

/// `16/B374D848` of an LSN.
fn format_lsn(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

/// The LSN of `16/B374D848`.
fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let high = u32::from_str_radix(high, 16).ok()?;
    let low = u32::from_str_radix(low, 16).ok()?;
    Some(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use super::system_id;

    #[test]
    fn a_system_identifier_is_one_number_however_it_is_printed() {
        assert_eq!(system_id("7300000000000000001"), Some(7_300_000_000_000_000_001));
        assert_eq!(system_id("9223372036854775808"), Some(1 << 63));
        assert_eq!(system_id("-9223372036854775808"), Some(1 << 63));
        assert_eq!(system_id("-1"), Some(u64::MAX));
        for odd in ["", "x", "18446744073709551616", "-9223372036854775809"] {
            assert_eq!(system_id(odd), None, "{odd}");
        }
    }
}
