//! Which anchors a sweep deletes, and which it never does; and what `list` shows of them.

mod ci;
mod legacy;
mod list;
mod nothing;
mod trouble;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{cluster::Cluster, github::step::Ended, support};

/// What a sweeper needs and no more, as a 403 shows it.
const SWEEPER: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: sweeper, namespace: ops}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: jobpass-sweeper}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["list", "delete"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: jobpass-sweeper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: jobpass-sweeper}
subjects: [{kind: ServiceAccount, name: sweeper, namespace: ops}]
"#;

/// Who sweeps, and where.
struct Broom {
    cluster: Cluster,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Broom {
    fn new() -> Self {
        // What builds it takes a while, by the cluster's clock as well.
        support::binary("jobpass");
        let cluster = Cluster::start();
        cluster.apply(SWEEPER);
        let folder = tempfile::tempdir().expect("a folder");
        let token = cluster.service_account_token("ops", "sweeper", Duration::from_secs(30 * 24 * 3600));
        fs::write(
            folder.path().join("sweeper.yaml"),
            cluster.kubeconfig(&token, "ci"),
        )
        .expect("written");
        Self {
            cluster,
            folder,
            variables: Vec::new(),
        }
    }

    fn env(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass")));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", "sweeper.yaml")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("jobpass starts")
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments))
    }

    /// Sweeps everything, and gives the lines of JSON.
    fn sweep(&self, more: &[&str]) -> (Ended, Vec<Value>) {
        let ended = self.run(&[&["sweep", "--all-namespaces", "--output", "json"], more].concat());
        let lines = json_lines(&ended.log);
        (ended, lines)
    }

    /// Creates an anchor in `ci` with these annotations (without `jobpass.dev/`), and gives its name.
    fn anchor(&self, number: usize, annotations: &[(&str, &str)]) -> String {
        let name = name(number);
        self.secret("ci", &name, annotations);
        name
    }

    fn secret(&self, namespace: &str, name: &str, annotations: &[(&str, &str)]) {
        let annotations = annotations
            .iter()
            .map(|(key, value)| (format!("jobpass.dev/{key}"), json!(value)));
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "jobpass.dev/anchor",
            "metadata": {
                "name": name, "namespace": namespace, "annotations": Value::Object(annotations.collect()),
                "labels": {"app.kubernetes.io/managed-by": "jobpass"},
            }
        });
        self.cluster.apply(&secret.to_string());
    }

    fn names(&self) -> Vec<String> {
        let name = |secret: &Value| secret["metadata"]["name"].as_str().expect("a name").to_owned();
        self.cluster.anchors().iter().map(name).collect()
    }

    fn admin(&self, arguments: &[&str]) {
        let admin = support::admin(&self.cluster);
        let done = support::kubectl(admin.path(), arguments);
        assert!(done.status.success(), "{done:?}");
    }
}

fn minutes(number: u64) -> Duration {
    Duration::from_secs(60 * number)
}

fn name(number: usize) -> String {
    format!("jobpass-{number:020}")
}

