//! The minter as an attacker. It tries many combinations of verbs, resources, names, bodies, owners, bindings
//! and propagations. The cluster must refuse each request that is not on a short list. The account of a job
//! tries the same requests, also after somebody has given it the minter's permissions.
//!
//! Another test removes each validation of each policy in turn. Then a request that the cluster refused
//! before must succeed, or the validation would be useless.

mod changes;
mod roles;
mod tokens;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Desk;

const RBAC: &str = "rbac.authorization.k8s.io";
const ANCHOR: &str = "jobpass.dev/anchor";
const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";
/// The rules that jobs may get.
const RULES: &str = "get pods\nlist pods\ncreate pods/exec target-pod\nget configmaps shared";
/// The account of the attacker's own job, named after the job's anchor. The attacker may use this anchor and
/// the Role of the job.
const OWN: &str = "jobpass-ownownownownownownow";
/// Another job, of which only the anchor and the Role exist.
const SPARE: &str = "jobpass-sparesparesparespare";
/// Another job's account.
const OTHER: &str = "jobpass-otherotherotherother";
/// A job's account to which somebody has given all permissions of the minter.
const GIFTED: &str = "jobpass-giftedgiftedgiftedgi";
/// A name that no object has yet.
const FRESH: &str = "jobpass-freshfreshfreshfresh";
/// The time limit for an API server to read its policies. It reads them once a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// An attacker.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    /// A minter of one ServiceAccount.
    OfScanner,
    /// A minter for jobs with rules.
    ForJobs,
    /// A minter for jobs that RBAC lets create, change and delete every Secret, ServiceAccount, Role and
    /// RoleBinding of the namespace. Only the policies limit it.
    Mighty,
    /// A job with all rules in `RULES`.
    Job,
    /// A job's account to which somebody has given all permissions of the minter.
    Gifted,
}
use Who::{ForJobs, Gifted, Job, Mighty, OfScanner};

const EVERYBODY: [Who; 5] = [OfScanner, ForJobs, Mighty, Job, Gifted];
const MINTERS: &[Who] = &[OfScanner, ForJobs, Mighty];
const FOR_JOBS: &[Who] = &[ForJobs, Mighty];
const NOBODY: &[Who] = &[];

/// A request, and the attackers from whom the cluster must accept it.
struct Try {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    may: &'static [Who],
    /// Whether the request is a dry run. A request that may succeed is one, unless it only reads or asks for
    /// a token.
    dry: bool,
}

impl Try {
    fn new(method: &'static str, path: impl Into<String>, body: &Value, may: &'static [Who]) -> Self {
        Self {
            method,
            path: path.into(),
            headers: vec![("content-type", "application/json")],
            body: if body.is_null() {
                String::new()
            } else {
                body.to_string()
            },
            may,
            dry: false,
        }
    }

    /// The request as a dry run. If the cluster must accept the request from nobody, also the request itself.
    fn both(method: &'static str, path: &str, body: &Value, may: &'static [Who]) -> Vec<Self> {
        let mut tries = vec![Self {
            dry: true,
            ..Self::new(method, format!("{path}?dryRun=All"), body, may)
        }];
        if may.is_empty() {
            tries.push(Self::new(method, path, body, may));
        }
        tries
    }
}

/// A namespace with a set-up, and the tokens of the attackers.
struct World {
    desk: Desk,
    tokens: Vec<(Who, String)>,
}

