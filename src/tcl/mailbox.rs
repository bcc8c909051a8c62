//! Messages from worker threads to the event loop of the thread that made the mailbox
//! (Tcl_ThreadQueueEvent(3)).
//!
//! A handler may be slower than messages come: they are handed out for a few milliseconds at a
//! time, from a timer, so that all other events have their turn in between (what is queued as an
//! event comes before timers and files, however often). What waits is told in one where it can be
//! ([`Fold`]), and is bounded.

use super::event::Timer;
use super::guard;
use super::interp::{Interp, InterpRef};
use crate::limits::{MAILBOX_MESSAGES_MAX, MAILBOX_TURN};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::mem::discriminant;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tcl_sys as sys;

/// A message that may say what the next one says, too.
pub trait Fold: Sized {
    /// Takes in the message that comes after this one, which waits; gives it back where two are
    /// needed, as by default.
    fn fold(&mut self, next: Self) -> Option<Self> {
        Some(next)
    }
}

impl Fold for () {}

/// An open mailbox, as its thread keeps it.
struct Open {
    /// Hands out for one turn; whether more waits.
    turn: Box<dyn Fn() -> bool>,
    interp: InterpRef,
    /// The next turn.
    timer: RefCell<Option<Timer>>,
}

thread_local! {
    /// The mailboxes of this thread, by number; an event for one that is gone finds nothing.
    static OPEN: RefCell<HashMap<u64, Rc<Open>>> = RefCell::new(HashMap::new());
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
    T: Fold + Send + 'static,
    F: Fn(Interp, T) + 'static,
{
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: Tcl is initialised on this thread: callers are inside a command.
    let thread = unsafe { sys::Tcl_GetCurrentThread() } as usize;
    let shared = Arc::new(Shared { number, thread, queue: Mutex::new(VecDeque::new()) });
    let reading = Arc::clone(&shared);
    let interp = InterpRef::new(interp);
    let hearing = interp.clone();
    let turn = move || {
        let until = Instant::now() + MAILBOX_TURN;
        while is_open(number)
            && let Some(message) = take(&reading)
        {
            guard::in_background(&hearing, |interp| handler(interp, message));
            if Instant::now() >= until {
                return is_open(number) && !lock(&reading).is_empty();
            }
        }
        false
    };
    let made = Open { turn: Box::new(turn), interp, timer: RefCell::default() };
    OPEN.with_borrow_mut(|open| open.insert(number, Rc::new(made)));
    (Mailbox { number }, Sender(shared))
}

fn find(number: u64) -> Option<Rc<Open>> {
    OPEN.with_borrow(|open| open.get(&number).cloned())
}

fn is_open(number: u64) -> bool {
    OPEN.with_borrow(|open| open.contains_key(&number))
}

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, VecDeque<T>> {
    shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands out when all events that wait now have had their turn.
fn later(number: u64) {
    let Some(open) = find(number) else { return };
    // NOTE: for an interpreter that is gone there is nobody to hear.
    let Some(interp) = open.interp.get() else { return };
    if open.timer.borrow().is_some() {
        return;
    }
    let timer = Timer::after(interp, 0, move |_| {
        let Some(open) = find(number) else { return };
        drop(open.timer.take());
        if (open.turn)() {
            later(number);
        }
    });
    open.timer.replace(Some(timer));
}

fn take<T>(shared: &Shared<T>) -> Option<T> {
    lock(shared).pop_front()
}

/// Adds a message; whether it is the only one.
fn add<T: Fold>(queue: &mut VecDeque<T>, message: T) -> bool {
    let message = match queue.back_mut() {
        Some(last) => last.fold(message),
        None => Some(message),
    };
    let Some(message) = message else { return false };
    if queue.len() >= MAILBOX_MESSAGES_MAX {
        // Nobody has listened for long: the newest of a kind is what counts.
        let same = queue.iter().rposition(|old| discriminant(old) == discriminant(&message));
        if let Some(same) = same {
            queue.remove(same);
        }
    }
    queue.push_back(message);
    queue.len() == 1
}

impl<T: Fold + Send> Sender<T> {
    /// Queues a message and wakes the receiving thread's event loop.
    pub fn send(&self, message: T) {
        let mut queue = lock(&self.0);
        if !add(&mut queue, message) {
            return; // NOTE: an event or a timer is on its way that will take this one too
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
        later(number);
    });
    1 // done with: Tcl frees the event
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let gone = OPEN.with_borrow_mut(|open| open.remove(&self.number));
        drop(gone); // NOTE: outside the borrow: what the handler holds may drop other mailboxes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Message {
        Sum(u32),
        Word(u32),
        End,
    }

    impl Fold for Message {
        fn fold(&mut self, next: Self) -> Option<Self> {
            match (self, next) {
                (Message::Sum(sum), Message::Sum(more)) => {
                    *sum += more;
                    None
                }
                (_, next) => Some(next),
            }
        }
    }

    #[test]
    fn what_waits_is_folded_and_bounded() {
        let mut queue = VecDeque::new();
        assert!(add(&mut queue, Message::Sum(1)));
        assert!(!add(&mut queue, Message::Sum(2)));
        assert_eq!(queue, [Message::Sum(3)]);
        for n in 0..100_000 {
            assert!(!add(&mut queue, Message::Word(n)));
            assert!(!add(&mut queue, Message::Sum(1)));
        }
        add(&mut queue, Message::End);
        assert!(queue.len() <= MAILBOX_MESSAGES_MAX + 1);
        assert_eq!(queue.pop_back(), Some(Message::End));
        assert_eq!(queue.pop_back(), Some(Message::Sum(1)));
        assert_eq!(queue.pop_back(), Some(Message::Word(99_999)));
    }
}
