//! Callbacks that fail on purpose, for tests: the option `fail=CALLBACK:panic` or
//! `fail=CALLBACK:error`. Nothing of it is in what users install.

/// Fails when the option says so.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_options: &crate::options::Options, _callback: &str) {}

/// Fails when the option says so.
#[cfg(feature = "failpoints")]
pub fn hit(options: &crate::options::Options, callback: &str) {
    let Some((name, how)) = options.fail.as_ref().and_then(|fail| fail.split_once(':')) else {
        return;
    };
    if name != callback {
        return;
    }
    // Is dropped while the failure unwinds the stack, or it would say so.
    let held = vec![0u8; 1 << 16];
    if how == "panic" {
        panic!("failpoint {callback} of {} bytes", held.len());
    }
    // SAFETY: no type has this number, so that the server raises an error.
    unsafe { pgrx::pg_sys::getBaseType(pgrx::pg_sys::Oid::from(u32::MAX - 1)) };
}
