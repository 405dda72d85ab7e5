//! The minter as an attacker: what it tries is a product of verbs, resources, names, bodies, owners, bindings and ways to delete, each
//! either refused or on a short list of what a minter may do. Then the same as every account that it can make.
//!
//! And every validation of every policy is taken away in turn: something must then be let through that was refused.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Desk;

const RBAC: &str = "rbac.authorization.k8s.io";
const ANCHOR: &str = "jobpass.dev/anchor";
const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";
/// What jobs may be given here.
const RULES: &str = "get pods\nlist pods\ncreate pods/exec target-pod\nget configmaps shared";
/// A job's account, to whose anchor and Role the attacker has a right.
const OWN: &str = "jobpass-ownownownownownownow";
/// The same, with an anchor and a Role and nothing else.
const SPARE: &str = "jobpass-sparesparesparespare";
/// Another job's.
const OTHER: &str = "jobpass-otherotherotherother";
/// A job's account to which somebody gave all that the minter has.
const GIFTED: &str = "jobpass-giftedgiftedgiftedgi";
/// What nobody has made yet.
const FRESH: &str = "jobpass-freshfreshfreshfresh";
/// An API server reads its policies once a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who attacks.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    /// A minter of one ServiceAccount.
    OfScanner,
    /// A minter for jobs with rules.
    ForJobs,
    /// The same, with all rights to change what it may make, from elsewhere: only policies hold it.
    Mighty,
    /// A job, with all that `RULES` has.
    Job,
    /// A job's account to which somebody gave all that the minter has.
    Gifted,
}
use Who::{ForJobs, Gifted, Job, Mighty, OfScanner};

const EVERYBODY: [Who; 5] = [OfScanner, ForJobs, Mighty, Job, Gifted];
const MINTERS: &[Who] = &[OfScanner, ForJobs, Mighty];
const FOR_JOBS: &[Who] = &[ForJobs, Mighty];
const NOBODY: &[Who] = &[];

/// A request, and who may make it.
struct Try {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    may: &'static [Who],
    /// Whether it changes nothing. What may be done is only ever tried.
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

    /// In a dry run; and for real, if nobody may.
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

/// A namespace that is set up, and the tokens of those who attack.
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
            "--rules",
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

    /// Makes a job's account and its role, as the minter and as jobpass does; gives its token.
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

    /// Whether it is carried out; every other answer is a refusal.
    fn passes(&self, who: Who, one: &Try) -> bool {
        let (status, answer) = self.send(who, one);
        assert!((200..500).contains(&status) && status != 429, "{status} {answer}");
        status < 300
    }

    /// What passes and should not, or does not and should.
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

    /// Everything that is tried.
    fn tries(&self) -> Vec<Try> {
        let mut tries = self.secrets();
        tries.extend(self.tokens());
        tries.extend(self.roles());
        tries.extend(self.deletions());
        tries.extend(self.changes());
        tries.extend(self.everything_else());
        tries
    }

    /// A minter makes anchors: of our name and type, with nothing in them and nothing that keeps them.
    fn secrets(&self) -> Vec<Try> {
        let path = format!("/api/v1/namespaces/{}/secrets", self.namespace());
        let mut tries = Vec::new();
        for names in names() {
            for kind in [ANCHOR, "Opaque", "kubernetes.io/service-account-token"] {
                for content in [
                    json!({}),
                    json!({ "data": { "a": "Yg==" } }),
                    json!({ "stringData": { "a": "b" } }),
                ] {
                    for finalizers in [json!([]), json!(["a.example/b"])] {
                        let an_anchor = names["name"] == FRESH && kind == ANCHOR;
                        let empty = content == json!({}) && finalizers == json!([]);
                        let mut secret = content.clone();
                        secret["type"] = kind.into();
                        secret["metadata"] = names.clone();
                        secret["metadata"]["finalizers"] = finalizers;
                        secret["metadata"]["annotations"] =
                            json!({ "kubernetes.io/service-account.name": "powerful" });
                        let may = if an_anchor && empty { MINTERS } else { NOBODY };
                        tries.extend(Try::both("POST", &path, &secret, may));
                    }
                }
            }
        }
        for query in [
            "",
            "?watch=true&timeoutSeconds=1",
            "/victim",
            "/victim?resourceVersion=0",
            &format!("/{OWN}"),
        ] {
            tries.push(Try::new("GET", format!("{path}{query}"), &Value::Null, NOBODY));
        }
        tries
    }

