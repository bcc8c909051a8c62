//! The connection behind a command of Tcl's `sqlite3` package.
//!
//! A command is genuine exactly when its `objProc` is that of a probe handle (`sqlite3 probe
//! :memory:`) which we make ourselves. The probe also loads [`super::api`]'s entry, so that the API
//! table is the very library's that owns the handle. The user's handle is only read: its client
//! data begins with the `sqlite3*` and the interpreter (`struct SqliteDb` of tclsqlite.c). A second
//! `sqlite3` package with another SQLite in the same process is refused.
//!
//! Imported commands and aliases of one word are followed. Nothing here knows Tcl's functions:
//! whoever does implements [`Host`].

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use libsqlite3_sys as ffi;

use super::{Db, api};
use crate::error::{Class, Code, Coded};

/// What Tcl knows of a command: the fields of `Tcl_CmdInfo` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// `objProc`.
    pub proc: *const c_void,
    /// `objClientData`.
    pub data: *const c_void,
}

/// An interpreter, as far as the recovery of a handle needs it.
///
/// # Safety
/// [`Host::command`] tells the truth about the commands of this very interpreter
/// ([`Host::interp`]), and all calls come on the interpreter's own thread. [`Host::hold`] holds the
/// command that [`Host::command`] finds by the same name.
pub unsafe trait Host {
    /// What keeps a command's data.
    type Hold: Hold;

    /// The `Tcl_Interp*`.
    fn interp(&self) -> *const c_void;

    /// The command called `name`, seen from the current namespace; `None` when there is none.
    fn command(&mut self, name: &str) -> Option<Command>;

    /// Keeps the data of the command called `name`, seen from the current namespace. `None` when
    /// there is no such command.
    fn hold(&mut self, name: &str) -> Option<Self::Hold>;

    /// Evaluates one command given as words, at global level; its result, or its error message. The
    /// interpreter's result and error variables are as before afterwards.
    ///
    /// # Errors
    /// The error message of the command.
    fn eval(&mut self, words: &[&str]) -> Result<String, String>;
}

/// Keeps the data of a command until it is dropped.
///
/// # Safety
/// While it lives, the data of the command is not freed, whatever happens to the command.
pub unsafe trait Hold {
    /// Set when the command was deleted meanwhile.
    fn deleted(&self) -> &AtomicBool;
}

/// The connection behind a handle, which stays open while this lives: scripts may run meanwhile,
/// inside of SQLite too (a function, a hook, a trace, a busy handler). When one of them deletes the
/// handle, [`Held::is_closed`] says so, and the connection is closed when this is dropped.
pub struct Held<H> {
    db: Db,
    hold: H,
}

impl<H: Hold> Held<H> {
    /// The connection.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Whether a script has deleted the handle.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed().load(Ordering::Relaxed)
    }

    /// Set when a script has deleted the handle: for work that looks at such a flag.
    #[must_use]
    pub fn closed(&self) -> &AtomicBool {
        self.hold.deleted()
    }
}

/// Why a command is not a usable SQLite handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// No such command.
    #[error("there is no command \"{name}\": open it with `sqlite3 {name} FILE` first")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// The package itself is not there.
    #[error("the Tcl package sqlite3 cannot be loaded: install it (Debian: libsqlite3-tcl)")]
    NoPackage,
    /// A command, but not one that the `sqlite3` package made.
    #[error("command \"{name}\" is not an sqlite3 handle")]
    Foreign {
        /// The name asked for.
        name: String,
    },
    /// The handle's connection is closed.
    #[error("the sqlite3 handle \"{name}\" is closed")]
    Closed {
        /// The name asked for.
        name: String,
    },
    /// The handle belongs to another interpreter.
    #[error("the sqlite3 handle \"{name}\" belongs to another interpreter")]
    OtherInterp {
        /// The name asked for.
        name: String,
    },
    /// The handle's SQLite is not the one that this process uses already.
    #[error(
        "the sqlite3 handle \"{name}\" uses a second SQLite library ({second}), but this process \
         already works with another ({first}): load one sqlite3 package only"
    )]
    SecondSqlite {
        /// The name asked for.
        name: String,
        /// Source id of the library in use.
        first: String,
        /// Source id of the other one, or what is known of it.
        second: String,
    },
    /// The package's SQLite cannot load extensions, so its functions cannot be reached safely.
    #[error("the SQLite of handle \"{name}\" cannot be reached: {message}")]
    NoExtension {
        /// The name asked for.
        name: String,
        /// What SQLite or Tcl said.
        message: String,
    },
}

