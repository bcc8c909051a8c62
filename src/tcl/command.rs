//! Commands: a closure behind a name, with panics caught and script bodies run without recursion.

use super::body::{self, Body};
use super::error::{CmdResult, Exception, Failure};
use super::guard;
use super::interp::{Interp, c_string};
use super::obj::Obj;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_void};
use std::mem;
use std::rc::Rc;
use tcl_sys as sys;

/// What a command does next.
pub enum Flow {
    /// It is done, with this result.
    Value(Obj),
    /// It runs a script once for each row (`yield`, `break`, `return -level` work in it).
    Body(Body),
}

impl<T: Into<Obj>> From<T> for Flow {
    fn from(value: T) -> Flow {
        Flow::Value(value.into())
    }
}

type Run = dyn Fn(Interp, &[Obj]) -> Result<Flow, Exception>;

/// What a command of an object does.
type RunOn<T> = fn(Interp, &Rc<T>, &[Obj]) -> Result<Flow, Exception>;
type OnDelete = dyn FnOnce(Interp);

struct Entry {
    run: Box<Run>,
    /// What the command is the handle of.
    object: Option<Rc<dyn Any>>,
    /// Lives at least as long as the command; used only while the token says that there is one. (To
    /// preserve it here would keep a deleted interpreter, and with it this command, from ever being
    /// torn down.)
    interp: *mut sys::Interp,
    token: Cell<*mut sys::CommandToken>,
    on_delete: RefCell<Option<Box<OnDelete>>>,
}

/// A command that was registered; dropping this leaves the command alone.
#[derive(Clone)]
pub struct Command(Rc<Entry>);

impl Command {
    /// Whether the command is still there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.0.token.get().is_null()
    }

    /// Its name now (it may have been renamed), from the global namespace on; None when it is gone.
    #[must_use]
    pub fn full_name(&self) -> Option<String> {
        let token = self.0.token.get();
        if token.is_null() {
            return None;
        }
        let name = Obj::empty();
        // SAFETY: the token is cleared when the command is deleted, which is before its interpreter
        // is gone; so both are live; the object is unshared.
        unsafe { sys::Tcl_GetCommandFullName(self.0.interp, token, name.raw()) };
        Some(name.text_lossy().into_owned())
    }

    /// Whether it was registered in this interpreter.
    #[must_use]
    pub fn is_of(&self, interp: Interp) -> bool {
        self.0.interp == interp.raw()
    }

    /// Deletes the command, if it is still there.
    pub fn delete(&self) {
        let token = self.0.token.get();
        if !token.is_null() {
            // SAFETY: the token is cleared when the command is deleted, which is before its
            // interpreter is gone; so both are live.
            unsafe { sys::Tcl_DeleteCommandFromToken(self.0.interp, token) };
        }
    }

    /// What tells this command from all others, as long as it is there: compare with
    /// [`CommandInfo::identity`].
    #[must_use]
    pub fn identity(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }
}

/// Registers a command. Its closure gets all words, its own name first.
///
/// # Errors
/// A name with a NUL byte, or in a namespace that does not exist.
pub fn register<F>(interp: Interp, name: &str, run: F) -> CmdResult<Command>
where
    F: Fn(Interp, &[Obj]) -> Result<Flow, Exception> + 'static,
{
    register_with(interp, &c_string(name)?, Box::new(run), None, None)
}

/// Registers a command with something to do when it is deleted, by whoever.
///
/// # Errors
/// A name with a NUL byte, or in a namespace that does not exist.
pub fn register_handle<F, D>(interp: Interp, name: &str, run: F, on_delete: D) -> CmdResult<Command>
where
    F: Fn(Interp, &[Obj]) -> Result<Flow, Exception> + 'static,
    D: FnOnce(Interp) + 'static,
{
    register_with(interp, &c_string(name)?, Box::new(run), None, Some(Box::new(on_delete)))
}

/// Registers the command of an object, as [`register_handle`] does; [`Interp::object`] finds the
/// object by the command's name.
///
/// # Errors
/// A name in a namespace that does not exist.
pub fn register_object<T, D>(
    interp: Interp,
    name: &Obj,
    object: &Rc<T>,
    run: RunOn<T>,
    on_delete: D,
) -> CmdResult<Command>
where
    T: 'static,
    D: FnOnce(Interp) + 'static,
{
    let running = Rc::clone(object);
    let run = move |interp: Interp<'_>, words: &[Obj]| run(interp, &running, words);
    let object = Rc::clone(object);
    let internal = name.internal();
    // SAFETY: a NUL byte follows Tcl's strings in memory, and they hold none: NUL is C0 80.
    let name = unsafe { CStr::from_ptr(internal.as_ptr().cast()) };
    register_with(interp, name, Box::new(run), Some(object), Some(Box::new(on_delete)))
}

