//! Tests of `learn`. Some check properties of the least rules, for generated jobs.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::json;

use super::*;
use crate::{
    proxy::record::{Line, Recorded},
    rbac::{Allowed, Request},
};

const NAMESPACES: [&str; 3] = ["", "ci", "other"];
const NAMES: [&str; 4] = ["", "a", "b", "c"];
const VERBS: [&str; 5] = ["get", "list", "create", "patch", "delete"];
const RESOURCES: [(&str, &str, &str); 5] = [
    ("", "pods", ""),
    ("", "pods", "log"),
    ("", "configmaps", ""),
    ("apps", "deployments", ""),
    ("apps", "deployments", "scale"),
];

/// All requests that a generated job may make.
fn universe() -> Vec<Request> {
    let mut all = Vec::new();
    for namespace in NAMESPACES {
        for verb in VERBS {
            for (group, resource, subresource) in RESOURCES {
                for name in NAMES {
                    // Without a subresource, the path of a `create` has no name: the name is in the body.
                    if verb == "create" && subresource.is_empty() && !name.is_empty() {
                        continue;
                    }
                    all.push(request(verb, [group, resource, subresource], namespace, name));
                }
            }
        }
    }
    all
}

fn request(verb: &str, [group, resource, subresource]: [&str; 3], namespace: &str, name: &str) -> Request {
    Request {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        path: String::new(),
    }
}

fn line(request: &Request, status: Option<u16>) -> String {
    let recorded = Recorded {
        time: Timestamp::UNIX_EPOCH,
        account: "ci/scanner".into(),
        request: request.clone(),
        status,
        milliseconds: 1,
    };
    serde_json::to_string(&Line::Request(Box::new(recorded))).expect("JSON") + "\n"
}

fn needs(record: &str) -> Needs {
    let mut runs = Runs::default();
    runs.read_from("record", record.as_bytes(), &[])
        .expect("a record");
    Needs::of(&runs)
}

/// The rules that a report prints, in the form of the input `role-rules`. The key is the namespace, or empty
/// for the whole cluster.
type Printed = BTreeMap<String, Vec<serde_yaml::Value>>;

fn printed(yaml: &str, only: Option<&str>) -> Printed {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let documents = documents.map(|document| serde_yaml::Value::deserialize(document).expect("YAML"));
    let place = |document: &serde_yaml::Value| match document["kind"].as_str() {
        Some(_) => String::new(),
        None => document["namespace"]
            .as_str()
            .or(only)
            .expect("a namespace")
            .to_owned(),
    };
    let rules = |document: &serde_yaml::Value| match document["role-rules"].as_str() {
        Some(text) => serde_yaml::from_str(text).expect("a list"),
        None => document["rules"].as_sequence().expect("a list").clone(),
    };
    let documents = documents.filter(|document| !document.is_null());
    documents
        .map(|document| (place(&document), rules(&document)))
        .collect()
}

/// Decides about requests by some rules, as the proxy's `allow` does.
struct Judge(BTreeMap<&'static str, Vec<Allowed>>);

impl Judge {
    fn of(printed: &Printed) -> Self {
        let of_place = |namespace: &'static str| {
            // A rule of a ClusterRole applies in each namespace.
            let places = BTreeSet::from([namespace, ""]);
            let rules = places.into_iter().filter_map(|place| printed.get(place));
            let allowed = rules.map(|rules| {
                let text = serde_json::to_string(rules).expect("JSON");
                Allowed::parse("role-rules", &text, namespace).expect("rules")
            });
            (namespace, allowed.collect())
        };
        Self(NAMESPACES.map(of_place).into())
    }

    fn allows(&self, request: &Request) -> bool {
        let rules = &self.0[&*request.namespace];
        rules.iter().any(|rules| rules.has(request))
    }
}

