//! `live`: slot, capture, copy and following in one process.
//!
//! The slot exists before the copy's snapshot, so that nothing is missed in between; the capture
//! runs while the copy does. A capture that fails ends all. A mirror that fails leaves the capture
//! running: the server goes on being rid of its WAL, and what the mirror missed is in the stream.

use super::events::{Told, followed_dict};
use super::fill::{Filling, Step};
use super::handle::Following;
use super::{applying, file};
use crate::advice;
use crate::daystream::Identity;
use crate::daystream::command::{folder_named, position_value};
use crate::deltamirror::{
    Filled, InitOptions, Options as Applying, Progress, Reloading, StreamSource, connection, init,
};
use crate::deltastream::command::{CaptureHandle, Told as Captured, invalid_text, set_up_and_tell};
use crate::deltastream::{Announce, Options as Capturing, SetupOptions, Slot};
use crate::libpq::Conninfo;
use crate::tcl::callback::{Callback, Report};
use crate::tcl::ensemble::Handle;
use crate::tcl::serve::{self, Asked, Ended};
use crate::tcl::{CmdResult, Exception, Flow, Interp, Obj, Options, exit, job};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const OPTIONS: [&str; 13] = [
    "-conninfo",
    "-db",
    "-tables",
    "-slot",
    "-stream",
    "-publication",
    "-invalid_text",
    "-command",
    "-on_error",
    "-indexes",
    "-busy_ms",
    "-ddl",
    "-fill",
];

/// The longest part of a slot's name that comes from the file's, in characters; PostgreSQL takes 63
/// for the whole.
const NAME_CHARS: usize = 40;

pub(super) fn live(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &OPTIONS)?;
    let live = Live::new(interp, &options)?;
    let at_exit = Rc::downgrade(&live.parts);
    let _guard = exit::at_exit(move || {
        if let Some(parts) = at_exit.upgrade() {
            parts.close();
        }
    });
    let outcome = live.go(interp);
    live.parts.end(interp)?;
    live.tell_slot(interp);
    let failed = live.parts.failed.take().or_else(|| live.parts.stood.take());
    if let Some(why) = failed {
        return Err(why.failure.into());
    }
    outcome?;
    let status = live.parts.following.status();
    Ok(status.map_or_else(Obj::empty, |status| followed_dict(&status)).into())
}

/// What runs in the background.
struct Parts {
    capture: Rc<CaptureHandle>,
    following: Rc<Following>,
    /// Why a part ended by itself.
    failed: RefCell<Option<Report>>,
    /// Why the mirror stands still while the capture goes on.
    stood: RefCell<Option<Report>>,
    /// Ends the copy.
    stop: Arc<AtomicBool>,
}

impl Parts {
    fn fail(&self, why: &Report) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = self.failed.borrow_mut();
        if failed.is_none() {
            *failed = Some(why.clone());
        }
    }

    fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Stops what runs, and waits for it while events are served.
    fn end(&self, interp: Interp) -> CmdResult<()> {
        self.following.stop();
        self.capture.stop();
        while serve::until(interp, || self.capture.has_ended() && !self.following.is_running())?
            == Ended::Stopped
        {}
        Ok(())
    }

    fn close(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.following.close();
        self.capture.close();
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.close();
    }
}

/// What was asked for, and what runs.
struct Live {
    file: PathBuf,
    setup: SetupOptions,
    stream: PathBuf,
    conninfo: Conninfo,
    filling: InitOptions,
    applying: Applying,
    callback: Callback,
    asked: Asked,
    /// The slot is there.
    made: Cell<bool>,
    parts: Rc<Parts>,
}

