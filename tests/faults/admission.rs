//! Requests that the cluster refuses although the minter has the permission. The error must name the cause,
//! and must not advise about RBAC.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_devkit::{CiAnswer, CiApi};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    github::step::{Ended, Step},
    support,
};

/// Asserts that the cluster refused main with this text, and that main offers no Role and leaves nothing
/// behind.
fn assert_refused(cluster: &Cluster, main: &Ended, said: &[&str]) {
    assert_eq!(main.code(), 4, "{}", main.log);
    for text in said {
        let text = text.replace("NAMESPACE", cluster.namespace());
        assert!(main.log.contains(&text), "no `{text}` in:\n{}", main.log);
    }
    assert!(main.log.contains("no permission is missing: "), "{}", main.log);
    assert!(!main.log.contains("kind: Role"), "{}", main.log);
    assert!(cluster.anchors().is_empty());
}

/// Waits until the cluster refuses all anchors, or until it refuses none. No event tells when a policy, a
/// webhook or a quota comes into effect.
fn wait_until(cluster: &Cluster, refused: bool) {
    let path = format!("/api/v1/namespaces/{}/secrets?dryRun=All", cluster.namespace());
    let anchor = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "try-"}, "type": "jobpass.dev/anchor"});
    let deadline = Instant::now() + Duration::from_secs(60);
    while (cluster.ask("POST", &path, Some(&anchor)).0 >= 400) != refused {
        assert!(Instant::now() < deadline, "the change took no effect within 60 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_quota() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[]);
    let quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: few, namespace: NAMESPACE}, spec: {hard: {count/secrets: '0'}}}";
    cluster.apply(quota);
    // The controller that writes the status of quotas does not run in the tests.
    let path = format!(
        "/api/v1/namespaces/{}/resourcequotas/few/status",
        cluster.namespace()
    );
    let status = json!({"status": {"hard": {"count/secrets": "0"}, "used": {"count/secrets": "0"}}});
    assert_eq!(cluster.ask("PATCH", &path, Some(&status)).0, 200);
    wait_until(&cluster, true);
    let said = [
        "is forbidden: exceeded quota: few, ",
        "a ResourceQuota of namespace `NAMESPACE` allows no more objects",
        "kubectl describe resourcequota --namespace NAMESPACE",
    ];
    assert_refused(&cluster, &step.main(), &said);
}

#[test]
fn a_namespace_that_is_being_deleted() {
    let cluster = Cluster::start();
    let other = cluster.other_namespace("ends");
    let namespace = |finalizers: &str| {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {other}, finalizers: [{finalizers}]}}}}"
        ));
    };
    namespace("example.com/hold");
    assert_eq!(
        cluster
            .ask("DELETE", &format!("/api/v1/namespaces/{other}"), None)
            .0,
        200
    );
    // Kubernetes deletes the ServiceAccounts of the namespace, so the minter of this test is an
    // administrator.
    let step = Step::scanner(&cluster.admin_kubeconfig(), &[("namespace", &other)]);
    let said = format!("the cluster is deleting namespace `{other}`, which accepts nothing new");
    assert_refused(&cluster, &step.main(), &["because it is being terminated", &said]);
    namespace("");
}

/// Requires a label and an annotation on each object that jobpass creates in the test's namespace.
const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAMESPACE-labels}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: ["", rbac.authorization.k8s.io], apiVersions: [v1], operations: [CREATE], resources: [secrets, serviceaccounts, roles, rolebindings]}
  validations:
  - expression: object.metadata.?labels["team"].orValue("") == "payments"
    message: it needs the label team
  - expression: object.metadata.?annotations["example.com/contact"].orValue("").contains("@")
    message: it needs a contact
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAMESPACE-labels}
spec:
  policyName: NAMESPACE-labels
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}}
"#;

#[rstest]
#[case::an_account(&[("service-account", "scanner")])]
#[case::a_role_for_one_job(&[("role-rules", "get pods")])]
fn a_policy_that_wants_labels_gets_them(#[case] whose: &[(&str, &str)]) {
    let cluster = Cluster::start();
    support::minter(&cluster);
    cluster.apply(POLICY);
    wait_until(&cluster, true);
    let kubeconfig = cluster.admin_kubeconfig();
    let inputs = [
        ("kubeconfig", &*kubeconfig),
        ("namespace", cluster.namespace()),
        ("escape-check", "off"),
    ];
    let inputs = [&inputs, whose].concat();
    let said = [
        "ValidatingAdmissionPolicy 'NAMESPACE-labels' with binding 'NAMESPACE-labels' denied request: it needs the label team",
        "ValidatingAdmissionPolicy `NAMESPACE-labels` of the cluster refused the object",
        "give them as `anchor-labels` and `anchor-annotations`",
    ];
    assert_refused(&cluster, &Step::with(&inputs).main(), &said);

    let metadata = [
        ("anchor-labels", "team=payments"),
        (
            "anchor-annotations",
            "example.com/contact=Jane <jane@example.com>",
        ),
    ];
    let step = Step::with(&[&inputs[..], &metadata].concat());
    step.main().succeeded();
    let anchor = cluster.anchors().remove(0);
    assert_eq!(anchor["metadata"]["labels"]["team"], "payments");
    assert_eq!(
        anchor["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "jobpass"
    );
    assert_eq!(
        anchor["metadata"]["annotations"]["example.com/contact"],
        "Jane <jane@example.com>"
    );
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
    remove(&cluster, "validatingadmissionpolicybindings", "labels");
    remove(&cluster, "validatingadmissionpolicies", "labels");
}

fn remove(cluster: &Cluster, plural: &str, name: &str) {
    let name = format!("{}-{name}", cluster.namespace());
    let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}/{name}");
    assert_eq!(cluster.ask("DELETE", &path, None).0, 200);
}

