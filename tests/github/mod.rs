//! The GitHub Action.

pub(crate) mod step;

pub(crate) mod action;
mod harness;
mod life;
mod renew;