fn json_lines(log: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn summary(lines: &[Value]) -> &Value {
    let last = lines.last().expect("a summary");
    assert_eq!(last["event"], "summary");
    last
}

/// By the cluster's clock: 20 minutes after the anchors were created.
#[test]
fn what_has_expired_goes_and_nothing_else() {
    let broom = Broom::new();
    let expired = broom.anchor(
        1,
        &[
            ("lifetime", "600s"),
            ("repository", "team/app"),
            ("platform", "github"),
        ],
    );
    let live = broom.anchor(2, &[("lifetime", "3600s")]);
    let runner_behind = broom.anchor(
        3,
        &[("lifetime", "3600s"), ("expires-at", "2020-01-01T00:00:00Z")],
    );
    let runner_ahead = broom.anchor(4, &[("lifetime", "600s"), ("expires-at", "2036-01-01T00:00:00Z")]);
    let garbage = broom.anchor(5, &[("lifetime", "soon"), ("expires-at", "\u{1b}[31mnever")]);
    let silent = broom.anchor(6, &[]);
    let not_believable = broom.anchor(7, &[("expires-at", "9999-12-31T23:59:59Z")]);
    broom.secret("ci", "database", &[("lifetime", "600s")]);
    broom
        .cluster
        .apply("{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: password, namespace: ci}}");
    // What the anchor owns goes with it.
    let anchors = broom.cluster.anchors();
    let uid = &anchors
        .iter()
        .find(|anchor| anchor["metadata"]["name"] == *expired)
        .expect("an anchor")["metadata"]["uid"];
    broom.cluster.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {
            "name": "owned", "namespace": "ci",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": expired, "uid": uid}],
        }})
        .to_string(),
    );
    broom.cluster.advance(minutes(20));

    let before = broom.names();
    let (dry, lines) = broom.sweep(&["--dry-run"]);
    dry.succeeded();
    assert!(
        lines
            .iter()
            .any(|line| line["event"] == "would-delete" && line["anchor"] == expired)
    );
    assert_eq!(
        (&summary(&lines)["deleted"], &summary(&lines)["dry-run"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(broom.names(), before, "a dry run deleted something");

    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    let kept = [live, runner_behind, runner_ahead, garbage, silent, not_believable];
    assert_eq!(
        broom.names(),
        [&["database".to_owned()], &kept[..]].concat(),
        "{log}"
    );
    assert_eq!(broom.cluster.secrets("ci").len(), 8, "{log}");
    let deleted = lines
        .iter()
        .find(|line| line["event"] == "deleted")
        .expect("a deletion");
    assert_eq!(deleted["anchor"], expired);
    assert_eq!(
        (&deleted["namespace"], &deleted["reason"], &deleted["repository"]),
        (&json!("ci"), &json!("expired"), &json!("team/app"))
    );
    assert_eq!(deleted["uid"], *uid);
    let summary = summary(&lines);
    assert_eq!(
        (
            &summary["seen"],
            &summary["deleted"],
            &summary["kept"],
            &summary["unclear"]
        ),
        (&json!(8), &json!(1), &json!(3), &json!(4))
    );
    assert_eq!(summary["complete"], true);
    assert!(!log.contains('\u{1b}'), "{log}");
    let admin = support::admin(&broom.cluster);
    let owned = support::kubectl(admin.path(), &["get", "role", "owned", "--namespace", "ci"]);
    assert!(!owned.status.success(), "what the anchor owned is still there");
}

#[test]
fn an_anchor_is_left_alone_for_five_minutes_after_its_expiry() {
    let broom = Broom::new();
    broom.anchor(1, &[("lifetime", "600s")]);
    broom.cluster.advance(minutes(12));
    broom.sweep(&[]).0.succeeded();
    assert_eq!(broom.names().len(), 1);
    broom.cluster.advance(minutes(4));
    broom.sweep(&[]).0.succeeded();
    assert!(broom.names().is_empty());
}

/// The namespace of the kubeconfig, unless another one or all are asked for.
#[test]
fn a_sweep_stays_in_its_namespace() {
    let broom = Broom::new();
    for (namespace, number) in [("ci", 1), ("a-b", 2), ("a", 3)] {
        broom.secret(namespace, &name(number), &[("lifetime", "600s")]);
    }
    broom.cluster.advance(minutes(20));
    let swept = broom.run(&["sweep"]).succeeded();
    assert_eq!(broom.names(), [name(2), name(3)], "{}", swept.log);
    assert!(
        swept.log.contains("looked at 1 anchor in namespace `ci`"),
        "{}",
        swept.log
    );
    broom.run(&["sweep", "--namespace", "a"]).succeeded();
    assert_eq!(broom.names(), [name(2)]);
    let swept = broom.run(&["sweep", "--all-namespaces"]).succeeded();
    assert!(
        broom.names().is_empty() && swept.log.contains("in the cluster"),
        "{}",
        swept.log
    );
}

/// A real token, minted with the command line, survives sweeps while its job may run.
#[test]
fn a_minted_token_outlives_every_sweep_until_it_expires() {
    let broom = Broom::new();
    fs::write(
        broom.folder.path().join("minter.yaml"),
        support::minter(&broom.cluster),
    )
    .expect("written");
    let mint = [
        "mint",
        "--service-account",
        "scanner",
        "--kubeconfig",
        "minter.yaml",
        "--token-file",
        "token",
        "--duration",
        "30m",
    ];
    broom.run(&mint).succeeded();
    let token = fs::read_to_string(broom.folder.path().join("token")).expect("a token");
    for _ in 0..3 {
        broom.sweep(&[]).0.succeeded();
        assert!(broom.cluster.accepts(&token));
        broom.cluster.advance(minutes(9));
    }
    broom.cluster.advance(minutes(10));
    broom.sweep(&[]).0.succeeded();
    assert!(broom.names().is_empty());
}

#[rstest]
#[case::both_scopes(&["--all-namespaces", "--namespace", "ci"], "input `namespace` and `--all-namespaces` are both given")]
#[case::namespace(&["--namespace", "Team A"], "input `namespace` is `Team A`")]
#[case::token_in_argv(&["--github-token-env", "ghp-abc"], "input `github-token-env` is not the name of an environment variable")]
#[case::no_token(&["--gitlab-token-env", "NOT_SET"], "which is not set")]
#[case::no_file(&["--gitlab-token-file", "nowhere"], "input `gitlab-token-file` names the file `nowhere`")]
#[case::no_tls(&["--github-url", "http://github.example.com", "--github-token-env", "HOME"], "input `github-url` names no site that a token may be sent to")]
#[case::url_alone(&["--github-url", "https://github.example.com"], "input `github-url` is given without a token")]
fn wrong_input_is_refused_before_anything_is_asked(#[case] arguments: &[&str], #[case] why: &str) {
    let broom = Broom::new();
    for verb in ["sweep", "list"] {
        let ended = broom.run(&[&[verb], arguments].concat());
        assert_eq!(ended.code(), 2, "{}", ended.log);
        assert!(ended.log.contains(why), "{}", ended.log);
    }
    assert!(broom.cluster.requests().is_empty());
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}
