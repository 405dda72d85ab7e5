//! Parity with kubectl: jobpass connects where kubectl connects. The tests try generated kubeconfigs,
//! certificates, URLs and environments with both programs.
//!
//! For most cases, the judge reads in place of kubectl: it is built from kubectl's own packages, and reads
//! thousands of cases in seconds. For connections, the tests run kubectl itself. `docs/reference.md` and
//! [`reading::OnPurpose`] list the intended differences.

mod certificates;
mod connecting;
mod judge;
mod kubeconfigs;
mod kubernetes;
mod property;
mod reading;
mod servers;