impl HandleError {
    fn name(&self) -> &str {
        match self {
            HandleError::NoPackage => "sqlite3",
            HandleError::NotFound { name }
            | HandleError::Foreign { name }
            | HandleError::Closed { name }
            | HandleError::OtherInterp { name }
            | HandleError::SecondSqlite { name, .. }
            | HandleError::NoExtension { name, .. } => name,
        }
    }
}

impl Coded for HandleError {
    fn code(&self) -> Code {
        let reason = match self {
            HandleError::NotFound { .. } | HandleError::NoPackage => "NOTFOUND",
            HandleError::Foreign { .. } => "FOREIGN",
            HandleError::Closed { .. } => "CLOSED",
            HandleError::OtherInterp { .. } => "OTHERINTERP",
            HandleError::SecondSqlite { .. } => "SECONDSQLITE",
            HandleError::NoExtension { .. } => "NOEXTENSION",
        };
        Code::new("HANDLE", reason).with("name", self.name())
    }

    fn class(&self) -> Class {
        Class::Usage
    }
}

/// The `objProc`s that are known to belong to the installed library's package.
static GENUINE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn is_genuine(proc: *const c_void) -> bool {
    let genuine = GENUINE.lock().unwrap_or_else(PoisonError::into_inner);
    genuine.contains(&(proc as usize))
}

/// The connection behind the handle `name`, held.
///
/// # Errors
/// [`HandleError`], one for each way in which a name is not a usable handle.
pub fn recover<H: Host>(host: &mut H, name: &str) -> Result<Held<H::Hold>, HandleError> {
    let own_name = own_name(host, name)?;
    let not_found = || HandleError::NotFound { name: name.to_owned() };
    let command = host.command(&own_name).ok_or_else(not_found)?;
    // SAFETY: genuine, as `own_name` found: made by the sqlite3 package of the installed library,
    // in this interpreter.
    let raw = unsafe { connection(command, host.interp(), name) }?;
    let hold = host.hold(&own_name).ok_or_else(not_found)?;
    // SAFETY: open, on its interpreter's thread, and kept so by `hold`, which is dropped after it.
    let db = unsafe { Db::borrow(raw) };
    Ok(Held { db, hold })
}

/// The name of the handle's own command, behind imports and aliases.
///
/// # Errors
/// As [`recover`], but for CLOSED.
pub fn own_name(host: &mut impl Host, name: &str) -> Result<String, HandleError> {
    /// Aliases of aliases; a ring of them ends here.
    const HOPS_MAX: usize = 8;
    let owned = || name.to_owned();
    let mut current = name.to_owned();
    for _ in 0..HOPS_MAX {
        let Some(command) = host.command(&current) else {
            return Err(HandleError::NotFound { name: owned() });
        };
        if is_genuine(command.proc) || learn(host, name, Some(command.proc))? {
            return Ok(current);
        }
        match behind(host, &current) {
            Behind::Command(next) if next != current => current = next,
            Behind::OtherInterp => return Err(HandleError::OtherInterp { name: owned() }),
            Behind::Command(_) | Behind::Nothing => break,
        }
    }
    Err(HandleError::Foreign { name: owned() })
}

/// Makes the API table of this interpreter's `sqlite3` package available, for connections opened by
/// [`Db::open`].
///
/// # Errors
/// SECONDSQLITE and NOEXTENSION, with the name `sqlite3`; NOTFOUND when the package is not loaded.
pub fn prepare(host: &mut impl Host) -> Result<(), HandleError> {
    const NAME: &str = "sqlite3";
    if api::library().is_some() {
        return Ok(());
    }
    if host.command("::sqlite3").is_none() {
        return Err(HandleError::NoPackage);
    }
    learn(host, NAME, None).map(|_| ())
}

/// What a command stands for.
enum Behind {
    /// A command of this interpreter.
    Command(String),
    /// An alias of a command elsewhere.
    OtherInterp,
    /// It is no more than itself.
    Nothing,
}

