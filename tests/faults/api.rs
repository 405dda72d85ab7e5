//! Faults of an API server or of a network.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jobpass_devkit::{AWAY, Fault, FaultKind};
use rstest::rstest;

use crate::{cluster::Cluster, github::step::Step, leaks::github::shown, support};

fn step(cluster: &Cluster) -> Step {
    Step::scanner(&support::minter(cluster), &[])
}

pub(crate) fn inject(cluster: &Cluster, method: &'static str, path: &str, times: usize, kind: FaultKind) {
    cluster.inject(Fault {
        method,
        path_contains: path.into(),
        times,
        kind,
    });
}

fn answer(status: u16, headers: &[(&str, &str)], message: &str) -> FaultKind {
    let body = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status });
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    FaultKind::Answer {
        status,
        headers: headers.collect(),
        body: body.to_string(),
    }
}

/// The fault is temporary: the job gets its token, and its end leaves nothing behind.
#[rstest]
#[case::anchor_lost_before("POST", "/secrets", FaultKind::DropBefore)]
#[case::anchor_answer_lost("POST", "/secrets", FaultKind::DropAfter)]
#[case::anchor_500("POST", "/secrets", answer(500, &[], "etcdserver: leader changed"))]
#[case::anchor_429("POST", "/secrets", answer(429, &[("retry-after", "1")], "too many requests"))]
#[case::anchor_refused("POST", "/secrets", FaultKind::Refuse)]
#[case::anchor_goes_away("POST", "/secrets", FaultKind::GoAway)]
#[case::token_lost_before("POST", "/token", FaultKind::DropBefore)]
#[case::token_answer_lost("POST", "/token", FaultKind::DropAfter)]
#[case::token_503("POST", "/token", answer(503, &[], "apiserver is shutting down"))]
#[case::token_504("POST", "/token", answer(504, &[], "request did not complete"))]
#[case::token_goes_away("POST", "/token", FaultKind::GoAway)]
#[case::anchor_cut("POST", "/secrets", FaultKind::CutBody)]
#[case::token_cut("POST", "/token", FaultKind::CutBody)]
#[case::delete_cut("DELETE", "/secrets/", FaultKind::CutBody)]
#[case::delete_refused("DELETE", "/secrets/", FaultKind::Refuse)]
#[case::delete_goes_away("DELETE", "/secrets/", FaultKind::GoAway)]
#[case::delete_lost_before("DELETE", "/secrets/", FaultKind::DropBefore)]
#[case::delete_answer_lost("DELETE", "/secrets/", FaultKind::DropAfter)]
#[case::delete_502("DELETE", "/secrets/", answer(502, &[], "bad gateway"))]
fn what_passes_is_tried_again_and_leaves_nothing(
    #[case] method: &'static str,
    #[case] path: &str,
    #[case] kind: FaultKind,
) {
    let cluster = Cluster::start();
    let step = step(&cluster);
    inject(&cluster, method, path, 1, kind);
    let main = step.main().succeeded();
    assert_eq!(cluster.anchors().len(), 1, "{}", main.log);
    assert!(cluster.accepts(&step.token()));
    let post = step.post().succeeded();
    assert!(post.log.contains("revoked the token"), "{}", post.log);
    assert!(cluster.anchors().is_empty(), "{}", post.log);
    assert!(cluster.issued().iter().all(|token| !cluster.accepts(token)));
}

/// The fault is permanent: the job fails, and nothing is left.
#[rstest]
#[case::anchor_answers_lost("POST", "/secrets", FaultKind::DropAfter, 3)]
#[case::anchor_503("POST", "/secrets", answer(503, &[], "overloaded"), 3)]
#[case::token_answers_lost("POST", "/token", FaultKind::DropAfter, 3)]
#[case::token_500("POST", "/token", answer(500, &[], "internal error"), 3)]
#[case::policy("POST", "/token", answer(422, &[], "ValidatingAdmissionPolicy 'jobpass-tokens' with binding 'b' denied request: at most an hour"), 4)]
fn what_does_not_pass_leaves_nothing(
    #[case] method: &'static str,
    #[case] path: &str,
    #[case] kind: FaultKind,
    #[case] code: i32,
) {
    let cluster = Cluster::start();
    let step = step(&cluster);
    inject(&cluster, method, path, 9, kind);
    let main = step.main();
    assert_eq!(main.code(), code, "{}", main.log);
    assert!(main.log.contains("::error title=jobpass::cannot"), "{}", main.log);
    assert!(cluster.anchors().is_empty(), "{}", main.log);
    step.post().succeeded();
    assert!(cluster.anchors().is_empty() && cluster.issued().iter().all(|token| !cluster.accepts(token)));
}

