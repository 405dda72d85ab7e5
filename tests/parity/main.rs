//! Whatever kubectl connects to, jobpass connects to: generated kubeconfigs, certificates, URLs and environments, each tried with both.
//!
//! Reading alone is compared with the judge, a program of the packages that kubectl is made of: thousands of cases in seconds.
//! Connections are compared with kubectl itself. What differs on purpose is listed in `docs/reference.md`, and in [`reading::OnPurpose`].

mod certificates;
mod connecting;
mod judge;
mod kubeconfigs;
mod kubernetes;
mod property;
mod reading;
mod servers;
