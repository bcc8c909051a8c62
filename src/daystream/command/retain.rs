//! `daystream retain`: old segments go.

use super::{folder, position_value, usage};
use crate::daystream::{Clock, Keep, Storage, SystemClock};
use crate::tcl::{Exception, Flow, Interp, Obj, Options};

/// Removes what the options do not ask to keep; a dict of what went.
pub(super) fn retain(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [dir, rest @ ..] = words else {
        return Err(usage("daystream retain dir ?-keep_days n? ?-keep_bytes n?"));
    };
    let options = Options::parse(rest, &["-keep_days", "-keep_bytes"])?;
    let days = options.count(interp, "-keep_days")?;
    // More days than fit keep everything, as many days do.
    let days = days.map(|days| u32::try_from(days).unwrap_or(u32::MAX));
    let keep = Keep { days, bytes: options.count(interp, "-keep_bytes")? };
    let now = SystemClock.now();
    let removed = crate::daystream::retain(&folder(dir)?, keep, now, &Storage::default())?;
    let dict = Obj::dict([
        ("segments", Obj::unsigned(removed.segments)),
        ("bytes", Obj::unsigned(removed.bytes)),
        ("last", position_value(removed.last)),
    ]);
    Ok(dict.into())
}
