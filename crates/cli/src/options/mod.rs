//! The options that several verbs share.

pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod scope;
pub(crate) mod state_file;
