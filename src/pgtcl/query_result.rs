//! A result handle: a result of the server behind a command `CONNECTION.NUMBER`.

use super::failure::Codes;
use super::row::Columns;
use super::{Connection, result_command};
use crate::libpq::PgResult;
use crate::tcl::command::{self, Command};
use crate::tcl::tracked::{Text, Tracked};
use crate::tcl::{CmdResult, Interp, Obj};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};

/// A result that a script holds.
pub struct QueryResult {
    name: Obj,
    number: u64,
    connection: Weak<Connection>,
    connection_name: Obj,
    /// Replaced when a COPY ends: the handle then shows what came of it.
    result: RefCell<Rc<PgResult>>,
    /// Of the result, once asked for.
    columns: RefCell<Option<Rc<Columns>>>,
    null_value: RefCell<Obj>,
    command: RefCell<Option<Command>>,
    /// The value that was handed out, where it is to be tracked again when it was called by: its
    /// address.
    tracked: Cell<Option<usize>>,
    me: Weak<QueryResult>,
}

/// Whether any thread has forgotten results: spares the others the look.
static ANY_FORGOTTEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Results that no value stands for any more.
    static FORGOTTEN: RefCell<Vec<Weak<QueryResult>>> = const { RefCell::new(Vec::new()) };
}

/// Deletes the commands of the results that scripts of this thread have forgotten. Not at once, for
/// Tcl is in the midst of something when it frees a value; before the next command.
pub(super) fn clear_forgotten() {
    if !ANY_FORGOTTEN.load(Ordering::Relaxed) {
        return;
    }
    let forgotten = FORGOTTEN.try_with(|all| all.try_borrow_mut().map(|mut all| all.split_off(0)));
    for result in forgotten.into_iter().flatten().flatten() {
        if let Some(result) = result.upgrade() {
            result.clear();
        }
    }
}

impl Tracked for QueryResult {
    fn forgotten(&self) {
        let _ = FORGOTTEN.try_with(|all| {
            if let Ok(mut all) = all.try_borrow_mut() {
                all.push(Weak::clone(&self.me));
                ANY_FORGOTTEN.store(true, Ordering::Relaxed);
            }
        });
        // The rows go now: it may be long till the next command.
        if let (Ok(mut result), Some(empty)) = (self.result.try_borrow_mut(), PgResult::empty()) {
            *result = Rc::new(empty);
        }
    }
}

/// `NAME.NUMBER`. By hand: it is made for every result, and formatting takes longer than all else.
fn numbered(name: &str, number: u64) -> String {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    let mut rest = number;
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        first = at;
        if rest == 0 {
            break;
        }
    }
    let mut text = String::with_capacity(name.len() + 1 + digits.len());
    text.push_str(name);
    text.push('.');
    text.extend(digits.iter().skip(first).map(|digit| char::from(*digit)));
    text
}

impl QueryResult {
    /// Makes the handle and its command in `interp`.
    pub(super) fn create(
        interp: Interp,
        connection: &Rc<Connection>,
        number: u64,
        result: PgResult,
    ) -> CmdResult<Rc<QueryResult>> {
        let name = numbered(connection.name(), number);
        let handle = Rc::new_cyclic(|me| QueryResult {
            name: Obj::text(&name),
            number,
            connection: Rc::downgrade(connection),
            connection_name: connection.handle().clone(),
            result: RefCell::new(Rc::new(result)),
            columns: RefCell::new(None),
            null_value: RefCell::new(connection.null_value()),
            command: RefCell::new(None),
            tracked: Cell::new(None),
            me: Weak::clone(me),
        });
        let deleted = Rc::downgrade(&handle);
        let command = command::register_object(
            interp,
            &handle.name,
            &handle,
            result_command::by_handle,
            move |_| {
                if let Some(handle) = deleted.upgrade() {
                    handle.forget();
                }
            },
        )?;
        handle.command.replace(Some(command));
        Ok(handle)
    }

    /// The handle's name, as it was made.
    #[must_use]
    pub fn name(&self) -> &Obj {
        &self.name
    }

    /// A value of its own for a script: when the last reference to that goes, the result does,
    /// unless `text` keeps it.
    pub(super) fn tracked_name(self: &Rc<Self>, text: Text) -> Obj {
        let value = Obj::tracked(&self.name, self, text);
        if text == Text::IsNoReference {
            self.tracked.set(Some(value.address()));
        }
        value
    }

    /// The result was called by this word. If it is the value that was handed out, Tcl has made a
    /// command's name of it, and it is tracked anew.
    pub(super) fn called_by(self: &Rc<Self>, word: &Obj) {
        if self.tracked.get() == Some(word.address()) && self.is_there() {
            word.track_again(self);
        }
    }

    /// Whether it has not been cleared.
    pub(super) fn is_there(&self) -> bool {
        self.command.borrow().is_some()
    }

    /// The form of the codes of its connection's errors.
    pub(super) fn codes(&self) -> Codes {
        self.connection.upgrade().map_or_else(Codes::default, |connection| connection.codes())
    }

    /// Whether its command is in this interpreter.
    pub(super) fn is_in(&self, interp: Interp) -> bool {
        self.command.borrow().as_ref().is_some_and(|command| command.is_of(interp))
    }

    /// The name of its connection's handle.
    #[must_use]
    pub fn connection_name(&self) -> &Obj {
        &self.connection_name
    }

    /// The server's result, shared: it stays readable though the script clears the handle.
    #[must_use]
    pub fn pg_result(&self) -> Rc<PgResult> {
        Rc::clone(&self.result.borrow())
    }

    /// Its columns.
    pub(super) fn columns(&self) -> Rc<Columns> {
        let mut columns = self.columns.borrow_mut();
        let made = || Rc::new(Columns::of(&self.result.borrow()));
        Rc::clone(columns.get_or_insert_with(made))
    }

    pub(super) fn replace(&self, result: PgResult) {
        self.columns.replace(None);
        self.result.replace(Rc::new(result));
    }

    /// What stands for NULL in this result.
    #[must_use]
    pub fn null_value(&self) -> Obj {
        self.null_value.borrow().clone()
    }

    pub(super) fn set_null_value(&self, value: &Obj) {
        self.null_value.replace(value.clone());
    }

    /// Frees the handle: its command goes, and it leaves its connection.
    pub fn clear(&self) {
        // NOTE: no borrow is held while the command is deleted: that comes back to `forget`, and
        // runs traces.
        let command = self.command.borrow().clone();
        if let Some(command) = command {
            command.delete();
        }
    }

    /// The command is gone, by whoever.
    fn forget(&self) {
        drop(self.command.take());
        if let Some(connection) = self.connection.upgrade() {
            connection.remove_result(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn names_end_with_the_number() {
        for number in [0, 9, 10, 1234567890, u64::MAX] {
            assert_eq!(numbered("pgsql0x1", number), format!("pgsql0x1.{number}"));
        }
    }
}
