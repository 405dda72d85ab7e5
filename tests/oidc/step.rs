//! main and post with an ID token, and each fault of an ID token.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use jobpass_devkit::issuer::{Issuer, TokenEndpoint, Trouble};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use super::{AUDIENCE, cluster, revoked, strict_cluster};
use crate::{
    cluster::Cluster,
    github::step::{Ended, Step},
    leaks::assert_absent,
    support,
};

/// The time limit that jobpass promises for a cancelled job.
const GRACE: Duration = Duration::from_secs(6);

/// A step of a job that may request ID tokens.
struct Fixture {
    cluster: Cluster,
    endpoint: TokenEndpoint,
    step: Step,
    roots: NamedTempFile,
}

impl Fixture {
    fn new(cluster: Cluster, issuer: Issuer) -> Self {
        let endpoint = TokenEndpoint::start(issuer);
        let mut step = Step::with(&[
            ("service-account", "scanner"),
            ("namespace", cluster.namespace()),
            ("server", &cluster.url()),
            ("certificate-authority", &cluster.ca_pem()),
            ("oidc-audience", AUDIENCE),
        ]);
        let roots = NamedTempFile::new().expect("a file");
        fs::write(roots.path(), endpoint.ca_pem()).expect("written");
        step.env("SSL_CERT_FILE", &roots.path().display().to_string())
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", endpoint.url())
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", endpoint.bearer());
        Self {
            cluster,
            endpoint,
            step,
            roots,
        }
    }

    fn refused(&self, code: i32, texts: &[&str]) {
        let main = self.step.main();
        assert_eq!(main.code(), code, "{}", main.log);
        says(&main, texts);
        assert!(self.cluster.issued().is_empty() && self.cluster.anchors().is_empty());
        self.assert_nothing_leaked(&[&main]);
    }

    /// Asserts that no log, summary, state or output contains an ID token, or the credential for requesting
    /// one.
    fn assert_nothing_leaked(&self, ended: &[&Ended]) {
        let bearer = self.endpoint.bearer().to_owned();
        for secret in self.endpoint.issued().iter().chain([&bearer]) {
            for ended in ended {
                let shown = ended.log.lines().filter(|line| !line.starts_with("::add-mask::"));
                assert_absent(secret, "the log", &shown.collect::<Vec<_>>().join("\n"));
            }
            assert_absent(secret, "the summary", &self.step.summary());
            for (name, value) in self.step.state().into_iter().chain(self.step.outputs()) {
                assert_absent(secret, &name, &value);
            }
        }
    }
}

fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.log.contains(text), "no `{text}` in:\n{}", ended.log);
    }
}

#[test]
fn an_id_token_mints_and_a_fresh_one_revokes() {
    let it = Fixture::new(cluster(), Issuer::github());
    let main = it.step.main().succeeded();
    let first = it.endpoint.issued().remove(0);
    assert!(
        main.log.starts_with(&format!("::add-mask::{first}\n")),
        "{}",
        main.log
    );
    // The step has no input `check-run-id`, so jobpass takes the id from the ID token.
    let annotations = &it.cluster.anchors()[0]["metadata"]["annotations"];
    assert_eq!(annotations["jobpass.dev/check-run-id"], "51725241954");
    let post = it.step.post().succeeded();
    says(&post, &[&revoked(&it.cluster)]);
    let issued = it.endpoint.issued();
    assert!(issued.len() == 2 && issued[1] != first);
    assert!(
        post.log.starts_with(&format!("::add-mask::{}\n", issued[1])),
        "{}",
        post.log
    );
    super::assert_minted_and_revoked_by(&it.cluster, "ci:github:2", &post.log);
    it.assert_nothing_leaked(&[&main, &post]);
}

/// The API server answers only 401. So the error tells the causes apart by the claims of the token.
#[rstest]
#[case::repository(
    Issuer::github().claim("repository_id", "99").claim("repository", "team/fork"),
    &["repository           team/fork", "repository_id        99", "requiredValue: \"99\""]
)]
#[case::branch(Issuer::github().claim("ref", "refs/heads/x"), &["ref                  refs/heads/x", "every rule must match", "jobpass doctor --authentication-config FILE"])]
#[case::audience(Issuer::github().claim("aud", "another"), &["audience             another", "audiences: [\"another\"]"])]
#[case::expired(Issuer::github().expired(), &["lifetime             expired 1 min", "It has expired"])]
#[case::not_yet_valid(Issuer::github().not_yet_valid(), &["It is not valid yet"])]
#[case::unsigned(Issuer::github().unsigned(), &["It is not signed (alg: none)"])]
#[case::another_key(Issuer::github().signed_by_another(), &["openid-configuration"])]
#[case::missing_claim(Issuer::github().without("repository_id"), &["sub                  repo:team@1/app@2"])]
#[case::enterprise_server(
    Issuer::github_enterprise("github.example.com"),
    &["issuer               https://github.example.com/_services/token", "url: \"https://github.example.com/_services/token\""]
)]
fn a_bad_id_token_is_refused_in_words(#[case] issuer: Issuer, #[case] texts: &[&str]) {
    let it = Fixture::new(cluster(), issuer);
    it.refused(
        4,
        &["cannot create the anchor: the API server answered 401 Unauthorized"],
    );
    it.refused(4, texts);
}

