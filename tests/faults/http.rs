//! HTTP/2 and HTTP/1.1: how many connections jobpass opens, and what happens to requests when a connection
//! breaks.

use std::{collections::BTreeSet, process::Command};

use jobpass_devkit::FaultKind;
use rstest::rstest;

use super::api::inject;
use crate::{cluster::Cluster, github::step::Step, support};

const REVIEWS: &str = "/selfsubjectaccessreviews";
/// The number of reviews for `escape-check`, if the list of rules is incomplete.
const QUESTIONS: usize = 55;
/// The greatest number of connections that jobpass opens without HTTP/2.
const WITHOUT_HTTP2: usize = 16;

fn http1() -> Cluster {
    Cluster::without_http2()
}

/// A step whose ServiceAccount is bound to a Role that does not exist. So its list of rules is incomplete,
/// and jobpass sends all reviews.
fn many_questions(cluster: &Cluster) -> Step {
    let step = Step::scanner(&support::minter(cluster), &[]);
    cluster.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: dangling, namespace: NAMESPACE}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: not-there}\n\
         subjects: [{kind: ServiceAccount, name: scanner, namespace: NAMESPACE}]\n",
    );
    step
}

/// The connections of jobpass, and whether all requests used HTTP/2.
fn connections(cluster: &Cluster) -> (BTreeSet<usize>, bool) {
    let requests = cluster.requests();
    (
        requests.iter().map(|request| request.connection).collect(),
        requests.iter().all(|request| request.http2),
    )
}

/// The API server answers no review before all reviews have arrived.
#[test]
fn one_connection_carries_all_and_the_questions_at_the_same_time() {
    let cluster = Cluster::start();
    let step = many_questions(&cluster);
    inject(
        &cluster,
        "POST",
        REVIEWS,
        QUESTIONS,
        FaultKind::together(QUESTIONS),
    );
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    let (used, http2) = connections(&cluster);
    assert!(used.len() == 1 && http2, "{used:?}");
    step.post().succeeded();
}

/// The reviews are the first requests of `check` with a client certificate, so no connection is open before.
#[rstest]
#[case::http2(Cluster::start(), 1)]
#[case::http1(http1(), 10)]
fn ten_permissions_take_one_round_trip(#[case] cluster: Cluster, #[case] expected: usize) {
    const PERMISSIONS: &str = "get pods\nlist pods\nwatch pods\nget secrets\nlist secrets\nwatch secrets\nget services\nlist services\n\
                               watch services\nget /version";
    let admin = support::admin(&cluster);
    inject(&cluster, "POST", REVIEWS, 10, FaultKind::together(10));
    let mut check = support::scrubbed(Command::new(support::binary("jobpass")));
    check
        .env("KUBECONFIG", admin.path())
        .args(["check", "--require", PERMISSIONS]);
    let ended = check.output().expect("jobpass starts");
    assert!(ended.status.success(), "{ended:?}");
    let (used, _) = connections(&cluster);
    assert_eq!(used.len(), expected, "{used:?}");
}

#[test]
fn a_server_without_http2_serves_as_well() {
    let cluster = http1();
    let step = many_questions(&cluster);
    inject(
        &cluster,
        "POST",
        REVIEWS,
        WITHOUT_HTTP2,
        FaultKind::together(WITHOUT_HTTP2),
    );
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    let (used, _) = connections(&cluster);
    assert_eq!(used.len(), WITHOUT_HTTP2, "{used:?}");
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
    assert!(cluster.requests().iter().all(|request| !request.http2));
}

/// The connection breaks while jobpass sends all reviews at once.
#[rstest]
#[case::connection_lost(Cluster::start(), FaultKind::DropAfter)]
#[case::stream_refused(Cluster::start(), FaultKind::Refuse)]
#[case::goes_away(Cluster::start(), FaultKind::GoAway)]
#[case::http1_connection_lost(http1(), FaultKind::DropAfter)]
#[case::http1_goes_away(http1(), FaultKind::GoAway)]
fn the_questions_survive_their_connection(#[case] cluster: Cluster, #[case] kind: FaultKind) {
    let step = many_questions(&cluster);
    inject(&cluster, "POST", REVIEWS, 1, kind);
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
}

/// A connection may be dead although nothing shows it. The next attempt must use another connection.
#[rstest]
#[case::http2(Cluster::start())]
#[case::http1(http1())]
fn who_waited_in_vain_asks_over_another_connection(#[case] cluster: Cluster) {
    let step = Step::scanner(&support::minter(&cluster), &[]);
    inject(&cluster, "POST", "/token", 1, FaultKind::HoldBefore);
    step.main().succeeded();
    let requests = cluster.requests();
    let asked = requests.iter().filter(|request| request.path.ends_with("/token"));
    let asked = asked
        .map(|request| (request.connection, request.status))
        .collect::<Vec<_>>();
    assert!(
        matches!(asked[..], [(held, None), (answered, Some(201))] if held != answered),
        "{asked:?}"
    );
    step.post().succeeded();
}
