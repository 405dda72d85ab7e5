//! `mint`, `open` and `revoke`, as the templates call them.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    job::{Job, mode},
    revoked,
};
use crate::{
    cluster::{Cluster, sign_anew},
    github::step::Ended,
    support,
};

/// An option with which jobpass does not ask about the token's permissions. The API server caches a token
/// that it sees. With this option, the API server sees the token only after the revocation.
pub(super) const UNSEEN: (&str, &str) = ("escape-check", "off");
const FILES: [(&str, &str); 2] = [("token-file", "true"), ("kubeconfig-file", "true")];

#[test]
fn a_job_gets_files_and_loses_them() {
    let cluster = Cluster::start();
    let job = Job::with(&cluster, &FILES);
    let mint = job.mint().succeeded();
    says(
        &mint,
        &[
            &format!(
                "minted a token for ServiceAccount {}/scanner",
                cluster.namespace()
            ),
            "revoked when the script is over",
        ],
    );
    job.assert_nothing_leaked(&cluster, &mint);
    assert_eq!(mode(&job.temp()), 0o700);
    assert_eq!(mode(&job.state_file()), 0o600);

    let token = fs::read_to_string(job.temp().join("jobpass-7001.token")).expect("the token");
    assert_eq!(cluster.issued(), [&*token]);
    let kubeconfig = job.temp().join("jobpass-7001.kubeconfig");
    assert!(support::kubectl(&kubeconfig, &["get", "pods"]).status.success());
    let anchors = cluster.anchors();
    let labels = &anchors[0]["metadata"]["labels"];
    assert_eq!(labels["jobpass.dev/platform"], "gitlab");
    assert_eq!(labels["jobpass.dev/run-id"], "77");
    assert_eq!(labels["jobpass.dev/job"], "7001");

    let revoke = job.revoke("success", &[]).succeeded();
    says(&revoke, &[&revoked(&cluster)]);
    assert_dead(&cluster);
    assert!(job.left_in_temp().is_empty() && job.left_in_project().is_empty());
    says(&job.revoke("success", &[]).succeeded(), &["nothing to revoke"]);
}

/// gitlab-runner before 15.7 does not tell the job its timeout.
#[rstest]
#[case::an_older_runner(None, true)]
#[case::a_newer_runner(Some("3600"), false)]
fn a_runner_that_does_not_tell_its_timeout_is_said(#[case] timeout: Option<&str>, #[case] told: bool) {
    let cluster = Cluster::start();
    let mut job = Job::with(&cluster, &[FILES[0], FILES[1], UNSEEN]);
    job.set("CI_RUNNER_VERSION", "15.6.3");
    if let Some(seconds) = timeout {
        job.set("CI_JOB_TIMEOUT", seconds);
    }
    let mint = job.mint().succeeded();
    let warning = "warning: this gitlab-runner (15.6.3) does not tell the job its timeout (CI_JOB_TIMEOUT), \
        so the token may outlive a job that reaches its timeout";
    assert_eq!(mint.log.contains(warning), told, "{}", mint.log);
    job.revoke("success", &[]).succeeded();
}

/// The API server learns of the deletion by its watch, and jobpass tests the token only after that. An
/// earlier test would put the token into the API server's cache.
#[test]
fn revoking_proves_it_with_the_token() {
    let cluster = Cluster::start();
    let job = Job::with(&cluster, &[FILES[0], FILES[1], UNSEEN]);
    job.mint().succeeded();
    says(
        &job.revoke("success", &[]).succeeded(),
        &["the API server answers 401 to the token"],
    );
    let requests = cluster.requests();
    let [deleted, gone, asked] = requests.last_chunk().expect("three requests");
    assert_eq!([&*deleted.method, &*gone.method], ["DELETE"; 2], "{requests:?}");
    assert_eq!(asked.path, "/version", "{requests:?}");
    let since = asked.arrived - gone.arrived;
    assert!(since >= Duration::from_millis(100), "asked after {since:?}");
}

