//! The output: laid out for a person at a terminal; plain text or JSON for a pipe, a file or the log of a CI
//! job.

pub(crate) mod access;
pub(crate) mod help;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod table;
