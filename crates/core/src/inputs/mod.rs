//! What the user asked for: the table of options, and what their values mean.

pub mod checks;
#[cfg(feature = "clap")]
pub mod flags;
pub mod lifetime;
pub(crate) mod metadata;
pub mod options;
pub mod revocation;
pub mod setup;
pub mod spec;
pub(crate) mod subject;
