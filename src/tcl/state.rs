//! State of an interpreter: one value of each Rust type, gone with the interpreter
//! (Tcl_SetAssocData(3)).

use super::interp::Interp;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::rc::Rc;
use tcl_sys as sys;

const NAME: &CStr = c"pgsqlite";

#[derive(Default)]
struct States(RefCell<HashMap<TypeId, Rc<dyn Any>>>);

unsafe extern "C" fn delete(data: *mut c_void, _interp: *mut sys::Interp) {
    let _ = super::guard::caught(|| {
        // SAFETY: the box that `of` leaked, once; Tcl calls this once.
        drop(unsafe { Box::from_raw(data.cast::<States>()) });
    });
}

/// The interpreter's value of type `T`, made by `Default` at the first call.
#[must_use]
pub fn of<T: Any + Default>(interp: Interp) -> Rc<T> {
    // SAFETY: live interpreter; the name is ours, so what hangs there is our box.
    let states: &States = unsafe {
        let mut data = sys::Tcl_GetAssocData(interp.raw(), NAME.as_ptr(), std::ptr::null_mut());
        if data.is_null() {
            data = Box::into_raw(Box::<States>::default()).cast();
            sys::Tcl_SetAssocData(interp.raw(), NAME.as_ptr(), Some(delete), data);
        }
        &*data.cast::<States>()
    };
    if let Some(found) = states.0.borrow().get(&TypeId::of::<T>())
        && let Ok(found) = Rc::clone(found).downcast::<T>()
    {
        return found;
    }
    let made = Rc::new(T::default());
    states.0.borrow_mut().insert(TypeId::of::<T>(), Rc::clone(&made) as Rc<dyn Any>);
    made
}
