//! Values that know what they are the handle of, and that tell when nobody refers to them any more
//! (Tcl_RegisterObjType(3)).
//!
//! Such a value is a string like any other, with an internal form of ours. It tells nothing if Tcl
//! has given it another internal form meanwhile (a number, a list, a command's name) and that was
//! not taken back by [`Obj::track_again`]: then what it stood for has to be released by hand. Not
//! guaranteed: that no copy of the string is left somewhere; a value cannot know of those.

use super::guard;
use super::obj::Obj;
use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::rc::{Rc, Weak};
use tcl_sys as sys;

/// What a tracked value stands for.
pub trait Tracked: Any {
    /// The last value is gone. Called in the midst of anything Tcl does: must not call Tcl.
    fn forgotten(&self);
}

/// The end of what stands in the values: one reference for each of them.
struct Life {
    object: Weak<dyn Tracked>,
    /// A value was given another internal form: who refers to it is unknown from then on.
    escaped: Cell<bool>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.escaped.get()
            && let Some(object) = self.object.upgrade()
        {
            object.forgotten();
        }
    }
}

/// `struct Tcl_ObjType`; the last field is there from Tcl 9.0 on.
#[repr(C)]
struct ObjType {
    name: *const c_char,
    free: Option<unsafe extern "C" fn(*mut sys::Obj)>,
    duplicate: unsafe extern "C" fn(*mut sys::Obj, *mut sys::Obj),
    update: usize,
    set: usize,
    version: usize,
}

// SAFETY: nothing in it is ever written.
unsafe impl Sync for ObjType {}

static TYPE: ObjType = ObjType {
    name: c"pgsqlite-handle".as_ptr(),
    free: Some(free),
    duplicate,
    update: 0,
    set: 0,
    version: 0,
};

/// The beginning of `struct Tcl_Obj`. Tcl 8.6 has int where 9.0 has Tcl_Size; what follows lies at
/// the same place, since pointers are aligned to their size.
#[repr(C)]
struct Head {
    references: isize,
    bytes: *mut c_char,
    length: isize,
    kind: *const ObjType,
    first: *const c_void,
    second: *const c_void,
}

unsafe fn head<'a>(obj: *mut sys::Obj) -> &'a mut Head {
    // SAFETY: a live object, by the caller, of which no other reference is used meanwhile.
    unsafe { &mut *obj.cast::<Head>() }
}

fn is_ours(head: &Head) -> bool {
    std::ptr::eq(head.kind, &TYPE)
}

/// Tcl drops the internal form: the value is gone, or takes another one.
unsafe extern "C" fn free(obj: *mut sys::Obj) {
    let _ = guard::caught(|| {
        // SAFETY: Tcl gives an object of our type, whose first pointer is a counted reference.
        unsafe {
            let references = match sys::is_tcl9() {
                true => head(obj).references,
                false => *obj.cast::<c_int>() as isize,
            };
            let life = Rc::from_raw(head(obj).first.cast::<Life>());
            if references > 0 {
                life.escaped.set(true);
            }
            head(obj).kind = std::ptr::null();
        }
    });
}

/// Tcl copies a value: the copy counts too.
unsafe extern "C" fn duplicate(from: *mut sys::Obj, to: *mut sys::Obj) {
    // SAFETY: Tcl gives an object of our type and a new one without internal form.
    unsafe {
        let life = head(from).first.cast::<Life>();
        Rc::increment_strong_count(life);
        head(to).kind = &TYPE;
        head(to).first = life.cast();
    }
}

impl Obj {
    /// A new value that stands for `object`.
    #[must_use]
    pub fn tracked<T: Tracked>(name: &str, object: &Rc<T>) -> Obj {
        let value = Obj::text(name);
        value.track_again(object);
        value
    }

    /// Makes a value that once was tracked stand for its object again; any other internal form that
    /// it has is dropped. Does nothing to one that is tracked.
    pub fn track_again<T: Tracked>(&self, object: &Rc<T>) {
        let object: Weak<dyn Tracked> = Rc::downgrade(object) as Weak<dyn Tracked>;
        // The string must be there before the other form goes.
        let _ = self.internal();
        // SAFETY: a live object with a string; its present form is freed as Tcl itself does.
        unsafe {
            let head = head(self.raw());
            if is_ours(head) {
                return;
            }
            if let Some(kind) = head.kind.as_ref()
                && let Some(free) = kind.free
            {
                free(self.raw());
            }
            let life = Rc::new(Life { object, escaped: Cell::new(false) });
            head.kind = &TYPE;
            head.first = Rc::into_raw(life).cast();
        }
    }

    /// Where the value is, to know it again as long as it is there.
    #[must_use]
    pub fn address(&self) -> usize {
        self.raw().addr()
    }

    /// What a tracked value stands for, if that is a `T`, and there.
    #[must_use]
    pub fn tracked_object<T: Tracked>(&self) -> Option<Rc<T>> {
        // SAFETY: a live object; one of our type has a counted reference as its first pointer.
        let life = unsafe {
            let head = head(self.raw());
            if !is_ours(head) {
                return None;
            }
            &*head.first.cast::<Life>()
        };
        let object: Rc<dyn Any> = life.object.upgrade()?;
        object.downcast().ok()
    }
}
