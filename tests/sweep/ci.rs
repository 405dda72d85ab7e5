//! The answers of GitHub and GitLab about the runs of anchors, and the failures of both.

use jobpass_devkit::{CiAnswer, CiApi, Fault, FaultKind};

use super::*;
use crate::{
    faults::api::{away, proxy},
    github::step::Step,
    leaks::assert_absent,
};

const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
const LATER: &str = "2036-01-01T00:00:00Z";

/// A sweeper with a token for `api`. `api` stands in for GitHub and for GitLab.
fn broom_for(api: &CiApi) -> Broom {
    broom_that_trusts(api, "SSL_CERT_FILE")
}

/// A sweeper that finds the site's certificate authority through this variable.
fn broom_that_trusts(api: &CiApi, variable: &str) -> Broom {
    let mut broom = Broom::new();
    write(&broom.folder.path().join("roots.pem"), api.ca_pem());
    write(&broom.folder.path().join("token"), &format!("{TOKEN}\n"));
    broom.env(variable, "roots.pem");
    broom.env("API_TOKEN", TOKEN);
    broom.env("JOBPASS_GITHUB_URL", api.url());
    broom.env("JOBPASS_GITHUB_TOKEN_ENV", "API_TOKEN");
    broom.env("JOBPASS_GITLAB_URL", &format!("{}/", api.url()));
    broom.env("JOBPASS_GITLAB_TOKEN_FILE", "token");
    broom
}

/// Creates anchors that expire in a day and are ten minutes old.
fn anchors(broom: &Broom, anchors: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let made = new_anchors(broom, anchors);
    broom.cluster.move_date(minutes(10));
    made
}

fn new_anchors(broom: &Broom, anchors: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let made = anchors
        .iter()
        .enumerate()
        .map(|(number, (platform, repository, run, url))| {
            let noted = [
                ("lifetime", "24h"),
                ("platform", platform),
                ("repository", repository),
                ("run-id", run),
                ("url", url),
            ];
            broom.anchor(number, &noted)
        });
    made.collect()
}

fn says(id: u64, status: &str, updated: &str) -> CiAnswer {
    let body = json!({"id": id, "status": status, "updated_at": updated});
    CiAnswer::Answer(200, vec![], body.to_string())
}

#[test]
fn a_job_s_legacy_token_goes_when_its_run_has_ended() {
    let api = CiApi::start(|path| match path {
        "/api/v3/repos/team/app/actions/runs/1" => says(1, "completed", LATER),
        _ => CiAnswer::Answer(404, vec![], "{}".into()),
    });
    let broom = broom_for(&api);
    let secret = |name: &str| {
        let annotations = json!({
            "kubernetes.io/service-account.name": "scanner", "kubernetes.io/service-account.expiration": "86400",
            "jobpass.dev/platform": "github", "jobpass.dev/repository": "team/app", "jobpass.dev/run-id": "1",
            "jobpass.dev/url": format!("{}/team/app/actions/runs/1", api.url()),
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "namespace": "NAMESPACE", "annotations": annotations},
        });
        broom.cluster.apply(&secret.to_string());
    };
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "scanner", "namespace": "NAMESPACE"}});
    broom.cluster.apply(&account.to_string());
    secret(&name(1));
    secret("not-made-by-jobpass");
    broom.cluster.move_date(minutes(10));
    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    assert_eq!(summary(&lines)["ended"], 1, "{log}");
    let left = broom.cluster.legacy_secrets();
    assert_eq!(
        (left.len(), &left[0]["metadata"]["name"]),
        (1, &json!("not-made-by-jobpass")),
        "{log}"
    );
}

#[test]
fn the_certificates_of_node_extra_ca_certs_count_for_a_site() {
    let api = CiApi::start(|_| says(1, "completed", LATER));
    let broom = broom_that_trusts(&api, "NODE_EXTRA_CA_CERTS");
    let url = format!("{}/x", api.url());
    anchors(&broom, &[("github", "team/app", "1", &url)]);
    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    assert_eq!(summary(&lines)["ended"], 1, "{log}");
}

