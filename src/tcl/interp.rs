//! An interpreter: results, variables, evaluation.

use super::error::{CmdResult, Exception, Failure};
use super::obj::Obj;
use super::text;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::rc::Rc;
use tcl_sys as sys;

/// An interpreter, for the duration of a call from Tcl. To keep one for later, use [`InterpRef`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interp<'i>(NonNull<sys::Interp>, PhantomData<&'i sys::Interp>);

impl<'i> Interp<'i> {
    /// Wraps the pointer that Tcl gave.
    ///
    /// # Safety
    /// `raw` is null or a live interpreter of this thread, whose memory stays valid during `'i`.
    #[must_use]
    pub unsafe fn from_raw(raw: *mut sys::Interp) -> Option<Interp<'i>> {
        NonNull::new(raw).map(|raw| Interp(raw, PhantomData))
    }

    /// The raw pointer.
    #[must_use]
    pub fn raw(self) -> *mut sys::Interp {
        self.0.as_ptr()
    }

    /// The interpreter's address, to compare with what others keep of it.
    #[must_use]
    pub fn address(self) -> *const c_void {
        self.raw().cast()
    }

    /// Whether this is a safe interpreter (`interp create -safe`).
    #[must_use]
    pub fn is_safe(self) -> bool {
        // SAFETY: live interpreter.
        unsafe { sys::Tcl_IsSafe(self.raw()) != 0 }
    }

    /// Whether the interpreter is being deleted.
    #[must_use]
    pub fn is_deleted(self) -> bool {
        // SAFETY: live interpreter.
        unsafe { sys::Tcl_InterpDeleted(self.raw()) != 0 }
    }

    /// Whether a limit of time or commands (`interp limit`) is exceeded: nothing more may run.
    #[must_use]
    pub fn is_limited(self) -> bool {
        // SAFETY: live interpreter.
        unsafe { sys::Tcl_LimitExceeded(self.raw()) != 0 }
    }

    /// The result.
    #[must_use]
    pub fn result(self) -> Obj {
        // SAFETY: live interpreter; the result object is held at once.
        unsafe { Obj::hold(sys::Tcl_GetObjResult(self.raw())) }
    }

    /// Sets the result.
    pub fn set_result(self, value: &Obj) {
        // SAFETY: live interpreter and object.
        unsafe { sys::Tcl_SetObjResult(self.raw(), value.raw()) }
    }

    /// Empties result and error state.
    pub fn reset_result(self) {
        // SAFETY: live interpreter.
        unsafe { sys::Tcl_ResetResult(self.raw()) }
    }

    /// Sets `errorCode`.
    pub fn set_error_code(self, code: &Obj) {
        // SAFETY: live interpreter and object.
        unsafe { sys::Tcl_SetObjErrorCode(self.raw(), code.raw()) }
    }

    /// Sets `errorCode`, and more of the options that `catch` gives.
    pub fn set_error_options(self, code: &Obj, more: &[(&'static str, String)]) {
        let code = [
            ("-code", Obj::int(sys::TCL_ERROR.into())),
            ("-level", Obj::int(0)),
            ("-errorcode", code.clone()),
        ];
        let more = more.iter().map(|(key, value)| (*key, Obj::text(value)));
        let options = Obj::dict(code.into_iter().chain(more));
        // SAFETY: live interpreter and object, of which Tcl takes a reference of its own.
        unsafe { sys::Tcl_SetReturnOptions(self.raw(), options.raw()) };
    }

    /// Adds to `errorInfo`.
    pub fn add_error_info(self, text: &str) {
        let text = Obj::text(text);
        // SAFETY: live interpreter and object.
        unsafe { sys::Tcl_AppendObjToErrorInfo(self.raw(), text.raw()) }
    }

    /// The line within the script at which the last error arose.
    #[must_use]
    pub fn error_line(self) -> i32 {
        // SAFETY: live interpreter.
        unsafe { sys::Tcl_GetErrorLine(self.raw()) }
    }

    /// The errorCode that the last error left, as a list in text.
    #[must_use]
    pub fn error_code(self) -> Obj {
        // SAFETY: live interpreter; the dict is held at once.
        let options = unsafe { Obj::hold(sys::Tcl_GetReturnOptions(self.raw(), sys::TCL_ERROR)) };
        options.dict_get(self, "-errorcode").ok().flatten().unwrap_or_else(|| Obj::text("NONE"))
    }

    /// Whether there is a command of this name, resolved from the current namespace.
    #[must_use]
    pub fn has_command(self, name: &Obj) -> bool {
        self.command_info(name).is_some()
    }

    fn checked(self, code: c_int) -> CmdResult {
        if code == sys::TCL_OK { Ok(self.result()) } else { Err(Exception::Raised(code)) }
    }

    /// Evaluates a script at global level.
    ///
    /// # Errors
    /// Whatever the script raises.
    pub fn eval(self, script: &Obj) -> CmdResult {
        // SAFETY: live interpreter and object.
        let code = unsafe { sys::Tcl_EvalObjEx(self.raw(), script.raw(), sys::TCL_EVAL_GLOBAL) };
        self.checked(code)
    }

    /// Evaluates a command of these words at global level; no word is parsed as script.
    ///
    /// # Errors
    /// Whatever the command raises.
    pub fn call(self, words: &[Obj]) -> CmdResult {
        let raw: Vec<_> = words.iter().map(Obj::raw).collect();
        // SAFETY: live interpreter and objects.
        let code = unsafe { sys::eval_objv(self.raw(), &raw, sys::TCL_EVAL_GLOBAL) };
        self.checked(code)
    }

    /// Runs `work` so that result, errorInfo and errorCode are afterwards as they were: for what is
    /// undone after an error that a command is about to return.
    pub fn undisturbed<T>(self, work: impl FnOnce() -> T) -> T {
        // SAFETY: live interpreter; the state is restored once. A panic in between would leak it.
        unsafe {
            let state = sys::Tcl_SaveInterpState(self.raw(), sys::TCL_OK);
            let value = work();
            sys::Tcl_RestoreInterpState(self.raw(), state);
            value
        }
    }

    /// Runs a callback from the event loop: `prefix` is a command prefix, `extra` words are
    /// appended; errors go to `bgerror`.
    pub fn call_back(self, prefix: &Obj, extra: &[Obj]) {
        let outcome = prefix.as_list(self).and_then(|mut words| {
            words.extend(extra.iter().cloned());
            self.call(&words)
        });
        if let Err(exception) = outcome {
            self.background(&exception);
        }
    }

    /// Runs a script from the event loop, as [`Interp::call_back`] does a prefix.
    pub fn run_script(self, script: &Obj) {
        if let Err(exception) = self.eval(script) {
            self.background(&exception);
        }
    }

    /// Reports an error that no command can return, through `interp bgerror`.
    pub fn background(self, exception: &Exception) {
        if self.is_deleted() {
            return; // nobody can hear of it, and Tcl would say so on stderr
        }
        let code = exception.raise(self);
        // SAFETY: live interpreter that holds the error.
        unsafe { sys::Tcl_BackgroundException(self.raw(), code) }
    }

    /// Reads a variable, or an element of an array; None when there is none.
    #[must_use]
    pub fn get_var(self, name: &Obj, element: Option<&Obj>) -> Option<Obj> {
        let element = element.map_or(std::ptr::null_mut(), Obj::raw);
        // SAFETY: live interpreter and objects; what is found is held at once.
        unsafe {
            let value = sys::Tcl_ObjGetVar2(self.raw(), name.raw(), element, 0);
            if value.is_null() { None } else { Some(Obj::hold(value)) }
        }
    }

    /// Sets a variable, or an element of an array, in the scope of the caller.
    ///
    /// # Errors
    /// Tcl's own (`can't set "x": variable isn't array`, a trace's error).
    pub fn set_var(self, name: &Obj, element: Option<&Obj>, value: &Obj) -> CmdResult<()> {
        let element = element.map_or(std::ptr::null_mut(), Obj::raw);
        let flags = sys::TCL_LEAVE_ERR_MSG;
        // SAFETY: live interpreter and objects.
        let set =
            unsafe { sys::Tcl_ObjSetVar2(self.raw(), name.raw(), element, value.raw(), flags) };
        if set.is_null() { Err(Exception::Raised(sys::TCL_ERROR)) } else { Ok(()) }
    }

    /// Sets a variable, or an element of an array, to a string given as UTF-8: [`Interp::set_var`]
    /// without a value that is made only to be let go.
    ///
    /// # Errors
    /// As [`Interp::set_var`].
    pub fn set_var_utf8(self, name: &Obj, element: Option<&Obj>, utf8: &[u8]) -> CmdResult<()> {
        let element = element.map_or(std::ptr::null_mut(), Obj::raw);
        let internal = text::from_utf8(utf8, sys::is_tcl9());
        // SAFETY: live interpreter and objects; Tcl takes over the new object, also when it fails.
        let set = unsafe {
            let value = sys::new_string(&internal);
            let flags = sys::TCL_LEAVE_ERR_MSG;
            sys::Tcl_ObjSetVar2(self.raw(), name.raw(), element, value, flags)
        };
        if set.is_null() { Err(Exception::Raised(sys::TCL_ERROR)) } else { Ok(()) }
    }

    /// Evaluates a command of these words in the scope of the caller. For commands of Tcl itself
    /// that are needed often: keep the words, for Tcl keeps in them what it has found.
    ///
    /// # Errors
    /// Whatever the command raises.
    pub fn call_here(self, words: &[Obj]) -> CmdResult {
        // SAFETY: live interpreter and objects; Obj is a transparent pointer, so a slice of one is
        // a slice of the other.
        let code = unsafe {
            let raw = std::slice::from_raw_parts(words.as_ptr().cast(), words.len());
            sys::eval_objv(self.raw(), raw, 0)
        };
        self.checked(code)
    }

    /// Unsets a variable, or an element of an array; one that is not there is no error.
    pub fn unset_var(self, name: &Obj, element: Option<&Obj>) {
        let name = name.internal();
        let element = element.map_or(std::ptr::null(), |e| e.internal().as_ptr());
        // SAFETY: live interpreter; Tcl's strings end with a NUL byte and hold none.
        unsafe { sys::Tcl_UnsetVar2(self.raw(), name.as_ptr().cast(), element.cast(), 0) };
    }

    /// Provides a package.
    ///
    /// # Errors
    /// Tcl's own, when another version is provided already.
    pub fn provide(self, name: &str, version: &str) -> CmdResult<()> {
        let (name, version) = (c_string(name)?, c_string(version)?);
        // SAFETY: live interpreter, C strings.
        let status = unsafe {
            sys::Tcl_PkgProvideEx(self.raw(), name.as_ptr(), version.as_ptr(), std::ptr::null())
        };
        if status == sys::TCL_OK { Ok(()) } else { Err(Exception::Raised(status)) }
    }

    /// Makes a namespace, if it is not there, and exports all that it will hold.
    ///
    /// # Errors
    /// A name with a NUL byte.
    pub fn export_namespace(self, name: &str) -> CmdResult<()> {
        let name = c_string(name)?;
        // SAFETY: live interpreter, C strings; a namespace found or made here is live.
        unsafe {
            let null = std::ptr::null_mut();
            let mut found = sys::Tcl_FindNamespace(self.raw(), name.as_ptr(), null, 0);
            if found.is_null() {
                found = sys::Tcl_CreateNamespace(
                    self.raw(),
                    name.as_ptr(),
                    null.cast(),
                    std::ptr::null(),
                );
            }
            if !found.is_null() {
                sys::Tcl_Export(self.raw(), found, c"*".as_ptr(), 0);
            }
        }
        Ok(())
    }
}

/// A C string of a name.
pub(super) fn c_string(text: &str) -> CmdResult<CString> {
    let internal = text::from_utf8(text.as_bytes(), sys::is_tcl9());
    CString::new(internal)
        .map_err(|_| Failure::new("a name holds a NUL byte", &["PGSQLITE", "USAGE", "NUL"]).into())
}

/// An interpreter kept for later. It does not keep the interpreter alive: a script may delete it at
/// any time, and then [`InterpRef::get`] finds none.
#[derive(Clone)]
pub struct InterpRef(Rc<Life>);

/// The interpreter, until it is torn down.
struct Life(Cell<*mut sys::Interp>);

const LIFE: &CStr = c"pgsqlite_life";

unsafe extern "C" fn torn_down(data: *mut c_void, _interp: *mut sys::Interp) {
    // SAFETY: the reference that `InterpRef::new` leaked; Tcl calls this once.
    let life = unsafe { Rc::from_raw(data.cast_const().cast::<Life>()) };
    life.0.set(std::ptr::null_mut());
}

impl InterpRef {
    /// Keeps `interp`.
    #[must_use]
    pub fn new(interp: Interp) -> InterpRef {
        // SAFETY: live interpreter; the name is ours, so what hangs there is our counted reference.
        unsafe {
            let raw = sys::Tcl_GetAssocData(interp.raw(), LIFE.as_ptr(), std::ptr::null_mut());
            if raw.is_null() {
                let life = Rc::new(Life(Cell::new(interp.raw())));
                let data = Rc::into_raw(Rc::clone(&life)).cast_mut().cast();
                sys::Tcl_SetAssocData(interp.raw(), LIFE.as_ptr(), Some(torn_down), data);
                return InterpRef(life);
            }
            let raw = raw.cast_const().cast::<Life>();
            Rc::increment_strong_count(raw);
            InterpRef(Rc::from_raw(raw))
        }
    }

    /// Whether it is this interpreter, which may be one that is being deleted.
    #[must_use]
    pub fn is(&self, interp: Interp) -> bool {
        self.0.0.get() == interp.raw()
    }

    /// The interpreter, unless it has been deleted. Who runs scripts with it preserves it
    /// ([`Preserved`]).
    #[must_use]
    pub fn get(&self) -> Option<Interp<'_>> {
        // SAFETY: live, since it is null once the interpreter is torn down.
        let interp = unsafe { Interp::from_raw(self.0.0.get()) };
        interp.filter(|interp| !interp.is_deleted())
    }
}

/// Keeps an interpreter's memory valid until dropped, though a script may delete it meanwhile. For
/// the duration of a call: while it is held, a deleted interpreter is not torn down.
pub struct Preserved<'i>(Interp<'i>);

impl<'i> Preserved<'i> {
    /// Preserves `interp`.
    #[must_use]
    pub fn new(interp: Interp<'i>) -> Preserved<'i> {
        // SAFETY: live interpreter.
        unsafe { sys::Tcl_Preserve(interp.raw().cast()) };
        Preserved(interp)
    }
}

impl Drop for Preserved<'_> {
    fn drop(&mut self) {
        // SAFETY: balances the Tcl_Preserve of new().
        unsafe { sys::Tcl_Release(self.0.raw().cast()) };
    }
}
