//! The life of a Kubernetes ServiceAccount token that belongs to one CI job.
//!
//! ```text
//! parse -> record state -> create anchor -> TokenRequest -> verify claims -> check access -> mask -> deliver
//!       -> (the job works) -> delete anchor -> prove (401) -> receipt
//! ```
//!
//! The token is bound to an [anchor](anchor), an empty Secret: deleting the anchor revokes the token. This crate
//! prints nothing and reads no environment variable; what it needs of either comes from a front end (`jobpass-github`,
//! `jobpass-gitlab`, `jobpass`). It knows no CI platform.

#![warn(missing_docs)]

pub mod access;
pub mod anchor;
pub mod anchors;
pub mod claims;
pub mod cluster;
pub mod deliver;
pub mod doctor;
pub mod environment;
pub mod error;
pub mod files;
#[cfg(feature = "clap")]
pub mod flags;
pub mod harden;
pub mod interrupt;
pub mod journal;
pub mod json;
pub mod legacy;
mod metadata;
pub mod mint;
pub mod minter;
pub mod options;
pub mod program;
pub mod rbac;
pub mod receipt;
pub mod renew;
pub mod revoke;
mod role;
pub mod rotate;
pub mod setup;
pub mod spec;
pub mod state;
pub mod sweep;
pub mod text;
pub mod token;
pub mod unusual;
pub mod verify;
pub mod whoami;

pub use error::{Error, Kind};
