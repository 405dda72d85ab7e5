//! `jobpass rotate`: at every moment, the place of the token holds a token that works. Two tokens exist only
//! during the rotation.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    process::Child,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Desk;
use crate::{
    cluster::Cluster,
    github::step::Ended,
    leaks::{assert_absent, corpus::pieces},
    support,
};

/// The ServiceAccount that rotates, with the permissions that jobpass proposes after a 403, and the legacy
/// token to rotate.
const ROTATOR: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: scanner, namespace: NAMESPACE}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: rotator, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rotator, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["create", "get", "patch", "delete"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: rotator, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: rotator}
subjects: [{kind: ServiceAccount, name: rotator, namespace: NAMESPACE}]
---
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: scanner-token
  namespace: NAMESPACE
  labels: {team: a}
  annotations: {kubernetes.io/service-account.name: scanner, kubernetes.io/service-account.expiration: "86400", note: kept}
"#;
const EXPIRATION: &str = "kubernetes.io/service-account.expiration";
const PATIENCE: Duration = Duration::from_secs(60);

/// A command rotates a token, and prints the new one. `jobpass exec` did not mint this token for the command,
/// but its filter must mask it.
#[test]
fn a_filter_learns_the_new_token_before_it_is_in_its_place() {
    let it = Rotating::new(Place::File);
    let rotate = it.arguments(&["--grace", "0"]).join(" ");
    let jobpass = support::binary("jobpass").display().to_string();
    let script = format!("{jobpass} {rotate}; echo \"it is $(cat token)\"; base64 -w 0 token");
    let ended = it.desk.exec(&[], &script).succeeded();
    let new = fs::read_to_string(it.desk.path("token")).expect("a token");
    assert_ne!(new.trim(), it.old);
    assert!(ended.log.contains("it is [MASKED]\n"), "{}", ended.log);
    assert_eq!(pieces(new.trim(), &ended.log), [""; 0], "{}", ended.log);
}

/// The place from which the users of the token read it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    File,
    Kubeconfig,
    KubeconfigWithFile,
    Secret,
}

struct Rotating {
    desk: Desk,
    place: Place,
    old: String,
}

impl Rotating {
    fn new(place: Place) -> Self {
        let desk = Desk::new();
        let namespace = desk.cluster.namespace();
        desk.cluster.apply(ROTATOR);
        let rotator = desk
            .cluster
            .service_account_token(namespace, "rotator", Duration::from_secs(7200));
        fs::write(
            desk.path("rotator.yaml"),
            desk.cluster.kubeconfig(&rotator, namespace),
        )
        .expect("written");
        let old = crate::cluster::token_of(&desk.cluster.legacy_secrets()[0]);
        let it = Self { desk, place, old };
        it.put();
        it
    }

