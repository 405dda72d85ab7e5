//! Parity with kubectl: where kubectl connects, jobpass connects. The tests try generated kubeconfigs,
//! certificates, URLs and environments with both programs.
//!
//! The judge, a program of kubectl's own packages, reads for kubectl: thousands of cases in seconds. For
//! connections, the tests run kubectl itself. `docs/reference.md` and [`reading::OnPurpose`] list the
//! intended differences.

mod certificates;
mod connecting;
mod judge;
mod kubeconfigs;
mod kubernetes;
mod property;
mod reading;
mod servers;
