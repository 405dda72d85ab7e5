//! The escape check. It finds ServiceAccounts that can get a credential which outlives their token.

use jobpass_devkit::FaultKind;
use rstest::rstest;

use super::{REVIEWS, allow, answer, grant, refused, reviews, step};
use crate::{cluster::Cluster, faults::api::inject};

pub(super) const RULES: &str = "/selfsubjectrulesreviews";

fn outlives(cluster: &Cluster) -> String {
    format!(
        "ServiceAccount {}/scanner can outlive its token: it may ",
        cluster.namespace()
    )
}

/// Injects this fault into every SelfSubjectRulesReview and every SelfSubjectAccessReview.
fn questions(cluster: &Cluster, kind: &FaultKind) {
    inject(cluster, "POST", RULES, 999, kind.clone());
    reviews(cluster, kind.clone());
}

/// Each case allows one way to get a credential that outlives the token, and no other way.
#[rstest]
#[case::tokens(
    "{apiGroups: [\"\"], resources: [serviceaccounts/token], verbs: [create]}",
    "mint other tokens for itself"
)]
#[case::own_tokens(
    "{apiGroups: [\"\"], resources: [serviceaccounts/token], resourceNames: [scanner], verbs: [create]}",
    "mint other tokens for itself"
)]
#[case::tokens_of_another(
    "{apiGroups: [\"\"], resources: [serviceaccounts/token], resourceNames: [another], verbs: [create]}",
    "mint other tokens for itself (create serviceaccounts/token another)"
)]
#[case::impersonate(
    "{apiGroups: [\"\"], resources: [serviceaccounts], verbs: [impersonate]}",
    "act as others"
)]
#[case::bindings(
    "{apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings], verbs: [create]}",
    "give rights away"
)]
#[case::escalate(
    "{apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [escalate]}",
    "grant permissions that it does not have"
)]
#[case::secrets(
    "{apiGroups: [\"\"], resources: [secrets], verbs: [list]}",
    "read Secrets, which may hold other tokens (list secrets)"
)]
#[case::pods(
    "{apiGroups: [\"\"], resources: [pods], verbs: [create]}",
    "run Pods, which get tokens of their own (create pods)"
)]
#[case::exec(
    "{apiGroups: [\"\"], resources: [pods/exec], verbs: [create]}",
    "enter Pods, which have tokens of their own (create pods/exec)"
)]
#[case::workloads(
    "{apiGroups: [apps], resources: [deployments], verbs: [patch]}",
    "run Pods, which get tokens of their own (patch deployments.apps)"
)]
fn it_is_said_and_the_token_is_handed_over(#[case] rule: &str, #[case] way: &str) {
    let cluster = Cluster::start();
    let step = step(&cluster, &[]);
    allow(&cluster, rule);
    let outlives = outlives(&cluster);
    let main = step.main().succeeded();
    assert!(
        main.log
            .contains(&format!("::warning title=jobpass::{outlives}{way}")),
        "{}",
        main.log
    );
    assert!(
        step.summary().contains(&format!("> {outlives}{way}")),
        "{}",
        step.summary()
    );
    assert!(cluster.accepts(&step.token()));
    step.post().succeeded();
}