/// A webhook that refuses every `operation` on Secrets in the test's namespace, with this status.
fn webhook(cluster: &Cluster, operation: &str, status: Value) -> CiApi {
    // This uses the older version of the review, because the newer one requires the request's uid in the
    // answer.
    let review = json!({
        "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": {"allowed": false, "status": status},
    });
    let webhook = CiApi::start(move |_| CiAnswer::json(200, &review));
    cluster.apply(&format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: NAMESPACE-webhook}}
webhooks:
- name: labels.example.com
  clientConfig: {{url: "{}", caBundle: {}}}
  rules: [{{apiGroups: [""], apiVersions: [v1], operations: [{operation}], resources: [secrets]}}]
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: NAMESPACE}}}}
  sideEffects: None
  admissionReviewVersions: [v1beta1]
  failurePolicy: Fail
"#,
        webhook.url(),
        STANDARD.encode(webhook.ca_pem()),
    ));
    webhook
}

/// jobpass does not repeat a request after a webhook refused it, whatever the status.
#[rstest]
#[case::as_kyverno(json!({"code": 400, "message": "it needs the label team"}), 400)]
#[case::as_gatekeeper(json!({"code": 403, "reason": "Forbidden", "message": "it needs the label team"}), 403)]
#[case::as_if_the_minter_were_unknown(json!({"code": 401, "reason": "Unauthorized", "message": "it needs the label team"}), 401)]
#[case::as_if_it_were_there(json!({"code": 409, "reason": "AlreadyExists", "message": "it needs the label team"}), 409)]
#[case::as_if_the_server_had_trouble(json!({"code": 503, "message": "it needs the label team"}), 503)]
fn a_webhook(#[case] status: Value, #[case] code: u16) {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[]);
    let webhook = webhook(&cluster, "CREATE", status);
    wait_until(&cluster, true);
    let asked = webhook.asked().len();
    let said = [
        &*format!(
            "the API server answered {code} admission webhook \"labels.example.com\" denied the request: it needs the label team"
        ),
        "admission webhook `labels.example.com` of the cluster refused the object",
    ];
    assert_refused(&cluster, &step.main(), &said);
    assert_eq!(
        webhook.asked().len(),
        asked + 1,
        "jobpass must not repeat the request"
    );
    remove(&cluster, "validatingwebhookconfigurations", "webhook");
}

#[test]
fn a_webhook_that_does_not_answer() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[]);
    drop(webhook(&cluster, "CREATE", json!({})));
    wait_until(&cluster, true);
    let main = step.main();
    assert_eq!(main.code(), 3, "{}", main.log);
    for text in [
        "failed calling webhook \"labels.example.com\"",
        "the API server must ask an admission webhook before it carries out this request, and the webhook does not answer",
    ] {
        assert!(main.log.contains(text), "no `{text}` in:\n{}", main.log);
    }
    remove(&cluster, "validatingwebhookconfigurations", "webhook");
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
}

/// A token that still works must not look like a revoked one.
#[test]
fn a_webhook_that_lets_nobody_delete_and_says_not_found() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[("fail-on-revoke-error", "true")]);
    step.main().succeeded();
    let status = json!({"code": 404, "reason": "NotFound", "message": "no such secret", "details": {"name": "x", "kind": "secrets"}});
    let _webhook = webhook(&cluster, "DELETE", status);
    wait_until_kept(&cluster);
    let post = step.post();
    assert_eq!(post.code(), 7, "{}", post.log);
    for text in [
        "the token is not revoked: cannot delete the anchor: the API server answered 404 admission webhook",
        "Ask the people who run the cluster to allow the deletion of anchors",
    ] {
        assert!(post.log.contains(text), "no `{text}` in:\n{}", post.log);
    }
    assert!(cluster.accepts(&step.token()));
    remove(&cluster, "validatingwebhookconfigurations", "webhook");
    let anchor = cluster.anchors().remove(0)["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let path = format!("/api/v1/namespaces/{}/secrets/{anchor}", cluster.namespace());
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.ask("DELETE", &path, None).0 != 200 {
        assert!(Instant::now() < deadline, "the webhook still refused after 60 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the cluster refuses to delete the anchor.
fn wait_until_kept(cluster: &Cluster) {
    let anchor = cluster.anchors().remove(0)["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let path = format!(
        "/api/v1/namespaces/{}/secrets/{anchor}?dryRun=All",
        cluster.namespace()
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.ask("DELETE", &path, None).0 == 200 {
        assert!(
            Instant::now() < deadline,
            "the webhook took no effect within 60 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
