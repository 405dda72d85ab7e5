//! The servers for the tests and the demo of jobpass: issuers of ID tokens, the APIs of CI platforms, a small
//! dev cluster, and the *front*. The front is a proxy for a dev cluster or a real API server. It logs
//! requests, and injects faults.
//!
//! ```no_run
//! use jobpass_devkit::DevCluster;
//!
//! let cluster = DevCluster::start();
//! cluster.apply("{kind: Namespace, apiVersion: v1, metadata: {name: ci}}");
//! cluster.apply("{kind: ServiceAccount, apiVersion: v1, metadata: {name: scanner, namespace: ci}}");
//! std::fs::write("kubeconfig", cluster.admin_kubeconfig())?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The dev cluster has TLS with its own certificate authority, signs and verifies tokens, and authorizes
//! requests by RBAC. `tests/replay` compares the dev cluster's answers with those of Kubernetes.

mod asked;
mod ci_api;
pub mod cli;
mod clock;
mod cluster;
mod dev_cluster;
mod front;
pub mod issuer;
mod jwt;
mod kubeconfig;
mod pki;
mod random;
pub mod transcript;

pub use crate::ci_api::{Asked, CiAnswer, CiApi};
pub use crate::dev_cluster::{Builder, DevCluster};
pub use crate::front::{Fault, FaultKind, Front, LoggedRequest};
pub use crate::jwt::SigningKey;
pub use crate::pki::AWAY;