/// Each way to remove one verb, one resource or one name from the printed rules.
fn without_one(printed: &Printed) -> Vec<Printed> {
    let mut fewer = Vec::new();
    for (place, rules) in printed {
        for (number, rule) in rules.iter().enumerate() {
            for list in ["verbs", "resources", "resourceNames"] {
                for at in 0..rule[list].as_sequence().map_or(0, Vec::len) {
                    let mut less = printed.clone();
                    let rules = less.get_mut(place).expect("a place");
                    let entries = rules[number][list].as_sequence_mut().expect("a list");
                    entries.remove(at);
                    // A rule that loses its last name would allow all names.
                    if entries.is_empty() {
                        rules.remove(number);
                    }
                    fewer.push(less);
                }
            }
        }
    }
    fewer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_allow_what_the_runs_did_and_nothing_else(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..24)
    ) {
        let universe = universe();
        let calls = picks.iter().map(|(index, kind)| (index.get(&universe), kind));
        let calls = calls.collect::<Vec<_>>();
        let status = |kind: &u8| match kind { 0 => Some(403), 1 => None, _ => Some(200) };
        let record = calls.iter().map(|(request, kind)| line(request, status(kind))).collect::<String>();
        let needs = needs(&record);
        let own = needs.own_namespace();
        let yaml = Report::of(&needs, own, None).yaml();
        let printed = printed(&yaml, own);
        let done = calls.iter().filter(|(_, kind)| **kind > 1).map(|(request, _)| *request);
        let done = done.collect::<Vec<_>>();
        let is_needed = |asked: &Request| done.iter().any(|did| {
            let mut wider = asked.clone();
            if did.name.is_empty() { wider.name.clear(); }
            if did.namespace.is_empty() { wider.namespace.clear(); }
            wider == **did
        });
        let judge = Judge::of(&printed);
        for asked in &universe {
            prop_assert_eq!(judge.allows(asked), is_needed(asked), "{:?}\n{}", asked, yaml);
        }
        for less in without_one(&printed) {
            let judge = Judge::of(&less);
            prop_assert!(done.iter().any(|did| !judge.allows(did)), "{less:?}\n{yaml}");
        }
        // A file with the printed rules is also valid input for `--diff`.
        if !done.is_empty() {
            let difference = InUse::parse(&yaml, own).expect("rules").compare(&needs, own);
            prop_assert_eq!(difference, Difference::default(), "{}", yaml);
            for less in without_one(&printed) {
                let text = manifests(&less);
                if !text.is_empty() {
                    let difference = InUse::parse(&text, own).expect("rules").compare(&needs, own);
                    prop_assert!(!difference.missing.is_empty() && difference.unused.is_empty(), "{text}");
                }
            }
        }
    }
}

fn manifests(printed: &Printed) -> String {
    let printed = printed.iter().filter(|(_, rules)| !rules.is_empty());
    let manifest = |(place, rules): (&String, &Vec<serde_yaml::Value>)| {
        let rules = serde_yaml::to_string(rules).expect("YAML");
        match &**place {
            "" => format!("---\nkind: ClusterRole\nrules:\n{rules}"),
            place => format!("---\nkind: Role\nmetadata: {{namespace: {place}}}\nrules:\n{rules}"),
        }
    };
    printed.map(manifest).collect()
}

fn of(method: &str, uri: &str, status: u16) -> String {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    line(
        &Request::read(&method, path, query).expect("a request"),
        Some(status),
    )
}

const PODS: &str = "/api/v1/namespaces/ci/pods";

