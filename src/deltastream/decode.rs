//! The decoder of the slot's plugin: messages of pgoutput, or change lines.

use super::Error;
use super::batch::Batch;
use super::catalog::Described;
use super::heartbeat::Stamp;
use super::invalid_text::{InvalidAt, TextRule};
use super::options::Plugin;
use super::pgoutput::{self, DecodeError, TypeKey, TypeNames};
use super::plugin_lines::LineDecoder;
use super::proof::Again;
use crate::libpq::Oid;
use deltaflood::Lsn;

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Part of a transaction, or nothing of interest.
    Within,
    /// A transaction is complete, be it of interest or not.
    Committed {
        /// End of its commit record.
        lsn: Lsn,
        /// It is of interest, and was received before: it is dropped.
        again: Option<Again>,
    },
}

/// Why a message was not decoded.
#[derive(Debug)]
pub(super) enum Stop {
    /// Learn the names of these types and try again.
    Types(Vec<TypeKey>),
    /// Say what the catalogs know of this table and try again.
    Details(Oid),
    /// The stream is broken.
    Error(Error),
}

fn invalid(after: Lsn, table: String, column: String) -> Stop {
    Stop::Error(Error::InvalidText(Box::new(InvalidAt { after, table, column })))
}

/// A decoder of either kind.
pub(super) enum Decoder {
    Pgoutput(Box<pgoutput::Decoder>),
    Lines(Box<LineDecoder>, TypeNames, TextRule),
}

impl Decoder {
    pub(super) fn new(plugin: Plugin, types: TypeNames, resume: Lsn, rule: TextRule) -> Decoder {
        match plugin {
            Plugin::Pgoutput => {
                let mut decoder = pgoutput::Decoder::new(types, resume, rule);
                decoder.describes = true;
                Decoder::Pgoutput(Box::new(decoder))
            }
            Plugin::Deltaflood => Decoder::Lines(Box::new(LineDecoder::new(resume)), types, rule),
        }
    }

    /// Renders a message at the end of `batch`; `after` is the end of the last transaction, for
    /// errors.
    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        batch: &mut Batch,
        after: Lsn,
    ) -> Result<Step, Stop> {
        match self {
            Decoder::Pgoutput(decoder) => match decoder.decode(payload, batch) {
                Ok(pgoutput::Step::Within) => Ok(Step::Within),
                Ok(pgoutput::Step::Committed { lsn, again, .. }) => {
                    Ok(Step::Committed { lsn, again })
                }
                Err(DecodeError::Types(keys)) => Err(Stop::Types(keys)),
                Err(DecodeError::Details(table)) => Err(Stop::Details(table)),
                Err(DecodeError::Text { table, column }) => Err(invalid(after, table, column)),
                Err(DecodeError::Memory(_)) => {
                    let source = std::io::ErrorKind::OutOfMemory.into();
                    Err(Stop::Error(Error::System { what: "memory for a text", source }))
                }
                Err(source) => Err(Stop::Error(Error::Protocol { lsn: after, source })),
            },
            Decoder::Lines(decoder, _, rule) => {
                let lines = rule.lines(payload);
                let lines = lines.map_err(|(table, column)| invalid(after, table, column))?;
                decoder.decode(&lines, batch).map_err(|why| {
                    let plugin = Plugin::Deltaflood.name().to_owned();
                    Stop::Error(Error::PluginLine { plugin, lsn: after, why })
                })
            }
        }
    }

    /// What the catalogs say of a table, after [`Stop::Details`].
    pub(super) fn learn(&mut self, table: Oid, described: Option<Described>) {
        if let Decoder::Pgoutput(decoder) = self {
            decoder.learn(table, described);
        }
    }

    /// What knows heartbeats.
    pub(super) fn stamp(&mut self) -> &mut Stamp {
        match self {
            Decoder::Pgoutput(decoder) => &mut decoder.stamp,
            Decoder::Lines(decoder, ..) => &mut decoder.stamp,
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        match self {
            Decoder::Pgoutput(decoder) => decoder.in_transaction(),
            Decoder::Lines(decoder, ..) => decoder.in_transaction(),
        }
    }

    /// The tables of which one comes next, as far as that is known.
    pub(super) fn suspects(&self) -> Vec<String> {
        match self {
            Decoder::Pgoutput(decoder) => decoder.suspects(),
            Decoder::Lines(..) => Vec::new(),
        }
    }

    /// How many tables it knows.
    pub(super) fn tables(&self) -> usize {
        match self {
            Decoder::Pgoutput(decoder) => decoder.tables(),
            Decoder::Lines(decoder, ..) => decoder.tables(),
        }
    }

    pub(super) fn has_half_transaction(&self) -> bool {
        match self {
            Decoder::Pgoutput(decoder) => decoder.has_half_transaction(),
            Decoder::Lines(decoder, ..) => decoder.in_transaction(),
        }
    }

    pub(super) fn new_batch(&mut self) {
        match self {
            Decoder::Pgoutput(decoder) => decoder.new_batch(),
            Decoder::Lines(decoder, ..) => decoder.new_batch(),
        }
    }

    pub(super) fn leave_transaction(&mut self) {
        match self {
            Decoder::Pgoutput(decoder) => decoder.leave_transaction(),
            Decoder::Lines(decoder, ..) => decoder.leave_transaction(),
        }
    }

    pub(super) fn types(&mut self) -> &mut TypeNames {
        match self {
            Decoder::Pgoutput(decoder) => &mut decoder.types,
            Decoder::Lines(_, types, _) => types,
        }
    }

    pub(super) fn into_types(self) -> TypeNames {
        match self {
            Decoder::Pgoutput(decoder) => decoder.types,
            Decoder::Lines(_, types, _) => types,
        }
    }
}