    /// A minter gets tokens of its ServiceAccount, bound to an anchor; or of a job's, bound to the job's own. They live for an hour at
    /// most, and are for whom the set-up says.
    fn tokens(&self) -> Vec<Try> {
        let own = json!({ "apiVersion": "v1", "kind": "Secret", "name": OWN, "uid": self.uid(OWN) });
        let with = |field: &str, value: Value| {
            let mut bound = own.clone();
            bound[field] = value;
            bound
        };
        let secret =
            |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": self.uid(name) });
        let other = secret(OTHER);
        let bounds = [
            Value::Null,
            own.clone(),
            other.clone(),
            secret("victim"),
            secret("borrowed"),
            secret("powerful-token"),
            with("uid", Value::Null),
            with("uid", "".into()),
            with("uid", "00000000-0000-0000-0000-000000000000".into()),
            with("apiVersion", Value::Null),
            with("apiVersion", "v2".into()),
            with("apiVersion", "apps/v1".into()),
            with("kind", "secret".into()),
            with("kind", "Node".into()),
            json!({ "apiVersion": "v1", "kind": "Pod", "name": "target-pod" }),
            json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "name": OWN }),
        ];
        let may_bind = |account: &str, bound: &Value| -> &'static [Who] {
            match account {
                "scanner" if *bound == own || *bound == other => &[OfScanner],
                OWN if *bound == own => FOR_JOBS,
                OTHER if *bound == other => FOR_JOBS,
                _ => NOBODY,
            }
        };
        let accounts = [
            "scanner",
            OWN,
            OTHER,
            GIFTED,
            "of-scanner",
            "for-jobs",
            "jobpass-sweeper",
            "default",
            "powerful",
        ];
        let mut tries = Vec::new();
        let mut ask = |account: &str, spec: Value, may| {
            let path = format!(
                "/api/v1/namespaces/{}/serviceaccounts/{account}/token",
                self.namespace()
            );
            tries.push(Try::new("POST", path, &json!({ "spec": spec }), may));
        };
        for account in accounts {
            for bound in &bounds {
                ask(
                    account,
                    json!({ "boundObjectRef": bound }),
                    may_bind(account, bound),
                );
            }
            for seconds in [600, 3600, 3601, 7200, 172_800] {
                for audiences in [
                    json!([]),
                    json!([AUDIENCE]),
                    json!(["vault", AUDIENCE]),
                    json!(["other"]),
                    json!(["vault", "other"]),
                ] {
                    let fits = seconds <= 3600 && !audiences.to_string().contains("other");
                    let may = if fits { may_bind(account, &own) } else { NOBODY };
                    let spec = json!({ "boundObjectRef": own, "expirationSeconds": seconds, "audiences": audiences });
                    ask(account, spec, may);
                }
            }
        }
        tries
    }

    /// A minter for jobs makes their accounts, Roles and RoleBindings: called as their anchor, owned by it alone, giving what was listed
    /// and no more to that account and no other.
    fn roles(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let path = |kind: &str| match kind {
            "serviceaccounts" => format!("/api/v1/namespaces/{namespace}/{kind}"),
            kind => format!("/apis/{RBAC}/v1/namespaces/{namespace}/{kind}"),
        };
        let mine = |name: &str| json!([owner(name, &json!({ "metadata": { "uid": "u" } }))]);
        let changed = |field: &str, value: Value| {
            let mut owners = mine(FRESH);
            owners[0][field] = value;
            owners
        };
        let mut both = mine(FRESH);
        both.as_array_mut()
            .expect("a list")
            .push(owner("victim", &json!({ "metadata": { "uid": "v" } })));
        let owners = [
            mine(FRESH),
            json!([]),
            both,
            changed("apiVersion", "nowhere.example/v1".into()),
            changed("kind", "ConfigMap".into()),
            changed("name", "loot".into()),
            changed("blockOwnerDeletion", true.into()),
        ];
        let mut tries = Vec::new();
        for names in names() {
            for owners in owners.iter().chain([&mine("loot")]) {
                for finalizers in [json!([]), json!(["a.example/b"])] {
                    let of_job = names["name"] == FRESH && *owners == mine(FRESH) && finalizers == json!([]);
                    let may = if of_job { FOR_JOBS } else { NOBODY };
                    let mut meta = names.clone();
                    meta["ownerReferences"] = owners.clone();
                    meta["finalizers"] = finalizers;
                    tries.extend(Try::both(
                        "POST",
                        &path("serviceaccounts"),
                        &json!({ "metadata": meta }),
                        may,
                    ));
                    let role = json!({ "metadata": meta, "rules": listed() });
                    tries.extend(Try::both("POST", &path("roles"), &role, may));
                }
            }
        }
        for (rules, may) in rules() {
            let role =
                json!({ "metadata": { "name": FRESH, "ownerReferences": mine(FRESH) }, "rules": rules });
            tries.extend(Try::both("POST", &path("roles"), &role, may));
        }
        let subject = |kind: &str, name: &str, namespace: &str| match kind {
            "ServiceAccount" => json!({ "kind": kind, "name": name, "namespace": namespace }),
            kind => json!({ "kind": kind, "name": name, "apiGroup": RBAC }),
        };
        let own = subject("ServiceAccount", SPARE, namespace);
        let subjects = [
            json!([own]),
            json!([]),
            json!([own, subject("ServiceAccount", "for-jobs", namespace)]),
            json!([subject("ServiceAccount", OWN, namespace)]),
            json!([subject("ServiceAccount", "scanner", namespace)]),
            json!([subject("ServiceAccount", SPARE, "kube-system")]),
            json!([subject("User", SPARE, "")]),
            json!([subject("Group", "system:authenticated", "")]),
        ];
        for (kind, role) in [
            ("Role", SPARE),
            ("Role", OWN),
            ("Role", "jobpass-minter.with-rules"),
            ("Role", "jobpass-sweeper"),
            ("ClusterRole", "view"),
            ("ClusterRole", "cluster-admin"),
        ] {
            for subjects in &subjects {
                let fits = role == SPARE && *subjects == json!([own]);
                let may = if fits { FOR_JOBS } else { NOBODY };
                let binding = json!({
                    "metadata": { "name": SPARE, "ownerReferences": mine(SPARE) },
                    "roleRef": { "apiGroup": RBAC, "kind": kind, "name": role }, "subjects": subjects,
                });
                tries.extend(Try::both("POST", &path("rolebindings"), &binding, may));
            }
        }
        tries
    }

    /// A minter deletes anchors, and one for jobs what belongs to them: in the background.
    fn deletions(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let core = format!("/api/v1/namespaces/{namespace}");
        let rbac = format!("/apis/{RBAC}/v1/namespaces/{namespace}");
        let mut tries = Vec::new();
        for (path, may) in [
            (format!("{core}/secrets/{SPARE}"), MINTERS),
            (format!("{core}/secrets/{OTHER}"), MINTERS),
            (format!("{core}/secrets/borrowed"), NOBODY),
            (format!("{core}/secrets/victim"), NOBODY),
            (format!("{core}/secrets/powerful-token"), NOBODY),
            (format!("{core}/secrets/{OWN}-data"), NOBODY),
            (format!("{core}/serviceaccounts/{OTHER}"), FOR_JOBS),
            (format!("{core}/serviceaccounts/scanner"), NOBODY),
            (format!("{core}/serviceaccounts/for-jobs"), NOBODY),
            (format!("{rbac}/roles/{OTHER}"), FOR_JOBS),
            (format!("{rbac}/roles/jobpass-minter.with-rules"), NOBODY),
            (format!("{rbac}/rolebindings/{OTHER}"), FOR_JOBS),
            (format!("{rbac}/rolebindings/jobpass-sweeper"), NOBODY),
        ] {
            for (query, body, in_background) in [
                ("", Value::Null, true),
                ("propagationPolicy=Background", Value::Null, true),
                ("propagationPolicy=Foreground", Value::Null, false),
                ("propagationPolicy=Orphan", Value::Null, false),
                ("orphanDependents=true", Value::Null, false),
                ("gracePeriodSeconds=0", Value::Null, true),
                ("", json!({ "propagationPolicy": "Background" }), true),
                ("", json!({ "propagationPolicy": "Foreground" }), false),
                ("", json!({ "propagationPolicy": "Orphan" }), false),
                ("", json!({ "orphanDependents": true }), false),
                ("", json!({ "orphanDependents": false }), true),
                (
                    "propagationPolicy=Background",
                    json!({ "propagationPolicy": "Foreground" }),
                    false,
                ),
            ] {
                let may = if in_background { may } else { NOBODY };
                // What a body says counts, and then no query.
                let mut body = body;
                let mut all = query.to_owned();
                match body.is_null() {
                    true => all = format!("{query}&dryRun=All"),
                    false => {
                        body["kind"] = "DeleteOptions".into();
                        body["apiVersion"] = "v1".into();
                    }
                }
                let for_real = body.clone();
                if !body.is_null() {
                    body["dryRun"] = json!(["All"]);
                }
                tries.push(Try {
                    dry: true,
                    ..Try::new("DELETE", format!("{path}?{all}"), &body, may)
                });
                if may.is_empty() {
                    tries.push(Try::new("DELETE", format!("{path}?{query}"), &for_real, may));
                }
            }
        }
        // At once, of which none has a name of its own.
        for (collection, one) in [
            (format!("{core}/secrets"), "victim"),
            (format!("{core}/serviceaccounts"), "scanner"),
            (format!("{rbac}/roles"), "jobpass-sweeper"),
            (format!("{rbac}/rolebindings"), "jobpass-sweeper"),
        ] {
            for name in [one, OWN] {
                let one = format!("{collection}?fieldSelector=metadata.name%3D{name}");
                for query in [
                    &one,
                    &format!("{one}&propagationPolicy=Foreground"),
                    &format!("{one}&dryRun=All"),
                ] {
                    tries.push(Try::new("DELETE", query, &Value::Null, NOBODY));
                }
            }
            tries.push(Try::new("DELETE", &collection, &Value::Null, NOBODY));
        }
        tries
    }

    /// Nobody changes what is there; who has the right to may do no more to what belongs to a job than to make it.
    fn changes(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let core = format!("/api/v1/namespaces/{namespace}");
        let rbac = format!("/apis/{RBAC}/v1/namespaces/{namespace}");
        let admission = "/apis/admissionregistration.k8s.io/v1";
        let user = json!({ "kind": "User", "name": "jane", "apiGroup": RBAC });
        let secrets = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
        let mut tries = Vec::new();
        for path in [
            format!("{core}/secrets/victim"),
            format!("{core}/secrets/borrowed"),
            format!("{core}/secrets/{OWN}"),
            format!("{core}/secrets/{FRESH}"),
            format!("{core}/serviceaccounts/scanner"),
            format!("{core}/serviceaccounts/{OWN}"),
            format!("{core}/serviceaccounts/{FRESH}"),
            format!("{core}/pods/target-pod"),
            format!("{core}/configmaps/shared"),
            format!("{rbac}/roles/jobpass-minter.with-rules"),
            format!("{rbac}/roles/{OWN}"),
            format!("{rbac}/roles/{FRESH}"),
            format!("{rbac}/rolebindings/jobpass-minter.with-rules"),
            format!("{rbac}/rolebindings/{OWN}"),
            format!("{rbac}/rolebindings/{FRESH}"),
            format!("/api/v1/namespaces/{namespace}"),
            format!("{admission}/validatingadmissionpolicies/jobpass-jobs.{namespace}"),
            format!("{admission}/validatingadmissionpolicybindings/jobpass-jobs.{namespace}"),
        ] {
            let (status, mut object) = self.desk.cluster.ask("GET", &path, None);
            if status != 200 {
                object = json!({
                    "metadata": { "name": FRESH }, "rules": [], "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": OWN },
                });
            }
            object["metadata"]["labels"]["a"] = "b".into();
            let harmless: &'static [Who] = match path.ends_with(OWN) {
                true => &[Mighty],
                false => NOBODY,
            };
            tries.extend(Try::both("PUT", &path, &object, harmless));
            let mut labelled = json!({ "metadata": { "labels": { "a": "b" } } });
            for (kind, body, may) in [
                ("merge-patch+json", labelled.clone(), harmless),
                ("strategic-merge-patch+json", labelled.clone(), harmless),
                (
                    "json-patch+json",
                    json!([{ "op": "add", "path": "/metadata/finalizers", "value": ["a.example/b"] }]),
                    NOBODY,
                ),
                // Of these, an object ignores what it does not have: each with what would be wrong in all.
                (
                    "merge-patch+json",
                    json!({ "metadata": { "ownerReferences": null, "finalizers": ["a.example/b"] }, "data": { "a": "Yg==" } }),
                    NOBODY,
                ),
                (
                    "merge-patch+json",
                    json!({ "metadata": { "finalizers": ["a.example/b"] }, "rules": secrets, "subjects": [user] }),
                    NOBODY,
                ),
            ] {
                let headers = match kind {
                    "merge-patch+json" => "application/merge-patch+json",
                    "strategic-merge-patch+json" => "application/strategic-merge-patch+json",
                    _ => "application/json-patch+json",
                };
                tries.extend(Try::both("PATCH", &path, &body, may).into_iter().map(|one| Try {
                    headers: vec![("content-type", headers)],
                    ..one
                }));
            }
            labelled["apiVersion"] = object["apiVersion"].clone();
            labelled["kind"] = object["kind"].clone();
            let applied = Try::new(
                "PATCH",
                format!("{path}?fieldManager=attacker&force=true&dryRun=All"),
                &labelled,
                harmless,
            );
            tries.push(Try {
                headers: vec![("content-type", "application/apply-patch+yaml")],
                dry: true,
                ..applied
            });
            if path.starts_with(admission) || path.ends_with(namespace) {
                tries.push(Try::new("DELETE", path, &Value::Null, NOBODY));
            }
        }
        // One thing wrong in each.
        for (path, body) in [
            (
                format!("{core}/secrets/{OWN}"),
                json!({ "data": { "a": "Yg==" } }),
            ),
            (format!("{rbac}/roles/{OWN}"), json!({ "rules": secrets })),
            (
                format!("{rbac}/roles/{OWN}"),
                json!({ "metadata": { "ownerReferences": null } }),
            ),
            (
                format!("{rbac}/rolebindings/{OWN}"),
                json!({ "subjects": [user] }),
            ),
            (
                format!("{core}/serviceaccounts/{OWN}"),
                json!({ "metadata": { "ownerReferences": null } }),
            ),
        ] {
            tries.extend(
                Try::both("PATCH", &path, &body, NOBODY)
                    .into_iter()
                    .map(|one| Try {
                        headers: vec![("content-type", "application/merge-patch+json")],
                        ..one
                    }),
            );
        }
        tries
    }

    /// What is given to jobs may be done by who gives it. Of all else nothing.
    fn everything_else(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let core = format!("/api/v1/namespaces/{namespace}");
        let get = |path: String, may| Try::new("GET", path, &Value::Null, may);
        let given: &'static [Who] = &[ForJobs, Mighty, Job, Gifted];
        let mut tries = vec![
            get(format!("{core}/pods"), given),
            get(format!("{core}/configmaps/shared"), given),
            get(format!("{core}/configmaps"), NOBODY),
            get(format!("{core}/configmaps/kube-root-ca.crt"), NOBODY),
            get(format!("{core}/pods/other-pod/exec?command=id"), NOBODY),
            get(format!("{core}/serviceaccounts"), NOBODY),
            get("/api/v1/secrets".into(), NOBODY),
            get("/api/v1/namespaces/kube-system/secrets".into(), NOBODY),
            get(format!("/apis/{RBAC}/v1/namespaces/{namespace}/roles"), NOBODY),
        ];
        let pod = json!({
            "serviceAccountName": "for-jobs", "restartPolicy": "Never", "containers": [{ "name": "a", "image": "a" }],
        });
        let template = json!({ "metadata": { "labels": { "a": "b" } }, "spec": pod });
        let meta = json!({ "name": "loot" });
        let subject = json!({ "kind": "ServiceAccount", "name": "for-jobs", "namespace": namespace });
        let deployment = json!({ "selector": { "matchLabels": { "a": "b" } }, "template": template });
        let admin = json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" });
        for (path, object) in [
            (format!("{core}/pods"), json!({ "metadata": meta, "spec": pod })),
            (format!("{core}/configmaps"), json!({ "metadata": meta })),
            (
                format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
                json!({ "metadata": meta, "spec": deployment }),
            ),
            (
                format!("/apis/batch/v1/namespaces/{namespace}/jobs"),
                json!({ "metadata": meta, "spec": { "template": template } }),
            ),
            ("/api/v1/namespaces".into(), json!({ "metadata": meta })),
            (
                format!("/apis/{RBAC}/v1/clusterroles"),
                json!({ "metadata": meta, "rules": [] }),
            ),
            (
                format!("/apis/{RBAC}/v1/clusterrolebindings"),
                json!({ "metadata": meta, "roleRef": admin, "subjects": [subject] }),
            ),
            (
                "/api/v1/namespaces/kube-system/secrets".into(),
                anchor(&json!({ "name": FRESH })),
            ),
            (
                "/api/v1/namespaces/kube-system/serviceaccounts/default/token".into(),
                json!({ "spec": {} }),
            ),
            (
                "/apis/authentication.k8s.io/v1/tokenreviews".into(),
                json!({ "spec": { "token": "a" } }),
            ),
        ] {
            tries.extend(Try::both("POST", &path, &object, NOBODY));
        }
        for (name, value) in [
            ("impersonate-user", "kubernetes-admin"),
            (
                "impersonate-user",
                "system:serviceaccount:kube-system:generic-garbage-collector",
            ),
            ("impersonate-group", "system:masters"),
            ("impersonate-uid", "u"),
        ] {
            let mut headers = vec![(name, value)];
            if name != "impersonate-user" {
                headers.push(("impersonate-user", "jane"));
            }
            tries.push(Try {
                headers,
                ..get(format!("{core}/secrets"), NOBODY)
            });
        }
        tries
    }
}

