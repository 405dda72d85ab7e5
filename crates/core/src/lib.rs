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

pub mod life;

pub mod doctor;
pub mod maintenance;

pub mod anchor;
pub mod record;

pub mod access;
pub mod minter;
mod refusal;

pub mod cluster;
pub mod inputs;
mod oidc;

pub mod claims;
pub mod process;
pub mod rbac;

pub mod token;

pub mod error;
pub mod json;
pub mod text;

pub use error::{Error, Kind};
