//! Lists and dicts of many short values, made without a reference of our own to each of them: that
//! would be two calls of Tcl for every value.

use super::obj::Obj;
use super::text;
use tcl_sys as sys;

/// A value that is not yet one of Tcl's, or one that stands for many.
pub enum Cell<'a> {
    /// Text in UTF-8; what is not becomes U+FFFD.
    Text(&'a [u8]),
    /// A byte array.
    Bytes(&'a [u8]),
    /// A value that is there already.
    Value(&'a Obj),
}

impl Cell<'_> {
    /// The value, which nobody refers to if it is new.
    ///
    /// # Safety
    /// Given to Tcl before anything else happens, or it leaks.
    unsafe fn raw(&self) -> *mut sys::Obj {
        // SAFETY: making objects has no preconditions.
        unsafe {
            match self {
                Cell::Text(utf8) => sys::new_string(&text::from_utf8(utf8, sys::is_tcl9())),
                Cell::Bytes(bytes) => sys::new_byte_array(bytes),
                Cell::Value(value) => value.raw(),
            }
        }
    }
}

impl Obj {
    /// A list of these.
    #[must_use]
    pub fn list_of<'a>(cells: impl Iterator<Item = Cell<'a>>) -> Obj {
        Obj::list_of_about(cells.size_hint().0, cells)
    }

    /// As [`Obj::list_of`], where their number is known but not told by the iterator.
    #[must_use]
    pub fn list_of_about<'a>(number: usize, cells: impl Iterator<Item = Cell<'a>>) -> Obj {
        let mut elements = Vec::with_capacity(number);
        // SAFETY: the new objects are given to the list, which takes a reference to each; that is
        // held at once.
        unsafe {
            elements.extend(cells.map(|cell| cell.raw()));
            Obj::hold(sys::new_list(&elements))
        }
    }

    /// A dict of these under these names; where a name comes twice, the last one.
    #[must_use]
    pub fn dict_of<'a>(names: &[Obj], cells: impl Iterator<Item = Cell<'a>>) -> Obj {
        // SAFETY: a new dict that nobody else refers to while it is filled; it takes a reference to
        // each of the new objects.
        unsafe {
            let dict = Obj::hold(sys::Tcl_NewDictObj());
            for (name, cell) in names.iter().zip(cells) {
                let value = cell.raw();
                sys::Tcl_DictObjPut(std::ptr::null_mut(), dict.raw(), name.raw(), value);
            }
            dict
        }
    }
}