/// The ServiceAccount is in namespace `ci`, and the job works in namespace `shop`. Without `-n`, `require`
/// would ask about `ci`. As the input `role-rules`, the rules would apply in `ci`.
#[test]
fn rules_for_another_namespace_say_so() {
    let needs = needs(&of("GET", "/apis/apps/v1/namespaces/shop/deployments", 200));
    insta::assert_snapshot!(Report::of(&needs, needs.own_namespace(), None).yaml(), @r#"
    # The least rules for 1 request in 1 file.
    # Namespace shop: for a Role.
    namespace: shop
    rules:
      - apiGroups: ["apps"]
        resources: ["deployments"]
        verbs: ["list"]
    require: |
      list deployments.apps -n shop
    "#);
}

#[test]
fn a_person_sees_rules_to_paste() {
    let record = [
        of("GET", "/version", 200),
        of("GET", "/apis/apps/v1?timeout=32s", 200),
        of("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", 201),
        of("GET", PODS, 200),
        of("GET", &format!("{PODS}?watch=1"), 200),
        of("GET", &format!("{PODS}/web/exec"), 101),
        of("GET", "/api/v1/namespaces/ci/configmaps/app", 404),
        of("PATCH", "/api/v1/namespaces/ci/configmaps/app", 201),
        of("GET", "/api/v1/namespaces/ci/secrets", 403),
        of("GET", "/api/v1/namespaces/ci/secrets/db", 200),
        of("DELETE", &format!("{PODS}/web"), 429),
    ];
    let needs = needs(&record.concat());
    insta::assert_snapshot!(Report::of(&needs, needs.own_namespace(), None).yaml(), @r#"
    # The least rules for 11 requests in 1 file.
    # Namespace ci: for a Role. The input `role-rules` refuses this, because it has `get secrets`, which jobs cannot get: Secrets may hold tokens that outlive the job.
    rules:
      - apiGroups: [""]
        resources: ["configmaps"]
        verbs: ["create"]
      - apiGroups: [""]
        resources: ["configmaps"]
        resourceNames: ["app"]
        verbs: ["get", "patch"]
      - apiGroups: [""]
        resources: ["pods"]
        verbs: ["list", "watch"]
      - apiGroups: [""]
        resources: ["pods/exec"]
        resourceNames: ["web"]
        verbs: ["get", "create"]
      - apiGroups: [""]
        resources: ["secrets"]
        resourceNames: ["db"]
        verbs: ["get"]
    require: |
      get configmaps app
      create configmaps
      patch configmaps app
      list pods
      watch pods
      get pods/exec web
      create pods/exec web
      get secrets db

    # Denied (403). If a run needs this, add it to the rules:
    #   list secrets

    # Not in the rules, because no answer tells whether it is allowed:
    #   delete pods web
    "#);
}

#[test]
fn each_namespace_has_its_own_rules() {
    let record = [
        of("GET", "/api/v1/namespaces/other/services/web", 200),
        of("GET", PODS, 200),
        of("GET", "/api/v1/pods", 200),
        of("GET", "/api/v1/nodes/one", 200),
        of("POST", PODS, 201),
        of("GET", "/metrics", 200),
        of(
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/ci/roles",
            201,
        ),
    ];
    let needs = needs(&record.concat());
    insta::assert_snapshot!(Report::of(&needs, Some("ci"), None).yaml(), @r#"
    # The least rules for 7 requests in 1 file.
    # Namespace ci: for a Role. The input `role-rules` refuses this, because it has `create pods`, which jobs cannot get: a Pod may run as any ServiceAccount of the namespace, including the minter, and mount any Secret.
    namespace: ci
    rules:
      - apiGroups: [""]
        resources: ["pods"]
        verbs: ["create"]
      - apiGroups: ["rbac.authorization.k8s.io"]
        resources: ["roles"]
        verbs: ["create"]
    require: |
      create pods
      create roles.rbac.authorization.k8s.io
    ---
    # Namespace other: for a Role.
    namespace: other
    rules:
      - apiGroups: [""]
        resources: ["services"]
        resourceNames: ["web"]
        verbs: ["get"]
    require: |
      get services web -n other
    ---
    # The whole cluster, which no Role reaches: for a ClusterRole and a ClusterRoleBinding.
    kind: ClusterRole
    rules:
      - apiGroups: [""]
        resources: ["nodes"]
        resourceNames: ["one"]
        verbs: ["get"]
      - apiGroups: [""]
        resources: ["pods"]
        verbs: ["list"]
      - nonResourceURLs: ["/metrics"]
        verbs: ["get"]
    require: |
      get nodes one
      list pods -A
      get /metrics

    # The runs changed Roles, bindings or certificates. For these, kube-apiserver also checks rights that no
    # request names: each right that a Role grants (or instead `escalate` or `bind`), and `approve` or `sign`
    # for a signer.
    "#);
}

#[test]
fn the_rules_are_for_the_runs_of_all_files() {
    let mut runs = Runs::default();
    for record in [
        of("GET", PODS, 200),
        of("GET", PODS, 403) + &of("POST", PODS, 201),
    ] {
        runs.read_from("record", record.as_bytes(), &[])
            .expect("a record");
    }
    let needs = Needs::of(&runs);
    let report = Report::of(&needs, Some("ci"), None).json();
    assert_eq!(report["files"], 2);
    assert_eq!(
        report["namespaces"][0]["permissions"],
        json!(["list pods", "create pods"])
    );
    assert_eq!(report["denied"], json!([]), "another run was allowed to do it");
}

/// A job chooses the paths of its requests. They must not put a wildcard, a YAML key or a secret into the
/// printed rules.
#[rstest]
#[case("/api/v1/namespaces/ci/*", "get *")]
#[case("/api/v1/namespaces/ci/pods/web/*", "get pods/* web")]
#[case("/apis/*/v1/namespaces/ci/pods", "list pods.*")]
#[case("/apis/a%0Arules:/v1/namespaces/ci/pods", "list pods.a rules:")]
#[case("/api/v1/namespaces/c%0Ai/pods", "list pods -n c i")]
#[case("/logs/*", "get /logs/*")]
#[case("/logs/eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0", "get /logs/<redacted>")]
fn what_no_rule_may_name_is_left_out(#[case] uri: &str, #[case] shown: &str) {
    let needs = needs(&(of("GET", uri, 200) + &of("GET", &format!("{uri}/x"), 403)));
    let report = Report::of(&needs, needs.own_namespace(), None);
    assert!(report.is_empty(), "{}", report.yaml());
    let yaml = report.yaml();
    assert!(
        yaml.lines().all(|line| line.is_empty() || line.starts_with('#')),
        "{yaml}"
    );
    assert!(yaml.contains(shown), "{yaml}");
}

const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: scanner, namespace: ci}
rules:
- {apiGroups: [''], resources: [pods, pods/log], verbs: [get, list]}
- {apiGroups: [apps], resources: ['*'], verbs: [get]}
- {apiGroups: [''], resources: [configmaps], resourceNames: [a, b], verbs: ['*']}
---
kind: RoleBinding
---
kind: ClusterRole
rules:
- {nonResourceURLs: ['/metrics', '/logs*'], verbs: [get]}
- {apiGroups: [''], resources: [nodes], verbs: [get]}
";

#[test]
fn unused_rights_are_named() {
    let record = [
        of("GET", PODS, 200),
        of("GET", "/apis/apps/v1/namespaces/ci/deployments/web", 200),
        of("PATCH", "/api/v1/namespaces/ci/configmaps/a", 200),
        of("GET", "/api/v1/namespaces/ci/services/a", 200),
        of("GET", "/metrics", 200),
        of("GET", "/api/v1/namespaces/ci/secrets", 403),
    ];
    let needs = needs(&record.concat());
    let difference = InUse::parse(ROLE, None)
        .expect("rules")
        .compare(&needs, Some("ci"));
    insta::assert_debug_snapshot!(difference, @r#"
    Difference {
        unused: [
            "* configmaps a, except for `patch`",
            "* configmaps b",
            "get *.apps, except for `get deployments.apps`",
            "get /logs*",
            "get nodes",
            "get pods",
            "get pods/log",
            "list pods/log",
        ],
        missing: [
            "get services a",
        ],
    }
    "#);
}

#[rstest]
#[case("get pods\nlist pods")]
#[case("- get pods\n- list pods")]
#[case("[{apiGroups: [''], resources: [pods], verbs: [get, list]}]")]
#[case("rules:\n- {apiGroups: [''], resources: [pods], verbs: [get, list]}")]
#[case("# mine\nrole-rules: |\n  get pods\n  list pods")]
#[case(
    "kind: List\nitems:\n- {kind: Role, rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]}"
)]
fn rules_in_use_may_be_written_in_each_form(#[case] text: &str) {
    let needs = needs(&of("GET", PODS, 200));
    let difference = InUse::parse(text, Some("ci"))
        .expect("rules")
        .compare(&needs, Some("ci"));
    assert_eq!(difference.unused, ["get pods"]);
    assert!(difference.missing.is_empty());
}

#[rstest]
#[case("", "has no rules")]
#[case("kind: RoleBinding", "has no rules")]
#[case("get pod", "`pod` is not a resource")]
#[case(
    "- {apiGroup: [''], resources: [pods], verbs: [get]}",
    "is wrong in rule 1: unknown field `apiGroup`"
)]
#[case("rules: 7", "rules that are not a list")]
#[case("a: [", "is not valid YAML")]
fn a_file_without_rules_is_wrong_input(#[case] text: &str, #[case] why: &str) {
    let error = InUse::parse(text, Some("ci")).expect_err("refused");
    assert!(error.message().contains(why), "{error}");
}