#[rstest]
#[case::with_a_credential_id(true)]
#[case::without_one_as_of_1_28(false)]
fn a_token_is_handed_over_masked_opened_and_revoked(#[case] with_id: bool) {
    let cluster = Cluster::start();
    if !with_id {
        cluster.reissue(|answer| {
            sign_anew(answer, |claims| {
                claims.as_object_mut().expect("claims").remove("jti");
            });
        });
    }
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env"), UNSEEN]);
    let mint = minting.mint().succeeded();
    minting.assert_nothing_leaked(&cluster, &mint);
    says(
        &minting.revoke("success", &["--unless-success"]).succeeded(),
        &["later jobs get its token"],
    );
    assert!(minting.left_in_temp().is_empty());

    let token = &cluster.issued()[0];
    let variables = minting.dotenv();
    assert_eq!(variables["JOBPASS_TOKEN"], format!("glpat-{token}"));
    let metadata = &cluster.anchors()[0]["metadata"];
    let name = metadata["name"].as_str().expect("a name");
    assert_eq!(
        variables["JOBPASS_ANCHOR"],
        format!("{}/{name}", cluster.namespace())
    );
    assert_eq!(
        variables["JOBPASS_ANCHOR_UID"],
        metadata["uid"].as_str().expect("a uid")
    );
    assert!(variables["JOBPASS_EXPIRES_AT"].ends_with('Z'));
    let id = variables.get("JOBPASS_CREDENTIAL_ID");
    assert_eq!(id.map(String::len), with_id.then_some(36));
    assert_eq!(variables.len(), 6 + usize::from(with_id));

    let mut using = minting.later();
    using.options(&[("token-file", "true")]);
    let open = using.run(&["open"]).succeeded();
    using.assert_nothing_leaked(&cluster, &open);
    let file = using.temp().join("jobpass-7002.token");
    assert_eq!(fs::read_to_string(&file).expect("a token"), *token);
    assert_eq!(mode(&file), 0o600);
    // The job's own after_script does not revoke the token of other jobs.
    says(&using.revoke("failed", &[]).succeeded(), &["nothing to revoke"]);
    assert!(cluster.accepts(token));

    let revoke = minting.later().revoke("success", &["--handed-over"]).succeeded();
    says(
        &revoke,
        &[&revoked(&cluster), "the API server answers 401 to the token"],
    );
    minting.assert_nothing_leaked(&cluster, &revoke);
    assert_dead(&cluster);
}

#[test]
fn a_token_in_plain_comes_with_a_warning() {
    let cluster = Cluster::start();
    let options = [
        ("dotenv", "jobpass.env"),
        ("dotenv-mode", "plain"),
        ("variable", "SCAN_TOKEN"),
    ];
    let minting = Job::with(&cluster, &options);
    let mint = minting.mint().succeeded();
    minting.assert_nothing_leaked(&cluster, &mint);
    says(
        &mint,
        &["warning: `dotenv-mode: plain`: runners do not mask SCAN_TOKEN"],
    );
    assert_eq!(minting.dotenv()["SCAN_TOKEN"], cluster.issued()[0]);
    minting.later().revoke("success", &["--handed-over"]).succeeded();
    assert_dead(&cluster);
}

/// The API server answers 401 to every token for another audience, so a 401 does not prove that such a token
/// is dead.
#[test]
fn a_token_for_another_audience_is_proven_dead_by_its_anchor() {
    let cluster = Cluster::start();
    let options = [("dotenv", "jobpass.env"), ("audiences", "vault")];
    let minting = Job::with(&cluster, &options);
    minting.mint().succeeded();
    let revoke = minting.later().revoke("success", &["--handed-over"]).succeeded();
    says(&revoke, &["the anchor is gone"]);
    assert_dead(&cluster);
}

#[rstest]
fn a_job_that_hands_over_revokes_if_it_fails(#[values("failed", "canceled", "timedout")] status: &str) {
    let cluster = Cluster::start();
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    minting.mint().succeeded();
    says(
        &minting.revoke(status, &["--unless-success"]).succeeded(),
        &["revoked the token"],
    );
    assert_dead(&cluster);
}

#[test]
fn without_a_handover_there_is_nothing_to_revoke_or_open() {
    let cluster = Cluster::start();
    let mut job = Job::with(&cluster, &[("token-file", "true")]);
    says(
        &job.revoke("success", &["--handed-over"]).succeeded(),
        &["no token to revoke"],
    );
    let open = job.run(&["open"]);
    assert_eq!(open.code(), 2, "{}", open.log);
    says(
        &open,
        &["input `variable` is `JOBPASS_TOKEN`, which no earlier job handed over"],
    );
    job.set("JOBPASS_ANCHOR", "ci/../../etc; rm -rf /");
    let revoke = job.revoke("success", &["--handed-over", "--fail-on-revoke-error", "true"]);
    assert_eq!(revoke.code(), 7, "{}", revoke.log);
    says(
        &revoke,
        &[
            "not the name of an anchor",
            "--selector app.kubernetes.io/managed-by=jobpass,jobpass.dev/run-id=77",
        ],
    );
    assert!(!revoke.log.contains("rm -rf"), "{}", revoke.log);
}

