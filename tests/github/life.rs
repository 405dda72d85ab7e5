//! main and post, as the runner calls them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use serde_json::{Value, json};

use super::step::Step;
use crate::{
    cluster::{Cluster, sign_anew},
    leaks::assert_absent,
    support,
};

#[rstest]
#[case::with_a_credential_id(true)]
#[case::without_one_as_before_1_30(false)]
fn a_job_gets_a_token_and_loses_it(#[case] with_id: bool) {
    let cluster = Cluster::start();
    if !with_id {
        cluster.reissue(|answer| {
            sign_anew(answer, |claims| {
                claims.as_object_mut().expect("claims").remove("jti");
            });
        });
    }
    let step = Step::with(&[
        ("service-account", "scanner"),
        ("namespace", cluster.namespace()),
        ("duration", "10m"),
        ("kubeconfig", &support::minter(&cluster)),
        ("kubeconfig-file", "true"),
        ("token-file", "true"),
    ]);

    let main = step.main().succeeded();
    let outputs = step.outputs();
    let token = step.token();
    assert!(cluster.accepts(&token));
    let mut masks = main
        .log
        .lines()
        .take_while(|line| line.starts_with("::add-mask::"));
    assert!(
        masks.any(|mask| mask == format!("::add-mask::{token}")),
        "jobpass must mask the token before it prints anything else"
    );
    assert_eq!(
        fs::read_to_string(&outputs["token-file"]).expect("a token file"),
        token
    );
    for file in ["token-file", "kubeconfig"] {
        assert_eq!(
            fs::metadata(&outputs[file]).expect("there").permissions().mode() & 0o777,
            0o600
        );
    }
    let anchors = cluster.anchors();
    assert_eq!(anchors[0]["metadata"]["name"], outputs["anchor"].as_str());
    assert_eq!(
        anchors[0]["metadata"]["annotations"]["jobpass.dev/url"],
        "https://github.com/team/app/actions/runs/77"
    );
    assert_ne!(outputs["credential-id"].is_empty(), with_id);

    let pods = support::kubectl(&outputs["kubeconfig"], &["get", "pods"]);
    assert!(pods.status.success(), "{pods:?}");

    let post = step.post().succeeded();
    let revoked = format!(
        "revoked the token of ServiceAccount {}/scanner",
        cluster.namespace()
    );
    assert!(post.log.contains(&revoked), "{}", post.log);
    assert!(cluster.anchors().is_empty() && !cluster.accepts(&token));
    assert!(step.left_in_temp().is_empty(), "{:?}", step.left_in_temp());
    assert!(
        step.summary().contains("### :key: jobpass: token revoked"),
        "{}",
        step.summary()
    );
}

/// All jobs of a matrix have the same name and the same run.
#[rstest]
#[case::told_apart("51725241954", Some("51725241954"))]
#[case::by_an_older_runner("", None)]
#[case::by_something_else("${{ job.check_run_id }}", None)]
fn the_jobs_of_a_matrix_are_told_apart(#[case] input: &str, #[case] id: Option<&str>) {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[("check-run-id", input)]);
    step.main().succeeded();
    let anchor = cluster.anchors().remove(0);
    let metadata = &anchor["metadata"];
    for place in ["annotations", "labels"] {
        assert_eq!(
            metadata[place]["jobpass.dev/check-run-id"].as_str(),
            id,
            "{metadata}"
        );
    }
    let page = id.map_or_else(String::new, |id| format!("/job/{id}"));
    assert_eq!(
        metadata["annotations"]["jobpass.dev/url"].as_str(),
        Some(&*format!("https://github.com/team/app/actions/runs/77{page}"))
    );
    step.post().succeeded();
    let receipt = id.map_or_else(
        || "check-run-id".to_owned(),
        |id| format!("\"check-run-id\":\"{id}\""),
    );
    assert_eq!(
        step.summary().contains(&receipt),
        id.is_some(),
        "{}",
        step.summary()
    );
}

