//! The code that the test programs share.

pub mod launch;
pub mod runner;
