//! The code that the test programs share.

pub mod judge;
pub mod launch;
pub mod runner;
