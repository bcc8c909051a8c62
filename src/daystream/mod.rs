//! The log: positions, segments, writer, reader.
#![forbid(unsafe_code)]

mod clock;
mod error;
mod identity;
mod layout;
mod lock;
mod position;
mod recover;
mod scan;
mod segment;
mod stamp;
mod storage;
mod tail;
mod window;
mod writer;

pub use clock::{Clock, SystemClock};
pub use error::{Damage, Error};
pub use identity::Identity;
pub use layout::Segment;
pub use position::{Position, PositionError};
pub use storage::{Fault, Operation, Storage};
pub use writer::{Begun, Commit, Writer, WriterOptions};