/// The in-cluster account needs files at a fixed path, so only a unit test of core covers it.
#[test]
fn an_explicit_server_with_a_token_from_a_variable_or_a_file() {
    let cluster = Cluster::start();
    let minter = support::minter_token(&cluster);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), format!("{minter}\n")).expect("written");
    let ca = cluster.ca_pem();
    let url = cluster.url();
    let path = file.path().to_string_lossy();
    for bearer in [("bearer-token-env", "KUBE_TOKEN"), ("bearer-token-file", &*path)] {
        let mut step = Step::with(&[
            ("service-account", "scanner"),
            ("namespace", cluster.namespace()),
            ("server", &url),
            ("certificate-authority", &ca),
            bearer,
        ]);
        step.env("KUBE_TOKEN", &minter);
        let main = step.main().succeeded();
        let token = step.token();
        assert!(cluster.accepts(&token));
        let mut shown = main.log.lines().filter(|line| !line.starts_with("::add-mask::"));
        assert!(shown.all(|line| !line.contains(&minter)), "{}", main.log);
        step.post().succeeded();
        assert!(cluster.anchors().is_empty() && !cluster.accepts(&token));
    }
}

#[test]
fn what_a_later_step_changes_does_not_redirect_post() {
    let (cluster, elsewhere) = (Cluster::start(), Cluster::start());
    let kubeconfig = support::minter(&cluster);
    let mut step = Step::scanner(&kubeconfig, &[]);
    step.main().succeeded();
    let token = step.token();

    step.input(
        "kubeconfig",
        &kubeconfig.replace(&cluster.url(), &elsewhere.url()),
    );
    step.input("duration", "");
    step.input("service-account", "");
    step.env("PATH", "/nowhere")
        .env("KUBECONFIG", "/nowhere")
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    let post = step.post().succeeded();
    assert!(post.log.contains("revoked the token"), "{}", post.log);
    assert!(cluster.anchors().is_empty() && !cluster.accepts(&token));
    assert!(
        elsewhere.requests().is_empty(),
        "the minter's credential went elsewhere"
    );
}

/// jobpass sets the output `kubeconfig` unless `kubeconfig-file` is `false`. An empty output would do harm:
/// kubectl treats an empty KUBECONFIG as absent, and reads `~/.kube/config`.
#[test]
fn a_kubeconfig_is_there_unless_it_is_not_wanted() {
    let cluster = Cluster::start();
    let minter = support::minter(&cluster);
    let step = Step::scanner(&minter, &[]);
    step.main().succeeded();
    let kubeconfig = step.outputs().remove("kubeconfig").expect("an output");
    assert!(support::kubectl(&kubeconfig, &["get", "pods"]).status.success());
    step.post().succeeded();
    assert!(step.left_in_temp().is_empty(), "{:?}", step.left_in_temp());

    let step = Step::scanner(&minter, &[("kubeconfig-file", "false")]);
    step.main().succeeded();
    assert!(!step.outputs().contains_key("kubeconfig") && step.left_in_temp().is_empty());
    step.post().succeeded();
}

#[test]
fn later_steps_find_an_exported_kubeconfig_until_the_end_of_the_job() {
    let cluster = Cluster::start();
    let minter = support::minter(&cluster);
    let mut step = Step::scanner(&minter, &[("export-kubeconfig", "true")]);
    step.env("KUBECONFIG", "/home/ci/.kube/other");
    let main = step.main().succeeded();
    let kubeconfig = step.outputs().remove("kubeconfig").expect("an output");
    assert!(
        main.log
            .contains(&format!("KUBECONFIG and output `kubeconfig`: {kubeconfig}")),
        "{}",
        main.log
    );
    assert_eq!(step.exported()["KUBECONFIG"], kubeconfig);
    step.env("KUBECONFIG", &kubeconfig);
    step.post().succeeded();
    assert_eq!(step.exported()["KUBECONFIG"], "/home/ci/.kube/other");

    // If a later step sets KUBECONFIG, that value stays.
    let mut step = Step::scanner(&minter, &[("export-kubeconfig", "true")]);
    step.main().succeeded();
    let kubeconfig = step.exported().remove("KUBECONFIG").expect("it is exported");
    step.later("KUBECONFIG", "/home/ci/mine");
    step.post().succeeded();
    assert_eq!(step.exported()["KUBECONFIG"], kubeconfig);

    let step = Step::scanner(
        &minter,
        &[("export-kubeconfig", "true"), ("kubeconfig-file", "false")],
    );
    let main = step.main();
    assert_eq!(main.code(), 2, "{}", main.log);
    assert!(
        main.log.contains("there is no kubeconfig to export"),
        "{}",
        main.log
    );
}

