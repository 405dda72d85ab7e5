//! The requests of a job, from the audit log of the API server.

use std::process::Command;

use jobpass_devkit::FaultKind;
use rstest::rstest;
use serde_json::Value;

use super::escape::RULES;
use crate::{
    cluster::Cluster,
    faults::api::inject,
    github::step::{Ended, Step},
    support,
};

/// The requests that jobpass sent, such as `create secrets`: verb and resource.
fn audited(cluster: &Cluster) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = cluster.audit().into_iter();
    let events = events.filter(|event| text(&event["userAgent"]).starts_with("jobpass/"));
    let request = |event: Value| {
        let object = &event["objectRef"];
        let target = match (object["resource"].as_str(), object["subresource"].as_str()) {
            (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
            (Some(resource), None) => resource.to_owned(),
            (None, _) => text(&event["requestURI"]),
        };
        format!("{} {target}", text(&event["verb"]))
    };
    events.map(request).collect()
}

/// In addition to the requests that mint and revoke, a job sends one review about the ServiceAccount, one
/// about the minter, and the proof. The proof checks that the anchor is gone. If jobpass has the token, it
/// also checks that the token no longer works.
#[rstest]
#[case::the_token_is_an_output(&[("kubeconfig-file", "false")], &["delete secrets"])]
#[case::the_token_is_in_a_file(&[], &["delete secrets", "get /version"])]
fn a_whole_job_with_the_default_checks_is_seven_requests_at_most(
    #[case] more: &[(&str, &str)],
    #[case] proof: &[&str],
) {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), more);
    step.main().succeeded();
    step.post().succeeded();
    let life = [
        "create secrets",
        "create serviceaccounts/token",
        "create selfsubjectaccessreviews",
        "create selfsubjectrulesreviews",
        "delete secrets",
    ];
    let (mut asked, mut expected) = (audited(&cluster), [&life, proof].concat());
    asked.sort();
    expected.sort();
    assert_eq!(asked, expected);
}

/// An administrator's kubeconfig works as a minter. But the job then gets an administrator's credential, so
/// jobpass warns.
#[rstest]
#[case::an_administrator(true, &[], 1)]
#[case::a_minter(false, &[], 0)]
#[case::nobody_asks(true, &[("escape-check", "off")], 0)]
#[case::a_token_for_others(true, &[("audiences", "vault")], 1)]
fn a_minter_that_may_do_everything_is_said(
    #[case] mighty: bool,
    #[case] more: &[(&str, &str)],
    #[case] warnings: usize,
) {
    let cluster = Cluster::start();
    let minter = support::minter(&cluster);
    let namespace = [("namespace", cluster.namespace())];
    let kubeconfig = if mighty {
        cluster.admin_kubeconfig()
    } else {
        minter
    };
    let step = Step::scanner(&kubeconfig, &[&namespace, more].concat());
    let main = step.main().succeeded();
    let warning = format!(
        "::warning title=jobpass::the minter may do everything (`* *`) in this namespace, and so may every program in the job that \
         finds the minter's credential; make a minter that can do nothing but mint, and give its kubeconfig to the job: `jobpass setup \
         --service-account scanner --namespace {} --minter serviceaccount:jobpass-minter --apply --minter-kubeconfig \
         minter.yaml`",
        cluster.namespace()
    );
    assert_eq!(main.log.matches(&warning).count(), warnings, "{}", main.log);
    assert_eq!(
        main.log.matches("may do everything").count(),
        warnings,
        "{}",
        main.log
    );
    step.post().succeeded();
}

/// An authorization webhook cannot list its rules, so the list is incomplete.
#[test]
fn a_list_that_is_not_complete_decides_nothing() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[]);
    incomplete(&cluster);
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    step.post().succeeded();
    let reviews = audited(&cluster);
    let reviews = reviews
        .iter()
        .filter(|request| request.ends_with("selfsubjectaccessreviews"));
    // One of the reviews is about the minter.
    assert_eq!(reviews.count(), 55 + 1);
}

fn incomplete(cluster: &Cluster) {
    let kind = FaultKind::RewriteBody(|answer| answer["status"]["incomplete"] = true.into());
    inject(cluster, "POST", RULES, 1, kind);
}

/// The rules have many forms. Their bindings are in the namespace and in the whole cluster.
#[rstest]
fn a_list_says_what_single_questions_say(
    #[values("RoleBinding", "ClusterRoleBinding")] binding: &str,
    #[values(
        "{apiGroups: ['*'], resources: ['*'], verbs: ['*']}",
        "{apiGroups: [''], resources: ['*'], verbs: [get, impersonate]}",
        "{apiGroups: ['', apps], resources: ['*/token', 'deployments', '*/exec'], verbs: [create, patch]}",
        "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles, roles, rolebindings], verbs: [create, bind]}",
        "{apiGroups: ['', authentication.k8s.io], resources: [users, nodes, nodes/proxy], verbs: ['*']}",
        "{apiGroups: [''], resources: [secrets, pods], resourceNames: [one], verbs: ['*']}",
        "{apiGroups: [batch], resources: [jobs, cronjobs, secrets], verbs: [create, list]}"
    )]
    rule: &str,
) {
    let cluster = Cluster::start();
    support::minter(&cluster);
    let place = match binding {
        "RoleBinding" => ", namespace: NAMESPACE",
        _ => "",
    };
    cluster.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: NAMESPACE-more}}\nrules: [{rule}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: {binding}\nmetadata: {{name: NAMESPACE-more{place}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-more}}\n\
         subjects: [{{kind: ServiceAccount, name: scanner, namespace: NAMESPACE}}]\n"
    ));
    let listed = ways(&cluster);
    incomplete(&cluster);
    let asked = ways(&cluster);
    assert_eq!(listed, asked);
    for plural in ["clusterrolebindings", "clusterroles"] {
        let name = format!("{}-more", cluster.namespace());
        cluster.ask(
            "DELETE",
            &format!("/apis/rbac.authorization.k8s.io/v1/{plural}/{name}"),
            None,
        );
    }
}

/// The ways in which `scanner` can outlive its tokens, as jobpass found them.
fn ways(cluster: &Cluster) -> Value {
    let lifetime = std::time::Duration::from_secs(3600);
    let token = cluster.service_account_token(cluster.namespace(), "scanner", lifetime);
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("scan.yaml");
    std::fs::write(&kubeconfig, cluster.kubeconfig(&token, cluster.namespace())).expect("written");
    let mut check = support::scrubbed(Command::new(support::binary("jobpass")));
    let check = check
        .args(["check", "get pods", "--output", "json", "--kubeconfig"])
        .arg(kubeconfig);
    let check = check
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let checked = Ended::of(check.spawn().expect("jobpass starts")).succeeded();
    let line: Value = serde_json::from_str(checked.log.lines().next().expect("a line")).expect("JSON");
    assert!(line["escape"].is_array(), "{line}");
    line["escape"].clone()
}