/// What others have in this namespace, and other jobs.
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

/// Ours, and others.
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

/// `RULES`, as rules.
fn listed() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
        { "apiGroups": [""], "resources": ["pods/exec"], "resourceNames": ["target-pod"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["shared"], "verbs": ["get"] },
    ])
}

/// Rules of a Role, and who may make one with them. The minter has each of them, or RBAC itself would refuse.
fn rules() -> Vec<(Value, &'static [Who])> {
    let one = |group: &str, resource: &str, names: &[&str], verb: &str| {
        let mut rule = json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    let may = FOR_JOBS;
    let mut rules = vec![
        (listed(), may),
        (json!([one("", "pods", &[], "get")]), may),
        (json!([one("", "pods", &["a", "b"], "list")]), may),
        (json!([one("", "configmaps", &["shared"], "get")]), may),
    ];
    for never in [
        one("", "configmaps", &[], "get"),
        one("", "configmaps", &[""], "get"),
        one("", "configmaps", &["shared", "kube-root-ca.crt"], "get"),
        one("", "configmaps", &["shared"], "delete"),
        one("", "pods", &[], "delete"),
        one("", "pods", &[], "*"),
        one("", "pods/exec", &[], "create"),
        one("", "pods/exec", &["other-pod"], "create"),
        one("apps", "pods", &[], "get"),
        one("*", "pods", &[], "get"),
        one("", "*", &[], "get"),
        one("", "*/exec", &["target-pod"], "create"),
        one("*", "*", &[], "*"),
        one("", "secrets", &[], "create"),
        one("", "secrets", &[], "delete"),
        one("", "secrets", &[], "get"),
        one("", "secrets", &["pods"], "create"),
        one("", "serviceaccounts", &[], "create"),
        one("", "serviceaccounts/token", &[], "create"),
        one("", "serviceaccounts/token", &["scanner"], "create"),
        one("", "serviceaccounts", &[], "impersonate"),
        one(RBAC, "roles", &[], "create"),
        one(RBAC, "roles", &[], "escalate"),
        one(RBAC, "rolebindings", &[], "create"),
        one(RBAC, "rolebindings", &[], "delete"),
    ] {
        rules.push((json!([never]), NOBODY));
        rules.push((json!([one("", "pods", &[], "get"), never]), NOBODY));
    }
    rules
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
    // What belongs to others is still there.
    for kept in ["victim", "borrowed", "powerful-token", OTHER] {
        world.uid(kept);
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
                // Nothing tells of it but what it refuses.
                thread::sleep(Duration::from_millis(50));
            }
            let hole = about.iter().any(|one| world.passes(who, one));
            assert!(hole, "{policy} does the same without {without}");
        }
    }
}
