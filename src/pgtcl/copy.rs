//! The channel of a connection: rows of a COPY in and out.

use super::Connection;
use crate::tcl::Interp;
use crate::tcl::channel::Driver;
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// What COPY a connection is in.
#[derive(Default)]
pub(super) struct State {
    active: Cell<bool>,
}

impl State {
    pub(super) fn is_active(&self) -> bool {
        self.active.get()
    }

    pub(super) fn end(&self) {
        self.active.set(false);
    }
}

const EBUSY: i32 = 16;

impl Driver for Connection {
    fn input(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(EBUSY))
    }

    fn output(&self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(EBUSY))
    }

    fn close(&self, interp: Option<Interp>) {
        self.channel_closed(interp);
    }

    fn any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }

    fn descriptor(&self) -> Option<i32> {
        self.conn().ok().and_then(|conn| conn.socket())
    }
}
