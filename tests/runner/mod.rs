//! What CI jobs run on: a GitHub runner and a GitLab runner with all that jobpass can notice of the real ones.
//!
//! They run real scripts, real Node and the real programs, and show the log as a person would see it. `act` and
//! `gitlab-ci-local`, which fit on one machine too, neither mask nor cancel as the real runners do.

pub mod github;
pub mod gitlab;
mod log;
mod process;
mod random;
