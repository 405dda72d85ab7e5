//! The anchors that a sweep deletes, and those that it never deletes. Also the output of `list`.

mod ci;
mod legacy;
mod list;
mod nothing;
mod refused;
mod trouble;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{cluster::Cluster, github::step::Ended, support};

/// The permissions that a sweeper of a namespace needs, as a 403 shows them. Also the permission to list the
/// anchors of the cluster. The sweeper cannot delete the objects of other tests.
const SWEEPER: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: sweeper, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: sweeper, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["list", "delete"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sweeper, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: sweeper}
subjects: [{kind: ServiceAccount, name: sweeper, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-looker}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["list"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-looker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-looker}
subjects: [{kind: ServiceAccount, name: sweeper, namespace: NAMESPACE}]
"#;

/// A sweeper and its scope. Nobody can create an object with a creation time in the past. But jobpass
/// computes the age of an anchor from the time in the API server's answers, so tests change that time.
struct Broom {
    cluster: Cluster,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Broom {
    fn new() -> Self {
        let broom = Self::of(Cluster::start());
        broom.cluster.apply(SWEEPER);
        broom.wield(broom.cluster.namespace(), "sweeper");
        broom
    }

    /// A sweeper that has no credential yet.
    fn of(cluster: Cluster) -> Self {
        Self {
            cluster,
            folder: tempfile::tempdir().expect("a folder"),
            variables: Vec::new(),
        }
    }

    /// Writes a kubeconfig with a token of this ServiceAccount, for the sweeper.
    fn wield(&self, namespace: &str, account: &str) {
        let token = self
            .cluster
            .service_account_token(namespace, account, Duration::from_secs(24 * 3600));
        let kubeconfig = self.cluster.kubeconfig(&token, self.cluster.namespace());
        write(&self.folder.path().join("sweeper.yaml"), &kubeconfig);
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

    /// Sweeps the test's namespace. Returns the lines of JSON.
    fn sweep(&self, more: &[&str]) -> (Ended, Vec<Value>) {
        let ended = self.run(&[&SWEEP, more].concat());
        let lines = json_lines(&ended.log);
        (ended, lines)
    }

    /// Creates an anchor in the test's namespace with these annotations (without `jobpass.dev/`). Returns its
    /// name.
    fn anchor(&self, number: usize, annotations: &[(&str, &str)]) -> String {
        let name = name(number);
        self.secret(self.cluster.namespace(), &name, annotations);
        name
    }

    /// Creates anchors as if their runners had died an hour ago.
    fn leave_behind(&self, anchors: usize) {
        each(anchors, |number| {
            let run = (number / 4).to_string();
            let url = format!("https://github.com/team/app/actions/runs/{run}");
            self.anchor(
                number,
                &[
                    ("platform", "github"),
                    ("repository", "team/app"),
                    ("run-id", &run),
                    ("job", "scan"),
                    ("requested-by", "someone"),
                    ("url", &url),
                    ("service-account", "scanner"),
                    ("lifetime", "1800s"),
                ],
            );
        });
        self.cluster.move_date(minutes(60));
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

/// Calls `what` with each number below `numbers`. Several calls run at the same time.
fn each(numbers: usize, what: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                taken.take_while(|number| *number < numbers).for_each(&what);
            });
        }
    });
}

fn minutes(number: u64) -> Duration {
    Duration::from_secs(60 * number)
}

fn name(number: usize) -> String {
    format!("jobpass-{number:020}")
}

