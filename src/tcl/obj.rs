//! A Tcl value with an owned reference (Tcl_Obj(3)).

use super::error::{Exception, Failure};
use super::interp::Interp;
use super::text::{self, TextError};
use std::borrow::Cow;
use std::ffi::CStr;
use std::ptr::NonNull;
use tcl_sys as sys;

/// One reference to a Tcl value. Cloning adds a reference; it never copies the value.
#[repr(transparent)]
pub struct Obj(NonNull<sys::Obj>);

impl Clone for Obj {
    fn clone(&self) -> Obj {
        // SAFETY: self holds a reference, so the object is live.
        unsafe { sys::incr_ref(self.0.as_ptr()) };
        Obj(self.0)
    }
}

impl Drop for Obj {
    fn drop(&mut self) {
        // SAFETY: gives back the reference that this value owns.
        unsafe { sys::decr_ref(self.0.as_ptr()) };
    }
}

impl std::fmt::Debug for Obj {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Obj({:?})", self.text_lossy())
    }
}

impl Obj {
    /// Takes one reference to `raw`.
    ///
    /// # Safety
    /// `raw` is a live object of this thread's Tcl.
    pub(super) unsafe fn hold(raw: *mut sys::Obj) -> Obj {
        // SAFETY: live, by the caller; Tcl never hands out null here.
        unsafe {
            sys::incr_ref(raw);
            Obj(NonNull::new_unchecked(raw))
        }
    }

    /// The raw pointer; valid while `self` lives.
    pub(super) fn raw(&self) -> *mut sys::Obj {
        self.0.as_ptr()
    }

    /// The words of a command call, borrowed.
    ///
    /// # Safety
    /// `objv` points to `objc` live objects that outlive the slice.
    pub(super) unsafe fn words<'a>(objc: i32, objv: *const *mut sys::Obj) -> &'a [Obj] {
        // SAFETY: Obj is a transparent non-null pointer; a borrowed slice drops no reference.
        unsafe { std::slice::from_raw_parts(objv.cast::<Obj>(), objc.max(0) as usize) }
    }

    /// The empty string.
    #[must_use]
    pub fn empty() -> Obj {
        Obj::utf8(b"")
    }

    /// A string.
    #[must_use]
    pub fn text(text: &str) -> Obj {
        Obj::utf8(text.as_bytes())
    }

    /// A string from UTF-8; a byte that is none becomes the character of its number.
    #[must_use]
    pub fn utf8(utf8: &[u8]) -> Obj {
        let internal = text::from_utf8(utf8, sys::is_tcl9());
        // SAFETY: a new object, held at once.
        unsafe { Obj::hold(sys::new_string(&internal)) }
    }

    /// A string that is in Tcl's internal form already.
    #[must_use]
    pub(super) fn internal_form(internal: &[u8]) -> Obj {
        // SAFETY: a new object, held at once.
        unsafe { Obj::hold(sys::new_string(internal)) }
    }

