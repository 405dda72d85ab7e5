//! The action: its log, state, summary and files, after success and after failure.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;

use super::{assert_absent, forms};
use crate::{cluster::Cluster, github::step::Step, support};

/// The log without the commands that add masks: the runner does not print them.
pub(crate) fn shown(log: &str) -> String {
    log.lines()
        .filter(|line| !line.starts_with("::add-mask::"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_token_is_only_where_it_was_asked_for() {
    let cluster = Cluster::start();
    let minter = support::minter_token(&cluster);
    let kubeconfig = cluster.kubeconfig(&minter, cluster.namespace());
    let step = Step::scanner(
        &kubeconfig,
        &[("token-file", "true"), ("kubeconfig-file", "true")],
    );
    let main = step.main().succeeded();
    let token = step.token();

    // All masks come before any other text, and cover all forms of the token.
    let masks = main
        .log
        .lines()
        .take_while(|line| line.starts_with("::add-mask::"))
        .collect::<Vec<_>>();
    assert!(
        !shown(&main.log).contains("::add-mask::") && masks.len() > 4,
        "{masks:?}"
    );
    let is_masked = |form: &String| masks.iter().any(|mask| mask.ends_with(&format!("::{form}")));
    assert!(forms(&token).iter().all(is_masked));
    let expected = jobpass_core::masks::of(&token);
    let expected = expected
        .iter()
        .map(|mask| format!("::add-mask::{}", mask.replace('%', "%25")));
    let missing = expected.filter(|mask| !masks.contains(&&**mask)).count();
    assert_eq!(missing, 0, "of {}", masks.len());

    let outputs = step.outputs();
    assert!(
        outputs
            .iter()
            .all(|(name, value)| name == "token" || !value.contains(&token))
    );
    let post = step.post().succeeded();
    for secret in [&token, &minter] {
        assert_absent(secret, "the log of main", &shown(&main.log));
        assert_absent(secret, "the log of post", &post.log);
        assert_absent(secret, "the summary", &step.summary());
    }
    // The runner stores one secret value for post. jobpass masks it as a whole.
    for (name, value) in step.state() {
        assert_absent(&token, &format!("the state `{name}`"), &value);
        match &*name {
            "minter-kubeconfig" => assert!(value.contains(&minter) && is_masked(&value)),
            _ => assert_absent(&minter, &format!("the state `{name}`"), &value),
        }
    }
    for file in ["state", "output"] {
        let mode = fs::metadata(step.file(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for (name, value) in &outputs {
        assert_absent(&minter, &format!("the output `{name}`"), value);
    }
}

#[test]
fn the_kubeconfig_holds_the_token_for_as_long_as_the_job_runs_and_nothing_of_the_minter() {
    let cluster = Cluster::start();
    let minter = support::minter_token(&cluster);
    let step = Step::scanner(
        &cluster.kubeconfig(&minter, cluster.namespace()),
        &[("kubeconfig-file", "true")],
    );
    step.main().succeeded();
    let kubeconfig = fs::read_to_string(&step.outputs()["kubeconfig"]).expect("a kubeconfig");
    assert!(kubeconfig.contains(&step.token()));
    assert_absent(&minter, "the kubeconfig", &kubeconfig);
    step.post().succeeded();
    assert!(step.left_in_temp().is_empty(), "{:?}", step.left_in_temp());
}

/// The API server repeats the credential in its message, and jobpass quotes the message.
#[rstest]
#[case::message(422)]
#[case::retried(503)]
fn a_server_that_echoes_a_credential_does_not_get_it_shown(#[case] status: u16) {
    let cluster = Cluster::start();
    let minter = support::minter_token(&cluster);
    let step = Step::scanner(&cluster.kubeconfig(&minter, cluster.namespace()), &[]);
    let body = serde_json::json!({ "kind": "Status", "message": format!("bad header: Bearer {minter}"), "code": status });
    let kind = FaultKind::Answer {
        status,
        headers: vec![("warning".into(), format!("299 - \"{minter}\""))],
        body: body.to_string(),
    };
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/secrets".into(),
        times: 9,
        kind,
    });
    let main = step.main();
    assert_ne!(main.code(), 0);
    assert_absent(&minter, "the log", &shown(&main.log));
    assert!(main.log.contains("<redacted>"), "{}", main.log);
}

/// An admission webhook's message is Markdown with a link and an image.
#[test]
fn the_summary_shows_a_server_s_text_without_markup() {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[]);
    step.main().succeeded();
    let message =
        "denied: [log in](https://evil.example/login) ![i](https://evil.example/i.png) @team `x` <b>";
    let body = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Invalid", "code": 422 });
    cluster.inject(Fault {
        method: "DELETE",
        path_contains: "/secrets/".into(),
        times: 99,
        kind: FaultKind::Answer {
            status: 422,
            headers: Vec::new(),
            body: body.to_string(),
        },
    });
    let post = step.post();
    assert!(
        post.log.contains("[log in](https://evil.example/login)"),
        "{}",
        post.log
    );
    let summary = step.summary();
    assert!(
        summary.contains(r"\[log in\](https\://evil.example/login)"),
        "{summary}"
    );
    for markup in [" [", "![", "s://", " @team", " `x`", "<b>"] {
        let text = summary
            .lines()
            .find(|line| line.contains("denied"))
            .expect("the message");
        assert!(!text.contains(markup), "{markup}: {text}");
    }
}

#[test]
fn another_process_of_the_same_user_reads_nothing_in_proc() {
    let cluster = Cluster::start();
    let minter = support::minter_token(&cluster);
    let step = Step::scanner(&cluster.kubeconfig(&minter, cluster.namespace()), &[]);
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind: FaultKind::HoldAfter,
    });
    let mut main = step.start("main", std::process::Stdio::null());
    cluster.wait_for(Duration::from_secs(60), |_| {
        (!cluster.issued().is_empty()).then_some(())
    });
    let proc = |file: &str| fs::metadata(format!("/proc/{}/{file}", main.id())).expect("a process");
    // If a process is not dumpable, /proc gives its files to root. The job's own user can read neither
    // environ nor mem.
    for file in ["environ", "mem", "maps"] {
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&proc(file)), 0, "{file}");
    }
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", main.id())).expect("readable");
    assert_absent(&minter, "argv", &arguments);
    let limits = fs::read_to_string(format!("/proc/{}/limits", main.id())).expect("readable");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("a limit");
    assert!(
        core.split_whitespace().filter(|word| *word == "0").count() == 2,
        "{core}"
    );
    main.kill().expect("it is there");
    main.wait().expect("it ends");
}

