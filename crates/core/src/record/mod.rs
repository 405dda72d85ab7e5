//! The records about a job's token: its state, its receipt and its journals. Also the files that hold the
//! token.

pub mod filter;
pub mod journal;
pub(crate) mod kubeconfig;
pub mod receipt;
pub mod renewal;
pub mod state;
pub mod token_files;
