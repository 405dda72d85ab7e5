//! The least RBAC rules that some jobs need, learned from their requests. The requests come from jobpass's
//! own record of a job, or from kube-apiserver's audit log.
//!
//! ```text
//! lines -> calls -> needs -> least rules -> text to paste
//! needs and rules in use -> unused rights and missing rights
//! ```

mod audit;
mod calls;
mod granted;
mod in_use;
mod least;
mod needs;
mod report;
#[cfg(test)]
mod tests;

pub use self::{
    calls::{Row, Runs},
    in_use::{Difference, InUse},
    needs::Needs,
    report::Report,
};