/// With RUST_LOG, many programs print the logs of their libraries, which can contain tokens. The crate `kube`
/// can take another server from KUBE_RS_DEBUG_OVERRIDE_URL, and another user from
/// KUBE_RS_DEBUG_IMPERSONATE_USER. jobpass must ignore all three variables.
#[test]
fn nothing_in_the_environment_makes_a_library_talk_or_go_elsewhere() {
    let (cluster, elsewhere) = (Cluster::start(), Cluster::start());
    let minter = support::minter_token(&cluster);
    let mut step = Step::scanner(&cluster.kubeconfig(&minter, cluster.namespace()), &[]);
    step.env("RUST_LOG", "trace")
        .env("KUBE_RS_DEBUG_OVERRIDE_URL", &elsewhere.url());
    step.env("KUBE_RS_DEBUG_IMPERSONATE_USER", "system:admin");
    // If kube cannot parse an answer, it logs the whole answer.
    let unreadable: fn(&mut serde_json::Value) = |answer| answer["status"] = answer["status"]["token"].take();
    let kind = FaultKind::RewriteBody(unreadable);
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind,
    });
    let main = step.main();
    assert_eq!(main.code(), 3, "{}", main.log);
    for secret in cluster.issued().iter().chain([&minter]) {
        assert_absent(secret, "the log", &shown(&main.log));
    }
    assert!(elsewhere.requests().is_empty() && cluster.anchors().is_empty());
}
