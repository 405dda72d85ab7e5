//! The current process: its environment, files, signals and exit codes.

pub mod beside;
pub mod environment;
pub mod files;
pub(crate) mod group;
pub mod harden;
pub mod interrupt;
pub mod program;
