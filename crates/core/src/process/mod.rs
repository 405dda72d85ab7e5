//! The current process: its environment, files, signals and exit codes.

pub mod beside;
pub mod environment;
pub mod files;
#[cfg_attr(windows, path = "job_object.rs")]
pub(crate) mod group;
pub mod harden;
pub mod interrupt;
pub mod lookup;
pub mod program;
pub(crate) mod system;

pub use system::enable_escapes;