impl Live {
    fn new(interp: Interp, options: &Options) -> CmdResult<Live> {
        let Filling { conninfo, options: filling, .. } = Filling::new(interp, options)?;
        let file = file(interp, options)?;
        let stream = match options.text("-stream")? {
            Some(stream) => folder_named(&stream)?,
            None => beside(&file),
        };
        let known = if stream.exists() { Identity::load(&stream)? } else { None };
        let slot = match (options.text("-slot")?, known) {
            (Some(slot), _) => slot,
            (None, Some(identity)) => identity.slot,
            (None, None) => slot_name(&file),
        };
        let text = options.required("-conninfo")?;
        let mut capturing = Capturing::new(&text, &slot, &stream);
        capturing.publication = options.text("-publication")?;
        capturing.invalid_text = invalid_text(options)?;
        let setup = SetupOptions {
            announce: Announce::Nothing,
            conninfo: text,
            slot,
            stream: Some(stream.clone()),
            tables: filling.tables.clone(),
            publication: capturing.publication.clone(),
            plugin: capturing.plugin.unwrap_or_default(),
        };
        let parts = Rc::new(Parts {
            capture: CaptureHandle::new(capturing),
            following: Rc::default(),
            failed: RefCell::default(),
            stood: RefCell::default(),
            stop: Arc::default(),
        });
        Ok(Live {
            file,
            setup,
            stream,
            conninfo,
            filling,
            applying: applying(interp, options)?,
            callback: Callback::new(options.get("-command")),
            asked: Asked::since_now(interp),
            made: Cell::new(false),
            parts,
        })
    }

    /// Everything, until stopped or until a part fails.
    fn go(&self, interp: Interp) -> CmdResult<()> {
        // Before there is a slot: one that nobody reads keeps WAL.
        connection::check(&self.file)?;
        match self.set_up(interp) {
            Err(_) if self.over() => return Ok(()),
            other => other?,
        }
        if self.over() {
            return Ok(());
        }
        self.start_capture(interp)?;
        let source = StreamSource::open(self.stream.as_path())?;
        match self.fill(interp, &source) {
            Err(_) if self.over() => return Ok(()),
            other => drop(other?),
        }
        if self.over() {
            return Ok(());
        }
        self.start_following(interp, source)?;
        if !self.over() {
            serve::until(interp, || self.parts.has_failed())?;
        }
        Ok(())
    }

    /// Whether there is nothing more to begin.
    fn over(&self) -> bool {
        self.asked.to_stop() || self.parts.has_failed()
    }

    fn set_up(&self, interp: Interp) -> CmdResult<()> {
        // NOTE: a flag of its own: a job that has ended leaves its flag raised.
        let done = set_up_and_tell(interp, self.setup.clone(), &self.callback, Arc::default())?;
        self.made.set(true);
        let details = [
            ("slot", Obj::text(&self.setup.slot)),
            ("stream", Obj::text(&self.stream.to_string_lossy())),
            ("publication", Obj::text(&done.publication)),
            ("created", done.slot_created.into()),
        ];
        self.callback.tell(interp, "setup", &details);
        Ok(())
    }

    fn start_capture(&self, interp: Interp) -> CmdResult<()> {
        let (callback, parts) = (self.callback.clone(), Rc::downgrade(&self.parts));
        self.parts.capture.start(interp, move |interp, told, status| match told {
            Captured::Failed { why } => {
                if let Some(parts) = parts.upgrade() {
                    parts.fail(why);
                }
            }
            // NOTE: the end is told once, by the mirror.
            Captured::Ended => {}
            told => told.tell(interp, &callback, status),
        })
    }

    /// Tells which slot remains, what the server keeps for it, and what removes it: nobody reads it
    /// from now on.
    fn tell_slot(&self, interp: Interp) {
        if !self.made.get() {
            return;
        }
        let (conninfo, slot) = (self.setup.conninfo.clone(), self.setup.slot.clone());
        let asked = job::run(
            interp,
            Arc::default(),
            move |_, _: &job::Teller<(), _>| Ok(Slot::kept_bytes(&conninfo, &slot)),
            |_, ()| Ok(()),
        );
        let kept = asked.ok().flatten();
        // NOTE: without the connection's parameters, which may hold a password.
        let remove = advice::drop_slot(&self.setup.slot).replace('`', "");
        let details = [
            ("slot", Obj::text(&self.setup.slot)),
            ("kept_bytes", kept.map_or_else(Obj::empty, Obj::unsigned)),
            ("remove", Obj::text(&remove)),
        ];
        self.callback.tell(interp, "slot", &details);
    }