    /// A byte array.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Obj {
        // SAFETY: a new object, held at once.
        unsafe { Obj::hold(sys::new_byte_array(bytes)) }
    }

    /// An integer.
    #[must_use]
    pub fn int(value: i64) -> Obj {
        // SAFETY: a new object, held at once.
        unsafe { Obj::hold(sys::Tcl_NewWideIntObj(value)) }
    }

    /// An integer that may be beyond 63 bits; then its decimal text, which Tcl reads as a big
    /// integer.
    #[must_use]
    pub fn unsigned(value: u64) -> Obj {
        i64::try_from(value).map_or_else(|_| Obj::text(&value.to_string()), Obj::int)
    }

    /// A double.
    #[must_use]
    pub fn real(value: f64) -> Obj {
        // SAFETY: a new object, held at once.
        unsafe { Obj::hold(sys::Tcl_NewDoubleObj(value)) }
    }

    /// A list.
    #[must_use]
    pub fn list(elements: &[Obj]) -> Obj {
        // SAFETY: Obj is a transparent pointer, so a slice of one is a slice of the other; the list
        // takes references.
        unsafe {
            let raw = std::slice::from_raw_parts(elements.as_ptr().cast(), elements.len());
            Obj::hold(sys::new_list(raw))
        }
    }

    /// A list of strings.
    #[must_use]
    pub fn text_list<S: AsRef<str>>(elements: impl IntoIterator<Item = S>) -> Obj {
        let elements: Vec<Obj> = elements.into_iter().map(|e| Obj::text(e.as_ref())).collect();
        Obj::list(&elements)
    }

    /// A dict with these keys in this order.
    #[must_use]
    pub fn dict<S: AsRef<str>>(entries: impl IntoIterator<Item = (S, Obj)>) -> Obj {
        // SAFETY: a new object, held at once; nobody shares it while it is filled.
        let mut dict = unsafe { Obj::hold(sys::Tcl_NewDictObj()) };
        for (key, value) in entries {
            dict.dict_put(&Obj::text(key.as_ref()), &value);
        }
        dict
    }

    /// Sets a key of a dict that only this value refers to; on a shared value does nothing.
    pub fn dict_put(&mut self, key: &Obj, value: &Obj) {
        // SAFETY: live objects; Tcl panics on a shared dict, which is refused here.
        unsafe {
            if !sys::is_shared(self.raw()) {
                sys::Tcl_DictObjPut(std::ptr::null_mut(), self.raw(), key.raw(), value.raw());
            }
        }
    }

    /// Appends to a list that only this value refers to; on a shared value does nothing.
    pub fn list_push(&mut self, element: &Obj) {
        // SAFETY: live objects; Tcl panics on a shared list, which is refused here.
        unsafe {
            if !sys::is_shared(self.raw()) {
                sys::Tcl_ListObjAppendElement(std::ptr::null_mut(), self.raw(), element.raw());
            }
        }
    }

    /// The string in Tcl's internal form.
    #[must_use]
    pub fn internal(&self) -> &[u8] {
        // SAFETY: the object lives while self is borrowed; its string is not freed by reading it
        // again.
        unsafe { sys::string_bytes(self.raw()) }
    }

    /// The string as UTF-8.
    ///
    /// # Errors
    /// A lone surrogate has no UTF-8 form: `PGSQLITE TEXT SURROGATE byte n`.
    pub fn as_text(&self) -> Result<Cow<'_, str>, Exception> {
        text::to_utf8(self.internal()).map_err(|error: TextError| {
            let byte = error.byte.to_string();
            let code = ["PGSQLITE", "TEXT", "SURROGATE", "byte", &byte];
            Failure::new(error.to_string(), &code).into()
        })
    }

    /// The string as it is, where Tcl's form is that of C and of UTF-8 too: nearly always, and then
    /// without a copy. None: take [`Obj::as_text`].
    #[must_use]
    pub fn as_c_text(&self) -> Option<&CStr> {
        let internal = self.internal();
        std::str::from_utf8(internal).ok()?;
        // SAFETY: a NUL byte follows Tcl's strings in memory.
        let text = unsafe { CStr::from_ptr(internal.as_ptr().cast()) };
        // Tcl's own strings hold no NUL (it is C0 80), but other extensions may make any.
        (text.count_bytes() == internal.len()).then_some(text)
    }

    /// The string as UTF-8 for messages and option words.
    #[must_use]
    pub fn text_lossy(&self) -> Cow<'_, str> {
        text::to_utf8_lossy(self.internal())
    }

    /// A copy of the bytes of a byte array; None when the value is no sequence of bytes (Tcl 9
    /// only: 8.6 takes each character's low byte). A copy, since reading the same value as a list
    /// or a number frees the bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        // SAFETY: the object lives, and nothing reads it in another way before the copy is made.
        unsafe { sys::byte_array(self.raw()).map(<[u8]>::to_vec) }
    }

    /// The integer.
    ///
    /// # Errors
    /// Tcl's own `expected integer but got "..."`.
    pub fn as_int(&self, interp: Interp) -> Result<i64, Exception> {
        let mut value = 0;
        // SAFETY: live interpreter and object.
        let status = unsafe { sys::Tcl_GetWideIntFromObj(interp.raw(), self.raw(), &mut value) };
        if status == sys::TCL_OK { Ok(value) } else { Err(Exception::Raised(status)) }
    }

    /// The boolean, in any of Tcl's words.
    ///
    /// # Errors
    /// Tcl's own `expected boolean value but got "..."`.
    pub fn as_bool(&self, interp: Interp) -> Result<bool, Exception> {
        let mut value = 0;
        // SAFETY: live interpreter and object.
        let status = unsafe { sys::Tcl_GetBooleanFromObj(interp.raw(), self.raw(), &mut value) };
        if status == sys::TCL_OK { Ok(value != 0) } else { Err(Exception::Raised(status)) }
    }

    /// The elements of a list, each with a reference of its own.
    ///
    /// # Errors
    /// Tcl's own message when the value is no list.
    pub fn as_list(&self, interp: Interp) -> Result<Vec<Obj>, Exception> {
        // SAFETY: live interpreter and object; references are taken before anything can change the
        // list.
        unsafe {
            match sys::list_elements(interp.raw(), self.raw()) {
                Some(elements) => Ok(elements.iter().map(|e| Obj::hold(*e)).collect()),
                None => Err(Exception::Raised(sys::TCL_ERROR)),
            }
        }
    }

    /// The value of a dict's key.
    ///
    /// # Errors
    /// Tcl's own message when the value is no dict.
    pub fn dict_get(&self, interp: Interp, key: &str) -> Result<Option<Obj>, Exception> {
        let key = Obj::text(key);
        let mut value = std::ptr::null_mut();
        // SAFETY: live interpreter and objects; a value that is found is held at once.
        unsafe {
            if sys::Tcl_DictObjGet(interp.raw(), self.raw(), key.raw(), &mut value) != sys::TCL_OK {
                return Err(Exception::Raised(sys::TCL_ERROR));
            }
            Ok(if value.is_null() { None } else { Some(Obj::hold(value)) })
        }
    }
}

impl From<&str> for Obj {
    fn from(text: &str) -> Obj {
        Obj::text(text)
    }
}

impl From<String> for Obj {
    fn from(text: String) -> Obj {
        Obj::text(&text)
    }
}

impl From<i64> for Obj {
    fn from(value: i64) -> Obj {
        Obj::int(value)
    }
}

impl From<u64> for Obj {
    fn from(value: u64) -> Obj {
        Obj::unsigned(value)
    }
}

impl From<bool> for Obj {
    fn from(value: bool) -> Obj {
        Obj::int(i64::from(value))
    }
}
