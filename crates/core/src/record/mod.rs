//! What a job writes down and hands over: its state, its receipt, and the files of its token.

pub mod journal;
pub mod receipt;
pub mod renewal;
pub mod state;
pub mod token_files;
