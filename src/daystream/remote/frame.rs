//! The lines between lines that the client adds for this package: what a stream is, where a
//! transaction begins, where the stream ends for now, what failed.
//!
//! Each is a line of keys and values, escaped as in a change line, that begins `_frame WORD`; a
//! line of a stream begins `_c`.

use deltaflood::{Lsn, pairs, write};

use super::{Fault, Reason};
use crate::daystream::{Identity, Mark, Transaction, chain_text, parse_chain};

/// How a line between lines begins.
pub const PREFIX: &[u8] = b"_frame\t";

/// What a server tells of a stream before its first line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// Whose changes they are; `None` when the stream does not tell.
    pub identity: Option<Identity>,
    /// End of the transaction before the first one that is given out.
    pub before: Option<Mark>,
    /// The stream's chain there; `None`: not known.
    pub chain: Option<u32>,
    /// End of the last transaction there is, where that was asked for.
    pub end: Option<Mark>,
    /// Number of segment files, where that was asked for.
    pub segments: u64,
    /// Number of those that are compressed.
    pub compressed: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A line between lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Once, at first.
    Stream(Box<Hello>),
    /// The lines of this transaction follow: as many as `lines` says, filtered or not.
    Transaction(Transaction),
    /// There is no more for now.
    End,
    /// Reading has failed; nothing follows.
    Error(Fault),
}

impl Frame {
    /// The line, with its line feed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut line = Line(PREFIX.to_vec());
        match self {
            Frame::Stream(hello) => {
                line.0.extend_from_slice(b"stream");
                line.hello(hello);
            }
            Frame::Transaction(transaction) => {
                line.0.extend_from_slice(b"transaction");
                line.pair("last", transaction.last);
                line.maybe("lsn", transaction.lsn);
                line.maybe("chain", transaction.chain.map(chain_text));
                line.pair("lines", transaction.lines);
            }
            Frame::End => line.0.extend_from_slice(b"end"),
            Frame::Error(fault) => {
                line.0.extend_from_slice(b"error");
                line.pair("reason", fault.reason.word());
                line.pair("message", &fault.message);
                for (key, value) in &fault.details {
                    line.pair(key, value);
                }
            }
        }
        line.0.push(b'\n');
        line.0
    }

    /// The frame in a line that begins [`PREFIX`], without its line feed; `None` when it is none.
    #[must_use]
    pub fn decode(line: &[u8]) -> Option<Frame> {
        let mut fields = Vec::new();
        for pair in pairs(line) {
            let (key, value) = pair.ok()?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            fields.push((text(&key.decode())?, text(&value.decode())?));
        }
        let fields = Fields(fields);
        Some(match fields.get("_frame")? {
            "stream" => Frame::Stream(Box::new(fields.hello()?)),
            "transaction" => Frame::Transaction(Transaction {
                last: fields.get("last")?.parse().ok()?,
                lsn: fields.parsed("lsn")?,
                lines: fields.get("lines")?.parse().ok()?,
                chain: fields.chain("chain")?,
            }),
            "end" => Frame::End,
            "error" => {
                let reason = Reason::from_word(fields.get("reason")?)?;
                let fault = Fault::new(reason, fields.get("message")?);
                let details = fields.0.iter();
                Frame::Error(details.fold(fault, |fault, (key, value)| fault.with(key, value)))
            }
            _ => return None,
        })
    }
}

struct Line(Vec<u8>);

