//! The GitLab component.

mod dotenv;
mod harness;
pub(crate) mod job;
mod life;
mod mask;
pub(crate) mod pipeline;
mod renew;
mod sealed;
