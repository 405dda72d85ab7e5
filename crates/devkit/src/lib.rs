//! What jobpass is tested and shown with: a front before a real API server or before a small dev cluster, issuers of ID tokens, the APIs
//! of CI platforms.
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
//! The dev cluster is real where it counts: TLS with its own authority, tokens that are signed and checked, RBAC that decides. What it
//! answers is compared with what Kubernetes itself answers in `tests/replay`.

mod ci_api;
pub mod cli;
mod clock;
mod cluster;
mod front;
pub mod issuer;
mod jwt;
mod kubeconfig;
mod pki;
mod random;
pub mod transcript;

pub use crate::ci_api::{Asked, CiAnswer, CiApi};
pub use crate::cluster::{Builder, DevCluster};
pub use crate::front::{Fault, FaultKind, Front, LoggedRequest};
pub use crate::jwt::SigningKey;
