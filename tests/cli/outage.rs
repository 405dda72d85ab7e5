//! The proxy of a job while the API server or the token fails.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;

use super::{Desk, proxy::WRITER};
use crate::{
    cluster::{Cluster, sign_anew},
    github::step::Ended,
    leaks::assert_absent,
    support::{self, wait_for_end},
};

/// If the connection to the API server breaks, kubectl repeats a read. It shows a message for a write, which
/// the API server may have carried out, and its next request works.
#[test]
fn a_broken_connection_is_at_most_one_failed_request() {
    let desk = Desk::writer();
    let (minted, group_of_mint) = desk.mint_with_proxy(&[]);
    assert!(desk.kubectl(&["get", "configmaps"]).0);
    for kind in [FaultKind::DropBefore, FaultKind::DropAfter] {
        for method in ["GET", "POST"] {
            desk.cluster.inject(Fault {
                method,
                path_contains: "/configmaps".into(),
                times: 1,
                kind: kind.clone(),
            });
        }
        let (succeeded, said) = desk.kubectl(&["get", "configmaps"]);
        assert!(succeeded, "{said}");
        let (succeeded, said) = desk.kubectl(&["create", "configmap", "a"]);
        assert!(!succeeded, "{said}");
        assert!(
            said.contains("the connection to the API server broke before its answer"),
            "{said}"
        );
        for token in desk.cluster.issued() {
            assert_absent(&token, "the message", &said);
        }
    }
    assert!(
        desk.kubectl(&["delete", "configmap", "a"]).0,
        "with `DropAfter`, the API server carries out the write"
    );
    // With `Refuse`, the API server has not begun with the request, so the sender may repeat it. With
    // `GoAway`, the API server answers the request before it closes the connection.
    for kind in [FaultKind::Refuse, FaultKind::GoAway] {
        desk.cluster.inject(Fault {
            method: "GET",
            path_contains: "/configmaps".into(),
            times: 1,
            kind,
        });
        let (succeeded, said) = desk.kubectl(&["get", "configmaps"]);
        assert!(succeeded, "{said}");
    }
    // Half of an answer must not look like a whole one, however often kubectl repeats the request.
    desk.cluster.inject(Fault {
        method: "GET",
        path_contains: "/configmaps".into(),
        times: usize::MAX,
        kind: FaultKind::CutBody,
    });
    let (succeeded, said) = desk.kubectl(&["get", "configmaps"]);
    assert!(!succeeded, "{said}");
    desk.cluster.heal();
    desk.run(&["revoke", "--kubeconfig-file", "kc"]).succeeded();
    wait_for_end(group_of_mint);
    desk.assert_nothing_left(&minted);
}

/// While the API server restarts, a watch ends and client-go repeats requests. Afterwards, requests work
/// again.
#[rstest]
fn the_api_server_restarts(#[values(true, false)] http2: bool) {
    let cluster = if http2 {
        Cluster::start()
    } else {
        Cluster::without_http2()
    };
    let mut desk = Desk::at(cluster);
    desk.cluster.apply(WRITER);
    let (minted, group_of_mint) = desk.mint_with_proxy(&["--record", "record"]);
    let kubeconfig = desk.path("kc");
    let kubectl = |arguments: &[&str]| {
        let mut kubectl = support::scrubbed(Command::new(support::tool("kubectl")));
        kubectl.env("KUBECONFIG", &kubeconfig).args(arguments);
        kubectl
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        kubectl.spawn().expect("kubectl starts")
    };
    let watch = kubectl(&["get", "configmaps", "--watch"]);
    desk.cluster.wait_for(Duration::from_secs(60), |requests| {
        let mut watches = requests.iter().filter(|request| request.path.contains("watch="));
        watches.any(|request| request.status.is_some()).then_some(())
    });
    desk.cluster.go_down();
    Ended::of(watch);
    let waiting = kubectl(&["create", "configmap", "a"]);
    let refused = desk.path("record");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(&refused)
        .expect("a record")
        .contains(r#""status":503"#)
    {
        assert!(
            Instant::now() < deadline,
            "the proxy did not answer 503 within 30 s"
        );
        thread::sleep(Duration::from_millis(20));
    }
    desk.cluster.come_back();
    let waited = Ended::of(waiting).succeeded();
    assert!(waited.log.contains("configmap/a created"), "{}", waited.log);
    let (succeeded, said) = desk.kubectl(&["get", "configmap", "a"]);
    assert!(succeeded, "{said}");
    desk.run(&["revoke", "--kubeconfig-file", "kc"]).succeeded();
    wait_for_end(group_of_mint);
    fs::remove_file(desk.path("record")).expect("written");
    desk.assert_nothing_left(&minted);
}

/// While the token is expired, the proxy tells its clients why their requests fail. After the next renewal,
/// requests work again.
#[test]
fn an_expired_token_is_an_error_until_it_is_renewed() {
    let desk = Desk::at(Cluster::hasty());
    let (minted, group_of_mint) = desk.mint_with_proxy(&["--duration", "6h"]);
    // kube-apiserver accepts a token for a minute after its expiry.
    desk.cluster.reissue(|answer| {
        sign_anew(answer, |claims| {
            let issued = claims["iat"].as_i64().expect("a time");
            (claims["iat"], claims["exp"]) = ((issued - 62).into(), (issued - 61).into());
        });
    });
    let until = |expected: bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (succeeded, said) = desk.kubectl(&["get", "pods"]);
            if succeeded == expected {
                return said;
            }
            assert!(Instant::now() < deadline, "{said}");
        }
    };
    let said = until(false);
    let why = "the token is revoked, or it has expired and jobpass could not renew it";
    assert!(said.contains(why), "{said}");
    for token in desk.cluster.issued() {
        assert_absent(&token, "the message", &said);
    }
    desk.cluster.reissue(|_| {});
    until(true);
    desk.run(&["revoke", "--kubeconfig-file", "kc"]).succeeded();
    wait_for_end(group_of_mint);
    desk.assert_nothing_left(&minted);
}
