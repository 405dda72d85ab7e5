use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::{
        Identity,
        scripted::{self, Fate, Log},
    },
    inputs::setup::Wanted,
};

fn set_up(duration: &str) -> Setup {
    let wanted = Wanted {
        service_account: "scanner".into(),
        namespace: "ci".into(),
        duration: duration.into(),
        minters: vec!["user:jane".into()],
        ..Wanted::default()
    };
    Setup::parse(&wanted).expect("parsed")
}

fn budget() -> Budget {
    Budget::new(Duration::from_secs(120))
}

/// A refusal by a policy of `setup`.
fn policy() -> Fate {
    let message = "ValidatingAdmissionPolicy 'jobpass-anchors.ci.scanner' with binding \
                   'jobpass-anchors.ci.scanner' denied request: no";
    let status = json!({
        "kind": "Status", "message": format!("secrets \"a\" is forbidden: {message}"), "reason": "Invalid",
        "details": { "name": "a", "kind": "secrets", "causes": [{ "message": message }] }, "code": 422,
    });
    Fate::answer(422, status.to_string())
}

fn forbidden(message: &str) -> Fate {
    Fate::status(403, "Forbidden", "secrets", message)
}

fn no_account() -> Fate {
    Fate::status(
        404,
        "NotFound",
        "serviceaccounts",
        "serviceaccounts \"scanner\" not found",
    )
}

/// jobpass repeats a probe if the answer may change in a moment. All other answers are final.
#[rstest]
#[case::at_once(vec![policy()], "refused", 1)]
#[case::a_second_later(vec![Fate::answer(201, "{}"), policy()], "refused", 2)]
#[case::once_rbac_has_read_the_binding(vec![forbidden("User \"jane\" cannot create"), policy()], "refused", 2)]
#[case::once_a_controller_has_made_the_account(vec![no_account(), policy()], "refused", 2)]
#[case::never(vec![Fate::answer(201, "{}")], "allowed", 200)]
#[case::rbac_never_reads_it(vec![forbidden("User \"jane\" cannot create")], "unknown", 200)]
#[case::nobody_may_impersonate(vec![forbidden("User \"admin\" cannot impersonate")], "unknown", 1)]
#[case::by_another_policy(vec![forbidden("it needs the label team")], "unknown", 1)]
#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_the_policies(
    #[case] fates: Vec<Fate>,
    #[case] expected: &str,
    #[case] times: usize,
) {
    let (cluster, log) = scripted::cluster(&Identity::default(), fates);
    let probe = Probe {
        minter: "user:jane".into(),
        cluster,
        call: enforcement::other_secret("ci").expect("a call"),
    };
    let outcome = match probe.until_refused(Instant::now() + IN_EFFECT, &budget()).await {
        Ok(()) => "refused",
        Err(NotRefused::Allowed) => "allowed",
        Err(NotRefused::Unknown(_)) => "unknown",
    };
    assert_eq!((outcome, log.lines().len()), (expected, times));
}

/// The probe requests a lifetime that is one second longer than the new version of the policy allows. An
/// earlier version with a longer lifetime allows this request. A probe with a much longer lifetime would not
/// distinguish the two versions.
#[test]
fn a_probe_asks_for_a_lifetime_that_is_a_second_too_long() {
    assert!(matches!(set_up("1h").violation(), Violation::Lifetime(3601)));
    let longest = format!("{}s", Lifetime::MOST);
    assert!(matches!(set_up(&longest).violation(), Violation::Unpinned));
}