/// The server, or a proxy before it, issues a token that jobpass did not request.
#[rstest]
#[case::longer(|answer: &mut serde_json::Value| resign(answer, "/exp", 9_999_999_999_i64.into()), "it lives for")]
#[case::unbound(|answer: &mut serde_json::Value| resign(answer, "/kubernetes.io/secret", serde_json::Value::Null), "not bound to the anchor")]
#[case::no_token(|answer: &mut serde_json::Value| answer["status"]["token"] = "".into(), "holds no token")]
#[case::no_jwt(|answer: &mut serde_json::Value| answer["status"]["token"] = "opaque".into(), "not a JWT")]
fn a_token_that_was_not_asked_for_is_never_handed_over(
    #[case] rewrite: fn(&mut serde_json::Value),
    #[case] why: &str,
) {
    let cluster = Cluster::start();
    let step = step(&cluster);
    inject(&cluster, "POST", "/token", 1, FaultKind::RewriteBody(rewrite));
    let main = step.main();
    assert_eq!(main.code(), 5, "{}", main.log);
    assert!(
        main.log.contains(why) && !cluster.issued().iter().any(|token| main.log.contains(token)),
        "{}",
        main.log
    );
    assert!(step.outputs().is_empty() && cluster.anchors().is_empty());
}

/// After a failure, jobpass cannot delete the anchor. If it has requested a token, exit code 7 says that the
/// token may still work. Otherwise, the exit code is that of the failure.
#[rstest]
#[case::a_token("/token", FaultKind::RewriteBody(|answer| resign(answer, "/exp", 9_999_999_999_i64.into())), 7, "it lives for")]
#[case::no_token_yet("/secrets", FaultKind::DropAfter, 3, "cannot create the anchor")]
fn a_failure_says_with_its_code_whether_a_token_may_live(
    #[case] path: &str,
    #[case] kind: FaultKind,
    #[case] code: i32,
    #[case] why: &str,
) {
    let cluster = Cluster::start();
    let step = step(&cluster);
    inject(&cluster, "POST", path, 9, kind);
    inject(&cluster, "DELETE", "/secrets/", 30, answer(403, &[], "no"));
    let main = step.main();
    assert_eq!(main.code(), code, "{}", main.log);
    let said = [
        why,
        "the token is not revoked: cannot delete the anchor",
        "kubectl delete secret jobpass-",
    ];
    for text in said {
        assert!(main.log.contains(text), "no `{text}` in:\n{}", main.log);
    }
    assert!(step.outputs().is_empty());
}

/// Changes a claim of a token, and keeps its signature. jobpass reads claims without checking the
/// signature.
pub(crate) fn resign(answer: &mut serde_json::Value, claim: &str, value: serde_json::Value) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = answer["status"]["token"].as_str().expect("a token").to_owned();
    let parts = token.split('.').collect::<Vec<_>>();
    let mut claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("JSON");
    *claims.pointer_mut(claim).expect("a claim") = value;
    answer["status"]["token"] = format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        parts[2]
    )
    .into();
}

#[test]
fn a_server_that_shortens_is_a_warning_with_its_own_words() {
    let cluster = Cluster::capped();
    let step = Step::scanner(&support::minter(&cluster), &[("duration", "2h")]);
    let main = step.main().succeeded();
    assert!(
        main.log
            .contains("::warning title=jobpass::requested expiration of 7200 seconds shortened to 3600"),
        "{}",
        main.log
    );
    assert!(
        main.log.contains("the token lives for 1 h, not 2 h"),
        "{}",
        main.log
    );
    step.post().succeeded();
}

#[rstest]
#[case("POST", "/secrets")]
#[case("POST", "/token")]
fn server_text_starts_no_workflow_command(#[case] method: &'static str, #[case] path: &str) {
    let cluster = Cluster::start();
    let step = step(&cluster);
    let hostile = format!(
        "x\n::set-output name=a::b\r##[add-mask]m\u{1b}[31m eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2ln {}",
        "y".repeat(1_000_000)
    );
    inject(&cluster, method, path, 1, answer(418, &[], &hostile));
    let mut main = step.main();
    main.log = shown(&main.log);
    assert!(main.log.len() < 10_000, "a megabyte of server text in the log");
    assert!(
        !main.log.contains("##[")
            && !main.log.contains('\u{1b}')
            && !main.log.contains('\r')
            && !main.log.contains("c2VjcmV0")
    );
    let commands = main
        .log
        .lines()
        .filter(|line| line.starts_with("::"))
        .collect::<Vec<_>>();
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert!(commands[0].starts_with("::error title=jobpass::"), "{commands:?}");
}

/// Replaces the address of an API server in a text by [`AWAY`], a name that only [`proxy`] resolves.
pub(crate) fn away(text: &str) -> String {
    text.replace("https://127.0.0.1:", &format!("https://{AWAY}:"))
}

/// Starts a proxy that carries out CONNECT and records the targets. It resolves [`AWAY`] to this machine.
pub(crate) fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || tunnel(client, &log));
        }
    });
    (url, asked)
}

fn tunnel(mut client: TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    log.lock().ok()?.push(head.clone());
    let mut server = TcpStream::connect(head.split(' ').nth(1)?.replace(AWAY, "127.0.0.1")).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::io::copy(&mut server, &mut client).ok().map(|_| ())
}