#[test]
fn a_job_revokes_every_token_of_its_own_and_none_of_others() {
    let cluster = Cluster::start();
    let mut job = Job::with(&cluster, &[("token-file", "first"), ("kubeconfig-file", "")]);
    job.mint().succeeded();
    job.options(&[("token-file", "second")]);
    job.mint().succeeded();
    let mut other = Job::with(&cluster, &[("token-file", "true")]);
    other
        .set("CI_JOB_ID", "70010")
        .set("RUNNER_TEMP_PROJECT_DIR", &job.temp().display().to_string());
    other.mint().succeeded();

    let revoke = job.revoke("failed", &[]).succeeded();
    assert_eq!(
        revoke.log.matches("revoked the token").count(),
        2,
        "{}",
        revoke.log
    );
    let alive = cluster
        .issued()
        .iter()
        .map(|token| cluster.accepts(token))
        .collect::<Vec<_>>();
    assert_eq!(alive, [false, false, true]);
    other.revoke("success", &[]).succeeded();
    assert!(job.left_in_temp().is_empty());
}

/// A job with its own `after_script` leaves files of jobpass in its temporary folder. `mint` of a later job
/// removes them when they are a day old.
#[test]
fn what_jobs_of_long_ago_left_is_removed() {
    let cluster = Cluster::start();
    let job = Job::with(&cluster, &FILES);
    fs::create_dir(job.temp()).expect("made");
    let hours_ago = |name: &str, hours: u64| {
        let path = job.temp().join(name);
        let file = fs::File::create(&path).expect("made");
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_modified(time).expect("set");
        path
    };
    let old = ["jobpass-6999.begun", "jobpass-6999.ci.jobpass-1.over"].map(|name| hours_ago(name, 25));
    let others = ["jobpass-6999.x.begun", "jobpass-7000.ci.jobpass-2.over"].map(|name| hours_ago(name, 1));
    let other = hours_ago("gitlab.over", 25);
    job.mint().succeeded();
    assert!(old.iter().all(|path| !path.exists()));
    assert!(others.iter().chain([&other]).all(|path| path.exists()));
    job.revoke("success", &[]).succeeded();
}

#[rstest]
#[case::garbled("{\"connection\":")]
#[case::empty("")]
#[case::of_another("{\"token\":\"eyJhbGciOiJSUzI1NiJ9.e30.c2ln\"}")]
fn garbled_state_is_told_and_everything_is_revoked_even_so(#[case] garbled: &str) {
    let cluster = Cluster::start();
    let mut job = Job::with(&cluster, &[("token-file", "first"), ("dotenv", "first.env")]);
    job.mint().succeeded();
    fs::write(job.state_file(), garbled).expect("written");
    job.options(&[("token-file", "second"), ("dotenv", "second.env")]);
    job.mint().succeeded();
    let revoke = job.revoke("failed", &[]).succeeded();
    says(&revoke, &["warning: the recorded state cannot be read"]);
    assert!(!revoke.log.contains("eyJ"), "{}", revoke.log);
    assert_dead(&cluster);
    assert_eq!(
        job.left_in_temp(),
        ["first"],
        "jobpass cannot know which files a garbled state names"
    );
}

