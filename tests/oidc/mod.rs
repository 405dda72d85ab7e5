//! Jobs without a stored secret: they authenticate with the CI platform's ID token (OIDC).

mod github;
mod gitlab;
mod step;

use crate::{cluster::Cluster, support};

const AUDIENCE: &str = "https://kubernetes.example.com";
const GITLAB: &str = "gitlab.example.com";

/// The guide for maintainers. It has example ids of a repository and of a project.
const GUIDE: &str = include_str!("../../docs/oidc.md");

/// The YAML block of this kind in the guide, with the ids of the test's repository and project.
pub(crate) fn documented(kind: &str) -> String {
    let kind = format!("\nkind: {kind}\n");
    let blocks = GUIDE.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    let block = blocks
        .find(|block| block.contains(&kind))
        .expect("the guide has it");
    block
        .replace("123456789", "2")
        .replace("\"42\"", "\"7\"")
        .replace(":42\"", ":7\"")
        .replace("namespace: ci}", "namespace: NAMESPACE}")
}

/// A cluster that accepts the ID tokens of GitHub and GitLab, and has the RoleBinding of the guide.
fn cluster() -> Cluster {
    let cluster = strict_cluster(Cluster::start());
    cluster.apply(&documented("RoleBinding"));
    cluster
}

/// A cluster that authenticates the users of jobs, but gives them no permissions.
fn strict_cluster(cluster: Cluster) -> Cluster {
    support::minter_token(&cluster);
    cluster
}

/// The line in the log of a job that has revoked its token.
fn revoked(cluster: &Cluster) -> String {
    format!(
        "revoked the token of ServiceAccount {}/scanner",
        cluster.namespace()
    )
}

/// Asserts that the token is dead, and that this user both minted and revoked it.
fn assert_minted_and_revoked_by(cluster: &Cluster, user: &str, log: &str) {
    let issued = cluster.issued();
    assert_eq!(issued.len(), 1, "{log}");
    assert!(
        cluster.anchors().is_empty() && !cluster.accepts(&issued[0]),
        "{log}"
    );
    let requests = cluster.requests();
    let of_minter = requests
        .iter()
        .filter(|r| r.status != Some(401))
        .filter(|r| r.path.contains("/secrets") || r.path.ends_with("/token"));
    assert!(
        of_minter.clone().count() >= 3 && of_minter.clone().all(|r| r.user == user),
        "{requests:?}"
    );
}
