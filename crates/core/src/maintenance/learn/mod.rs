//! The least rules for the jobs in a record or an audit log.
//!
//! ```text
//! lines -> calls -> needs -> least rules -> text to paste
//!                     \-> rules in use -> rights that no run used
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
