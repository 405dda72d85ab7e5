//! A dev cluster for jobpass: the part of the Kubernetes API that jobpass uses, answered as kube-apiserver answers it.
//!
//! ```no_run
//! use jobpass_devkit::DevCluster;
//!
//! let cluster = DevCluster::start();
//! cluster.apply("{kind: ServiceAccount, apiVersion: v1, metadata: {name: scanner, namespace: ci}}");
//! std::fs::write("kubeconfig", cluster.admin_kubeconfig())?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It is real where it counts: TLS with its own authority, tokens that are signed and checked, RBAC that decides. What it
//! answers is compared with recordings of real API servers in `tests/contract`.

mod admission;
mod api;
mod authn;
mod cel;
mod ci_api;
pub mod cli;
mod clock;
mod cluster;
mod controllers;
mod decode;
mod front;
pub mod issuer;
mod jwt;
mod kubeconfig;
mod pki;
mod policy;
mod protobuf;
mod random;
mod rbac;
mod resources;
pub mod runner;
mod selector;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod validate;

pub use crate::ci_api::{Asked, CiAnswer, CiApi};
pub use crate::cluster::{Builder, DevCluster};
pub use crate::front::{Fault, FaultKind, Front, LoggedRequest};
pub use crate::jwt::SigningKey;
pub use crate::resources::Version;
