//! `jobpass setup --delete` deletes the objects that `setup` made, and no others.

use super::{Desk, MINTER, SCANNER, SWEEPER};

const DELETE: [&str; 1] = ["--delete"];
const APPLY: [&str; 1] = ["--apply"];
const EXAMPLE: [&str; 1] = ["--example-rights"];
const OTHER: [&str; 2] = ["--service-account", "other"];

/// The names of the objects of set-ups, with their kinds.
fn left(desk: &Desk) -> Vec<String> {
    let namespaced = [
        "get",
        "rolebindings,roles,cronjobs,serviceaccounts",
        "--output",
        "name",
    ];
    let policies = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    let of_cluster = ["get", policies, "--output", "name"];
    let all = desk.admin(&namespaced) + "\n" + &desk.admin(&of_cluster);
    let namespace = desk.cluster.namespace();
    let ours = all.lines().filter(|line| {
        !line.contains("policy") && !line.ends_with("/default") || line.contains(&format!(".{namespace}."))
    });
    ours.map(str::to_owned).collect()
}

/// `setup --delete` deletes the minters' RoleBinding first, while the policies still limit the minters.
/// Another set-up of the namespace stays whole.
#[test]
fn what_setup_made_goes_and_another_set_up_stays() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    desk.setup(&[&OTHER, &MINTER, &SWEEPER, &APPLY]).succeeded();
    let before = left(&desk);
    let options = [&SCANNER[..], &MINTER, &SWEEPER, &EXAMPLE];
    desk.setup(&[&options[..], &[&APPLY]].concat()).succeeded();
    assert_ne!(left(&desk), before);

    let asked = desk.cluster.requests().len();
    let shown = desk
        .setup(&[&options[..], &[&DELETE, &["--dry-run"]]].concat())
        .succeeded();
    assert!(
        shown.log.contains(&format!(
            "would-delete  RoleBinding {namespace}/jobpass-minter-scanner\n"
        )),
        "{}",
        shown.log
    );
    let requests = desk.cluster.requests();
    assert!(
        requests[asked..].iter().all(|asked| asked.method == "GET"),
        "a dry run only reads"
    );

    let asked = requests.len();
    let deleted = desk.setup(&[&options[..], &[&DELETE]].concat()).succeeded();
    assert_eq!(left(&desk), before, "{}", deleted.log);
    for line in [
        format!(
            "kept          ServiceAccount {namespace}/jobpass-minter: RoleBinding {namespace}/jobpass-minter-other needs it. If nobody needs it, delete it with `kubectl"
        ),
        format!(
            "kept          CronJob {namespace}/jobpass-sweeper: RoleBinding {namespace}/jobpass-minter-other needs it. If nobody needs it, delete it with `kubectl"
        ),
        format!(
            "kept          Namespace {namespace}: it may hold objects of others. If nobody needs it, delete it with `kubectl"
        ),
        format!("deleted       ServiceAccount {namespace}/scanner\n"),
    ] {
        assert!(deleted.log.contains(&line), "{line}: {}", deleted.log);
    }
    let requests = desk.cluster.requests();
    let mut deletions = requests[asked..].iter().filter(|asked| asked.method == "DELETE");
    let first = deletions.next().expect("a deletion");
    assert!(
        first.path.contains("/rolebindings/jobpass-minter-scanner"),
        "{}",
        first.path
    );
    desk.setup(&[&OTHER, &MINTER, &SWEEPER, &["--diff"]]).succeeded();

    let mistyped = ["--service-account", "another"];
    let warned = desk.setup(&[&mistyped, &MINTER, &SWEEPER, &DELETE]).succeeded();
    let warning = "nothing of this set-up was there to delete. If you expected something, check";
    assert!(warned.log.contains(warning), "{}", warned.log);
    desk.setup(&[&OTHER, &MINTER, &SWEEPER, &["--diff"]]).succeeded();

    let kept = desk.setup(&[&OTHER, &MINTER, &DELETE]).succeeded();
    let line = format!(
        "kept          CronJob {namespace}/jobpass-sweeper: this command does not name it. Add `--sweeper"
    );
    assert!(
        kept.log.contains(&line) && !kept.log.contains(warning),
        "{}",
        kept.log
    );
    desk.setup(&[&OTHER, &MINTER, &SWEEPER, &DELETE]).succeeded();
    assert!(left(&desk).is_empty(), "{:?}", left(&desk));
    let again = desk.setup(&[&OTHER, &MINTER, &SWEEPER, &DELETE]).succeeded();
    assert!(again.log.contains(warning), "{}", again.log);
}

