//! The records of a job, and the files that it hands over: its state, its receipt, the journals, the files of
//! its token.

pub mod filter;
pub mod journal;
pub(crate) mod kubeconfig;
pub mod receipt;
pub mod renewal;
pub mod state;
pub mod token_files;
