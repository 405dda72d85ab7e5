//! The records of a job, and the files that it hands over: its state, its receipt, the journal, the files of
//! its token.

pub mod journal;
pub(crate) mod kubeconfig;
pub mod receipt;
pub mod renewal;
pub mod state;
pub mod token_files;
