//! Channels: ours, driven by a [`Driver`], and other people's, read and written
//! (Tcl_CreateChannel(3)).

use super::error::{CmdResult, Exception, Failure};
use super::guard;
use super::interp::{Interp, c_string};
use super::obj::Obj;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};
use tcl_sys as sys;

/// What a channel of ours does. Methods may be called while others of them run (a script in
/// between): use interior mutability with care.
pub trait Driver {
    /// Fills the buffer with what is there; 0 at the end.
    ///
    /// # Errors
    /// Becomes a POSIX error of `gets` or `read`.
    fn input(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Takes bytes; how many of them.
    ///
    /// # Errors
    /// Becomes a POSIX error of `puts` or `flush`.
    fn output(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The channel was closed. The interpreter, when it is there still.
    fn close(&self, interp: Option<Interp>);

    /// The driver itself, for [`Channel::driver`].
    fn any(self: Rc<Self>) -> Rc<dyn Any>;

    /// The channel leaves this thread: it is about to be closed, or goes to another thread
    /// (`thread::transfer`). What another thread needs to go on with; None: nothing goes along, and
    /// the channel is dead there. Must not call Tcl.
    fn depart(&self) -> Option<Box<dyn Parcel>>;

    /// The descriptor, for those who ask for it.
    fn descriptor(&self) -> Option<i32> {
        None
    }
}

/// What goes with a channel from one thread to another.
pub trait Parcel: Send {
    /// Makes the driver of it, in the thread that the channel has come to.
    fn unpack(self: Box<Self>) -> Rc<dyn Driver>;
}

/// What Tcl keeps for a channel of ours. It is used by one thread at a time: the one whose channel
/// it is, which Tcl tells by `moved`.
struct Instance {
    number: u64,
    /// Of this thread; None while the channel is on its way.
    driver: RefCell<Option<Rc<dyn Driver>>>,
    parcel: RefCell<Option<Box<dyn Parcel>>>,
}

/// Numbers instances.
static NUMBER: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The drivers of this thread whose channels have left it. Tcl closes a channel right after it
    /// has taken it out of its thread, and only then says so.
    static DEPARTED: RefCell<Vec<(u64, Weak<dyn Driver>)>> = const { RefCell::new(Vec::new()) };

    /// The channels of ours that are in this thread, by their numbers.
    static KNOWN: RefCell<HashMap<u64, *mut sys::ChannelToken>> = RefCell::default();
}

impl Instance {
    /// The driver in this thread.
    fn here(&self) -> Option<Rc<dyn Driver>> {
        if let Some(parcel) = self.parcel.take() {
            self.driver.replace(Some(parcel.unpack()));
        }
        self.driver.borrow().clone()
    }

    /// Takes everything out of this thread.
    fn depart(&self) {
        let _ = KNOWN.try_with(|known| known.borrow_mut().remove(&self.number));
        let Some(driver) = self.driver.take() else { return };
        self.parcel.replace(driver.depart());
        let departed = (self.number, Rc::downgrade(&driver));
        let _ = DEPARTED.try_with(|all| {
            let mut all = all.borrow_mut();
            all.retain(|(_, driver)| driver.strong_count() > 0);
            all.push(departed);
        });
    }

    /// The driver to be told of the end: the one that has just left. None of a channel that came
    /// from another thread and was never used in this one.
    fn last_driver(&self) -> Option<Rc<dyn Driver>> {
        let departed = DEPARTED.try_with(|all| {
            let all = all.borrow();
            all.iter().find(|(number, _)| *number == self.number)?.1.upgrade()
        });
        departed.ok().flatten()
    }
}

/// A channel, kept from closing as long as this lives, whatever a script does to it. For the
/// duration of a call.
pub struct Channel(NonNull<sys::ChannelToken>);

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: gives back the reference of `hold`; the last one closes the channel.
        unsafe { sys::Tcl_UnregisterChannel(std::ptr::null_mut(), self.0.as_ptr()) };
    }
}