/// A cluster in which `found` returns the existing object for a path. It answers every probe with `probe`.
fn cluster(found: impl Fn(&str) -> Option<Value> + Send + 'static, probe: Fate) -> (Cluster, Log) {
    scripted::answering(&Identity::default(), move |line| match line.split_once(' ') {
        Some(("GET", path)) if path.ends_with("/rolebindings") => Fate::answer(200, r#"{"items":[]}"#),
        Some(("GET", path)) => match found(path) {
            Some(object) => Fate::answer(200, object.to_string()),
            None => Fate::status(404, "NotFound", "", "not found"),
        },
        _ if line.contains("dryRun=All") || line.ends_with("/token") => probe.clone(),
        _ => Fate::answer(201, "{}"),
    })
}

/// The changes in order. Equal changes in a row appear once. Each change is the last part of its path,
/// `probe`, or `bind` with the subjects of a RoleBinding. `*` stands for the group of the probes.
fn changes(log: &Log) -> Vec<String> {
    let changes = log
        .requests()
        .into_iter()
        .filter(|(line, _)| !line.starts_with("GET"));
    let changes = changes.map(|(line, body)| {
        let last = line
            .split(['/', '?'])
            .nth_back(usize::from(line.contains('?')))
            .unwrap_or_default()
            .to_owned();
        if line.contains("dryRun=All") || last == "token" {
            return "probe".to_owned();
        }
        if !line.contains("/rolebindings") {
            return last;
        }
        let binding = serde_json::from_str::<Value>(&body).expect("JSON");
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        let subjects = subjects.filter_map(|subject| subject["name"].as_str());
        let subjects = subjects.map(|name| if name.starts_with(PROBE_GROUP) { "*" } else { name });
        format!("bind [{}]", subjects.collect::<Vec<_>>().join(" "))
    });
    let mut changes = changes.collect::<Vec<_>>();
    changes.dedup();
    changes
}

async fn apply(setup: &Setup, cluster: &Cluster) -> (Result<Option<String>, Error>, Vec<String>) {
    let mut reported = Vec::new();
    let applied = setup
        .apply(cluster, &budget(), true, |object, _| {
            reported.push(object.title());
            Ok(())
        })
        .await;
    (applied, reported)
}

#[tokio::test(start_paused = true)]
async fn no_minter_is_bound_before_its_policies_are_in_effect() {
    let setup = set_up("1h");
    let (cluster, log) = cluster(|_| None, policy());
    let (applied, reported) = apply(&setup, &cluster).await;
    assert_eq!(applied.expect("applied"), None);
    let changes = changes(&log);
    let end = ["bind [*]", "probe", "bind [jane]"];
    assert!(changes.ends_with(&end.map(str::to_owned)), "{changes:?}");
    assert_eq!(
        changes.iter().filter(|change| change.starts_with("bind")).count(),
        2,
        "{changes:?}"
    );
    let titles = setup
        .objects()
        .expect("objects")
        .iter()
        .map(SetupObject::title)
        .collect::<Vec<_>>();
    assert_eq!(reported, titles);
}

#[tokio::test(start_paused = true)]
async fn no_minter_is_bound_if_a_policy_does_not_work() {
    let (cluster, log) = cluster(|_| None, Fate::answer(201, "{}"));
    let (applied, reported) = apply(&set_up("1h"), &cluster).await;
    let error = applied.expect_err("refused");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error
            .message()
            .contains("user:jane could create a Secret that is not an anchor"),
        "{error}"
    );
    let changes = changes(&log);
    let end = ["bind [*]", "probe", "bind []"];
    assert!(changes.ends_with(&end.map(str::to_owned)), "{changes:?}");
    assert!(
        !reported.iter().any(|title| title.starts_with("RoleBinding")),
        "{reported:?}"
    );
}

/// An administrator without the permission to impersonate a minter still gets the set-up, but waits longer.
#[tokio::test(start_paused = true)]
async fn a_minter_is_bound_later_if_nobody_can_see_the_policies() {
    let (cluster, log) = cluster(|_| None, forbidden("User \"admin\" cannot impersonate"));
    let started = Instant::now();
    let warning = apply(&set_up("1h"), &cluster)
        .await
        .0
        .expect("applied")
        .expect("a warning");
    assert!(
        warning.contains("cannot impersonate") && warning.contains("10 s"),
        "{warning}"
    );
    assert!(started.elapsed() >= UNSEEN, "{:?}", started.elapsed());
    assert_eq!(changes(&log).last().map(String::as_str), Some("bind [jane]"));
}

