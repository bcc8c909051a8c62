//! Messages from worker threads to the event loop of the thread that made the mailbox
//! (Tcl_ThreadQueueEvent(3)).

use super::guard;
use super::interp::{Interp, InterpRef};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tcl_sys as sys;

thread_local! {
    /// The mailboxes of this thread, by number; an event for one that is gone finds nothing.
    static OPEN: RefCell<HashMap<u64, Rc<dyn Fn()>>> = RefCell::new(HashMap::new());
}

static NEXT: AtomicU64 = AtomicU64::new(1);

struct Shared<T> {
    number: u64,
    thread: usize,
    queue: Mutex<VecDeque<T>>,
}

/// The receiving end: its handler is called in the event loop until this is dropped.
pub struct Mailbox {
    number: u64,
}

/// The sending end, for any thread.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(Arc::clone(&self.0))
    }
}

/// The event as Tcl queues it.
#[repr(C)]
struct Delivery {
    head: sys::Event,
    number: u64,
}

/// Makes a mailbox on this thread. `handler` gets the messages in order while `interp` lives; it
/// may drop the mailbox. A panic in it goes to `interp bgerror`.
pub fn open<T, F>(interp: Interp, handler: F) -> (Mailbox, Sender<T>)
where
    T: Send + 'static,
    F: Fn(Interp, T) + 'static,
{
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: Tcl is initialised on this thread: callers are inside a command.
    let thread = unsafe { sys::Tcl_GetCurrentThread() } as usize;
    let shared = Arc::new(Shared { number, thread, queue: Mutex::new(VecDeque::new()) });
    let reading = Arc::clone(&shared);
    let interp = InterpRef::new(interp);
    let deliver = move || {
        while let Some(message) = take(&reading)
            && OPEN.with_borrow(|open| open.contains_key(&number))
        {
            guard::in_background(&interp, |interp| handler(interp, message));
        }
    };
    OPEN.with_borrow_mut(|open| open.insert(number, Rc::new(deliver)));
    (Mailbox { number }, Sender(shared))
}

fn take<T>(shared: &Shared<T>) -> Option<T> {
    shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

impl<T: Send> Sender<T> {
    /// Queues a message and wakes the receiving thread's event loop.
    pub fn send(&self, message: T) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(message);
        if queue.len() > 1 {
            return; // NOTE: an event is on its way that will take this one too
        }
        drop(queue);
        // SAFETY: the block is Tcl's, of the size of the event, which Tcl frees. A thread that is
        // gone is known to Tcl_ThreadQueueEvent, which then frees the event itself.
        unsafe {
            let event = sys::alloc(size_of::<Delivery>()).cast::<Delivery>();
            event.write(Delivery {
                head: sys::Event { proc_: deliver, next: std::ptr::null_mut() },
                number: self.0.number,
            });
            let thread = self.0.thread as *mut c_void;
            sys::Tcl_ThreadQueueEvent(thread, event.cast(), sys::TCL_QUEUE_TAIL);
            sys::Tcl_ThreadAlert(thread);
        }
    }
}

unsafe extern "C" fn deliver(event: *mut sys::Event, _flags: c_int) -> c_int {
    // SAFETY: the event is a Delivery: only `send` queues with this function.
    let number = unsafe { (*event.cast::<Delivery>()).number };
    let _ = guard::caught(|| {
        let handler = OPEN.with_borrow(|open| open.get(&number).cloned());
        if let Some(handler) = handler {
            handler();
        }
    });
    1 // done with: Tcl frees the event
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let gone = OPEN.with_borrow_mut(|open| open.remove(&self.number));
        drop(gone); // NOTE: outside the borrow: what the handler holds may drop other mailboxes
    }
}
