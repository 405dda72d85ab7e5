//! The GitLab component.

mod dotenv;
mod harness;
mod job;
mod life;
mod mask;
mod pipeline;
mod sealed;
