//! The tests that run on the dev cluster, each with the reason why Kubernetes itself cannot play it. All others run on Kubernetes.

/// `cargo xtask test` reads it, too.
const WHERE: &str = include_str!("where.txt");

/// # Panics
/// If the test is not on the list.
pub(super) fn assert_listed(test: &str) {
    let listed = WHERE.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("dev")
            && words
                .next()
                .and_then(|name| test.strip_prefix(name))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    assert!(
        listed,
        "{test} runs on the dev cluster: let it run on Kubernetes itself (`Cluster::start`), or list it in tests/cluster/where.txt \
         with its reason"
    );
}
