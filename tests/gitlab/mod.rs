//! The GitLab component.

mod dotenv;
mod harness;
mod job;
mod life;
mod pipeline;
mod sealed;
