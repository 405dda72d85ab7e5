//! The runners of CI jobs: a GitHub runner and a GitLab runner that behave like the real ones, as far as
//! jobpass can notice.
//!
//! They run real scripts, real Node and the real programs, and show the log that a person would see. `act`
//! and `gitlab-ci-local` also run on one machine, but neither mask nor cancel like the real runners.

pub mod github;
pub mod gitlab;
mod log;
mod process;
mod random;
