//! The life of a Kubernetes ServiceAccount token that belongs to one CI job.
//!
//! ```text
//! parse -> record state -> create anchor -> TokenRequest -> verify claims -> check access -> mask -> deliver
//!       -> (the job works) -> delete anchor -> prove (401) -> receipt
//! ```
//!
//! The token is bound to an [anchor], an empty Secret: deleting the anchor revokes the token.
//!
//! A front end mints and revokes like this; the one here hands the token over in a file:
//!
//! ```no_run
//! # async fn job() -> Result<(), jobpass_core::Error> {
//! use std::{env::vars_os, path::Path};
//!
//! use jobpass_core::{
//!     anchor::Origin,
//!     inputs::options::{Inputs, Opt},
//!     life::{mint::{Handover, Plan}, proxy, revoke},
//!     process::{environment::Environment, interrupt::Interrupt},
//!     record::state::State,
//! };
//!
//! let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::TokenFile, "token")]);
//! let (environment, mut interrupt) = (vars_os().collect::<Environment>(), Interrupt::listen()?);
//! let plan = Plan::make(&inputs, Path::new("/tmp"), &environment, &mut interrupt).await?;
//! let handover = Handover {
//!     revoked_by: None,
//!     record: |state: Option<&State>| state.map_or(Ok(()), |state| state.write(Path::new("/tmp/state"))),
//!     open: Box::new(proxy::in_background),
//!     mask: |_| Ok(()),
//!     deliver: |_: &_, _: &_| Ok(()),
//! };
//! let mut state = plan.mint(&Origin::default(), handover, &mut interrupt).await?.state;
//! // The job works.
//! let revoked = revoke::at_end_of_job(&mut state, None, &inputs, &environment, &mut interrupt).await?;
//! println!("{}", revoked.proof.sentence());
//! # Ok(())
//! # }
//! ```
//!
//! The modules below are layers, the topmost first: each imports only from the modules after it. The front
//! ends (`jobpass-github`, `jobpass-gitlab`, `jobpass`) call [`life`], [`doctor`] and [`maintenance`]. Only
//! [`process`] and the command-line flags of [`inputs`] access the current process. Only the code about ID
//! tokens (in `oidc`, `refusal` and [`doctor`]) treats CI platforms differently.

#![warn(missing_docs)]

// The stages of a token's life: minting, renewing, revoking.
pub mod life;

// Checks whether minting works, and finds the reason if it does not.
pub mod doctor;
// The work around the jobs: setting a cluster up, rotating, sweeping, inspecting.
pub mod maintenance;

// The objects in the cluster that belong to a token. Their deletion revokes the token.
pub mod anchor;
// The records of a job, and the files that it hands over.
pub mod record;

// The permissions of a token, as the API server answers them to the token itself.
pub mod access;
// The identity that requests tokens.
pub mod minter;
// The reason why the API server refused a request, and the next step.
mod refusal;

// The server on the loopback address that holds the job's token.
pub mod proxy;

// Requests to the API server: connections, time limits, retries.
pub mod cluster;
// The trust between a cluster and a CI platform's ID tokens.
mod oidc;

// The inputs of the user.
pub mod inputs;
// The claims of a token.
pub mod claims;
// RBAC rules and permissions.
pub mod rbac;
// The process that jobpass runs in: environment, files, signals.
pub mod process;

// The strings with which a CI runner can mask a secret.
pub mod masks;
// A secret that nobody can print by mistake.
pub mod token;

// Names and identifiers.
pub mod names;
// Writes JSON, and reads the JSON of Go programs.
pub mod json;
// Failures, and the exit code.
pub mod error;
// Text that is safe to show.
pub mod text;

pub use error::{Error, Kind};

#[cfg(test)]
mod tests;
