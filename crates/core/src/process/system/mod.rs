//! The parts of a process that differ between systems. Linux and macOS have one implementation, Windows has
//! another. Both have the same functions.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;
