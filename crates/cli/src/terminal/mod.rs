//! The output. A person at a terminal sees a layout; a pipe, a file or the log of a CI job gets plain text or
//! JSON.

pub(crate) mod access;
pub(crate) mod help;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod table;
