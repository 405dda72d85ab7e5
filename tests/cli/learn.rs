//! `jobpass learn`: the rules that it prints are enough to repeat the recorded run, and none can be left out.

use std::fs;

use serde_json::{Value, json};

use super::Desk;
use crate::{cluster::claims_of, github::step::Ended, leaks::assert_absent, support::binary};

/// Rules that allow more than the run needs.
const WIDE: &str = r#"
- {apiGroups: [""], resources: [configmaps], verbs: ["*"]}
- {apiGroups: [""], resources: [pods, pods/log, services], verbs: [get, list, watch]}
- {apiGroups: [apps], resources: [deployments, deployments/scale], verbs: [get, list, patch]}
"#;

/// A run whose commands need different rights. The run passes although the API server denies two of its
/// requests.
const RUN: &str = r#"
set -e
kubectl get pods
kubectl create configmap a --from-literal=key=one
kubectl get configmap a -o name
echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {key: one}}' > b.yaml
kubectl apply --server-side -f b.yaml
kubectl get --raw '/api/v1/namespaces/NAMESPACE/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Db'
kubectl delete configmap a b
kubectl get services --field-selector metadata.name=web
kubectl get deployments.apps web 2>&1 | grep NotFound
if kubectl get secrets 2> denied; then exit 3; fi
kubectl auth whoami > who
rm -f b.yaml denied who
"#;

impl Desk {
    /// Gives the ServiceAccount these rules, in place of all others.
    fn give(&self, rules: &Value) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "scanner", "namespace": "NAMESPACE"}, "rules": rules,
        });
        self.cluster.apply(&role.to_string());
    }

    fn learn(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["learn"], arguments].concat())
    }

    /// The result of `learn` in JSON.
    fn learned(&self, arguments: &[&str]) -> Value {
        let ended = self
            .learn(&[arguments, &["--output", "json"]].concat())
            .succeeded();
        let line = ended.log.lines().next().expect("a result");
        serde_json::from_str(line).expect("one line of JSON")
    }
}

#[test]
fn the_least_rules_let_the_same_run_pass_and_none_is_too_many() {
    let desk = Desk::new();
    let wide: Value = serde_yaml::from_str(WIDE).expect("rules");
    desk.give(&wide);
    let ended = desk.exec(&["--proxy", "--record", "record"], RUN).succeeded();
    let token = desk.cluster.issued().remove(0);

    let learned = desk.learned(&["record"]);
    // After a 404, kubectl checks whether the namespace exists.
    let denied = json!([desk.here("get namespaces NAMESPACE"), "list secrets"]);
    assert_eq!(learned["denied"], denied, "{learned}");
    assert_eq!(learned["cluster"]["rules"], json!([]), "{learned}");
    let places = learned["namespaces"].as_array().expect("a list");
    assert_eq!(places.len(), 1, "{learned}");
    assert_eq!(places[0]["namespace"], desk.cluster.namespace());
    let rules = places[0]["rules"].as_array().expect("rules").clone();
    assert!(!json!(rules).to_string().contains('*'), "{learned}");

    // kube-apiserver's audit log gives the same result for this run.
    let events = desk.cluster.audit();
    let log = events
        .iter()
        .map(|event| format!("{event}\n"))
        .collect::<String>();
    fs::write(desk.path("audit.log"), log).expect("written");
    let claims = claims_of(&token);
    let id = claims["jti"].as_str().expect("an id");
    let audited = desk.learned(&["audit.log", "--credential-id", id]);
    assert_eq!(audited["namespaces"], learned["namespaces"]);
    assert_eq!(audited["denied"], learned["denied"]);
    let stranger = desk.learn(&["audit.log"]);
    assert_eq!(stranger.code(), 2, "{}", stranger.log);

    // `--diff` lists the rights in the wide rules that the run did not use.
    fs::write(desk.path("wide.yaml"), WIDE).expect("written");
    let diff = desk.learn(&["record", "--diff", "wide.yaml"]);
    assert_eq!(diff.code(), 5, "{}", diff.log);
    for unused in [
        "* configmaps, except for",
        "get pods/log",
        "watch services",
        "patch deployments.apps/scale",
    ] {
        assert!(
            diff.log.contains(&format!("#   {unused}")),
            "{unused}: {}",
            diff.log
        );
    }
    fs::write(desk.path("printed.yaml"), desk.learn(&["record"]).succeeded().log).expect("written");
    desk.learn(&["record", "--diff", "printed.yaml"]).succeeded();

    let again = |rules: &[Value]| {
        desk.give(&json!(rules));
        desk.exec(&["--proxy"], RUN)
    };
    again(&rules).succeeded();
    for number in 0..rules.len() {
        let mut fewer = rules.clone();
        let rule = fewer.remove(number);
        let failed = again(&fewer);
        assert!(
            failed.code() != 0,
            "the run passes without {rule}: {}",
            failed.log
        );
        // A run that failed may leave objects and files behind.
        desk.give(&wide);
        desk.exec(
            &["--proxy"],
            "kubectl delete configmap a b --ignore-not-found; rm -f b.yaml denied who",
        )
        .succeeded();
    }
    for name in ["record", "audit.log", "wide.yaml", "printed.yaml"] {
        let text = fs::read_to_string(desk.path(name)).expect("a file");
        assert_absent(&token, name, &text);
        fs::remove_file(desk.path(name)).expect("removed");
    }
    desk.assert_all_gone(&ended.log);
}

/// In its last step, a job may ask what else it could have done.
#[test]
fn a_job_learns_what_it_could_do_and_did_not() {
    let desk = Desk::new();
    desk.give(&serde_yaml::from_str(WIDE).expect("rules"));
    let script = format!(
        "kubectl get pods && {} learn record --kubeconfig \"$KUBECONFIG\"; status=$?; rm record; exit $status",
        binary("jobpass").display()
    );
    let ended = desk.exec(&["--proxy", "--record", "record"], &script).succeeded();
    let (_, unused) = ended.log.split_once("# Unused: ").expect(&ended.log);
    for right in [
        "* configmaps",
        "get pods",
        "watch pods",
        "get pods/log",
        "patch deployments.apps",
    ] {
        assert!(unused.contains(&format!("#   {right}\n")), "{right}: {unused}");
    }
    for used in [
        "#   list pods\n",
        "selfsubject",
        "/version",
        "/openid",
        "clustertrustbundles",
    ] {
        assert!(!unused.contains(used), "{used}: {unused}");
    }
    desk.assert_all_gone(&ended.log);
}