#[test]
fn a_proxy_is_used_with_its_password_and_no_proxy_is_obeyed() {
    let cluster = Cluster::start();
    let (url, asked) = proxy();
    let minter = support::minter(&cluster);
    let mut step = Step::scanner(&away(&minter), &[]);
    step.env("HTTPS_PROXY", &url.replace("//", "//user:pa%40ss@"));
    step.main().succeeded();
    let head = asked
        .lock()
        .expect("a log")
        .first()
        .cloned()
        .expect("the proxy was asked");
    assert!(
        head.starts_with(&format!(
            "CONNECT {}",
            away(&cluster.url()).trim_start_matches("https://")
        )),
        "{head}"
    );
    // `user:pa@ss` in base64.
    assert!(
        head.to_lowercase().contains("proxy-authorization: basic") && head.contains("dXNlcjpwYUBzcw=="),
        "{head}"
    );
    assert!(
        !step.state()["jobpass"].contains("pa%40ss"),
        "the proxy's password is in the state"
    );
    step.post().succeeded();
    assert!(
        asked.lock().expect("a log").len() >= 2,
        "post went past the proxy"
    );
    assert!(cluster.anchors().is_empty());

    let before = asked.lock().expect("a log").len();
    let mut step = Step::scanner(&minter, &[]);
    step.env("HTTPS_PROXY", &url);
    step.main().succeeded();
    step.post().succeeded();
    assert_eq!(
        asked.lock().expect("a log").len(),
        before,
        "jobpass must not use the proxy for 127.0.0.1"
    );
    let mut step = Step::scanner(&away(&minter), &[]);
    step.env("HTTPS_PROXY", &url).env("NO_PROXY", "*.example");
    let refused = step.main();
    assert_eq!(refused.code(), 3, "{}", refused.log);
    assert_eq!(asked.lock().expect("a log").len(), before, "{}", refused.log);
}

/// Each case is an answer with status 404 that does not mean that the anchor is gone.
#[rstest]
#[case::no_such_path(
    "{\"kind\":\"Status\",\"message\":\"the server could not find the requested resource\",\"reason\":\"NotFound\",\"details\":{},\"code\":404}"
)]
#[case::no_api_server("404 page not found")]
fn a_404_that_is_not_about_the_anchor_is_no_proof(#[case] body: &str) {
    let cluster = Cluster::start();
    let step = step(&cluster);
    step.main().succeeded();
    inject(
        &cluster,
        "DELETE",
        "/secrets/",
        9,
        FaultKind::Answer {
            status: 404,
            headers: vec![],
            body: body.into(),
        },
    );
    let post = step.post().succeeded();
    assert!(
        post.log
            .contains("::warning title=jobpass::the token is not revoked"),
        "{}",
        post.log
    );
}

/// Sets the finalizers of an anchor. While an anchor has one, its deletion does not finish.
pub(crate) fn set_finalizers(cluster: &Cluster, anchor: &str, finalizers: &[&str]) {
    let path = format!("/api/v1/namespaces/{}/secrets/{anchor}", cluster.namespace());
    let patch = serde_json::json!({ "metadata": { "finalizers": finalizers } });
    let (status, answer) = cluster.ask("PATCH", &path, Some(&patch));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn an_anchor_that_a_finalizer_holds_is_not_called_revoked() {
    let cluster = Cluster::start();
    let step = step(&cluster);
    step.main().succeeded();
    let anchor = step.outputs().remove("anchor").expect("an output");
    set_finalizers(&cluster, &anchor, &["example.com/hold"]);
    let post = step.post().succeeded();
    assert!(
        post.log.contains(
            "::warning title=jobpass::the API server accepted the deletion of the anchor, but jobpass could not \
             prove that the token is dead"
        ),
        "{}",
        post.log
    );
    assert!(
        post.log.contains("still exists") && post.log.contains("finalizer"),
        "{}",
        post.log
    );
    // With `--output yaml`, kubectl would show the data of a Secret.
    let command = format!(
        "kubectl get secret {anchor} --namespace {} --output jsonpath='{{.metadata.finalizers}}'",
        cluster.namespace()
    );
    assert!(post.log.contains(&command), "{}", post.log);
    set_finalizers(&cluster, &anchor, &[]);
}

#[test]
fn a_server_that_asks_for_a_days_patience_gets_ten_seconds() {
    let cluster = Cluster::start();
    let step = step(&cluster);
    inject(
        &cluster,
        "POST",
        "/secrets",
        1,
        answer(429, &[("retry-after", "86400")], "later"),
    );
    let begun = Instant::now();
    step.main().succeeded();
    assert!(
        begun.elapsed() >= Duration::from_secs(10),
        "jobpass must wait for 10 s"
    );
    step.post().succeeded();
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let cluster = Cluster::start();
    let step = step(&cluster);
    inject(&cluster, "POST", "/secrets", 9, FaultKind::HoldBefore);
    let main = step.main();
    assert_eq!(main.code(), 3, "{}", main.log);
    assert!(
        main.log.contains("no answer in time") && main.log.contains("of 45 s allowed"),
        "{}",
        main.log
    );
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
}
