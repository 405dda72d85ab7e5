//! The life of a Kubernetes ServiceAccount token that belongs to one CI job.
//!
//! ```text
//! parse -> record state -> create anchor -> TokenRequest -> verify claims -> check access -> mask -> deliver
//!       -> (the job works) -> delete anchor -> prove (401) -> receipt
//! ```
//!
//! The token is bound to an [anchor], an empty Secret: deleting the anchor revokes the token.
//!
//! This example mints and revokes as a front end does. It hands the token over in a file:
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
//! The modules below are layers, the topmost first: each module imports only from the modules after it. The
//! front ends (`jobpass-github`, `jobpass-gitlab`, `jobpass`) call [`life`], [`doctor`] and [`maintenance`].
//! Only [`process`] and the command-line flags of [`inputs`] read or change the state of the current process,
//! such as its environment variables. (The TLS library also reads SSL_CERT_FILE and SSL_CERT_DIR.) CI
//! platforms differ only in the table of options (in [`inputs`]) and in the code about ID tokens (in `oidc`,
//! `refusal` and [`doctor`]).

#![warn(missing_docs)]

// The stages of a token's life: minting, renewing, revoking.
pub mod life;

// Checks whether minting works, and finds the reason if it does not.
pub mod doctor;
// The commands around the jobs: `setup`, `sweep`, `rotate`, `inspect`, `learn` and `whoami`.
pub mod maintenance;

// The anchor of a token, and the objects that the anchor owns. Deleting the anchor revokes the token.
pub mod anchor;
// The records about a job's token, and the files that hold the token.
pub mod record;

// The permissions of a token. jobpass asks the API server about them.
pub mod access;
// The identity that requests tokens.
pub mod minter;
// The reason why the API server refused a request, and the next step.
mod refusal;

// The loopback proxy. It holds the job's token, so that the job never has the token.
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
