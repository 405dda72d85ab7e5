//! The commands around the jobs: `setup`, `sweep`, `rotate`, `inspect` and `whoami`.

pub mod inspect;
pub mod rotate;
pub mod setup;
pub mod sweep;
pub mod whoami;