/// A channel of ours, as its driver knows it: it is there until it is closed or leaves this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Known(u64);

impl Known {
    fn raw(self) -> Option<*mut sys::ChannelToken> {
        KNOWN.try_with(|known| known.borrow().get(&self.0).copied()).ok().flatten()
    }

    /// The channel, while it is there.
    #[must_use]
    pub fn get(self) -> Option<Channel> {
        // SAFETY: live, and of this thread: `depart` comes before it is not.
        unsafe { Channel::hold(self.raw()?) }
    }

    /// Whether the channel is one of the interpreter's.
    #[must_use]
    pub fn is_registered(self, interp: Interp) -> bool {
        // SAFETY: live interpreter, and a channel that is live, since it is known.
        self.raw()
            .is_some_and(|raw| unsafe { sys::Tcl_IsChannelRegistered(interp.raw(), raw) != 0 })
    }

    /// Takes the channel away from the interpreter; the last one closes it.
    pub fn unregister(self, interp: Interp) {
        let Some(raw) = self.raw() else { return };
        // SAFETY: live interpreter, and a channel that is live, since it is known; one that is not
        // registered there is left alone.
        unsafe {
            if sys::Tcl_IsChannelRegistered(interp.raw(), raw) != 0 {
                sys::Tcl_UnregisterChannel(interp.raw(), raw);
            }
        }
    }
}

static TYPE: sys::ChannelType = sys::ChannelType {
    type_name: c"pgsql".as_ptr(),
    version: sys::TCL_CHANNEL_VERSION_5,
    close_proc: sys::TCL_CLOSE2PROC,
    input_proc: Some(input),
    output_proc: Some(output),
    seek_proc: 0,
    set_option_proc: 0,
    get_option_proc: 0,
    watch_proc: Some(watch),
    get_handle_proc: Some(get_handle),
    close2_proc: Some(close2),
    block_mode_proc: Some(block_mode),
    flush_proc: 0,
    handler_proc: 0,
    wide_seek_proc: 0,
    thread_action_proc: Some(moved),
    truncate_proc: 0,
};

const EINVAL: c_int = 22;
const EIO: c_int = 5;

/// The driver of an instance, held for the time of a call; None of a channel that came from another
/// thread without anything.
unsafe fn driver(data: *mut c_void) -> Option<Rc<dyn Driver>> {
    // SAFETY: Tcl calls with the instance that `create` leaked and `close2` frees last, in the
    // thread whose channel it is.
    unsafe { &*data.cast::<Instance>() }.here()
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

fn errno(error: &io::Error) -> c_int {
    error.raw_os_error().unwrap_or(EIO)
}

fn report(outcome: Result<io::Result<usize>, Failure>, error: *mut c_int) -> c_int {
    let code = match outcome {
        Ok(Ok(n)) => return c_int::try_from(n).unwrap_or(c_int::MAX),
        Ok(Err(e)) => errno(&e),
        Err(_) => EIO,
    };
    // SAFETY: Tcl gives a place for the error.
    unsafe { *error = code };
    -1
}

unsafe extern "C" fn input(
    data: *mut c_void,
    to: *mut c_char,
    n: c_int,
    error: *mut c_int,
) -> c_int {
    let outcome = guard::caught(|| {
        // SAFETY: Tcl gives a buffer of n bytes.
        let buffer = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), n.max(0) as usize) };
        // SAFETY: Tcl gives our instance.
        unsafe { driver(data) }.ok_or_else(gone)?.input(buffer)
    });
    report(outcome, error)
}

unsafe extern "C" fn output(
    data: *mut c_void,
    from: *const c_char,
    n: c_int,
    error: *mut c_int,
) -> c_int {
    let outcome = guard::caught(|| {
        // SAFETY: Tcl gives n bytes.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), n.max(0) as usize) };
        // SAFETY: Tcl gives our instance.
        unsafe { driver(data) }.ok_or_else(gone)?.output(bytes)
    });
    report(outcome, error)
}

unsafe extern "C" fn watch(_data: *mut c_void, _mask: c_int) {}