const SWEEP: [&str; 3] = ["sweep", "--output", "json"];

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
    let namespace = broom.cluster.namespace();
    broom.secret(namespace, "database", &[("lifetime", "600s")]);
    broom.cluster.apply(
        "{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: password, namespace: NAMESPACE}}",
    );
    // With the anchor, Kubernetes deletes the objects that the anchor owns.
    let anchors = broom.cluster.anchors();
    let uid = &anchors
        .iter()
        .find(|anchor| anchor["metadata"]["name"] == *expired)
        .expect("an anchor")["metadata"]["uid"];
    broom.cluster.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {
            "name": "owned", "namespace": namespace,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": expired, "uid": uid}],
        }})
        .to_string(),
    );
    broom.cluster.move_date(minutes(20));

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
    assert_eq!(broom.cluster.secrets(namespace).len(), 8, "{log}");
    let deleted = lines
        .iter()
        .find(|line| line["event"] == "deleted")
        .expect("a deletion");
    assert_eq!(deleted["anchor"], expired);
    assert_eq!(
        (&deleted["namespace"], &deleted["reason"], &deleted["repository"]),
        (&json!(namespace), &json!("expired"), &json!("team/app"))
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
    // The garbage collector may delete the owned Role later.
    let gone = [
        "wait",
        "--for=delete",
        "role/owned",
        "--timeout=60s",
        "--namespace",
        namespace,
    ];
    broom.admin(&gone);
}

#[test]
fn an_anchor_is_left_alone_for_five_minutes_after_its_expiry() {
    let broom = Broom::new();
    broom.anchor(1, &[("lifetime", "600s")]);
    broom.cluster.move_date(minutes(12));
    broom.sweep(&[]).0.succeeded();
    assert_eq!(broom.names().len(), 1);
    broom.cluster.move_date(minutes(4));
    broom.sweep(&[]).0.succeeded();
    assert!(broom.names().is_empty());
}

/// The sweep stays in the namespace of the kubeconfig, unless flags name another one or all.
#[test]
fn a_sweep_stays_in_its_namespace() {
    let broom = Broom::new();
    let here = broom.cluster.namespace();
    let other = broom.cluster.other_namespace("b");
    for (namespace, number) in [(here, 1), (&*other, 2)] {
        broom.secret(namespace, &name(number), &[("lifetime", "600s")]);
    }
    broom.cluster.move_date(minutes(20));
    let would = broom.run(&["sweep", "--all-namespaces", "--dry-run", "--output", "json"]);
    let would = json_lines(&would.succeeded().log)
        .into_iter()
        .filter(|line| line["namespace"].as_str().is_some_and(|it| it.starts_with(here)));
    let would = would.map(|line| (line["event"].clone(), line["anchor"].clone()));
    // The namespaces are in the order of their names: a hyphen comes before the slash.
    let both = [2, 1].map(|number| (json!("would-delete"), json!(name(number))));
    assert_eq!(would.collect::<Vec<_>>(), both);

    let swept = broom.run(&["sweep"]).succeeded();
    assert_eq!(broom.names(), [name(2)], "{}", swept.log);
    let says = format!("looked at 1 anchor in namespace `{here}`");
    assert!(swept.log.contains(&says), "{}", swept.log);
    let admin = support::admin(&broom.cluster);
    let admin = admin.path().to_str().expect("text");
    broom
        .run(&["sweep", "--namespace", &other, "--kubeconfig", admin])
        .succeeded();
    assert!(broom.names().is_empty());
}

/// A token that the command line minted survives sweeps while its job may run.
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
        broom.cluster.move_date(minutes(9));
    }
    broom.cluster.move_date(minutes(10));
    broom.sweep(&[]).0.succeeded();
    assert!(broom.names().is_empty());
}

#[rstest]
#[case::both_scopes(&["--all-namespaces", "--namespace", "ci"], "input `namespace` and `--all-namespaces` are both given")]
#[case::namespace(&["--namespace", "Team A"], "input `namespace` is `Team A`")]
#[case::token_in_argv(&["--github-token-env", "ghp-abc"], "input `github-token-env` is not the name of an environment variable")]
#[case::no_token(&["--gitlab-token-env", "NOT_SET"], "which is not set")]
#[case::no_file(&["--gitlab-token-file", "nowhere"], "input `gitlab-token-file` names the file `nowhere`")]
#[case::no_tls(&["--github-url", "http://github.example.com", "--github-token-env", "HOME"], "input `github-url` is not the URL of a site to which jobpass may send a token")]
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