/// With constrained impersonation, an account needs two permissions to act as another one: for the other
/// account, and for the request. The API server confirms what jobpass says.
#[rstest]
#[case::nothing_as_others("[]", false)]
#[case::only_harmless_requests(
    "[{apiGroups: [''], resources: [pods], verbs: ['impersonate-on:serviceaccount:list']}]",
    false
)]
#[case::in_another_mode(
    "[{apiGroups: [''], resources: [serviceaccounts/token], verbs: ['impersonate-on:user-info:create']}]",
    false
)]
#[case::tokens(
    "[{apiGroups: [''], resources: [serviceaccounts/token], verbs: ['impersonate-on:serviceaccount:create']}]",
    true
)]
#[case::tokens_of_one(
    "[{apiGroups: [''], resources: [serviceaccounts/token], resourceNames: [deputy], verbs: ['impersonate-on:serviceaccount:create']}]",
    true
)]
fn acting_as_others_within_limits_is_said_where_it_leads_out(#[case] on: &str, #[case] leads_out: bool) {
    let cluster = Cluster::start();
    let step = step(&cluster, &[]);
    cluster.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: deputy, namespace: NAMESPACE}}");
    let deputy = "{apiGroups: [authentication.k8s.io], resources: [serviceaccounts], resourceNames: [deputy], \
                  verbs: ['impersonate:serviceaccount']}";
    allow(&cluster, &format!("{deputy}, {}", on.trim_matches(['[', ']'])));
    grant(
        &cluster,
        "deputy",
        "{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create]}",
    );
    let main = step.main().succeeded();
    let said = main.log.contains(&format!(
        "{}act as others (impersonate:serviceaccount serviceaccounts.authentication.k8s.io deputy; \
         impersonate-on:serviceaccount:create serviceaccounts/token",
        outlives(&cluster)
    ));
    assert_eq!(said, leads_out, "{}", main.log);
    assert_eq!(main.log.contains("outlive"), leads_out, "{}", main.log);

    let namespace = cluster.namespace();
    let user = format!("system:serviceaccount:{namespace}:deputy");
    let (status, answer) = cluster.ask_with(
        &step.token(),
        "POST",
        &format!("/api/v1/namespaces/{namespace}/serviceaccounts/deputy/token"),
        &[("impersonate-user", &user), ("content-type", "application/json")],
        "{}",
    );
    // API servers before Kubernetes 1.36 do not know these permissions.
    let (_, version) = cluster.ask("GET", "/version", None);
    let knows = version["minor"]
        .as_str()
        .and_then(|minor| minor.parse::<u32>().ok())
        >= Some(36);
    assert_eq!(status == 201, leads_out && knows, "{status} {answer}");
    step.post().succeeded();
}

#[test]
fn nothing_found_is_nothing_said() {
    let cluster = Cluster::start();
    let step = step(&cluster, &[]);
    allow(
        &cluster,
        "{apiGroups: [\"\"], resources: [secrets, pods/exec], resourceNames: [one], verbs: [get, create]}",
    );
    let main = step.main().succeeded();
    assert!(
        !main.log.contains("::warning") && !main.log.contains("outlive"),
        "{}",
        main.log
    );
    assert!(step.summary().is_empty(), "{}", step.summary());
    step.post().succeeded();
}

#[test]
fn with_fail_the_token_is_revoked() {
    let cluster = Cluster::start();
    let step = step(&cluster, &[("escape-check", "fail")]);
    step.main().succeeded();
    step.post().succeeded();
    allow(
        &cluster,
        "{apiGroups: [\"\"], resources: [secrets], verbs: [get]}",
    );
    std::fs::write(step.file("output"), "").expect("emptied");
    let main = refused(&cluster, &step, 5);
    assert!(
        main.log.contains(&format!(
            "::error title=jobpass::the token was not handed over: {}",
            outlives(&cluster)
        )),
        "{}",
        main.log
    );
}

#[rstest]
#[case("warn", 0)]
#[case("fail", 3)]
fn what_is_not_known_is_said(#[case] check: &str, #[case] code: i32) {
    let cluster = Cluster::start();
    let step = step(&cluster, &[("escape-check", check)]);
    let refused = serde_json::json!({ "kind": "Status", "message": "no questions", "reason": "Forbidden" });
    questions(&cluster, &answer(403, refused));
    let main = step.main();
    assert_eq!(main.code(), code, "{}", main.log);
    assert!(
        main.log
            .contains("can outlive its token: 55 of 55 questions to the API server got no answer: the API server answered 403"),
        "{}",
        main.log
    );
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
}

#[test]
fn an_api_server_that_does_not_answer_costs_a_warning() {
    let cluster = Cluster::start();
    let step = step(&cluster, &[]);
    questions(&cluster, &FaultKind::HoldBefore);
    let main = step.main().succeeded();
    assert!(
        main.log
            .contains("55 of 55 questions to the API server got no answer"),
        "{}",
        main.log
    );
    assert!(main.log.contains("no answer in time"), "{}", main.log);
    step.post().succeeded();
}

#[rstest]
#[case::off("escape-check", "off", 0)]
#[case::for_others("audiences", "vault", 1)]
fn nothing_is_asked_about_the_account(
    #[case] input: &str,
    #[case] value: &str,
    #[case] about_the_minter: usize,
) {
    let cluster = Cluster::start();
    let step = step(&cluster, &[(input, value)]);
    step.main().succeeded();
    let asked = cluster.requests().into_iter();
    let asked = asked.filter(|request| [REVIEWS, RULES].iter().any(|end| request.path.ends_with(end)));
    let asked = asked.map(|request| request.user).collect::<Vec<_>>();
    let minter = format!("system:serviceaccount:{}:minter", cluster.namespace());
    assert_eq!(asked, vec![minter; about_the_minter]);
    step.post().succeeded();
}