#[test]
fn rules_without_a_namespace_need_one() {
    let error = InUse::parse("get pods", None).expect_err("refused");
    assert!(
        error.message().starts_with("input `namespace` is missing"),
        "{error}"
    );
}

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"STAGE","verb":"list",
    "requestURI":"/api/v1/namespaces/ci/pods","responseStatus":{"code":200},
    "user":{"extra":{"authentication.kubernetes.io/credential-id":["JTI=ID"]}}}"#;

fn event(id: &str, stage: &str) -> String {
    EVENT.replace('\n', " ").replace("ID", id).replace("STAGE", stage) + "\n"
}

#[rstest]
#[case::one(&["1"], 1)]
#[case::as_the_log_has_it(&["JTI=1"], 1)]
#[case::two(&["1", "2"], 3)]
fn a_job_is_chosen_from_an_audit_log(#[case] ids: &[&str], #[case] expected: u64) {
    let log = [
        event("1", "ResponseComplete"),
        event("1", "ResponseStarted"),
        event("2", "ResponseComplete"),
        event("2", "ResponseComplete"),
        event("3", "ResponseComplete"),
    ];
    let ids = ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let mut runs = Runs::default();
    runs.read_from("log", log.concat().as_bytes(), &ids)
        .expect("a log");
    assert_eq!(runs.len(), expected);
}