/// With the configuration that the error proposes, the job can mint.
#[test]
fn what_the_error_proposes_lets_the_job_in() {
    let issuer = Issuer::github_enterprise("github.example.com");
    let it = Fixture::new(strict_cluster(Cluster::trusting()), issuer);
    // On github.com, the same id belongs to another repository. So the user's name contains the host.
    let user = "ci:github:github.example.com:2";
    it.cluster
        .apply(&super::documented("RoleBinding").replace("ci:github:2", user));
    let main = it.step.main();
    let (_, rest) = main
        .log
        .split_once("\napiVersion: apiserver")
        .expect("a configuration");
    let (rest, _) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let proposed = format!("apiVersion: apiserver{rest}");
    it.cluster.trust(&proposed);
    it.step.main().succeeded();
    it.step.post().succeeded();
    super::assert_minted_and_revoked_by(&it.cluster, user, "");
}

#[test]
fn a_user_without_rights_reads_what_an_administrator_runs() {
    let it = Fixture::new(strict_cluster(Cluster::start()), Issuer::github());
    let main = it.step.main();
    assert_eq!(main.code(), 4, "{}", main.log);
    says(
        &main,
        &[
            "User \"ci:github:2\" cannot create resource \"secrets\"",
            "--minter user:ci:github:2 --apply",
        ],
    );
    support::run_advice(&it.cluster, &main.log);
    it.step.main().succeeded();
    it.step.post().succeeded();
}

#[test]
fn a_job_without_the_permission_reads_what_to_add() {
    let mut it = Fixture::new(cluster(), Issuer::github());
    it.step
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", "");
    it.refused(
        2,
        &[
            "this job may not request one",
            "    permissions:\n      id-token: write",
        ],
    );
}

fn answer(status: u16, body: &str) -> Trouble {
    Trouble::Answer {
        status,
        headers: Vec::new(),
        body: body.to_owned(),
    }
}

#[test]
fn an_endpoint_with_a_bad_moment_is_asked_again() {
    let it = Fixture::new(cluster(), Issuer::github());
    let busy = Trouble::Answer {
        status: 429,
        headers: vec![("retry-after", "1".to_owned())],
        body: String::new(),
    };
    it.endpoint
        .trouble([answer(500, ""), busy, Trouble::Slow(Duration::from_secs(1))]);
    it.step.main().succeeded();
    assert_eq!(it.endpoint.requests(), 3);
    it.endpoint.trouble([answer(503, "down")]);
    it.step.post().succeeded();
    assert!(it.cluster.anchors().is_empty());
}

#[rstest]
#[case::refuses(vec![answer(403, r#"{"message": "not for you ##[error]"}"#)], 4, "token endpoint answered 403 not for you # #[error]")]
#[case::knows_the_job_no_more(vec![answer(401, "")], 4, "ends with the job")]
#[case::html(vec![answer(200, "<html>log in</html>")], 3, "the answer holds no ID token")]
#[case::no_value(vec![answer(200, r#"{"count": 0}"#)], 3, "the answer holds no ID token")]
#[case::no_jwt(vec![answer(200, r#"{"value": "opaque"}"#)], 3, "the answer holds no ID token")]
#[case::redirects(vec![answer(302, "")], 4, "token endpoint answered 302")]
#[case::down(vec![answer(500, ""); 4], 3, "token endpoint answered 500 (https://127.0.0.1")]
fn an_endpoint_that_gives_no_token(#[case] troubles: Vec<Trouble>, #[case] code: i32, #[case] text: &str) {
    let it = Fixture::new(cluster(), Issuer::github());
    let requests = troubles.len();
    it.endpoint.trouble(troubles);
    it.refused(code, &["cannot get the job's ID token", text]);
    assert_eq!(it.endpoint.requests(), requests);
    assert!(it.cluster.requests().is_empty());
}