/// The objects of `setup` by their paths, with one more subject in the RoleBinding: `more`.
fn there(setup: &Setup, more: Option<&'static str>) -> impl Fn(&str) -> Option<Value> + Send + 'static {
    let objects = setup.objects().expect("objects");
    let objects = objects.iter().map(|object| {
        let mut manifest = object.manifest().clone();
        if manifest["kind"] == "RoleBinding"
            && let (Some(name), Some(subjects)) = (more, manifest["subjects"].as_array_mut())
        {
            subjects.push(json!({ "kind": "User", "apiGroup": RBAC, "name": name }));
        }
        manifest
    });
    let objects = objects.collect::<Vec<_>>();
    move |path| {
        let is_there = |object: &&Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
            let plural = format!("{}s", text(&object["kind"])).replace("ys", "ies");
            path.ends_with(&format!("/{plural}/{}", text(&object["metadata"]["name"])))
        };
        objects.iter().find(is_there).cloned()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_if_nothing_differs() {
    let setup = set_up("1h");
    let (cluster, log) = cluster(there(&setup, None), policy());
    let (applied, reported) = apply(&setup, &cluster).await;
    assert_eq!(applied.expect("applied"), None);
    assert_eq!(changes(&log), [""; 0]);
    assert_eq!(reported.len(), setup.objects().expect("objects").len());
}

/// jobpass removes the subject first: after this set-up, no policy limits that subject.
#[tokio::test(start_paused = true)]
async fn a_minter_that_is_removed_loses_its_permissions_first() {
    let setup = set_up("1h");
    let (cluster, log) = cluster(there(&setup, Some("mallory")), policy());
    apply(&setup, &cluster).await.0.expect("applied");
    let changes = changes(&log);
    assert_eq!(
        changes.first().map(String::as_str),
        Some("bind [jane]"),
        "{changes:?}"
    );
    assert!(
        !changes.iter().any(|change| change.contains("mallory")),
        "{changes:?}"
    );
}

/// A minter of another set-up for the account `default` gets sound tokens of that account, so no policy would
/// ever refuse one.
#[rstest]
#[case::of_no_set_up(false)]
#[case::of_another_set_up(true)]
#[tokio::test(start_paused = true)]
async fn a_probe_asks_for_no_token_that_another_set_up_allows(#[case] mints_default: bool) {
    let wanted = Wanted {
        rules: "get pods".into(),
        namespace: "ci".into(),
        duration: "1h".into(),
        minters: vec!["user:jane".into()],
        ..Wanted::default()
    };
    let setup = Setup::parse(&wanted).expect("parsed");
    let (cluster, log) = scripted::answering(&Identity::default(), move |line| {
        let review =
            json!({ "kind": "SelfSubjectAccessReview", "spec": {}, "status": { "allowed": mints_default } });
        match line {
            _ if line.ends_with("/rolebindings") => Fate::answer(200, r#"{"items":[]}"#),
            _ if line.starts_with("GET") => Fate::status(404, "NotFound", "", "not found"),
            _ if line.ends_with("/selfsubjectaccessreviews") => Fate::answer(201, review.to_string()),
            _ if line.contains("dryRun=All") || line.ends_with("/token") => policy(),
            _ => Fate::answer(201, "{}"),
        }
    });
    apply(&setup, &cluster).await.0.expect("applied");
    let mut requests = log.requests().into_iter();
    let token = requests.find(|(line, _)| line.ends_with("/serviceaccounts/default/token"));
    let (_, body) = token.expect("a probe");
    let body = serde_json::from_str::<Value>(&body).expect("JSON");
    let is_pinned = body["spec"]["boundObjectRef"]["uid"].is_string();
    assert_eq!(is_pinned, !mints_default, "{body}");
}
