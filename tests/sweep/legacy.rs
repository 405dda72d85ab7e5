//! Legacy tokens: the sweep obeys the annotation [`EXPIRATION`] of their Secrets, whoever created them.

use super::*;

const EXPIRATION: &str = "kubernetes.io/service-account.expiration";

impl Broom {
    /// Creates a Secret with this expiration, as a person would. The token controller fills it.
    fn legacy(&self, name: &str, expiration: Option<&str>) {
        let mut annotations = json!({"kubernetes.io/service-account.name": "scanner"});
        if let Some(seconds) = expiration {
            annotations[EXPIRATION] = seconds.into();
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "scanner", "namespace": "NAMESPACE"}});
        self.cluster.apply(&account.to_string());
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "namespace": "NAMESPACE", "annotations": annotations},
        });
        self.cluster.apply(&secret.to_string());
    }

    fn legacy_names(&self) -> Vec<String> {
        let name = |secret: &Value| secret["metadata"]["name"].as_str().expect("a name").to_owned();
        self.cluster.legacy_secrets().iter().map(name).collect()
    }
}

#[test]
fn the_annotation_is_kept_and_nothing_else_goes() {
    let broom = Broom::new();
    // The guide "Token Management" shows this annotation.
    broom.legacy("a-day", Some("86400"));
    broom.legacy("an-hour", Some("3600"));
    broom.legacy("for-ever", None);
    broom.legacy("nonsense", Some("24h"));
    broom.legacy("jobpass-abcdefghijklmnopqrst", None);
    let tokens = broom
        .cluster
        .legacy_secrets()
        .iter()
        .map(crate::cluster::token_of)
        .collect::<Vec<_>>();

    broom.cluster.move_date(minutes(50));
    let (swept, lines) = broom.sweep(&[]);
    swept.succeeded();
    assert_eq!(summary(&lines)["deleted"], 0);
    assert_eq!(summary(&lines)["unclear"], 1);

    broom.cluster.move_date(minutes(11));
    let (dry, lines) = broom.sweep(&["--dry-run"]);
    dry.succeeded();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["event"] == "would-delete")
            .count(),
        1
    );
    assert_eq!(broom.legacy_names().len(), 5);

    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    let of = |event: &str| {
        let mut found = lines.iter().filter(|line| line["event"] == event);
        (found.next().cloned().unwrap_or_default(), found.next().is_some())
    };
    let (deleted, more) = of("deleted");
    assert_eq!(
        (&deleted["anchor"], &deleted["type"], &deleted["reason"], more),
        (&json!("an-hour"), &json!("legacy"), &json!("expired"), false),
        "{log}"
    );
    let (unclear, _) = of("unclear");
    assert_eq!(unclear["anchor"], "nonsense");
    assert!(
        unclear["reason"]
            .as_str()
            .expect("a text")
            .contains("not a number of seconds"),
        "{unclear}"
    );
    assert_eq!(
        broom.legacy_names(),
        ["a-day", "for-ever", "jobpass-abcdefghijklmnopqrst", "nonsense"]
    );

    for token in tokens {
        crate::leaks::assert_absent(&token, "the log", &log);
    }
}

/// The sweep continues after a page on which no Secret has an expiration.
#[test]
fn many_that_say_nothing_are_passed_over_page_by_page() {
    let broom = Broom::new();
    each(510, |number| broom.legacy(&format!("for-ever-{number:03}"), None));
    broom.legacy("last", Some("60"));
    broom.cluster.move_date(minutes(2));
    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    assert_eq!(
        (&summary(&lines)["seen"], &summary(&lines)["deleted"]),
        (&json!(1), &json!(1)),
        "{log}"
    );
    assert_eq!(broom.legacy_names().len(), 510);
}

#[test]
fn those_of_jobs_are_listed() {
    let broom = Broom::new();
    broom.legacy("a-person-s", Some("86400"));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name(7), "namespace": "NAMESPACE", "annotations": {
            "kubernetes.io/service-account.name": "scanner", EXPIRATION: "3600",
            "jobpass.dev/platform": "github", "jobpass.dev/run-id": "77", "jobpass.dev/job": "scan",
        }},
    });
    broom.cluster.apply(&secret.to_string());
    let listed = broom.run(&["list"]).succeeded();
    assert!(
        listed.log.contains("github run 77, job scan, legacy token"),
        "{}",
        listed.log
    );
    assert!(
        listed.log.contains("live") && !listed.log.contains("a-person"),
        "{}",
        listed.log
    );
    broom.cluster.move_date(minutes(61));
    let listed = broom.run(&["list", "--output", "json"]).succeeded();
    let lines = json_lines(&listed.log);
    assert_eq!(
        (lines.len(), &lines[0]["state"], &lines[0]["type"]),
        (1, &json!("expired"), &json!("legacy"))
    );
}
