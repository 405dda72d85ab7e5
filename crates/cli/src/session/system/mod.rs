//! The parts of running a command that differ between operating systems. Linux and macOS share one
//! implementation, Windows has another. Both have the same functions.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;