impl World {
    fn new() -> Self {
        let desk = Desk::new();
        let audiences = format!("{AUDIENCE}, vault");
        let common = ["--audiences", &audiences, "--apply"];
        let scanner = [
            "--service-account",
            "scanner",
            "--minter",
            "serviceaccount:of-scanner",
        ];
        desk.setup(&[&scanner, &common]).succeeded();
        let jobs = [
            "--role-rules",
            RULES,
            "--minter",
            "serviceaccount:for-jobs",
            "--minter",
            "serviceaccount:mighty",
        ];
        desk.setup(&[&jobs, &super::SWEEPER, &common]).succeeded();
        desk.cluster.apply(&others());
        let mut world = Self {
            tokens: vec![
                (OfScanner, desk.token("of-scanner")),
                (ForJobs, desk.token("for-jobs")),
                (Mighty, desk.token("mighty")),
            ],
            desk,
        };
        let job = world.job(OWN);
        let gifted = world.job(GIFTED);
        world.desk.cluster.apply(&format!(
            "{{apiVersion: {RBAC}/v1, kind: RoleBinding, metadata: {{name: gift, namespace: NAMESPACE}}, roleRef: {{apiGroup: {RBAC}, \
             kind: Role, name: jobpass-minter.with-rules}}, subjects: [{{kind: ServiceAccount, name: {GIFTED}, namespace: NAMESPACE}}]}}"
        ));
        world.tokens.extend([(Job, job), (Gifted, gifted)]);
        world
    }

    /// Creates a job's account and its role as the minter, in the way of jobpass. Returns the account's
    /// token.
    fn job(&self, name: &str) -> String {
        let base = format!("/api/v1/namespaces/{}", self.namespace());
        let rbac = format!("/apis/{RBAC}/v1/namespaces/{}", self.namespace());
        let make = |path: String, object: &Value| {
            let answer = self.send(ForJobs, &Try::new("POST", path, object, NOBODY));
            assert_eq!(answer.0, 201, "{}", answer.1);
            answer.1
        };
        let anchor = make(format!("{base}/secrets"), &anchor(&json!({ "name": name })));
        let meta = json!({ "name": name, "ownerReferences": [owner(name, &anchor)] });
        make(format!("{base}/serviceaccounts"), &json!({ "metadata": meta }));
        make(
            format!("{rbac}/roles"),
            &json!({ "metadata": meta, "rules": listed() }),
        );
        let subject = json!({ "kind": "ServiceAccount", "name": name, "namespace": self.namespace() });
        let binding = json!({
            "metadata": meta, "subjects": [subject],
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
        });
        make(format!("{rbac}/rolebindings"), &binding);
        let bound =
            json!({ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": anchor["metadata"]["uid"] });
        let request = json!({ "spec": { "boundObjectRef": bound } });
        let minted = make(format!("{base}/serviceaccounts/{name}/token"), &request);
        minted["status"]["token"].as_str().expect("a token").to_owned()
    }

    fn namespace(&self) -> &str {
        self.desk.cluster.namespace()
    }

    fn send(&self, who: Who, one: &Try) -> (u16, Value) {
        let (_, token) = self
            .tokens
            .iter()
            .find(|(known, _)| *known == who)
            .expect("a token");
        let cluster = &self.desk.cluster;
        cluster.ask_with(token, one.method, &one.path, &one.headers, &one.body)
    }

    /// Whether the API server carries the request out. Every other answer is a refusal.
    fn passes(&self, who: Who, one: &Try) -> bool {
        let (status, answer) = self.send(who, one);
        assert!((200..500).contains(&status) && status != 429, "{status} {answer}");
        status < 300
    }

    /// The requests that succeed but must not, and those that must succeed but do not.
    fn wrong(&self, who: Who, tries: &[Try]) -> Vec<String> {
        let wrong = tries
            .iter()
            .filter(|one| self.passes(who, one) != one.may.contains(&who));
        wrong
            .map(|one| format!("{who:?}: {} {} {}", one.method, one.path, one.body))
            .collect()
    }

    fn uid(&self, secret: &str) -> Value {
        let path = format!("/api/v1/namespaces/{}/secrets/{secret}", self.namespace());
        let (status, secret) = self.desk.cluster.ask("GET", &path, None);
        assert_eq!(status, 200, "{secret}");
        secret["metadata"]["uid"].clone()
    }

    /// All requests.
    fn tries(&self) -> Vec<Try> {
        let mut tries = self.secrets();
        tries.extend(self.tokens());
        tries.extend(self.roles());
        tries.extend(self.deletions());
        tries.extend(self.changes());
        tries.extend(self.everything_else());
        tries
    }
}

/// The objects of other users and other jobs in this namespace.
fn others() -> String {
    let mut manifests = format!(
        r#"
{{apiVersion: v1, kind: Secret, metadata: {{name: victim, namespace: NAMESPACE}}, stringData: {{password: top}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: borrowed, namespace: NAMESPACE}}, type: {ANCHOR}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: {OWN}-data, namespace: NAMESPACE}}, type: {ANCHOR}, stringData: {{a: b}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: powerful, namespace: NAMESPACE}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: powerful-token, namespace: NAMESPACE, annotations: {{kubernetes.io/service-account.name: powerful}}}}
type: kubernetes.io/service-account-token
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: shared, namespace: NAMESPACE}}}}
---
apiVersion: {RBAC}/v1
kind: Role
metadata: {{name: mighty, namespace: NAMESPACE}}
rules:
- apiGroups: ["", {RBAC}]
  resources: [secrets, serviceaccounts, roles, rolebindings]
  verbs: [create, update, patch, delete, deletecollection, escalate, bind]