#[test]
fn a_token_that_was_just_used_may_live_on_in_the_cache_and_post_says_so() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[("kubeconfig-file", "true")]);
    step.main().succeeded();
    let kubeconfig = step.outputs().remove("kubeconfig").expect("an output");
    assert!(support::kubectl(&kubeconfig, &["get", "pods"]).status.success());
    let post = step.post().succeeded();
    assert!(
        post.log
            .contains("may accept it from its cache for up to 10 s more"),
        "{}",
        post.log
    );
}

#[test]
fn wait_asks_until_the_cache_has_forgotten_the_token() {
    let cluster = Cluster::start();
    let step = Step::scanner(
        &support::minter(&cluster),
        &[("kubeconfig-file", "true"), ("verify-revocation", "wait")],
    );
    step.main().succeeded();
    let kubeconfig = step.outputs().remove("kubeconfig").expect("an output");
    assert!(support::kubectl(&kubeconfig, &["get", "pods"]).status.success());
    let post = step.post().succeeded();
    assert!(
        post.log.contains("the API server answers 401 to the token"),
        "{}",
        post.log
    );
    let answers = cluster
        .requests()
        .into_iter()
        .filter(|r| r.path == "/version")
        .filter_map(|r| r.status);
    let answers = answers.collect::<Vec<_>>();
    assert_eq!(
        (answers.first(), answers.last()),
        (Some(&200), Some(&401)),
        "{answers:?}"
    );
}

#[test]
fn an_anchor_that_is_gone_is_revoked_and_one_that_is_not_ours_is_left_alone() {
    let cluster = Cluster::start();
    let admin = support::admin(&cluster);
    let inputs = [
        ("service-account", "scanner"),
        ("namespace", cluster.namespace()),
        ("kubeconfig", &*support::minter(&cluster)),
    ];

    let step = Step::with(&inputs);
    step.main().succeeded();
    let anchor = step.outputs().remove("anchor").expect("an output");
    assert!(
        support::kubectl(
            admin.path(),
            &["delete", "secret", &anchor, "--namespace", cluster.namespace()]
        )
        .status
        .success()
    );
    step.post().succeeded();

    let step = Step::with(&inputs);
    step.main().succeeded();
    let anchor = step.outputs().remove("anchor").expect("an output");
    assert!(
        support::kubectl(
            admin.path(),
            &["delete", "secret", &anchor, "--namespace", cluster.namespace()]
        )
        .status
        .success()
    );
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {anchor}, namespace: NAMESPACE}}\n"
    ));
    let post = step.post().succeeded();
    assert!(
        post.log.contains("jobpass left that Secret alone"),
        "{}",
        post.log
    );
    assert_eq!(cluster.secrets(cluster.namespace()).len(), 1);
}

#[rstest]
#[case("false", 0, "::warning title=jobpass::the token is not revoked")]
#[case("true", 7, "::error title=jobpass::the token is not revoked")]
fn a_failure_to_revoke_names_the_command_to_type(
    #[case] fail: &str,
    #[case] code: i32,
    #[case] annotation: &str,
) {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[("fail-on-revoke-error", fail)]);
    step.main().succeeded();
    let anchor = step.outputs().remove("anchor").expect("an output");
    support::forbid_minter(&cluster);
    let post = step.post();
    assert_eq!(post.code(), code, "{}", post.log);
    assert!(
        post.log.contains(annotation) && post.log.contains("403"),
        "{}",
        post.log
    );
    let command = format!(
        "kubectl delete secret {anchor} --namespace {}",
        cluster.namespace()
    );
    assert!(post.log.contains(&command), "{}", post.log);
    assert!(
        step.summary().contains("the token may still work"),
        "{}",
        step.summary()
    );
}

/// The session of the minter's exec plugin has ended before the job ends.
#[test]
fn a_minter_that_is_over_at_the_end_leaves_the_token_and_the_command() {
    let cluster = Cluster::start();
    let mut step = Step::scanner(&support::minter(&cluster), &[]);
    let mut config = serde_yaml::from_str::<Value>(step.value("kubeconfig")).expect("YAML");
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": config["users"][0]["user"],
    });
    let session = step.file("session");
    fs::write(&session, credential.to_string()).expect("written");
    let plugin = step.file("plugin");
    let script = format!(
        "cat '{}' 2>/dev/null || {{ echo 'the session is over' >&2; exit 1; }}",
        session.display()
    );
    fs::write(&plugin, script).expect("written");
    config["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": "sh", "args": [plugin],
    }});
    step.input("kubeconfig", &config.to_string());
    step.main().succeeded();
    fs::remove_file(&session).expect("removed");
    let post = step.post().succeeded();
    let anchor = step.outputs().remove("anchor").expect("an output");
    for part in [
        "::warning title=jobpass::the token is not revoked",
        "the session is over",
        &format!("kubectl delete secret {anchor}"),
    ] {
        assert!(post.log.contains(part), "{part}: {}", post.log);
    }
    assert!(cluster.accepts(&step.token()));
}