fn register_with(
    interp: Interp,
    name: &CStr,
    run: Box<Run>,
    object: Option<Rc<dyn Any>>,
    on_delete: Option<Box<OnDelete>>,
) -> CmdResult<Command> {
    let entry = Rc::new(Entry {
        run,
        object,
        interp: interp.raw(),
        token: Cell::new(std::ptr::null_mut()),
        on_delete: RefCell::new(on_delete),
    });
    let data = Rc::into_raw(Rc::clone(&entry)).cast_mut().cast::<c_void>();
    // SAFETY: live interpreter; the data is a counted reference that `deleted` gives back.
    let token = unsafe {
        sys::Tcl_NRCreateCommand(interp.raw(), name.as_ptr(), called, entered, data, Some(deleted))
    };
    if token.is_null() {
        // SAFETY: gives back the reference made above, since no command holds it.
        drop(unsafe { Rc::from_raw(data.cast_const().cast::<Entry>()) });
        let name = name.to_string_lossy().into_owned();
        let code = ["PGSQLITE", "COMMAND", "NAME", "name", &name];
        return Err(Failure::new(format!("cannot make a command \"{name}\""), &code).into());
    }
    entry.token.set(token);
    Ok(Command(entry))
}

/// The entry for callers that do not trampoline.
unsafe extern "C" fn called(
    data: *mut c_void,
    interp: *mut sys::Interp,
    objc: c_int,
    objv: *const *mut sys::Obj,
) -> c_int {
    // SAFETY: arguments as Tcl gave them.
    unsafe { sys::Tcl_NRCallObjProc(interp, entered, data, objc, objv) }
}

/// The one trampoline of all commands.
unsafe extern "C" fn entered(
    data: *mut c_void,
    interp: *mut sys::Interp,
    objc: c_int,
    objv: *const *mut sys::Obj,
) -> c_int {
    // SAFETY: Tcl calls with a live interpreter.
    let Some(interp) = (unsafe { Interp::from_raw(interp) }) else { return sys::TCL_ERROR };
    let outcome = guard::caught(|| {
        let entry = data.cast_const().cast::<Entry>();
        // SAFETY: the command holds a reference; this call takes one more, for the closure may
        // delete the command.
        let entry = unsafe {
            Rc::increment_strong_count(entry);
            Rc::from_raw(entry)
        };
        // SAFETY: Tcl holds the words while the command runs.
        let words = unsafe { Obj::words(objc, objv) };
        match (entry.run)(interp, words) {
            Ok(Flow::Value(value)) => {
                interp.set_result(&value);
                sys::TCL_OK
            }
            Ok(Flow::Body(body)) => body::start(interp, body),
            Err(exception) => exception.raise(interp),
        }
    });
    outcome.unwrap_or_else(|failure| Exception::from(failure).raise(interp))
}

unsafe extern "C" fn deleted(data: *mut c_void) {
    let _ = guard::caught(|| {
        // SAFETY: gives back the reference that register_with leaked; Tcl calls this once.
        let entry = unsafe { Rc::from_raw(data.cast_const().cast::<Entry>()) };
        entry.token.set(std::ptr::null_mut());
        let on_delete = entry.on_delete.borrow_mut().take();
        // SAFETY: Tcl deletes a command before it tears its interpreter down.
        let interp = unsafe { Interp::from_raw(entry.interp) };
        if let (Some(on_delete), Some(interp)) = (on_delete, interp) {
            on_delete(interp);
        }
    });
}

/// What Tcl knows of a command's implementation: to recognise another package's handles.
#[derive(Debug, Clone, Copy)]
pub struct CommandInfo {
    /// The C function that runs the command (`objProc`).
    pub obj_proc: *const c_void,
    /// What that function is given.
    pub client_data: *mut c_void,
}

impl CommandInfo {
    /// The identity of the command, if it is one of ours: compare with [`Command::identity`] of
    /// those that live.
    #[must_use]
    pub fn identity(&self) -> usize {
        self.client_data.addr()
    }
}

impl Interp<'_> {
    /// The object whose command is called `name`, resolved from the current namespace; None when
    /// that is another command, or none.
    #[must_use]
    pub fn object<T: 'static>(self, name: &Obj) -> Option<Rc<T>> {
        let info = self.command_info(name)?;
        if info.obj_proc != called as *const c_void {
            return None;
        }
        // SAFETY: a command of ours, which is there: its data is a live Entry.
        let entry = unsafe { &*info.client_data.cast_const().cast::<Entry>() };
        Rc::clone(entry.object.as_ref()?).downcast().ok()
    }

    /// The implementation behind a command's name, resolved from the current namespace; None when
    /// there is none.
    #[must_use]
    pub fn command_info(self, name: &Obj) -> Option<CommandInfo> {
        // SAFETY: an all-zero CmdInfo is valid: numbers and null pointers.
        let mut info: sys::CmdInfo = unsafe { mem::zeroed() };
        // SAFETY: live interpreter and object; the structure is larger than any version's.
        let found = unsafe {
            let token = sys::Tcl_GetCommandFromObj(self.raw(), name.raw());
            !token.is_null() && sys::Tcl_GetCommandInfoFromToken(token, &mut info) != 0
        };
        let obj_proc = info.obj_proc.map_or(std::ptr::null(), |f| f as *const c_void);
        found.then_some(CommandInfo { obj_proc, client_data: info.obj_client_data })
    }
}
