//! The GitLab component.

mod dotenv;
mod guard;
mod harness;
pub(crate) mod job;
mod later;
mod life;
mod mask;
pub(crate) mod pipeline;
mod renew;
mod sealed;

use crate::cluster::Cluster;

/// The line in the log of a job that has revoked its token.
fn revoked(cluster: &Cluster) -> String {
    format!(
        "revoked the token of ServiceAccount {}/scanner",
        cluster.namespace()
    )
}

/// Replaces the value `NAMESPACE` in a pipeline by the test's namespace. Variables such as `KUBE_NAMESPACE`
/// stay.
fn in_namespace(pipeline: &str, cluster: &Cluster) -> String {
    pipeline.replace(": NAMESPACE", &format!(": {}", cluster.namespace()))
}