#[rstest]
#[case::missing(None)]
#[case::garbled(Some("{\"connection\":"))]
fn state_that_is_missing_or_garbled_still_revokes(#[case] garbled: Option<&str>) {
    let cluster = Cluster::start();
    let mut step = Step::scanner(&support::minter(&cluster), &[]);
    step.main().succeeded();
    step.env("STATE_jobpass", garbled.unwrap_or_default());
    let post = step.post().succeeded();
    assert!(
        post.log
            .contains("::warning title=jobpass::the recorded state cannot be read"),
        "{}",
        post.log
    );
    assert!(cluster.anchors().is_empty(), "{}", post.log);
}

/// Below two composite actions, the inputs of post may be empty.
#[rstest]
#[case::revoked(false)]
#[case::not_revoked(true)]
fn post_without_inputs_has_all_that_it_obeys(#[case] forbidden: bool) {
    let cluster = Cluster::start();
    let inputs = [("fail-on-revoke-error", "true"), ("verify-revocation", "wait")];
    let mut step = Step::scanner(&support::minter(&cluster), &inputs);
    step.main().succeeded();
    let token = step.token();
    if forbidden {
        support::forbid_minter(&cluster);
    }
    step.forget_inputs();
    let post = step.post();
    assert_eq!(post.code(), if forbidden { 7 } else { 0 }, "{}", post.log);
    if forbidden {
        let error = "::error title=jobpass::the token is not revoked: cannot delete the anchor: the API server answered 403";
        assert!(post.log.contains(error), "{}", post.log);
    } else {
        let proof = "the API server answers 401 to the token 10 s after jobpass deleted its anchor";
        assert!(post.log.contains(proof), "{}", post.log);
        assert!(cluster.anchors().is_empty() && !cluster.accepts(&token));
    }
}

/// Below two composite actions, post may lack the inputs and the variables of the step. The minter's bearer
/// token came from such a variable.
#[test]
fn post_without_inputs_and_variables_has_the_bearer_token() {
    let cluster = Cluster::start();
    let (url, ca) = (cluster.url(), cluster.ca_pem());
    let mut step = Step::with(&[
        ("service-account", "scanner"),
        ("namespace", cluster.namespace()),
        ("server", &url),
        ("certificate-authority", &ca),
        ("bearer-token-env", "KUBE_TOKEN"),
    ]);
    step.env("KUBE_TOKEN", &support::minter_token(&cluster));
    step.main().succeeded();
    let token = step.token();
    step.forget_inputs();
    step.env("KUBE_TOKEN", "another");
    let post = step.post().succeeded();
    assert!(post.log.contains("revoked the token"), "{}", post.log);
    assert!(cluster.anchors().is_empty() && !cluster.accepts(&token));
}

/// An absent record does not prove that there is nothing to revoke.
#[rstest]
#[case::absent(&[], "the record that the action's main step leaves for the end of the job is missing")]
#[case::garbled(&[("STATE_jobpass", "x"), ("STATE_anchor", "../../etc")], "not the name of an anchor")]
fn without_a_state_post_says_where_to_look(#[case] state: &[(&str, &str)], #[case] why: &str) {
    for (fail, code, annotation) in [("false", 0, "::warning"), ("true", 7, "::error")] {
        let mut step = Step::with(&[("service-account", "scanner"), ("fail-on-revoke-error", fail)]);
        for (name, value) in state {
            step.env(name, value);
        }
        let post = step.post();
        assert_eq!(post.code(), code, "{}", post.log);
        for text in [
            &*format!("{annotation} title=jobpass::the token is not revoked: "),
            why,
            "kubectl get secrets --all-namespaces",
            "--selector app.kubernetes.io/managed-by=jobpass,jobpass.dev/run-id=77",
        ] {
            assert!(post.log.contains(text), "no `{text}` in:\n{}", post.log);
        }
        assert!(!post.log.contains("nothing to revoke"), "{}", post.log);
    }
}

