//! The tests that run on the dev cluster, each with the reason why Kubernetes itself cannot play it. All others run on Kubernetes.

/// The names of tests, or of modules of them, and why.
const TESTS: &[(&str, &str)] = &[(
    "sweep::refused::in_the_cluster",
    "it sweeps all namespaces, with the anchors of all other tests in them",
)];

/// # Panics
/// If the test is not on the list.
pub(super) fn assert_listed(test: &str) {
    let listed = TESTS.iter().any(|(name, _)| {
        test.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    assert!(
        listed,
        "{test} runs on the dev cluster: let it run on Kubernetes itself (`Cluster::start`), or list it in \
         tests/cluster/on_the_dev_cluster.rs with its reason"
    );
}
