//! The inputs of the user: the table of options, and the meaning of their values.

pub mod checks;
#[cfg(feature = "clap")]
pub mod flags;
pub mod lifetime;
pub(crate) mod metadata;
pub mod options;
pub mod proxy;
pub mod revocation;
pub mod setup;
pub mod spec;
pub(crate) mod subject;
