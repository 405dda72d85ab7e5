//! What the user asked for: the table of options, and what their values mean.

#[cfg(feature = "clap")]
pub mod flags;
pub(crate) mod metadata;
pub mod options;
pub mod spec;