unsafe extern "C" fn block_mode(_data: *mut c_void, _mode: c_int) -> c_int {
    0
}

unsafe extern "C" fn get_handle(data: *mut c_void, _way: c_int, handle: *mut *mut c_void) -> c_int {
    // SAFETY: Tcl gives our instance and a place for the handle.
    let found = guard::caught(|| unsafe { driver(data) }?.descriptor());
    match found {
        Ok(Some(fd)) => {
            // SAFETY: Tcl gives a place for the handle.
            unsafe { *handle = fd as usize as *mut c_void };
            sys::TCL_OK
        }
        _ => sys::TCL_ERROR,
    }
}

unsafe extern "C" fn close2(data: *mut c_void, interp: *mut sys::Interp, flags: c_int) -> c_int {
    if flags & (sys::TCL_READABLE | sys::TCL_WRITABLE) != 0 {
        return EINVAL; // half a channel cannot be closed
    }
    let _ = guard::caught(|| {
        // SAFETY: the instance that `create` leaked; Tcl closes a channel once.
        let instance = unsafe { Box::from_raw(data.cast::<Instance>()) };
        if let Some(driver) = instance.last_driver() {
            // SAFETY: Tcl's interpreter, or null.
            driver.close(unsafe { Interp::from_raw(interp) });
        }
    });
    0
}

unsafe extern "C" fn moved(data: *mut c_void, action: c_int) {
    if action != sys::TCL_CHANNEL_THREAD_REMOVE {
        return; // what has arrived is unpacked when it is first used
    }
    // SAFETY: the instance that `create` leaked, in the thread that it leaves.
    let _ = guard::caught(|| unsafe { &*data.cast::<Instance>() }.depart());
}

/// Makes a channel with this name, readable and writable, and registers it in the interpreter.
///
/// # Errors
/// A name with a NUL byte.
pub fn create(interp: Interp, name: &str, driver: Rc<dyn Driver>) -> CmdResult<Known> {
    let name = c_string(name)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let driver = RefCell::new(Some(driver));
    let instance = Instance { number, driver, parcel: RefCell::new(None) };
    let data = Box::into_raw(Box::new(instance)).cast();
    let mask = sys::TCL_READABLE | sys::TCL_WRITABLE;
    // SAFETY: a static type, a C string, data that close2 frees.
    unsafe {
        let raw = sys::Tcl_CreateChannel(&TYPE, name.as_ptr(), data, mask);
        if raw.is_null() {
            return Err(Failure::new("no channel", &["PGSQLITE", "CHANNEL", "CREATE"]).into());
        }
        KNOWN.with_borrow_mut(|known| known.insert(number, raw));
        sys::Tcl_RegisterChannel(interp.raw(), raw);
    }
    Ok(Known(number))
}

impl Channel {
    /// Keeps a channel; `None` of null.
    ///
    /// # Safety
    /// `raw` is null or a live channel of this thread.
    unsafe fn hold(raw: *mut sys::ChannelToken) -> Option<Channel> {
        let channel = NonNull::new(raw)?;
        // SAFETY: live channel; registered in no interpreter, which only counts a reference.
        unsafe { sys::Tcl_RegisterChannel(std::ptr::null_mut(), raw) };
        Some(Channel(channel))
    }