/// The runner died, or a second cancellation killed post, so nobody revoked. The token lives until the
/// sweeper learns that the anchor's run has ended.
#[rstest]
#[case::the_runner_dies(false)]
#[case::cancelled_by_force(true)]
fn a_token_that_post_could_not_revoke_ends_with_its_run(#[case] post_runs: bool) {
    let api = CiApi::start(|path| match path {
        "/api/v3/repos/team/app/actions/runs/77" => says(77, "completed", LATER),
        _ => CiAnswer::Answer(404, vec![], "{}".into()),
    });
    let broom = broom_for(&api);
    let mut step = Step::scanner(&support::minter(&broom.cluster), &[]);
    step.env("GITHUB_SERVER_URL", api.url());
    step.main().succeeded();
    let token = step.token();
    if post_runs {
        broom.cluster.inject(Fault {
            method: "DELETE",
            path_contains: "/secrets/".into(),
            times: 1,
            kind: FaultKind::HoldBefore,
        });
        let mut post = step.start("post", Stdio::piped());
        broom.cluster.wait_for(Duration::from_secs(60), |requests| {
            requests
                .iter()
                .any(|request| request.method == "DELETE")
                .then_some(())
        });
        post.kill().expect("post is there");
        Ended::of(post);
        broom.cluster.heal();
    }
    assert!(
        broom.cluster.accepts(&token),
        "the token must work until the sweep"
    );
    broom.cluster.move_date(minutes(10));
    let (swept, lines) = broom.sweep(&[]);
    assert_eq!(summary(&lines)["ended"], 1, "{}", swept.succeeded().log);
    assert!(!broom.cluster.accepts(&token));
}

#[test]
fn an_anchor_goes_when_its_run_has_ended_and_not_before() {
    let api = CiApi::start(|path| match path {
        "/api/v3/repos/team/app/actions/runs/1" => says(1, "completed", LATER),
        "/api/v3/repos/team/app/actions/runs/2" => says(2, "in_progress", LATER),
        // Somebody started the run again. This is the end of the first attempt.
        "/api/v3/repos/team/app/actions/runs/3" => says(3, "completed", "2020-01-01T00:00:00Z"),
        "/api/v4/projects/group%2Fsub%2Fapp/pipelines/4" => says(4, "failed", LATER),
        "/api/v4/projects/group%2Fsub%2Fapp/pipelines/5" => says(5, "canceling", LATER),
        _ => CiAnswer::Answer(404, vec![], "{\"message\":\"Not Found\"}".into()),
    });
    let broom = broom_for(&api);
    let url = format!("{}/x", api.url());
    let hub = |run| ("github", "team/app", run, &*url);
    let lab = |run| ("gitlab", "group/sub/app", run, &*url);
    let made = new_anchors(
        &broom,
        &[
            hub("1"),
            hub("1"),
            hub("2"),
            hub("3"),
            hub("404"),
            lab("4"),
            lab("5"),
            (
                "github",
                "team/app",
                "1",
                "https://github.com/team/app/actions/runs/1",
            ),
            (
                "github",
                "team/app",
                "1",
                &format!("{}.evil.example/x", api.url()),
            ),
            ("github", "team/../..", "1", &url),
            ("gitlab", "team/app/x?y=", "1", &url),
            ("github", "team/app", "1/../../..", &url),
        ],
    );
    // A job that has just ended deletes its anchor itself.
    broom.sweep(&[]).0.succeeded();
    assert_eq!((broom.names(), api.asked().len()), (made.clone(), 0));

    broom.cluster.move_date(minutes(10));
    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    let mut left = made;
    for gone in [5, 1, 0] {
        left.remove(gone);
    }
    assert_eq!(broom.names(), left, "{log}");
    assert_eq!(summary(&lines)["ended"], 3, "{log}");
    assert!(
        lines
            .iter()
            .all(|line| line["event"] != "deleted" || line["reason"] == "ended"),
        "{log}"
    );
    let asked = api.asked();
    assert_eq!(asked.len(), 6, "each run once, and no other: {asked:?}");
    assert!(
        asked
            .iter()
            .all(|question| question.authorization == format!("Bearer {TOKEN}")),
        "{asked:?}"
    );
    assert_absent(TOKEN, "what a sweep prints", &log);

    let listed = broom.run(&["list", "--output", "json"]).succeeded();
    let states = json_lines(&listed.log)
        .iter()
        .map(|line| line["state"].clone())
        .collect::<Vec<_>>();
    assert_eq!(states, vec![json!("live"); 9], "{}", listed.log);
}

/// jobpass sends the token only to the site that the operator named.
#[test]
fn no_anchor_chooses_where_a_token_is_sent() {
    let (mine, other) = (
        CiApi::start(|_| says(1, "completed", LATER)),
        CiApi::start(|_| says(1, "completed", LATER)),
    );
    let broom = broom_for(&mine);
    write(
        &broom.folder.path().join("roots.pem"),
        &format!("{}{}", mine.ca_pem(), other.ca_pem()),
    );
    let made = anchors(
        &broom,
        &[("github", "team/app", "1", &format!("{}/team/app", other.url()))],
    );
    broom.sweep(&[]).0.succeeded();
    assert_eq!(broom.names(), made);
    assert!(mine.asked().is_empty() && other.asked().is_empty());
}