---
apiVersion: {RBAC}/v1
kind: RoleBinding
metadata: {{name: mighty, namespace: NAMESPACE}}
roleRef: {{apiGroup: {RBAC}, kind: Role, name: mighty}}
subjects: [{{kind: ServiceAccount, name: mighty, namespace: NAMESPACE}}]
"#
    );
    for name in [OTHER, SPARE] {
        let binding = match name {
            OTHER => format!(
                "---\n{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: NAMESPACE}}}}\n---\n{{apiVersion: {RBAC}/v1, \
                 kind: RoleBinding, metadata: {{name: {name}, namespace: NAMESPACE}}, roleRef: {{apiGroup: {RBAC}, kind: Role, name: {name}}}}}\n"
            ),
            _ => String::new(),
        };
        manifests += &format!(
            "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: NAMESPACE}}, type: {ANCHOR}}}\n---\n{{apiVersion: \
             {RBAC}/v1, kind: Role, metadata: {{name: {name}, namespace: NAMESPACE}}, rules: []}}\n{binding}"
        );
    }
    manifests
}

fn anchor(meta: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "type": ANCHOR, "metadata": meta })
}

fn owner(name: &str, anchor: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": anchor["metadata"]["uid"] })
}

/// Names that jobpass gives to objects, and other names.
fn names() -> [Value; 6] {
    [
        json!({ "name": FRESH }),
        json!({ "name": "loot" }),
        json!({ "name": format!("{FRESH}a") }),
        json!({ "name": format!("a{FRESH}") }),
        json!({ "generateName": "loot-" }),
        json!({ "generateName": &FRESH[..23] }),
    ]
}

/// The rules of `RULES`.
fn listed() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
        { "apiGroups": [""], "resources": ["pods/exec"], "resourceNames": ["target-pod"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["shared"], "verbs": ["get"] },
    ])
}

#[test]
fn what_a_minter_may_do_is_a_short_list() {
    let world = World::new();
    let tries = world.tries();
    let wrong = thread::scope(|scope| {
        let attacks = EVERYBODY.map(|who| {
            scope.spawn({
                let (world, tries) = (&world, &tries);
                move || world.wrong(who, tries)
            })
        });
        attacks.map(|attack| attack.join().expect("it ends")).concat()
    });
    let count = tries.len() * EVERYBODY.len();
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // The objects of other users and jobs still exist.
    for kept in ["victim", "borrowed", "powerful-token", OTHER] {
        world.uid(kept);
    }
}

