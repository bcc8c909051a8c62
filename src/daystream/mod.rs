//! The log: positions, segments, writer, reader.
#![forbid(unsafe_code)]

mod ahead;
mod clock;
mod error;
mod filter;
mod follow;
mod identity;
mod layout;
mod lock;
mod position;
mod reader;
mod recover;
mod retained;
mod scan;
mod seek;
mod segment;
mod stamp;
mod storage;
mod tail;
mod window;
mod writer;

pub use clock::{Clock, SystemClock};
pub use error::{Damage, Error};
pub use filter::TableFilter;
pub use follow::Woken;
pub use identity::Identity;
pub use layout::Segment;
pub use position::{Position, PositionError};
pub use reader::{Entry, Reader, ReaderOptions, Start, Transaction};
pub use storage::{Fault, Operation, Storage};
pub use writer::{Begun, Commit, Writer, WriterOptions};