#[test]
fn the_endpoint_s_certificate_has_to_be_good() {
    let mut it = Fixture::new(cluster(), Issuer::github());
    it.step.env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
    it.refused(3, &["cannot get the job's ID token"]);
    assert_eq!(it.endpoint.requests(), 0);
}

/// The launcher restores SSL_CERT_FILE. Without the launcher, the program sends no request, and says why.
#[test]
fn what_a_later_step_changes_does_not_redirect_post() {
    let it = Fixture::new(cluster(), Issuer::github());
    it.step.main().succeeded();
    let elsewhere = TokenEndpoint::start(Issuer::github());
    let Fixture {
        cluster,
        endpoint,
        mut step,
        roots,
    } = it;
    step.env("ACTIONS_ID_TOKEN_REQUEST_URL", elsewhere.url())
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("SSL_CERT_FILE", "/nowhere");
    step.input("oidc-audience", "another");
    step.input("server", "https://127.0.0.1:1");
    let post = step.post();
    says(
        &post,
        &["SSL_CERT_FILE has changed since jobpass minted the token"],
    );
    assert_eq!((endpoint.requests(), elsewhere.requests()), (1, 0));

    step.env("SSL_CERT_FILE", &roots.path().display().to_string());
    let post = step.post().succeeded();
    says(&post, &["revoked the token"]);
    assert_eq!((endpoint.requests(), elsewhere.requests()), (2, 0));
    assert!(cluster.anchors().is_empty());
}

#[rstest]
fn a_signal_is_obeyed_while_the_endpoint_is_slow(#[values("main", "post")] part: &str) {
    let it = Fixture::new(cluster(), Issuer::github());
    if part == "post" {
        it.step.main().succeeded();
    }
    let before = it.endpoint.requests();
    it.endpoint.trouble([Trouble::Slow(Duration::from_secs(30))]);
    let child = it.step.start(part, Stdio::piped());
    it.endpoint.wait_for_requests(before + 1);
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let ended = Ended::of(child);
    assert!(begun.elapsed() < GRACE, "it took {:?}", begun.elapsed());
    says(&ended, &["interrupted (SIGINT)"]);
    if part == "post" {
        says(&ended, &["kubectl delete secret"]);
    } else {
        assert!(
            ended.code() == 130 && it.cluster.requests().is_empty(),
            "{}",
            ended.log
        );
    }
    it.assert_nothing_leaked(&[&ended]);
}

#[test]
fn only_one_credential_is_wanted() {
    let it = Fixture::new(cluster(), Issuer::github());
    let mut step = Step::with(&[
        ("service-account", "scanner"),
        ("server", &it.cluster.url()),
        ("oidc-audience", AUDIENCE),
        ("bearer-token-env", "X"),
    ]);
    step.env("ACTIONS_ID_TOKEN_REQUEST_URL", it.endpoint.url())
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", it.endpoint.bearer());
    let main = step.main();
    says(
        &main,
        &["input `bearer-token-env` and input `oidc-audience` are both given"],
    );
    let mut step = Step::with(&[("service-account", "scanner"), ("oidc-audience", AUDIENCE)]);
    step.env("ACTIONS_ID_TOKEN_REQUEST_URL", it.endpoint.url())
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", it.endpoint.bearer());
    says(&step.main(), &["input `oidc-audience` is given without `server`"]);
    assert_eq!(it.endpoint.requests(), 0);
}

/// Only GitHub issues ID tokens on request. So jobs of `jobpass` and `jobpass-gitlab` lack the option
/// `oidc-audience`, and the error names another way.
#[test]
fn elsewhere_an_error_says_what_there_is() {
    let cluster = cluster();
    let job = crate::gitlab::job::Job::without_minter(&[
        ("server", &cluster.url()),
        ("oidc-audience", AUDIENCE),
        ("token-file", "true"),
    ]);
    let mint = job.mint();
    assert_eq!(mint.code(), 2, "{}", mint.log);
    says(
        &mint,
        &[
            "input `server` is given without a credential",
            "`id_tokens: {KUBE_TOKEN: {aud: AUDIENCE}}`",
        ],
    );
    let help = |program: &str, verb: &str| {
        let mut command = support::scrubbed(std::process::Command::new(support::binary(program)));
        let output = command.args([verb, "--help"]).output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (program, verb) in [
        ("jobpass", "mint"),
        ("jobpass", "doctor"),
        ("jobpass", "exec"),
        ("jobpass-gitlab", "mint"),
        ("jobpass-gitlab", "revoke"),
    ] {
        let help = help(program, verb);
        assert!(
            help.contains("--bearer-token-env") && !help.contains("oidc-audience"),
            "{help}"
        );
    }
    assert!(help("jobpass", "setup").contains("--oidc-audience"));
}
