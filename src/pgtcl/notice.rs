//! `pg_notice_handler`: who hears of the server's notices and warnings. Nobody, unless asked for:
//! nothing is printed.
//!
//! libpq tells a notice in the midst of a call; the handler runs when the command that was called
//! is done, before it returns, or when the event loop has read it. At most [`NOTICES_MAX`] notices
//! wait for that; the oldest go first.

use super::Connection;
use super::handles::connection;
use crate::limits::NOTICES_MAX;
use crate::tcl::{Exception, Failure, Flow, Interp, InterpRef, Obj, guard};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Queue = Arc<Mutex<VecDeque<String>>>;

/// The handler of a connection.
#[derive(Default)]
pub(super) struct Handler(RefCell<Option<Set>>);

struct Set {
    interp: InterpRef,
    prefix: Obj,
    queue: Queue,
}

/// Whether any connection ever had a handler: spares the others the look.
static ANY: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The connections of this thread that have a handler.
    static HANDLED: RefCell<Vec<Weak<Connection>>> = const { RefCell::new(Vec::new()) };
}

/// `pg_notice_handler conn ?prefix?`: the command prefix that gets each notice's text as one more
/// word; an empty one is none.
pub(super) fn notice_handler(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, prefix) = match words {
        [_, name] => (name, None),
        [_, name, prefix] => (name, Some(prefix)),
        _ => return Err(Failure::wrong_args("pg_notice_handler connection ?prefix?").into()),
    };
    let connection = connection(interp, name)?;
    if let Some(prefix) = prefix {
        set(interp, &connection, prefix)?;
    }
    let handler = connection.notice.0.borrow();
    Ok(Flow::Value(handler.as_ref().map_or_else(Obj::empty, |set| set.prefix.clone())))
}

fn set(interp: Interp, connection: &Rc<Connection>, prefix: &Obj) -> Result<(), Exception> {
    let conn = connection.conn()?;
    let me = Rc::downgrade(connection);
    HANDLED.with_borrow_mut(|all| all.retain(|one| one.upgrade().is_some() && !one.ptr_eq(&me)));
    if prefix.internal().is_empty() {
        conn.set_notice_hook(None);
        connection.notice.0.replace(None);
        return Ok(());
    }
    prefix.as_list(interp)?;
    let queue = Queue::default();
    let sink = Arc::clone(&queue);
    conn.set_notice_hook(Some(Box::new(move |text| {
        let mut queue = sink.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= NOTICES_MAX {
            queue.pop_front();
        }
        queue.push_back(text.trim_end().to_owned());
    })));
    let set = Set { interp: InterpRef::new(interp), prefix: prefix.clone(), queue };
    connection.notice.0.replace(Some(set));
    HANDLED.with_borrow_mut(|all| all.push(me));
    ANY.store(true, Ordering::Relaxed);
    Ok(())
}

impl Handler {
    /// The oldest notice that waits, with who is to hear of it.
    fn next(&self) -> Option<(InterpRef, Obj, String)> {
        let handler = self.0.borrow();
        let set = handler.as_ref()?;
        let text = set.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        Some((set.interp.clone(), set.prefix.clone(), text))
    }
}

/// Tells of what has come, on whatever connection of this thread. Result and error state of the
/// interpreters stay; errors of a handler go to `interp bgerror`.
pub(super) fn deliver() {
    if !ANY.load(Ordering::Relaxed) || HANDLED.with_borrow(Vec::is_empty) {
        return;
    }
    let all = HANDLED.with_borrow(|all| all.iter().filter_map(Weak::upgrade).collect::<Vec<_>>());
    for connection in all {
        while let Some((interp, prefix, text)) = connection.notice.next() {
            guard::in_background(&interp, |interp| {
                interp.undisturbed(|| interp.call_back(&prefix, &[Obj::from(text)]));
            });
        }
    }
}
