//! The commands around the jobs: `setup`, `sweep`, `rotate`, `inspect`, `learn` and `whoami`.

pub mod inspect;
pub mod learn;
pub mod rotate;
pub mod setup;
pub mod sweep;
pub mod whoami;