/// The command behind an imported command or an alias of one word.
fn behind(host: &mut impl Host, name: &str) -> Behind {
    let Ok(origin) = host.eval(&["::namespace", "origin", name]) else { return Behind::Nothing };
    if host.command(&origin) != host.command(name) {
        return Behind::Command(origin);
    }
    // An alias is also known by its name without the leading colons.
    let known = [name, name.trim_start_matches("::")].into_iter().find_map(|name| {
        let target = host.eval(&["::interp", "alias", "", name]).ok()?;
        (!target.is_empty()).then_some((name, target))
    });
    let Some((name, target)) = known else { return Behind::Nothing };
    if host.eval(&["::interp", "target", "", name]).as_deref() != Ok("") {
        return Behind::OtherInterp;
    }
    let one_word = host.eval(&["::llength", &target]).is_ok_and(|n| n == "1");
    let word = if one_word { host.eval(&["::lindex", &target, "0"]).ok() } else { None };
    word.map_or(Behind::Nothing, Behind::Command)
}

/// Makes a probe handle; when its `objProc` is the one `wanted` (or none is), takes its library's
/// table. Returns whether it was.
fn learn(
    host: &mut impl Host,
    name: &str,
    wanted: Option<*const c_void>,
) -> Result<bool, HandleError> {
    let probe = format!("::pgsqlite_probe_{:x}", host.interp() as usize);
    // Without the command there are no handles of the package here either (a safe interpreter, for
    // one).
    if host.eval(&["::sqlite3", &probe, ":memory:"]).is_err() {
        return Ok(false);
    }
    let learnt = match host.command(&probe) {
        Some(command) if wanted.is_none_or(|wanted| wanted == command.proc) => {
            install(host, name, &probe).map(|()| {
                let mut genuine = GENUINE.lock().unwrap_or_else(PoisonError::into_inner);
                genuine.push(command.proc as usize);
                true
            })
        }
        _ => Ok(false),
    };
    let _ = host.eval(&[&probe, "close"]);
    learnt
}

/// Has the probe's library load our entry.
fn install(host: &mut impl Host, name: &str, probe: &str) -> Result<(), HandleError> {
    let no_extension =
        |message: String| HandleError::NoExtension { name: name.to_owned(), message };
    let Some(path) = api::own_path() else {
        return Err(no_extension("the path of this package's library is unknown".to_owned()));
    };
    let sql =
        format!("SELECT load_extension({}, 'pgsqlite_sqlite3_entry')", super::quote_text(&path));
    let _ = api::take_outcome();
    host.eval(&[probe, "enable_load_extension", "1"]).map_err(no_extension)?;
    let loaded = host.eval(&[probe, "eval", &sql]);
    match api::take_outcome() {
        Some(api::Outcome::Installed) => Ok(()),
        Some(api::Outcome::Second { source_id }) => Err(HandleError::SecondSqlite {
            name: name.to_owned(),
            first: api::library().map(|library| library.source_id.clone()).unwrap_or_default(),
            second: source_id,
        }),
        Some(api::Outcome::TooOld { .. } | api::Outcome::Incomplete) | None => {
            Err(no_extension(loaded.err().unwrap_or_else(|| "its table was not given".to_owned())))
        }
    }
}

/// Reads the connection out of a genuine handle.
///
/// # Safety
/// `command` is a living command of the sqlite3 package whose library is installed, in the
/// interpreter that runs.
unsafe fn connection(
    command: Command,
    interp: *const c_void,
    name: &str,
) -> Result<NonNull<ffi::sqlite3>, HandleError> {
    /// The first fields of tclsqlite.c's `struct SqliteDb`, the same since 3.6.
    #[repr(C)]
    struct Head {
        db: *mut ffi::sqlite3,
        interp: *const c_void,
    }
    let head = command.data.cast::<Head>();
    if head.is_null() {
        return Err(HandleError::Closed { name: name.to_owned() });
    }
    // SAFETY: a genuine handle's client data begins so.
    let (raw, owner) = unsafe { ((*head).db, (*head).interp) };
    if owner != interp {
        return Err(HandleError::OtherInterp { name: name.to_owned() });
    }
    NonNull::new(raw).ok_or_else(|| HandleError::Closed { name: name.to_owned() })
}

#[cfg(test)]
mod tests;
