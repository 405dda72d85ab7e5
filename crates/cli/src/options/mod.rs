//! Options that several verbs share.

pub(crate) mod connection;
pub(crate) mod scope;
