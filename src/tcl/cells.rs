//! Lists and dicts of many short values, made without a reference of our own to each of them: that
//! would be two calls of Tcl for every value.

use super::obj::Obj;
use super::text;
use tcl_sys as sys;

/// A value that is not yet one of Tcl's, or one that stands for many.
pub enum Cell<'a> {
    /// Text in UTF-8; a byte that is not becomes the character of its number.
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
    #[inline]
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

/// How many values are made before they go into a list: what is then written into each of them is
/// still in the processor's cache.
const CHUNK: usize = 64;

/// Values on their way into a list that nobody else refers to.
struct Filling<'a> {
    list: &'a Obj,
    length: usize,
    waiting: [*mut sys::Obj; CHUNK],
    used: usize,
}

impl<'a> Filling<'a> {
    fn of(list: &'a Obj) -> Filling<'a> {
        Filling { list, length: 0, waiting: [std::ptr::null_mut(); CHUNK], used: 0 }
    }

    /// # Safety
    /// A live object; the list refers to it once it is flushed.
    #[inline]
    unsafe fn push(&mut self, value: *mut sys::Obj) {
        if self.used == CHUNK {
            // SAFETY: those that wait were pushed, so they are live.
            unsafe { self.flush() };
        }
        if let Some(slot) = self.waiting.get_mut(self.used) {
            *slot = value;
            self.used += 1;
        }
    }

    /// # Safety
    /// Those that wait are live.
    unsafe fn flush(&mut self) {
        let waiting = self.waiting.get(..self.used).unwrap_or_default();
        // SAFETY: live, by the caller; the list is new and has one reference.
        unsafe { sys::list_append(self.list.raw(), self.length, waiting) };
        self.length += self.used;
        self.used = 0;
    }
}

impl Obj {
    /// A list of these.
    #[must_use]
    pub fn list_of<'a>(cells: impl Iterator<Item = Cell<'a>>) -> Obj {
        // SAFETY: the new objects are given to the list, which takes a reference to each; that is
        // held at once.
        unsafe { Obj::hold(raw_list(cells)) }
    }

    /// A list of these, about so many.
    #[must_use]
    pub fn list_of_about<'a>(number: usize, cells: impl Iterator<Item = Cell<'a>>) -> Obj {
        // SAFETY: live objects, held by what is iterated; the list is new and has one reference.
        unsafe {
            let list = Obj::hold(sys::new_list_for(number));
            let mut filling = Filling::of(&list);
            cells.for_each(|cell| filling.push(cell.raw()));
            filling.flush();
            list
        }
    }

    /// A list of lists of these, about so many.
    #[must_use]
    pub fn list_of_lists<'a, C: Iterator<Item = Cell<'a>>>(
        number: usize,
        rows: impl Iterator<Item = C>,
    ) -> Obj {
        // SAFETY: live objects, held by what is iterated; the list is new and nobody shares it.
        unsafe {
            let list = Obj::hold(sys::new_list_for(number));
            let mut filling = Filling::of(&list);
            rows.for_each(|cells| filling.push(raw_list(cells)));
            filling.flush();
            list
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

/// A new list of these, to which nobody refers.
///
/// # Safety
/// Given to Tcl before anything else happens, or it leaks.
#[inline]
unsafe fn raw_list<'a>(cells: impl Iterator<Item = Cell<'a>>) -> *mut sys::Obj {
    let mut few = [std::ptr::null_mut(); CHUNK];
    let mut many = Vec::new();
    let mut used = 0;
    // SAFETY: the new objects are given to the list, which takes a reference to each.
    unsafe {
        for cell in cells {
            match few.get_mut(used) {
                Some(slot) => *slot = cell.raw(),
                None => many.push(cell.raw()),
            }
            used += 1;
        }
        if many.is_empty() {
            return sys::new_list(few.get(..used).unwrap_or_default());
        }
        let mut all = few.to_vec();
        all.append(&mut many);
        sys::new_list(&all)
    }
}
