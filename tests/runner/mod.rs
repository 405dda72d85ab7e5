//! The runners of CI jobs: a GitHub runner and a GitLab runner. They follow the sources of the real runners
//! in what the tests need, and panic if a job uses a feature that they lack.
//!
//! They run real scripts, real Node and the real programs, and show the log as a person would see it. `act`
//! and `gitlab-ci-local` also run on one machine, but neither of them masks or cancels as the real runners
//! do.

pub mod github;
pub mod gitlab;
mod log;
mod process;
mod random;
