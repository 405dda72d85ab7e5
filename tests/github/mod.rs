//! The GitHub Action.

pub(crate) mod step;

mod action;
mod harness;
mod life;