/// A run whose state is unknown does not count as ended.
#[rstest]
#[case::unauthorized(|_: &str| CiAnswer::Answer(401, vec![], format!("bad token {TOKEN}")), Some("it does not accept the token (401)"))]
#[case::forbidden(|_: &str| CiAnswer::Answer(403, vec![], String::new()), None)]
#[case::rate_limit(|_: &str| CiAnswer::Answer(403, vec![("x-ratelimit-remaining", "0".into())], String::new()), Some("its rate limit is used up (403)"))]
#[case::too_many(|_: &str| CiAnswer::Answer(429, vec![("retry-after", "3600".into())], String::new()), Some("its rate limit is used up (429)"))]
#[case::outage(|_: &str| CiAnswer::Answer(500, vec![], format!("\u{1b}[31m {TOKEN}")), Some("3 requests in a row failed: it answered 500"))]
#[case::garbage(|_: &str| CiAnswer::Answer(200, vec![], "<html>completed</html>".into()), Some("3 requests in a row failed: its response is not about the run"))]
#[case::another_run(|_: &str| says(12345, "completed", LATER), Some("3 requests in a row failed: its response is not about the run"))]
#[case::endless(|_: &str| CiAnswer::Answer(200, vec![], "x".repeat(3 << 20)), Some("3 requests in a row failed: its response is too long"))]
#[case::slow(|_: &str| CiAnswer::Never, Some("3 requests in a row failed: it did not answer within 10 s"))]
fn what_is_not_certain_has_not_ended(#[case] answer: fn(&str) -> CiAnswer, #[case] warning: Option<&str>) {
    let api = CiApi::start(answer);
    let broom = broom_for(&api);
    let runs = (1..=20).map(|run| run.to_string()).collect::<Vec<_>>();
    let url = format!("{}/x", api.url());
    let noted = runs
        .iter()
        .map(|run| ("github", "team/app", &**run, &*url))
        .collect::<Vec<_>>();
    let made = anchors(&broom, &noted);
    let log = broom.sweep(&[]).0.succeeded().log;
    assert_eq!(broom.names(), made, "{log}");
    match warning {
        Some(why) => assert!(
            log.contains(&format!(
                "jobpass: warning: jobpass stopped asking GitHub about runs: {why}"
            )),
            "{log}"
        ),
        None => assert!(!log.contains("warning"), "{log}"),
    }
    assert!(
        warning.is_none() || api.asked().len() <= 11,
        "{} questions",
        api.asked().len()
    );
    assert_absent(TOKEN, "what a sweep prints", &log);
    assert!(!log.contains('\u{1b}'), "{log}");
}

/// A redirect could send the token to another site.
#[test]
fn redirects_are_not_followed() {
    let elsewhere = CiApi::start(|_| says(1, "completed", LATER));
    let to = elsewhere.url().to_owned();
    let api = CiApi::start(move |path| {
        CiAnswer::Answer(301, vec![("location", format!("{to}{path}"))], String::new())
    });
    let broom = broom_for(&api);
    write(
        &broom.folder.path().join("roots.pem"),
        &format!("{}{}", api.ca_pem(), elsewhere.ca_pem()),
    );
    let made = anchors(
        &broom,
        &[("github", "team/app", "1", &format!("{}/x", api.url()))],
    );
    broom.sweep(&[]).0.succeeded();
    assert_eq!(
        (broom.names(), api.asked().len(), elsewhere.asked().len()),
        (made, 1, 0)
    );
}

/// One failed request does not mean an outage, but deserves a warning.
#[test]
fn a_single_failure_is_said() {
    let api = CiApi::start(|_| CiAnswer::Answer(502, vec![], String::new()));
    let broom = broom_for(&api);
    let made = anchors(
        &broom,
        &[("gitlab", "team/app", "1", &format!("{}/x", api.url()))],
    );
    let log = broom.sweep(&[]).0.succeeded().log;
    assert_eq!(broom.names(), made);
    assert!(
        log.contains("jobpass got no usable answer from GitLab about some runs: it answered 502"),
        "{log}"
    );
}

#[test]
fn a_proxy_is_used_for_both() {
    let api = CiApi::start(|_| says(1, "completed", LATER));
    let (url, asked) = proxy();
    let mut broom = broom_for(&api);
    broom.env("HTTPS_PROXY", &url);
    broom.env("JOBPASS_GITHUB_URL", &away(api.url()));
    let sweeper = broom.folder.path().join("sweeper.yaml");
    write(
        &sweeper,
        &away(&fs::read_to_string(&sweeper).expect("a kubeconfig")),
    );
    anchors(
        &broom,
        &[("github", "team/app", "1", &format!("{}/x", away(api.url())))],
    );
    let log = broom.sweep(&[]).0.succeeded().log;
    assert!(broom.names().is_empty(), "{log}");
    let asked = asked.lock().expect("a log").join("");
    for server in [api.url(), &*broom.cluster.url()].map(away) {
        assert!(
            asked.contains(&format!("CONNECT {}", server.trim_start_matches("https://"))),
            "{asked}"
        );
    }
    assert!(!asked.contains(TOKEN), "{asked}");
}