#[rstest]
#[case::nobody(&event("1", "ResponseComplete"), &[], "`log` is an audit log, which has the requests of")]
#[case::another(&event("1", "ResponseComplete"), &["2"], "is not the id of any event in `log`")]
#[case::text("hello\n", &[], "wrong in line 1: it is not a JSON object")]
#[case::later("\n\n{\"a\":1}\n", &[], "wrong in line 3: it is neither a request of a record nor an event")]
#[case::half("{\"time\":", &[], "wrong in line 1")]
fn a_file_that_is_wrong_is_named(#[case] text: &str, #[case] ids: &[&str], #[case] why: &str) {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let error = Runs::default()
        .read_from("log", text.as_bytes(), &ids)
        .expect_err("refused");
    assert!(error.message().contains(why), "{error}");
}

#[test]
fn a_job_without_a_request_needs_no_rule() {
    let needs = needs("");
    let yaml = Report::of(&needs, None, None).yaml();
    assert_eq!(
        yaml,
        "# The least rules for 0 requests in 1 file.\n# There is nothing to write into a rule."
    );
}

/// The proxy may write while somebody reads.
#[test]
fn a_last_line_may_be_half_written() {
    let text = of("GET", PODS, 200) + "{\"time\":\"2026";
    assert_eq!(needs(&text).allowed.len(), 1);
}

/// An event of level `RequestResponse` contains the answer, and kube-apiserver limits the length of no
/// answer.
#[rstest]
#[case::first(true)]
#[case::later(false)]
fn an_event_that_is_too_long_is_skipped(#[case] is_first: bool) {
    let whole = event("1", "ResponseComplete");
    let long = whole.trim_end().replacen(
        '{',
        &format!("{{\"responseObject\":\"{}\",", "x".repeat(17 << 20)),
        1,
    );
    let long = match is_first {
        true => long.replacen('{', r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#, 1),
        false => long,
    };
    let text = match is_first {
        true => format!("{long}\n{whole}"),
        false => format!("{whole}{long}\n{whole}"),
    };
    let mut runs = Runs::default();
    runs.read_from("log", text.as_bytes(), &["1".to_owned()])
        .expect("an audit log");
    assert_eq!((runs.too_long(), runs.len()), (1, 2 - u64::from(is_first)));
}

#[test]
fn a_line_of_a_record_that_is_too_long_is_refused() {
    let text = "x".repeat(17 << 20);
    let error = Runs::default()
        .read_from("log", text.as_bytes(), &[])
        .expect_err("refused");
    assert!(
        error
            .message()
            .ends_with("wrong in line 1: it is longer than 16 MiB"),
        "{error}"
    );
}

#[test]
fn a_record_that_was_cut_says_so() {
    let mut runs = Runs::default();
    let text = of("GET", PODS, 200) + "{\"cut\":true}\n";
    runs.read_from("record", text.as_bytes(), &[]).expect("a record");
    assert!(runs.is_cut() && runs.len() == 1);
}

#[test]
fn the_rows_of_the_summary() {
    let record = [
        of("GET", "/version", 200),
        of("GET", PODS, 200),
        of("GET", PODS, 200),
        of("DELETE", &format!("{PODS}/a"), 403),
        of("GET", "/api/v1/namespaces/other/pods/a/log", 200),
        of("GET", "/metrics", 403),
    ];
    let mut runs = Runs::default();
    runs.read_from("record", record.concat().as_bytes(), &[])
        .expect("a record");
    let rows = runs.rows("ci").into_iter();
    let rows = rows.map(|row| {
        format!(
            "{} {} {} {}",
            row.what,
            row.verbs.join(","),
            row.calls,
            row.denied
        )
    });
    let expected = [
        "/metrics get 1 1",
        "pods delete,list 3 1",
        "pods/log -n other get 1 0",
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}
