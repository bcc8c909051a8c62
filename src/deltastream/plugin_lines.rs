//! Lines that an output plugin wrote itself: checked, and taken over as they are.
//!
//! The plugin must write commit lines with `_lsn` (its option `include-transaction`): without them
//! nobody could say how far the stream is.

use super::batch::{Batch, What};
use super::decode::Step;
use super::heartbeat::{Seen, Stamp};
use super::pgoutput::Schema;
use super::proof::Again;
use deltaflood::{Change, Lsn, Verb};
use std::collections::HashMap;
use std::sync::Arc;

/// Takes over lines. One per connection.
#[derive(Debug)]
pub(super) struct LineDecoder {
    /// What knows heartbeats.
    pub(super) stamp: Stamp,
    resume: Lsn,
    in_transaction: bool,
    /// Lines of the open transaction.
    lines: u64,
    /// It has a heartbeat of this slot's capture of before it had a name.
    former: bool,
    /// Where the transaction begins in the batch, in bytes and marks, while it is all there.
    begun: Option<(usize, usize)>,
    /// Definitions by the table's fields of the head, each with a number that stands for its object
    /// id.
    tables: HashMap<Vec<u8>, Arc<Schema>>,
    marked: Option<Arc<Schema>>,
}

impl LineDecoder {
    pub(super) fn new(resume: Lsn) -> LineDecoder {
        LineDecoder {
            stamp: Stamp::default(),
            resume,
            in_transaction: false,
            lines: 0,
            former: false,
            begun: None,
            tables: HashMap::new(),
            marked: None,
        }
    }

    pub(super) const fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    pub(super) fn tables(&self) -> usize {
        self.tables.len()
    }

    pub(super) fn new_batch(&mut self) {
        self.marked = None;
        self.begun = None;
    }

    pub(super) fn leave_transaction(&mut self) {
        self.in_transaction = false;
    }

    /// Takes over the lines of one message (ended by LF or by the message's end).
    pub(super) fn decode(&mut self, payload: &[u8], batch: &mut Batch) -> Result<Step, String> {
        let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
        let mut step = Step::Within;
        for line in payload.split(|byte| *byte == b'\n') {
            let change = Change::parse(line).map_err(|error| error.to_string())?;
            if change.verb == Verb::Commit {
                step = self.commit(&change, batch)?;
            } else {
                self.line(&change, batch);
            }
        }
        Ok(step)
    }

    /// Whether a line is a heartbeat.
    fn look(&self, change: &Change<'_>) -> Seen {
        if change.verb != Verb::Message {
            return Seen::Message;
        }
        let mut columns = change.columns().filter_map(Result::ok).map(|(_, value)| value.decode());
        match (columns.next(), columns.next()) {
            (Some(prefix), Some(content)) => self.stamp.look(&prefix, &content),
            _ => Seen::Message,
        }
    }

    fn commit(&mut self, change: &Change<'_>, batch: &mut Batch) -> Result<Step, String> {
        let lsn = change.lsn.ok_or("a commit line without _lsn")?;
        let lines = std::mem::take(&mut self.lines);
        if let Some(wanted) = change.lines.filter(|wanted| *wanted != lines) {
            return Err(format!("a transaction of {wanted} lines came with {lines}"));
        }
        let (xid, time_us) = (change.xid.unwrap_or(0), change.time.unwrap_or(0));
        let before = lsn <= self.resume;
        let (former, begun) = (std::mem::take(&mut self.former), self.begun.take());
        let written = std::mem::take(&mut self.in_transaction);
        if written && !before {
            batch.mark(What::Commit { xid, lsn, time_us });
        } else if written {
            match begun {
                Some((lines, marks)) => {
                    batch.lines.truncate(lines);
                    batch.marks.truncate(marks);
                }
                None => batch.mark(What::Abandon),
            }
        }
        self.marked = None;
        let again = (before && (written || former)).then_some(Again { lsn, xid, time_us });
        Ok(Step::Committed { lsn, again })
    }

    /// Takes the definitions of a message of our own.
    fn define(&mut self, change: &Change<'_>, xid: u32, batch: &mut Batch) {
        let content = change.columns().filter_map(Result::ok).nth(1);
        let content = content.map(|(_, value)| value.decode()).unwrap_or_default();
        for schema in self.stamp.definitions(&content) {
            let known = self.tables.values_mut().find(|known| known.relation == schema.relation);
            if let Some(known) = known.filter(|known| known.fits(&schema)) {
                *known = Arc::clone(&schema);
            }
            batch.mark(What::Schema { xid, schema });
        }
        self.marked = None;
    }

