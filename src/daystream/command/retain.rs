//! `daystream retain` and `daystream compress`: old segments go, or become smaller.

use super::{folder, position_value, usage};
use crate::daystream::{self, Clock, Compressed, Keep, Storage, SystemClock, Which};
use crate::tcl::{CmdResult, Exception, Flow, Interp, Obj, Options};
use std::path::Path;

/// Removes what the options do not ask to keep; a dict of what went.
pub(super) fn retain(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [dir, rest @ ..] = words else {
        return Err(usage("daystream retain dir ?-keep_days n? ?-keep_bytes n?"));
    };
    let known = ["-keep_days", "-keep_bytes", "-compress_after_days", "-ignore_readers"];
    let options = Options::parse(rest, &known)?;
    let keep = Keep {
        days: days(interp, &options, "-keep_days")?,
        bytes: options.count(interp, "-keep_bytes")?,
    };
    let compress_after = days(interp, &options, "-compress_after_days")?;
    let dir = folder(dir)?;
    let (now, storage) = (SystemClock.now(), Storage::default());
    let removed = match options.flag(interp, "-ignore_readers")? {
        Some(true) => daystream::retain_regardless(&dir, keep, now, &storage)?,
        _ => daystream::retain(&dir, keep, now, &storage)?,
    };
    let mut dict = vec![
        ("segments", Obj::unsigned(removed.segments)),
        ("bytes", Obj::unsigned(removed.bytes)),
        ("last", position_value(removed.last)),
    ];
    if compress_after.is_some() {
        let done = squeeze(&dir, compress_after)?;
        dict.push(("compressed", Obj::unsigned(done.segments)));
    }
    Ok(Obj::dict(dict).into())
}

/// Compresses closed segments; a dict of how many, and their bytes before and after.
pub(super) fn compress(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [dir, rest @ ..] = words else {
        return Err(usage("daystream compress dir ?-older_than_days n?"));
    };
    let options = Options::parse(rest, &["-older_than_days"])?;
    let older = days(interp, &options, "-older_than_days")?;
    let done = squeeze(&folder(dir)?, older)?;
    let dict = Obj::dict([
        ("segments", Obj::unsigned(done.segments)),
        ("text_bytes", Obj::unsigned(done.text_bytes)),
        ("bytes", Obj::unsigned(done.bytes)),
    ]);
    Ok(dict.into())
}

/// An option that is a number of days. More than fit are as good as for ever.
fn days(interp: Interp, options: &Options, name: &str) -> CmdResult<Option<u32>> {
    let days = options.count(interp, name)?;
    Ok(days.map(|days| u32::try_from(days).unwrap_or(u32::MAX)))
}

fn squeeze(dir: &Path, older_than: Option<u32>) -> CmdResult<Compressed> {
    let which = match older_than {
        None | Some(0) => Which::Closed,
        Some(days) => Which::Before(SystemClock.now() - i64::from(days) * 86_400),
    };
    Ok(daystream::compress(dir, which, &Storage::default(), &|| true)?)
}
