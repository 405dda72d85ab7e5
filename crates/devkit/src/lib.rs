//! The servers for the tests and the demo of jobpass. They are a front before a real API server or a small
//! dev cluster, issuers of ID tokens, and the APIs of CI platforms.
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
//! The dev cluster has TLS with its own authority, signs and verifies tokens, and decides by RBAC.
//! `tests/replay` compares its answers with those of Kubernetes.

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
