//! The GitLab component.

mod dotenv;
mod guard;
mod harness;
pub(crate) mod job;
mod life;
mod mask;
pub(crate) mod pipeline;
mod renew;
mod sealed;

use crate::cluster::Cluster;

/// What a job says that has revoked its token.
fn revoked(cluster: &Cluster) -> String {
    format!(
        "revoked the token of ServiceAccount {}/scanner",
        cluster.namespace()
    )
}

/// A pipeline with the test's own namespace in place of `NAMESPACE`, where that is a value: a variable may be called the same.
fn in_namespace(pipeline: &str, cluster: &Cluster) -> String {
    pipeline.replace(": NAMESPACE", &format!(": {}", cluster.namespace()))
}