    fn put(&self) {
        let (desk, old) = (&self.desk, &self.old);
        let write = |name: &str, text: String| {
            fs::write(desk.path(name), text).expect("written");
            fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o640)).expect("set");
        };
        match self.place {
            Place::File => write("token", format!("{old}\n")),
            Place::Kubeconfig => write(
                "scan.yaml",
                kubeconfig(&desk.cluster, &format!("token: \"{old}\"   # legacy")),
            ),
            Place::KubeconfigWithFile => {
                write("scan.yaml", kubeconfig(&desk.cluster, "tokenFile: token"));
                write("token", format!("{old}\n"));
            }
            Place::Secret => {
                let copy = json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "copy", "namespace": "NAMESPACE"},
                    "data": {"other": "b3RoZXI=", "token": STANDARD.encode(old)},
                });
                desk.cluster.apply(&copy.to_string());
            }
        }
    }

    fn arguments<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let place: &[&str] = match self.place {
            Place::File => &["--token-file", "token"],
            Place::Kubeconfig | Place::KubeconfigWithFile => &["--kubeconfig-file", "scan.yaml"],
            Place::Secret => &["--secret", "NAMESPACE/copy", "--key", "token"],
        };
        [&["rotate", "--kubeconfig", "rotator.yaml"], place, more].concat()
    }

    fn start(&self, more: &[&str]) -> Child {
        self.desk.start(&self.arguments(more))
    }

    fn run(&self, more: &[&str]) -> Ended {
        Ended::of(self.start(more))
    }

    /// The whole text of the file, or the token in the Secret.
    fn text(&self) -> String {
        match self.place {
            Place::File | Place::KubeconfigWithFile => {
                fs::read_to_string(self.desk.path("token")).expect("a token")
            }
            Place::Kubeconfig => fs::read_to_string(self.desk.path("scan.yaml")).expect("a kubeconfig"),
            Place::Secret => crate::cluster::token_of(&self.copy()),
        }
    }

    fn copy(&self) -> Value {
        let mut all = self
            .desk
            .cluster
            .secrets(self.desk.cluster.namespace())
            .into_iter();
        all.find(|secret| secret["metadata"]["name"] == "copy")
            .expect("the copy")
    }

    fn secrets(&self) -> Vec<Value> {
        self.desk.cluster.legacy_secrets()
    }

    fn fault(&self, method: &'static str, path: &str, kind: FaultKind) {
        self.desk.cluster.inject(Fault {
            method,
            path_contains: path.into(),
            times: 1,
            kind,
        });
    }

    fn assert_as_before(&self, log: &str) {
        let secrets = self.secrets();
        assert_eq!(secrets.len(), 1, "{log}");
        let annotations = secrets[0]["metadata"]["annotations"]
            .as_object()
            .expect("annotations");
        assert_eq!(annotations[EXPIRATION], "86400", "{log}");
        assert!(!annotations.contains_key("jobpass.dev/rotated-to"), "{log}");
        assert!(
            self.text().contains(&self.old) && self.desk.cluster.accepts(&self.old),
            "{log}"
        );
        assert!(
            !self
                .desk
                .left()
                .iter()
                .any(|name| name.ends_with(".jobpass-partial")),
            "{:?}",
            self.desk.left()
        );
        assert_absent(&self.old, "the log", log);
    }

    /// Asserts that one new Secret is left, and that the place holds the token of that Secret.
    fn assert_rotated(&self, log: &str) -> Value {
        let mut secrets = self.secrets();
        assert_eq!(secrets.len(), 1, "{log}");
        let secret = secrets.remove(0);
        let new = crate::cluster::token_of(&secret);
        let text = self.text();
        assert!(
            new != self.old && text.contains(&new) && !text.contains(&self.old),
            "{log}"
        );
        assert!(self.desk.cluster.accepts(&new) && !self.desk.cluster.accepts(&self.old));
        for token in [&new, &self.old] {
            assert_absent(token, "the log", log);
        }
        secret
    }
}

fn kubeconfig(cluster: &Cluster, user: &str) -> String {
    let ca = STANDARD.encode(cluster.ca_pem());
    format!(
        "# ours\napiVersion: v1\nkind: Config\ncurrent-context: x  # the one\n\
         clusters: [{{name: c, cluster: {{server: \"{}\", certificate-authority-data: {ca}}}}}]\n\
         contexts:\n- {{name: x, context: {{cluster: c, user: u}}}}\n\
         users:\n- name: other\n  user: {{token: untouched}}\n- name: u\n  user:\n    {user}\n",
        cluster.url()
    )
}