#[rstest]
#[case("false", 0, "warning: the token is not revoked")]
#[case("true", 7, "error: the token is not revoked")]
fn a_failure_to_revoke_names_the_command_to_type(#[case] fail: &str, #[case] code: i32, #[case] line: &str) {
    for handed_over in [false, true] {
        let cluster = Cluster::start();
        let options = [("dotenv", "jobpass.env"), ("fail-on-revoke-error", fail)];
        let job = Job::with(&cluster, &options);
        job.mint().succeeded();
        let anchor = cluster.anchors()[0]["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        support::forbid_minter(&cluster);
        let revoke = match handed_over {
            true => job.later().revoke("success", &["--handed-over"]),
            false => job.revoke("failed", &[]),
        };
        assert_eq!(revoke.code(), code, "{}", revoke.log);
        says(
            &revoke,
            &[
                line,
                "403",
                &format!(
                    "kubectl delete secret {anchor} --namespace {}",
                    cluster.namespace()
                ),
            ],
        );
        // A person can try again later.
        assert_eq!(job.states().len(), 1);
    }
}

/// Other processes of the machine can read the arguments of a command.
#[test]
fn a_kubeconfig_is_no_flag() {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let job = Job::without_minter(&FILES);
    for verb in ["mint", "revoke"] {
        let refused = job.run(&[verb, "--kubeconfig", &kubeconfig]);
        assert_eq!(refused.code(), 2, "{}", refused.log);
        says(
            &refused,
            &["input `kubeconfig` comes from a flag, and names no file"],
        );
        assert!(!refused.log.contains("eyJ"), "{}", refused.log);
    }
    let path = job.project().join("minter");
    fs::write(&path, kubeconfig).expect("written");
    job.run(&["mint", "--kubeconfig", "minter"]).succeeded();
    job.run(&["revoke"]).succeeded();
    assert_dead(&cluster);
}

/// Each signal stops `mint` at each stage. Then after_script must leave nothing behind.
#[rstest]
fn a_job_that_is_stopped_while_it_mints_leaves_nothing(
    #[values(("/secrets", false), ("/secrets", true), ("/token", false), ("/token", true))] station: (
        &str,
        bool,
    ),
    #[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal,
) {
    let (path, carried_out) = station;
    let cluster = Cluster::start();
    let job = Job::with(&cluster, &[FILES[0], FILES[1], ("dotenv", "jobpass.env")]);
    cluster.inject(Fault {
        method: "POST",
        path_contains: path.into(),
        times: 1,
        kind: if carried_out {
            FaultKind::HoldAfter
        } else {
            FaultKind::HoldBefore
        },
    });
    let mint = job.start(&["mint"]);
    cluster.wait_for(Duration::from_secs(60), |requests| {
        let held = |r: &jobpass_devkit::LoggedRequest| r.method == "POST" && r.path.ends_with(path);
        let done = match path {
            "/secrets" => !cluster.anchors().is_empty(),
            _ => !cluster.issued().is_empty(),
        };
        (requests.iter().any(held) && done == carried_out).then_some(())
    });
    kill_process(Pid::from_child(&mint), signal).expect("it is there");
    let mint = Ended::of(mint);
    let code = match signal {
        Signal::KILL => 137,
        Signal::INT => 130,
        _ => 143,
    };
    assert_eq!(mint.code(), code, "{}", mint.log);
    job.assert_nothing_leaked(&cluster, &mint);
    if signal != Signal::KILL {
        assert!(cluster.anchors().is_empty(), "{}", mint.log);
        // While the anchor's uid is unknown, the API server may create the anchor later.
        let recorded = usize::from(path == "/secrets");
        assert_eq!(job.states().len(), recorded, "{}", mint.log);
    }

    job.revoke("canceled", &[]).succeeded();
    assert_dead(&cluster);
    assert!(job.left_in_temp().is_empty() && job.left_in_project().is_empty());
}

/// A project variable may have any value. The token's own claims take precedence. If JOBPASS_ANCHOR names
/// another anchor, the log says so.
#[rstest]
#[case::another_anchor("JOBPASS_ANCHOR", "NAMESPACE/jobpass-aaaaaaaaaaaaaaaaaaaa", true)]
#[case::another_uid("JOBPASS_ANCHOR_UID", "11111111-1111-1111-1111-111111111111", false)]
#[case::none("JOBPASS_ANCHOR", "", false)]
fn the_token_itself_says_which_anchor_is_deleted(
    #[case] variable: &str,
    #[case] value: &str,
    #[case] told: bool,
) {
    let cluster = Cluster::start();
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env"), UNSEEN]);
    minting.mint().succeeded();
    let mut post = minting.later();
    post.set(variable, &value.replace("NAMESPACE", cluster.namespace()));
    let revoke = post.revoke("success", &["--handed-over", "--fail-on-revoke-error", "true"]);
    assert_eq!(revoke.code(), if told { 7 } else { 0 }, "{}", revoke.log);
    says(
        &revoke,
        &[&revoked(&cluster), "the API server answers 401 to the token"],
    );
    assert_eq!(
        revoke.log.contains("JOBPASS_ANCHOR names "),
        told,
        "{}",
        revoke.log
    );
    assert_dead(&cluster);
}