    /// The channel as its driver knows it, if it is one of ours.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        // SAFETY: live channel; the data of a channel of our type is our instance.
        let number = unsafe {
            if !std::ptr::eq(sys::Tcl_GetChannelType(self.0.as_ptr()), &TYPE) {
                return None;
            }
            (*sys::Tcl_GetChannelInstanceData(self.0.as_ptr()).cast::<Instance>()).number
        };
        KNOWN.with_borrow_mut(|known| known.insert(number, self.0.as_ptr()));
        Some(Known(number))
    }

    /// The channel of that name in the interpreter, with what it can do.
    ///
    /// # Errors
    /// Tcl's own `can not find channel named "..."`.
    pub fn find(interp: Interp, name: &Obj) -> CmdResult<(Channel, Access)> {
        let mut mode = 0;
        // SAFETY: live interpreter; Tcl's strings end with NUL.
        let raw = unsafe {
            sys::Tcl_GetChannel(interp.raw(), name.internal().as_ptr().cast(), &mut mode)
        };
        let access =
            Access { read: mode & sys::TCL_READABLE != 0, write: mode & sys::TCL_WRITABLE != 0 };
        // SAFETY: what Tcl has just found.
        let found = unsafe { Channel::hold(raw) };
        found.map(|c| (c, access)).ok_or(Exception::Raised(sys::TCL_ERROR))
    }

    /// The channel of that name in the interpreter, if there is one; the interpreter's result is
    /// lost if not.
    #[must_use]
    pub fn lookup(interp: Interp, name: &Obj) -> Option<Channel> {
        let mut mode = 0;
        // SAFETY: live interpreter; Tcl's strings end with NUL.
        let raw = unsafe {
            sys::Tcl_GetChannel(interp.raw(), name.internal().as_ptr().cast(), &mut mode)
        };
        if raw.is_null() {
            interp.reset_result();
        }
        // SAFETY: what Tcl has just found.
        unsafe { Channel::hold(raw) }
    }

    /// The driver of a channel of ours, if it is a `T`.
    #[must_use]
    pub fn driver<T: Driver + 'static>(&self) -> Option<Rc<T>> {
        // SAFETY: live channel; the data of a channel of our type is our instance.
        let driver = unsafe {
            if !std::ptr::eq(sys::Tcl_GetChannelType(self.0.as_ptr()), &TYPE) {
                return None;
            }
            driver(sys::Tcl_GetChannelInstanceData(self.0.as_ptr()))
        };
        driver?.any().downcast::<T>().ok()
    }

    /// Sets an option, as `chan configure` does.
    ///
    /// # Errors
    /// Tcl's own.
    pub fn configure(&self, interp: Interp, option: &CStr, value: &CStr) -> CmdResult<()> {
        // SAFETY: live interpreter and channel, C strings.
        let status = unsafe {
            let (option, value) = (option.as_ptr(), value.as_ptr());
            sys::Tcl_SetChannelOption(interp.raw(), self.0.as_ptr(), option, value)
        };
        if status == sys::TCL_OK { Ok(()) } else { Err(Exception::Raised(status)) }
    }

    /// Sends what Tcl has buffered; a failure is kept by Tcl for the next write.
    pub fn flush(&self) {
        // SAFETY: live channel.
        unsafe { sys::Tcl_Flush(self.0.as_ptr()) };
    }

    /// Bytes that were written and are with Tcl still, as of a channel that does not block.
    #[must_use]
    pub fn pending(&self) -> usize {
        // SAFETY: live channel.
        usize::try_from(unsafe { sys::Tcl_OutputBuffered(self.0.as_ptr()) }).unwrap_or(0)
    }

    /// Reads bytes as they are on the channel; 0 at the end.
    ///
    /// # Errors
    /// `PGSQLITE CHANNEL READ`.
    pub fn read(&self, buffer: &mut [u8]) -> CmdResult<usize> {
        // SAFETY: live channel.
        let n = unsafe { sys::read(self.0.as_ptr(), buffer) };
        usize::try_from(n).map_err(|_| {
            let message = format!("cannot read from the channel: {}", io::Error::last_os_error());
            Failure::new(message, &["PGSQLITE", "CHANNEL", "READ"]).into()
        })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// `PGSQLITE CHANNEL WRITE`.
    pub fn write(&self, bytes: &[u8]) -> CmdResult<()> {
        // SAFETY: live channel.
        let n = unsafe { sys::write(self.0.as_ptr(), bytes) };
        if n < 0 {
            let code = ["PGSQLITE", "CHANNEL", "WRITE"];
            let message = format!("cannot write to the channel: {}", io::Error::last_os_error());
            return Err(Failure::new(message, &code).into());
        }
        Ok(())
    }
}

/// What a channel can do.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}
