//! The command's process, as far as it differs between systems. Linux and macOS have one implementation,
//! Windows has another. Both have the same functions.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;