impl Line {
    fn pair(&mut self, key: &str, value: impl ToString) {
        self.0.push(b'\t');
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'\t');
        write::escape(&mut self.0, value.to_string().as_bytes());
    }

    fn maybe(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.pair(key, value);
        }
    }

    fn mark(&mut self, [position, lsn, chain]: [&str; 3], mark: Option<Mark>) {
        self.maybe(position, mark.map(|mark| mark.position));
        self.maybe(lsn, mark.and_then(|mark| mark.lsn));
        self.maybe(chain, mark.and_then(|mark| mark.chain).map(chain_text));
    }

    fn hello(&mut self, hello: &Hello) {
        if let Some(identity) = &hello.identity {
            self.pair("system_id", identity.system_id);
            self.pair("database", &identity.database);
            self.pair("slot", &identity.slot);
            self.pair("plugin", &identity.plugin);
            self.pair("publication", &identity.publication);
            let tables = identity.tables_list();
            self.maybe("tables", Some(tables).filter(|tables| !tables.is_empty()));
            self.pair("timeline", identity.timeline);
            self.maybe("made", Some(identity.made).filter(|made| *made > 0));
            self.maybe("id", identity.id.map(|_| identity.id_text()));
            self.maybe("heartbeat_ms", Some(identity.heartbeat_ms).filter(|ms| *ms > 0));
        }
        self.mark(["before", "before_lsn", "before_chain"], hello.before);
        self.maybe("chain", hello.chain.map(chain_text));
        self.mark(["end", "end_lsn", "end_chain"], hello.end);
        self.pair("segments", hello.segments);
        self.pair("compressed", hello.compressed);
        self.pair("bytes", hello.bytes);
    }
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// `Some(None)` when it is not there, `None` when it is malformed.
    fn parsed<T: std::str::FromStr>(&self, key: &str) -> Option<Option<T>> {
        self.get(key).map(|text| text.parse().ok()).map_or(Some(None), |value| value.map(Some))
    }

    fn chain(&self, key: &str) -> Option<Option<u32>> {
        self.get(key).map(parse_chain).map_or(Some(None), |value| value.map(Some))
    }

    fn mark(&self, [position, lsn, chain]: [&str; 3]) -> Option<Option<Mark>> {
        let (lsn, chain) = (self.parsed(lsn)?, self.chain(chain)?);
        let position = self.parsed(position)?;
        Some(position.map(|position| Mark { position, lsn, chain }))
    }

    fn hello(&self) -> Option<Hello> {
        let word = |key| self.get(key).unwrap_or_default().to_owned();
        let identity = match self.get("system_id") {
            None => None,
            Some(system_id) => Some(Identity {
                system_id: system_id.parse().ok()?,
                database: word("database"),
                slot: word("slot"),
                plugin: word("plugin"),
                publication: word("publication"),
                tables: Identity::tables_of(self.get("tables").unwrap_or_default())?,
                timeline: self.parsed("timeline")?.unwrap_or_default(),
                made: self.parsed("made")?.unwrap_or_default(),
                id: self.get("id").map(Identity::id_of).map_or(Some(None), |id| id.map(Some))?,
                heartbeat_ms: self.parsed("heartbeat_ms")?.unwrap_or_default(),
                confirmed: None::<Lsn>,
            }),
        };
        Some(Hello {
            identity,
            before: self.mark(["before", "before_lsn", "before_chain"])?,
            chain: self.chain("chain")?,
            end: self.mark(["end", "end_lsn", "end_chain"])?,
            segments: self.parsed("segments")?.unwrap_or_default(),
            compressed: self.parsed("compressed")?.unwrap_or_default(),
            bytes: self.parsed("bytes")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daystream::Position;

    #[test]
    fn what_is_encoded_is_decoded() {
        let last = Position { clock: 7, seq: 3 };
        let identity = Identity {
            system_id: 42,
            database: "a\tb\né".to_owned(),
            tables: vec!["public.a b".to_owned(), "public.\"C\"".to_owned()],
            timeline: 2,
            made: 1_700_000_000_000_001,
            id: Some(0xfeed),
            heartbeat_ms: 250,
            ..Identity::default()
        };
        let lsn = Some("16/B374D848".parse().unwrap());
        let chain = Some(0xab);
        let before = Some(Mark { position: last, lsn, chain });
        let hello = Hello { identity: Some(identity), before, chain, ..Hello::default() };
        let fault = Fault::new(Reason::Gap, "gone").with("wanted", "1 2").with("nonsense", 1);
        assert_eq!(fault.details, [("wanted", "1 2".to_owned())]);
        for frame in [
            Frame::Stream(Box::new(hello)),
            Frame::Stream(Box::default()),
            Frame::Transaction(Transaction { last, lsn, lines: 3, chain }),
            Frame::Transaction(Transaction { last, lsn: None, lines: 1, chain: None }),
            Frame::End,
            Frame::Error(fault),
        ] {
            let line = frame.encode();
            let line = line.strip_suffix(b"\n").unwrap();
            assert!(line.starts_with(PREFIX) && !line.contains(&b'\n'));
            assert_eq!(Frame::decode(line), Some(frame));
        }
        for bad in ["_frame\tother", "_frame\ttransaction", "_frame\tend\tx", "_frame"] {
            assert_eq!(Frame::decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