/// A legacy token never expires, and does not contain the uid of its Secret. jobpass must delete the Secret
/// even if a variable names another uid.
#[rstest]
fn a_variable_does_not_keep_a_legacy_token_alive(#[values("quick", "wait", "off")] verify: &str) {
    let cluster = Cluster::start();
    let options = [
        ("type", "legacy"),
        ("dotenv", "jobpass.env"),
        ("verify-revocation", verify),
    ];
    let minting = Job::with(&cluster, &options);
    support::allow_reading(&cluster);
    minting.mint().succeeded();
    let token = crate::cluster::token_of(&cluster.legacy_secrets()[0]);
    let mut post = minting.later();
    post.set("JOBPASS_ANCHOR_UID", "11111111-1111-1111-1111-111111111111");
    let revoke = post.revoke("success", &["--handed-over", "--fail-on-revoke-error", "true"]);
    assert_eq!(revoke.code(), 0, "{}", revoke.log);
    assert!(!revoke.log.contains("another Secret"), "{}", revoke.log);
    assert!(
        cluster.legacy_secrets().is_empty() && !cluster.accepts(&token),
        "{}",
        revoke.log
    );
}

/// Without the identity, jobpass cannot open the sealed token, and knows the anchor only from the variables.
#[test]
fn a_uid_that_is_not_the_anchor_s_is_no_proof() {
    let cluster = Cluster::start();
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let options = [
        ("dotenv", "jobpass.env"),
        ("dotenv-mode", "sealed"),
        ("recipient", &recipient),
    ];
    let minting = Job::with(&cluster, &options);
    minting.mint().succeeded();
    let mut post = minting.later();
    post.set("JOBPASS_ANCHOR_UID", "11111111-1111-1111-1111-111111111111");
    let revoke = post.revoke("success", &["--handed-over", "--fail-on-revoke-error", "true"]);
    assert_eq!(revoke.code(), 7, "{}", revoke.log);
    says(
        &revoke,
        &[
            "JOBPASS_ANCHOR_UID is not the uid of the anchor",
            "--selector app.kubernetes.io/managed-by=jobpass,jobpass.dev/run-id=",
        ],
    );
    assert!(!revoke.log.contains("revoked the token"), "{}", revoke.log);
    minting.later().revoke("success", &["--handed-over"]).succeeded();
    assert_dead(&cluster);
}

#[rstest]
fn nothing_is_handed_over_in_a_variable_that_is_set_already(
    #[values(
        "JOBPASS_ANCHOR",
        "JOBPASS_ANCHOR_UID",
        "JOBPASS_EXPIRES_AT",
        "JOBPASS_CREDENTIAL_ID",
        "JOBPASS_API_SERVER",
        "JOBPASS_API_CA"
    )]
    variable: &str,
) {
    let cluster = Cluster::start();
    let mut minting = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    minting.set(variable, "");
    let mint = minting.mint();
    assert_eq!(mint.code(), 2, "{}", mint.log);
    says(
        &mint,
        &[
            &format!("this job already has the variable {variable}"),
            "dependencies: []",
        ],
    );
    assert!(cluster.requests().is_empty());
}

#[test]
fn a_job_that_was_handed_a_token_has_a_kubeconfig_until_its_shell_ends() {
    let cluster = Cluster::start();
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    minting.mint().succeeded();
    let mut using = minting.later();
    using.options(&[("token-file", "true"), ("kubeconfig-file", "true")]);
    let open = using.run(&["open"]).succeeded();
    using.assert_nothing_leaked(&cluster, &open);
    let kubeconfig = using.temp().join("jobpass-7002.kubeconfig");
    assert_eq!(mode(&kubeconfig), 0o600);
    assert!(support::kubectl(&kubeconfig, &["get", "pods"]).status.success());
    using.run(&["guard", "--end"]).succeeded();
    assert_eq!(using.left_in_temp(), [""; 0]);
    minting.later().revoke("success", &["--handed-over"]).succeeded();
    assert_dead(&cluster);
}