#[rstest]
fn a_new_token_takes_the_place_of_the_old(
    #[values(Place::File, Place::Kubeconfig, Place::KubeconfigWithFile, Place::Secret)] place: Place,
) {
    let it = Rotating::new(place);
    let before = it.text();
    let rotated = it.run(&["--grace", "1s"]).succeeded();
    let secret = it.assert_rotated(&rotated.log);
    let metadata = &secret["metadata"];
    assert!(
        metadata["name"]
            .as_str()
            .expect("a name")
            .starts_with("scanner-token-")
    );
    assert_eq!(metadata["labels"]["team"], "a");
    assert_eq!(
        (
            &metadata["annotations"]["note"],
            &metadata["annotations"][EXPIRATION]
        ),
        (&json!("kept"), &json!("86400"))
    );
    let new = crate::cluster::token_of(&secret);
    assert_eq!(
        it.text(),
        before.replace(&it.old, &new),
        "the rotation must change nothing but the token"
    );
    match place {
        Place::Secret => assert_eq!(it.copy()["data"]["other"], "b3RoZXI="),
        Place::Kubeconfig => {
            let used = support::kubectl(it.desk.path("scan.yaml"), &["auth", "whoami"]);
            assert!(
                String::from_utf8_lossy(&used.stdout)
                    .contains(&it.desk.here("serviceaccount:NAMESPACE:scanner")),
                "{used:?}"
            );
        }
        _ => {}
    }
    if place != Place::Secret {
        let file = if place == Place::Kubeconfig {
            "scan.yaml"
        } else {
            "token"
        };
        assert_eq!(
            fs::metadata(it.desk.path(file)).expect("there").mode() & 0o7777,
            0o640
        );
    }

    // A second rotation does not make the name longer.
    let again = it.run(&["--grace", "0", "--output", "json"]).succeeded();
    let report: Value = serde_json::from_str(&again.log).expect("one line of JSON");
    assert_eq!(
        (&report["old"], &report["resumed"]),
        (&metadata["name"], &json!(false))
    );
    assert_eq!(
        report["new"].as_str().map(str::len),
        metadata["name"].as_str().map(str::len)
    );
    assert_eq!(report["new"], it.assert_rotated(&again.log)["metadata"]["name"]);
}

