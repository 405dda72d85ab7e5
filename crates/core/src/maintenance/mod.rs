//! The work around the jobs: setting a cluster up, sweeping, rotating and inspecting.

pub mod inspect;
pub mod rotate;
pub mod setup;
pub mod sweep;
pub mod whoami;