    fn line(&mut self, change: &Change<'_>, batch: &mut Batch) {
        self.lines += 1;
        let seen = self.look(change);
        if matches!(seen, Seen::Other | Seen::Former) {
            self.former |= seen == Seen::Former;
            return;
        }
        if seen == Seen::Look {
            self.stamp.asked.push(change.xid.unwrap_or(0));
            return;
        }
        if !std::mem::replace(&mut self.in_transaction, true) {
            self.begun = Some((batch.lines.len(), batch.marks.len()));
        }
        if let Seen::Own(beat) = seen {
            batch.mark(What::Beat(beat));
            push(change, batch);
            batch.lines.pop();
            let stamp = [("received_us", beat.received_us), ("offset_us", beat.offset_us)];
            for (name, value) in stamp {
                batch.lines.extend_from_slice(format!("\t{name}\t{value}").as_bytes());
            }
            batch.lines.push(b'\n');
            return;
        }
        let xid = change.xid.unwrap_or(0);
        if seen == Seen::Definitions {
            self.define(change, xid, batch);
            return;
        }
        let Some(fields) = table_fields(change) else {
            push(change, batch);
            return;
        };
        if change.verb == Verb::Schema {
            // The recorder writes it where readers need it.
            let number = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
            let known = || self.tables.get(&fields).map(|known| known.relation);
            // NOTE: by the object id, as of pgoutput's messages: a table that gets another name
            // and its old one again is described anew under either.
            let relation = change.oid.or_else(known).unwrap_or(number);
            let schema = Schema::of_line(relation, fields.clone(), change);
            self.tables.insert(fields, Arc::new(schema));
            return;
        }
        if let Some(schema) = self.tables.get(&fields)
            && !self.marked.as_ref().is_some_and(|last| Arc::ptr_eq(last, schema))
        {
            batch.mark(What::Table { xid, schema: Arc::clone(schema) });
            self.marked = Some(Arc::clone(schema));
        }
        push(change, batch);
    }
}

fn push(change: &Change<'_>, batch: &mut Batch) {
    batch.lines.extend_from_slice(change.line());
    batch.lines.push(b'\n');
}

/// `_table` and `_schema` as they stand in a head.
fn table_fields(change: &Change<'_>) -> Option<Vec<u8>> {
    let mut fields = b"_table\t".to_vec();
    fields.extend_from_slice(change.table?.raw());
    if let Some(schema) = change.schema {
        fields.extend_from_slice(b"\t_schema\t");
        fields.extend_from_slice(schema.raw());
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_over_and_commits_become_marks() {
        let mut decoder = LineDecoder::new(Lsn(0));
        let mut batch = Batch::default();
        let of_two = b"_xid\t5\t_lsn\t0/8\t_lines\t2\t_action\tcommit";
        assert!(decoder.decode(of_two, &mut batch).is_err());
        let lines = [
            "_table\tt\t_xid\t5\t_oid\t7\t_key\ta\t_natts\t1\t_attnums\t1\t_types\t23\t_stamps\t9\t_missing\t\
             a x\\ty\t_storage\t7\t_kind\tr\t_identity\td\t_action\tschema\ta\tinteger",
            "_table\tt\t_xid\t5\t_action\tinsert\ta\t1\n",
            "_xid\t5\t_lsn\t0/10\t_time\t7\t_lines\t2\t_action\tcommit",
        ];
        for line in lines {
            decoder.decode(line.as_bytes(), &mut batch).expect("decodes");
        }
        assert_eq!(batch.lines, b"_table\tt\t_xid\t5\t_action\tinsert\ta\t1\n");
        let [table, commit] = batch.marks.as_slice() else { panic!("{:?}", batch.marks) };
        let What::Table { schema, xid } = &table.what else { panic!("{table:?}") };
        assert_eq!(String::from_utf8_lossy(&schema.line(*xid)), lines[0]);
        assert!(matches!(commit.what, What::Commit { xid: 5, lsn: Lsn(16), time_us: 7 }));
        assert!(decoder.decode(b"_xid\t6\t_action\tcommit", &mut batch).is_err());
        assert!(decoder.decode(b"garbage", &mut batch).is_err());
    }
    #[test]
    fn what_was_received_before_is_dropped_and_told() {
        let insert = b"_table\tt\t_xid\t5\t_action\tinsert\ta\t1\n".as_slice();
        let commit = b"_xid\t5\t_lsn\t0/10\t_time\t7\t_lines\t1\t_action\tcommit".as_slice();
        let again = Some(Again { lsn: Lsn(16), xid: 5, time_us: 7 });
        for in_two in [false, true] {
            let (mut decoder, mut batch) = (LineDecoder::new(Lsn(16)), Batch::default());
            decoder.decode(insert, &mut batch).expect("decodes");
            if in_two {
                decoder.new_batch();
                batch = Batch::default();
            }
            let step = decoder.decode(commit, &mut batch).expect("decodes");
            assert_eq!(step, Step::Committed { lsn: Lsn(16), again });
            // What has gone to the log already is taken back there.
            assert_eq!(batch.marks.len(), usize::from(in_two), "{:?}", batch.marks);
            assert!(batch.lines.is_empty());
        }
        let (mut decoder, mut batch) = (LineDecoder::new(Lsn(16)), Batch::default());
        let empty = b"_xid\t5\t_lsn\t0/10\t_lines\t0\t_action\tcommit";
        let step = decoder.decode(empty, &mut batch).expect("decodes");
        assert_eq!(step, Step::Committed { lsn: Lsn(16), again: None });
    }
}
