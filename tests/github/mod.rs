//! The GitHub Action.

pub(crate) mod step;

mod action;
mod life;
