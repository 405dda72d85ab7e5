//! The GitLab component.

mod dotenv;
mod job;
mod life;
mod pipeline;
mod sealed;