/// Answers 401 to `GET /version` and to every SelfSubject review. jobpass sends most of these requests with
/// the job's token. Servers with users of their own answer 401 to all tokens of ServiceAccounts: Rancher,
/// KAS, GKE's DNS endpoint.
fn refuse_service_accounts(cluster: &Cluster) {
    for (method, path) in [("POST", "/selfsubject"), ("GET", "/version")] {
        cluster.inject(Fault {
            method,
            path_contains: path.into(),
            times: usize::MAX,
            kind: FaultKind::Answer {
                status: 401,
                headers: Vec::new(),
                body: r#"{"type":"error","status":"401","message":"must authenticate"}"#.into(),
            },
        });
    }
}

#[test]
fn a_server_that_does_not_accept_the_token_is_named_and_the_token_revoked() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[]);
    refuse_service_accounts(&cluster);
    let main = step.main();
    assert_eq!(main.code(), 4, "{}", main.log);
    for text in [
        &format!("`{}` answers 401 to it", cluster.url()),
        "Rancher",
        "`job-server`",
    ] {
        assert!(main.log.contains(text), "no {text} in {}", main.log);
    }
    assert!(cluster.anchors().is_empty() && step.outputs().is_empty());
}

#[test]
fn a_job_can_have_a_server_of_its_own() {
    // These are two addresses of the same API server.
    let (proxy, direct) = (Cluster::start(), Cluster::start());
    let (url, authority) = (direct.url(), direct.ca_pem());
    let more = [
        ("job-server", &*url),
        ("job-certificate-authority", &*authority),
        ("require", "list pods"),
    ];
    let step = Step::scanner(&support::minter(&proxy), &more);
    refuse_service_accounts(&proxy);
    step.main().succeeded();
    let kubeconfig = step.outputs().remove("kubeconfig").expect("an output");
    let pods = support::kubectl(&kubeconfig, &["get", "pods", "--namespace", proxy.namespace()]);
    assert!(pods.status.success(), "{pods:?}");

    let post = step.post().succeeded();
    assert!(post.log.contains("revoked the token"), "{}", post.log);
    assert!(proxy.anchors().is_empty());
    let asked = |cluster: &Cluster| {
        cluster
            .requests()
            .iter()
            .any(|request| request.path == "/version")
    };
    assert!(
        asked(&direct) && !asked(&proxy),
        "the proof must come from the job's server"
    );
}

/// With the proxy, no output and no file contains the token. The proxy closes when the job ends.
#[test]
fn a_job_behind_a_proxy_has_no_token() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("record");
    let inputs = [
        ("proxy", "true"),
        ("duration", "6h"),
        ("verify-revocation", "wait"),
        ("record", &*record.to_string_lossy()),
    ];
    let step = Step::scanner(&support::minter(&cluster), &inputs);
    let main = step.main().succeeded();
    let outputs = step.outputs();
    assert!(!outputs.contains_key("token"), "{:?}", outputs.keys());
    let kubeconfig = fs::read_to_string(&outputs["kubeconfig"]).expect("a kubeconfig");
    let bearer = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "))
        .expect("a bearer");
    assert!(
        main.log.contains(&format!("::add-mask::{bearer}")),
        "{}",
        main.log
    );
    let token = cluster.issued().remove(0);
    // This does not search for all forms: the masks of the minter's credential contain forms that every
    // token of this cluster has.
    assert!(!main.log.contains(&token), "{}", main.log);
    assert_absent(&token, "the kubeconfig", &kubeconfig);
    assert_absent(&token, "the outputs", &format!("{outputs:?}"));
    let pods = support::kubectl(&outputs["kubeconfig"], &["get", "pods"]);
    assert!(pods.status.success(), "{pods:?}");
    let scanner = format!("system:serviceaccount:{}:scanner", cluster.namespace());
    let used = cluster.requests();
    assert!(
        used.iter()
            .any(|request| request.path.contains("/pods") && request.user == scanner)
    );

    let post = step.post().succeeded();
    let proof = "the proxy that held the token is closed: the job never had the token";
    assert!(post.log.contains(proof), "{}", post.log);
    assert_absent(&token, "the log of post", &post.log);
    assert_absent(&token, "the summary", &step.summary());
    let row = "| resource | verbs | calls | denied |\n|---|---|--:|--:|\n| `pods` | `list` | 1 |  |\n";
    assert!(step.summary().contains(row), "{}", step.summary());
    assert!(cluster.anchors().is_empty() && !cluster.accepts(&token));
    assert!(step.left_in_temp().is_empty(), "{:?}", step.left_in_temp());
}
