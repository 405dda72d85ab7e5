//! The tests that cannot run on every Kubernetes, and the cluster that each needs.

use std::thread;

/// The list of the tests that cannot run on every Kubernetes, each with its cluster and the reason. `cargo
/// xtask test` also reads this file.
const WHERE: &str = include_str!("where.txt");

/// The dev cluster.
pub(super) const DEV: &str = "dev";
/// A control plane that the tests start themselves.
pub(super) const OWN: &str = "own";

/// The name of the test that runs on this thread.
pub(super) fn test() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// Checks that `where.txt` lists the running test for this cluster.
///
/// # Panics
/// If `where.txt` does not list it.
pub(super) fn assert_listed(place: &str) {
    let test = test();
    // The threads of a front or of a test belong to a test that this function has checked already.
    if !test.contains("::") {
        return;
    }
    let listed = WHERE.lines().any(|line| {
        let mut words = line.split_whitespace();
        let name = words
            .next()
            .filter(|first| *first == place)
            .and_then(|_| words.next());
        name.and_then(|name| test.strip_prefix(name))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    assert!(
        listed,
        "{test} needs `{place}`: let it run on any Kubernetes (`Cluster::start`), or list it in tests/cluster/where.txt with its reason"
    );
}
