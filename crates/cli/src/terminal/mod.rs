//! Output for a person at a terminal, or for a program that reads a pipe.

pub(crate) mod access;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod table;