/// In each case, the API server refuses one request before the new token is in its place.
#[rstest]
fn a_failure_leaves_the_old_token_and_no_second_one(
    #[values(("PATCH", "/secrets/scanner-token"), ("POST", "/secrets"), ("GET", "/secrets/scanner-token-"), ("GET", "/version"), ("PATCH", "/secrets/copy"))]
    (method, path): (&'static str, &str),
) {
    let it = Rotating::new(Place::Secret);
    let status =
        json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no"});
    let answer = FaultKind::Answer {
        status: if path == "/version" { 400 } else { 403 },
        headers: vec![],
        body: status.to_string(),
    };
    it.fault(method, path, answer);
    let failed = it.run(&["--grace", "0"]);
    assert!([3, 4].contains(&failed.code()), "{}", failed.log);
    it.assert_as_before(&failed.log);
    it.run(&["--grace", "0"]).succeeded();
}

#[rstest]
#[case::changed_meanwhile("PATCH", "/secrets/copy", 409)]
#[case::another_rotation("PATCH", "/secrets/scanner-token", 409)]
fn who_else_changes_things_wins(#[case] method: &'static str, #[case] path: &str, #[case] status: u16) {
    let it = Rotating::new(Place::Secret);
    let body = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": status, "message": "modified"});
    it.fault(
        method,
        path,
        FaultKind::Answer {
            status,
            headers: vec![],
            body: body.to_string(),
        },
    );
    let failed = it.run(&["--grace", "0"]);
    assert_eq!(failed.code(), 4, "{}", failed.log);
    assert!(failed.log.contains("somebody else changed"), "{}", failed.log);
    it.assert_as_before(&failed.log);
}

#[test]
fn lost_answers_do_no_harm() {
    let it = Rotating::new(Place::Secret);
    for (method, path) in [
        ("PATCH", "/secrets/scanner-token"),
        ("POST", "/secrets"),
        ("PATCH", "/secrets/copy"),
        ("DELETE", "/secrets/"),
    ] {
        it.fault(method, path, FaultKind::DropAfter);
    }
    let rotated = it.run(&["--grace", "0"]).succeeded();
    it.assert_rotated(&rotated.log);
}

/// The test stops or kills the rotation at each stage. Then the same command completes it.
#[rstest]
fn stopped_before_it_is_in_place(
    #[values(("PATCH", "/secrets/scanner-token"), ("POST", "/secrets"), ("GET", "/secrets/scanner-token-"), ("PATCH", "/secrets/copy"))]
    (method, path): (&'static str, &'static str),
    #[values(Signal::KILL, Signal::INT)] signal: Signal,
) {
    let it = Rotating::new(Place::Secret);
    it.fault(method, path, FaultKind::HoldAfter);
    let rotate = it.start(&["--grace", "0"]);
    it.desk.cluster.wait_for(PATIENCE, |requests| {
        requests
            .iter()
            .any(|r| r.method == method && r.path.contains(path))
            .then_some(())
    });
    let begun = std::time::Instant::now();
    kill_process(Pid::from_child(&rotate), signal).expect("it is there");
    let stopped = Ended::of(rotate);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    // The old token still works.
    assert!(it.desk.cluster.accepts(&it.old), "{}", stopped.log);
    if signal == Signal::INT && method != "PATCH" {
        assert_eq!(it.secrets().len(), 1, "{}", stopped.log);
    }
    let again = it.run(&["--grace", "0"]).succeeded();
    it.assert_rotated(&again.log);
}

#[rstest]
fn stopped_in_the_grace_period(
    #[values(Signal::KILL, Signal::TERM)] signal: Signal,
    #[values(true, false)] swept: bool,
) {
    let it = Rotating::new(Place::File);
    let rotate = it.start(&["--grace", "2m"]);
    it.desk.cluster.wait_for(PATIENCE, |requests| {
        let retired = requests
            .iter()
            .filter(|r| r.method == "PATCH" && r.status == Some(200))
            .count();
        (retired == 2).then_some(())
    });
    kill_process(Pid::from_child(&rotate), signal).expect("it is there");
    let stopped = Ended::of(rotate);
    if signal == Signal::TERM {
        assert_eq!(stopped.code(), 143, "{}", stopped.log);
        assert!(
            stopped.log.contains("the old one may still work")
                && stopped
                    .log
                    .contains("`jobpass sweep` deletes the old Secret after its expiry"),
            "{}",
            stopped.log
        );
    }
    assert_eq!(it.secrets().len(), 2);
    assert!(it.desk.cluster.accepts(&it.old) && !it.text().contains(&it.old));
    if swept {
        fs::write(it.desk.path("admin.yaml"), it.desk.cluster.admin_kubeconfig()).expect("written");
        it.desk.cluster.move_date(Duration::from_secs(130));
        it.desk
            .run(&["sweep", "--namespace", "NAMESPACE", "--kubeconfig", "admin.yaml"])
            .succeeded();
    } else {
        let again = it.run(&["--grace", "0", "--output", "json"]).succeeded();
        let report: Value = serde_json::from_str(&again.log).expect("one line of JSON");
        assert_eq!(
            (&report["resumed"], &report["old"]),
            (&json!(true), &json!("scanner-token"))
        );
    }
    it.assert_rotated(&stopped.log);
}

/// A second place has a copy of the old token. jobpass rotates the second place during the grace period of
/// the first place.
#[test]
fn a_second_place_gets_the_same_new_token() {
    let it = Rotating::new(Place::File);
    fs::copy(it.desk.path("token"), it.desk.path("second")).expect("copied");
    let first = it.start(&["--grace", "2m"]);
    it.desk
        .cluster
        .wait_for(PATIENCE, |_| (!it.text().contains(&it.old)).then_some(()));
    let second = [
        "rotate",
        "--kubeconfig",
        "rotator.yaml",
        "--token-file",
        "second",
        "--grace",
        "0",
    ];
    it.desk.run(&second).succeeded();
    kill_process(Pid::from_child(&first), Signal::INT).expect("it is there");
    drop(Ended::of(first));
    it.assert_rotated("");
    assert_eq!(
        it.text(),
        fs::read_to_string(it.desk.path("second")).expect("read")
    );
}

#[rstest]
#[case::a_link(|desk: &Desk| { fs::rename(desk.path("token"), desk.path("t")).expect("moved"); symlink("t", desk.path("token")).expect("linked"); }, "symbolic link")]
#[case::two_names(|desk: &Desk| fs::hard_link(desk.path("token"), desk.path("t")).expect("linked"), "hard links")]
#[case::killed(|desk: &Desk| fs::write(desk.path("token.jobpass-partial"), "half").expect("written"), "killed while it wrote")]
#[case::none(|desk: &Desk| fs::remove_file(desk.path("token")).expect("removed"), "cannot be read")]
#[case::no_token(|desk: &Desk| fs::write(desk.path("token"), "a b").expect("written"), "holds no token")]
fn what_cannot_be_replaced_is_refused_first(#[case] change: fn(&Desk), #[case] why: &str) {
    let it = Rotating::new(Place::File);
    change(&it.desk);
    let ended = it.run(&[]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert_absent(&it.old, "the log", &ended.log);
    assert_eq!(it.secrets().len(), 1);
}

#[test]
fn other_tokens_are_no_legacy_tokens() {
    let it = Rotating::new(Place::File);
    let bound = it.desk.cluster.service_account_token(
        it.desk.cluster.namespace(),
        "scanner",
        Duration::from_secs(3600),
    );
    fs::write(it.desk.path("token"), &bound).expect("written");
    let ended = it.run(&[]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains("is not a legacy token"), "{}", ended.log);
    assert_absent(&bound, "the log", &ended.log);

    // The token has the same names, but belongs to an earlier ServiceAccount.
    let mut claims = crate::cluster::claims_of(&it.old);
    claims["kubernetes.io/serviceaccount/service-account.uid"] =
        "a6bb8d8d-ba8f-4a1c-bf4e-0d5d1c1a3b52".into();
    fs::write(it.desk.path("token"), it.desk.cluster.sign(&claims)).expect("written");
    let ended = it.run(&[]);
    assert_eq!(ended.code(), 5, "{}", ended.log);
    assert!(ended.log.contains("does not hold the token"), "{}", ended.log);
}

#[rstest]
#[case::itself("NAMESPACE/scanner-token", "token", "a token's own Secret")]
#[case::key("NAMESPACE/copy", "nothing", "has no such key")]
#[case::not_there("NAMESPACE/ghost", "token", "does not exist")]
#[case::no_namespace("copy", "token", "without a namespace")]
fn other_secrets(#[case] secret: &str, #[case] key: &str, #[case] why: &str) {
    let it = Rotating::new(Place::Secret);
    let ended = it.desk.run(&[
        "rotate",
        "--kubeconfig",
        "rotator.yaml",
        "--secret",
        secret,
        "--key",
        key,
    ]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
}

#[test]
fn who_may_not_is_told_what_it_takes() {
    let it = Rotating::new(Place::File);
    let ended = it
        .desk
        .run(&["rotate", "--kubeconfig", "minter.yaml", "--token-file", "token"]);
    assert_eq!(ended.code(), 4, "{}", ended.log);
    assert!(
        ended
            .log
            .contains(r#"verbs: ["create", "get", "patch", "delete"]"#),
        "{}",
        ended.log
    );
    it.assert_as_before(&ended.log);
}

#[test]
fn a_job_s_token_is_left_to_its_job() {
    let it = Rotating::new(Place::File);
    fs::write(it.desk.path("admin.yaml"), it.desk.cluster.admin_kubeconfig()).expect("written");
    let mint = [
        "mint",
        "--service-account",
        "scanner",
        "--namespace",
        "NAMESPACE",
        "--kubeconfig",
        "admin.yaml",
        "--type",
        "legacy",
        "--token-file",
        "job",
    ];
    it.desk.run(&mint).succeeded();
    let ended = it
        .desk
        .run(&["rotate", "--kubeconfig", "rotator.yaml", "--token-file", "job"]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains("belongs to a job"), "{}", ended.log);
}
