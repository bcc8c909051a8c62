//! Panics on purpose, in test builds only: `pgsqlite::panic PLACE` panics in each kind of entry
//! from Tcl, so that a test can see that each becomes an error and the interpreter goes on.

use super::body::{Body, Iteration};
use super::command::{self, Flow};
use super::error::{CmdResult, Exception, Failure};
use super::event::{Readable, Timer};
use super::interp::Interp;
use super::mailbox::{self, Mailbox};
use super::obj::Obj;
use super::state;
use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const PLACES: [&str; 7] = ["command", "body", "delete", "timer", "readable", "mailbox", "thread"];

/// What has to live until its event has come.
#[derive(Default)]
struct Kept {
    timer: RefCell<Option<Timer>>,
    readable: RefCell<Option<(Readable, UnixStream)>>,
    mailbox: RefCell<Option<Mailbox>>,
}

/// Rows of which the second cannot be had.
struct Rows(u32);

impl Iteration for Rows {
    fn next(&mut self, _interp: Interp) -> CmdResult<bool> {
        self.0 += 1;
        assert!(self.0 < 2, "rehearsed in body");
        Ok(true)
    }

    fn finish(&mut self, _interp: Interp) -> CmdResult {
        Ok(Obj::empty())
    }
}

/// Registers `pgsqlite::panic PLACE`.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    command::register(interp, "::pgsqlite::panic", |interp, words| {
        let [_, place] = words else {
            return Err(Failure::wrong_args("pgsqlite::panic place").into());
        };
        rehearse(interp, &place.text_lossy())
    })?;
    Ok(())
}

fn rehearse(interp: Interp, place: &str) -> Result<Flow, Exception> {
    let kept = state::of::<Kept>(interp);
    match place {
        "command" => panic!("rehearsed in command"),
        "body" => return Ok(Flow::Body(Body::new("rehearsal", Obj::text("incr ::rows"), Rows(0)))),
        "delete" => {
            let name = "::pgsqlite::doomed";
            let doomed = command::register_handle(
                interp,
                name,
                |_, _| Ok(Obj::empty().into()),
                |_| panic!("rehearsed in delete"),
            )?;
            doomed.delete();
        }
        "timer" => {
            let timer = Timer::after(interp, 1, |_| panic!("rehearsed in timer"));
            kept.timer.replace(Some(timer));
        }
        "readable" => {
            let (reading, writing) = UnixStream::pair()
                .map_err(|e| Exception::from(Failure::plain(format!("no pair of sockets: {e}"))))?;
            drop(writing); // the end of the stream makes the other end readable
            let keep = state::of::<Kept>(interp);
            let readable = Readable::new(interp, reading.as_raw_fd(), move |_| {
                keep.readable.take();
                panic!("rehearsed in readable")
            });
            kept.readable.replace(Some((readable, reading)));
        }
        "mailbox" => {
            let (mailbox, sender) = mailbox::open(interp, |_, ()| panic!("rehearsed in mailbox"));
            kept.mailbox.replace(Some(mailbox));
            let _ = std::thread::spawn(move || sender.send(())).join();
        }
        "thread" => {
            let thread = std::thread::Builder::new().name("pgsqlite-rehearsal".to_owned());
            if let Ok(thread) = thread.spawn(|| panic!("rehearsed in thread")) {
                return Ok(Flow::from(thread.join().is_err()));
            }
        }
        other => return Err(Failure::bad_word("place", other, &PLACES).into()),
    }
    Ok(Obj::empty().into())
}
