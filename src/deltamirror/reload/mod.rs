//! Reload: the rows of a table copied again while the mirror goes on.

#[allow(dead_code, reason = "what makes reloads uses the rest of it")]
pub(super) mod due;

pub use due::Due;