/// An API server may refuse the tokens of ServiceAccounts at the minter's address. The job then needs the
/// address in `job-server`.
#[test]
fn a_job_that_was_handed_a_token_uses_the_jobs_server() {
    // These are two addresses of the same API server.
    let (minters, jobs) = (Cluster::start(), Cluster::start());
    let (url, authority) = (jobs.url(), jobs.ca_pem());
    let options = [
        ("dotenv", "jobpass.env"),
        ("job-server", &*url),
        ("job-certificate-authority", &*authority),
    ];
    let minting = Job::with(&minters, &options);
    minting.mint().succeeded();
    let mut using = minting.later();
    using.options(&[("token-file", "true"), ("kubeconfig-file", "true")]);
    using.run(&["open"]).succeeded();
    let kubeconfig = fs::read_to_string(using.temp().join("jobpass-7002.kubeconfig")).expect("a kubeconfig");
    assert!(kubeconfig.contains(&url), "{url}");
    assert!(!kubeconfig.contains(&minters.url()));

    minting.later().revoke("success", &["--handed-over"]).succeeded();
    assert_dead(&minters);
    let asked = |cluster: &Cluster| {
        let mut requests = cluster.requests().into_iter();
        requests.any(|request| request.path == "/version")
    };
    assert!(
        asked(&jobs) && !asked(&minters),
        "the proof must come from the job's server"
    );
}

/// A dotenv report must be shorter than 5 KB.
#[test]
fn a_job_that_cannot_be_told_of_the_ca_gets_the_token_alone() {
    let cluster = Cluster::start();
    let mut minting = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    let more = format!("FILLER={}\n", "x".repeat(3200));
    fs::write(minting.project().join("jobpass.env"), more).expect("written");
    fs::set_permissions(
        minting.project().join("jobpass.env"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .expect("set");
    let mint = minting.mint().succeeded();
    says(&mint, &["has no room for the address of the API server"]);
    let mut using = minting.later();
    using.options(&[("token-file", "true"), ("kubeconfig-file", "true")]);
    let open = using.run(&["open"]).succeeded();
    says(&open, &["warning: cannot write a kubeconfig"]);
    assert!(using.temp().join("jobpass-7002.token").exists());
    minting.set("CI_JOB_STATUS", "failed");
    minting.later().revoke("success", &["--handed-over"]).succeeded();
    assert_dead(&cluster);
}

#[test]
fn a_token_for_nobody_is_not_minted() {
    let cluster = Cluster::start();
    let mint = Job::with(&cluster, &[]).mint();
    assert_eq!(mint.code(), 2, "{}", mint.log);
    says(&mint, &["jobpass would have no file for the token"]);
    assert!(cluster.requests().is_empty());
}

#[rstest]
#[case("CI_JOB_ID", "", "the variable CI_JOB_ID is not set")]
#[case(
    "CI_JOB_ID",
    "../7001",
    "the variable CI_JOB_ID is `../7001`, which is not the id of a job"
)]
#[case("CI_PROJECT_DIR", "", "the variable CI_PROJECT_DIR is not set")]
fn elsewhere_than_in_a_job_it_says_so(#[case] variable: &str, #[case] value: &str, #[case] text: &str) {
    let mut job = Job::without_minter(&FILES);
    job.set(variable, value);
    for verb in ["mint", "revoke", "open"] {
        let refused = job.run(&[verb]);
        assert_eq!(refused.code(), 2, "{}", refused.log);
        says(&refused, &[text]);
    }
}

#[test]
fn help_shows_no_value() {
    let cluster = Cluster::start();
    let mut job = Job::with(&cluster, &FILES);
    job.options(&[
        ("dotenv-mode", "a-value"),
        ("variable", "a-value"),
        ("recipient", "a-value"),
        ("identity", "a-value"),
        ("server", "a-value"),
    ]);
    for verb in ["mint", "revoke", "open"] {
        let help = job.run(&[verb, "--help"]).succeeded();
        assert!(!help.log.contains("a-value"), "{}", help.log);
        job.assert_nothing_leaked(&cluster, &help);
    }
}

pub(super) fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.log.contains(text), "no `{text}` in:\n{}", ended.log);
    }
}

pub(super) fn assert_dead(cluster: &Cluster) {
    assert!(cluster.anchors().is_empty());
    assert!(cluster.issued().iter().all(|token| !cluster.accepts(token)));
}
