//! Values that know what they are the handle of, and that tell when nobody refers to them any more
//! (Tcl_RegisterObjType(3)).
//!
//! Such a value has an internal form of ours and, at first, no string: that is made when somebody
//! asks for it. As long as nobody has, whoever knows the object refers to the value, and the end of
//! the last reference is the end of the object's use ([`Text::Keeps`]). Once the string is made it
//! may have been copied into any text, so such a value tells nothing any more, and what it stands
//! for has to be released by hand. A script that never keeps names in text can ask for more
//! ([`Text::IsNoReference`]): then only a value to which Tcl has given another internal form (a
//! number, a list, a command's name), not taken back by [`Obj::track_again`], tells nothing.

use super::guard;
use super::obj::Obj;
use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::rc::{Rc, Weak};
use tcl_sys as sys;

/// What a tracked value stands for.
pub trait Tracked: Any {
    /// The last value is gone. Called in the midst of anything Tcl does: must not call Tcl.
    fn forgotten(&self);
}

/// What it means that the string of a tracked value was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Some text may hold the name from then on: the object lives till it is released by hand.
    Keeps,
    /// Nothing: only values count.
    IsNoReference,
}

/// The end of what stands in the values: one reference for each of them.
struct Life {
    object: Weak<dyn Tracked>,
    /// The string of the values, in Tcl's form.
    name: Box<[u8]>,
    text: Text,
    /// Who refers to the object is unknown from now on.
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
    update: unsafe extern "C" fn(*mut sys::Obj),
    set: usize,
    version: usize,
}

// SAFETY: nothing in it is ever written.
unsafe impl Sync for ObjType {}

static TYPE: ObjType = ObjType {
    name: c"pgsqlite-handle".as_ptr(),
    free: Some(free),
    duplicate,
    update,
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
            // Without a string the value is being written over: nobody has it any more.
            if references > 0 && !head(obj).bytes.is_null() {
                life.escaped.set(true);
            }
            head(obj).kind = ptr::null();
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

/// Somebody asks for the string.
unsafe extern "C" fn update(obj: *mut sys::Obj) {
    // SAFETY: Tcl gives an object of our type without a string, and takes over a block of its own
    // allocator that holds the string and a NUL byte.
    unsafe {
        let life = &*head(obj).first.cast::<Life>();
        if life.text == Text::Keeps {
            life.escaped.set(true);
        }
        let length = life.name.len();
        let bytes = sys::alloc(length + 1).cast::<u8>();
        ptr::copy_nonoverlapping(life.name.as_ptr(), bytes, length);
        bytes.add(length).write(0);
        head(obj).bytes = bytes.cast();
        match sys::is_tcl9() {
            true => head(obj).length = length as isize,
            false => (&raw mut head(obj).length).cast::<c_int>().write(length as c_int),
        }
    }
}

impl Obj {
    /// A new value that stands for `object`; its string is `name`, which is in Tcl's form.
    #[must_use]
    pub fn tracked<T: Tracked>(name: &Obj, object: &Rc<T>, text: Text) -> Obj {
        let life = Life::of(name.internal(), object, text);
        let value = Obj::empty();
        // SAFETY: a new object that nobody else refers to, without an internal form; without its
        // string it gets one that can make that.
        unsafe {
            sys::Tcl_InvalidateStringRep(value.raw());
            value.give(life);
        }
        value
    }

    /// Makes a value that once was tracked stand for its object again; any other internal form that
    /// it has is dropped. Does nothing to one that is tracked.
    pub fn track_again<T: Tracked>(&self, object: &Rc<T>) {
        // The string must be there before the other form goes.
        let life = Life::of(self.internal(), object, Text::IsNoReference);
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
            self.give(life);
        }
    }

    /// Gives the value our internal form.
    ///
    /// # Safety
    /// It has no other.
    unsafe fn give(&self, life: Life) {
        // SAFETY: a live object; the form's first pointer is a counted reference.
        unsafe {
            let head = head(self.raw());
            head.kind = &TYPE;
            head.first = Rc::into_raw(Rc::new(life)).cast();
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

impl Life {
    fn of<T: Tracked>(name: &[u8], object: &Rc<T>, text: Text) -> Life {
        let object: Weak<dyn Tracked> = Rc::downgrade(object) as Weak<dyn Tracked>;
        Life { object, name: name.into(), text, escaped: Cell::new(false) }
    }
}