    /// Makes and fills the tables that are not there yet.
    fn fill(&self, interp: Interp, source: &StreamSource) -> CmdResult<Vec<Filled>> {
        let (file, conninfo) = (self.file.clone(), self.conninfo.clone());
        let (options, source) = (self.filling.clone(), source.clone());
        let callback = self.callback.clone();
        job::run(
            interp,
            Arc::clone(&self.parts.stop),
            move |stop, teller| {
                let db = connection::open(&file)?;
                let mut tell = |progress: &Progress<'_>| teller.tell(Step::from(progress));
                Ok(init(&db, &conninfo, &source, &options, stop, &mut tell)?)
            },
            move |interp, step| {
                tell_step(interp, &callback, &step);
                Ok(())
            },
        )
    }

    fn start_following(&self, interp: Interp, source: StreamSource) -> CmdResult<()> {
        let (callback, parts) = (self.callback.clone(), Rc::downgrade(&self.parts));
        let following = &self.parts.following;
        let reloading = Reloading { conninfo: self.conninfo.clone(), fill: self.filling.fill };
        let with = (self.applying, Some(reloading));
        following.start(interp, self.file.clone(), source, with, {
            move |interp, told, status| {
                if let (Told::Failed { why }, Some(parts)) = (told, parts.upgrade()) {
                    parts.stood.replace(Some(why.clone()));
                    callback.tell(interp, "standing", &why.details());
                    return;
                }
                told.tell(interp, &callback, status);
            }
        })?;
        let position = following.status().map(|status| status.position);
        let details = [("position", position_value(position))];
        self.callback.tell(interp, "following", &details);
        Ok(())
    }
}

fn tell_step(interp: Interp, callback: &Callback, step: &Step) {
    let told = |event, table: &str, rows| {
        let details = [("table", Obj::text(table)), ("rows", Obj::unsigned(rows))];
        callback.tell(interp, event, &details);
    };
    match step {
        Step::Waiting { transactions } => {
            let details = [("transactions", Obj::unsigned(*transactions))];
            callback.tell(interp, "waiting", &details);
        }
        Step::Rows { table, rows } => told("copying", table, *rows),
        Step::Ready { table, rows } => told("copied", table, *rows),
        Step::Warning { message } => {
            callback.tell(interp, "warning", &[("message", Obj::text(message))]);
        }
    }
}

/// The stream's folder beside the file: its name with `.daystream` behind.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".daystream");
    PathBuf::from(name)
}

/// A slot's name for a file: the same each time, so that a run that was killed finds its slot
/// again, and another one for a file of that name elsewhere.
fn slot_name(file: &Path) -> String {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let host = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&host), path.as_os_str().as_encoded_bytes());
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let stem: String = stem.unwrap_or_default().chars().map(plain).take(NAME_CHARS).collect();
    format!("deltamirror_{stem}_{sum:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_called_after_its_file_and_nothing_else() {
        let name = slot_name(Path::new("/data/Flights 2026.db"));
        assert!(name.starts_with("deltamirror_flights_2026_"), "{name}");
        assert_eq!(name, slot_name(Path::new("/data/Flights 2026.db")));
        assert_ne!(name, slot_name(Path::new("/other/Flights 2026.db")));
        let long = slot_name(Path::new(&format!("/{}.db", "ü".repeat(100))));
        assert!(long.len() <= 63 && long.is_ascii(), "{long}");
    }

    #[test]
    fn the_stream_is_beside_the_file() {
        assert_eq!(beside(Path::new("a/b.db")), Path::new("a/b.db.daystream"));
    }
}