/// A job whose minter is gone could not revoke its token.
#[test]
fn the_token_of_a_job_is_not_ended_by_surprise() {
    let desk = Desk::new();
    desk.setup(&[&SCANNER, &MINTER, &APPLY]).succeeded();
    desk.account("jobpass-minter");
    let mint = ["mint", "--kubeconfig", "jobpass-minter", "--token-file", "token"];
    desk.jobpass(&[&mint[..], &SCANNER].concat()).succeeded();
    let before = left(&desk);
    for more in [&[][..], &["--dry-run"]] {
        let refused = desk.setup(&[&SCANNER, &MINTER, &DELETE, more]);
        assert_eq!(refused.code(), 5, "{}", refused.log);
        assert!(
            refused
                .log
                .contains("nothing was deleted: 1 token of this set-up may still work"),
            "{}",
            refused.log
        );
    }
    let shown = desk.setup(&[&SCANNER, &MINTER, &DELETE, &["--revoke", "--dry-run"]]);
    let shown = shown.succeeded();
    assert!(shown.log.contains("would-delete  anchor "), "{}", shown.log);
    assert_eq!((left(&desk), desk.cluster.anchors().len()), (before, 1));

    desk.setup(&[&SCANNER, &MINTER, &DELETE, &["--revoke"]])
        .succeeded();
    assert!(desk.cluster.anchors().is_empty() && left(&desk).is_empty());
}

/// The minters of one ServiceAccount share a set-up.
#[test]
fn a_minter_that_the_command_does_not_name_keeps_its_set_up() {
    let desk = Desk::new();
    let other = ["--minter", "user:jane"];
    desk.setup(&[&SCANNER, &MINTER, &other, &APPLY]).succeeded();
    let before = left(&desk);
    for more in [&[][..], &["--dry-run"], &["--revoke"]] {
        let refused = desk.setup(&[&SCANNER, &MINTER, &DELETE, more]);
        assert_eq!(refused.code(), 5, "{}", refused.log);
        for part in ["nothing was deleted: ", "\n  --minter user:jane\n"] {
            assert!(refused.log.contains(part), "{part}: {}", refused.log);
        }
        assert_eq!(left(&desk), before);
    }
    desk.setup(&[&SCANNER, &MINTER, &other, &DELETE]).succeeded();
    assert!(left(&desk).is_empty());
}

/// `kubectl apply` of the output of `setup` sets no label of jobpass. An account without this label may have
/// existed before the set-up.
#[test]
fn objects_that_others_may_have_made_stay() {
    let desk = Desk::new();
    desk.cluster
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: scanner, namespace: NAMESPACE}}");
    desk.cluster.apply(&desk.printed(&[&SCANNER, &MINTER]));
    let deleted = desk.setup(&[&SCANNER, &MINTER, &DELETE]).succeeded();
    assert_eq!(
        left(&desk),
        ["serviceaccount/jobpass-minter", "serviceaccount/scanner"],
        "{}",
        deleted.log
    );

    // Without the policies, nothing would restrict somebody else's minter.
    desk.cluster.apply(&desk.printed(&[&SCANNER, &MINTER]));
    let other =
        r#"{"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}]}"#;
    desk.admin(&[
        "patch",
        "rolebinding/jobpass-minter-scanner",
        "--type=merge",
        "--patch",
        other,
    ]);
    let before = left(&desk);
    let refused = desk.setup(&[&SCANNER, &MINTER, &DELETE]);
    assert_eq!(refused.code(), 5, "{}", refused.log);
    assert_eq!(left(&desk), before);
}
