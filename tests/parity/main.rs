//! Parity with kubectl: where kubectl connects, jobpass connects. Generated kubeconfigs, certificates, URLs
//! and environments are tried with both.
//!
//! Reading is compared with the judge, a program of kubectl's own packages: thousands of cases in seconds.
//! Connections are compared with kubectl itself. `docs/reference.md` and [`reading::OnPurpose`] list the
//! intended differences.

mod certificates;
mod connecting;
mod judge;
mod kubeconfigs;
mod kubernetes;
mod property;
mod reading;
mod servers;