/// Behind a feature gate, Kubernetes 1.37 binds tokens to webhooks, and later releases may add more kinds.
/// Such a token does not end with a job, so a policy must refuse every unknown kind.
#[test]
fn a_token_is_bound_to_an_anchor_whatever_else_kubernetes_can_bind_it_to() {
    let world = World::new();
    let namespace = world.namespace();
    for (version, kind) in [
        ("v1", "Pod"),
        ("v1", "Node"),
        ("v1", "ConfigMap"),
        ("secrets.k8s.io/v1", "Secret"),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
        ),
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
        ("future.k8s.io/v2", "Anything"),
    ] {
        let mut spec = json!({
            "audiences": ["vault"],
            "boundObjectRef": { "apiVersion": version, "kind": kind, "name": OWN, "uid": world.uid(OWN) },
        });
        // Without the feature gate, an API server refuses such a token before it asks the policies.
        if kind.ends_with("WebhookConfiguration") {
            spec["attestations"] = json!({ "admissionReviewAPIGroups": ["apps"] });
        }
        for (who, account, policy) in [
            (
                OfScanner,
                "scanner",
                format!("jobpass-tokens.{namespace}.scanner"),
            ),
            (ForJobs, OWN, format!("jobpass-tokens.{namespace}")),
        ] {
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
            let (_, answer) = world.send(who, &Try::new("POST", path, &json!({ "spec": spec }), NOBODY));
            let refusal = format!("'{policy}' denied request: a token must be bound to an anchor");
            let message = answer["message"].as_str();
            assert!(
                message.is_some_and(|message| message.contains(&refusal)),
                "{kind}: {answer}"
            );
        }
    }
}

#[test]
fn no_validation_is_there_for_nothing() {
    let world = World::new();
    let namespace = world.namespace().to_owned();
    let mut tries = world.tries();
    tries.retain(|one| one.may.is_empty() && (one.dry || one.path.ends_with("/token")));
    for (policy, who, about) in [
        (format!("jobpass-tokens.{namespace}.scanner"), OfScanner, "/token"),
        (
            format!("jobpass-anchors.{namespace}.scanner"),
            OfScanner,
            "/secrets",
        ),
        (format!("jobpass-tokens.{namespace}"), ForJobs, "/token"),
        (format!("jobpass-anchors.{namespace}"), ForJobs, "/secrets"),
        (format!("jobpass-roles.{namespace}"), ForJobs, "/r"),
        (format!("jobpass-jobs.{namespace}"), Gifted, "/secrets"),
    ] {
        let about = tries.iter().filter(|one| one.path.contains(about));
        let about = about.collect::<Vec<_>>();
        let path = format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{policy}");
        let (_, whole) = world.desk.cluster.ask("GET", &path, None);
        let validations = whole["spec"]["validations"].as_array().expect("a list");
        let refused_by = |one: &Try, text: &str| {
            let (_, answer) = world.send(who, one);
            answer["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
        };
        let refused = about
            .iter()
            .find(|one| refused_by(one, &format!("'{policy}' denied request")));
        let refused = refused.expect("the policy refuses something");
        for (index, without) in validations.iter().enumerate() {
            let mark = format!("without {index}");
            let mut fewer = validations.clone();
            for validation in &mut fewer {
                validation["message"] = mark.clone().into();
            }
            fewer[index]["expression"] = "true".into();
            let patch = json!({ "spec": { "validations": fewer } });
            let (status, answer) = world.desk.cluster.ask("PATCH", &path, Some(&patch));
            assert_eq!(status, 200, "{answer}");
            let deadline = Instant::now() + PATIENCE;
            while !refused_by(refused, &mark) && !world.passes(who, refused) {
                assert!(Instant::now() < deadline, "{policy} is not changed");
                // No event tells that a policy is in effect.
                thread::sleep(Duration::from_millis(50));
            }
            let hole = about.iter().any(|one| world.passes(who, one));
            assert!(hole, "{policy} does the same without {without}");
        }
    }
}
