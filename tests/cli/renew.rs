//! Jobs that last longer than their tokens.

use std::fs;

use rstest::rstest;

use super::Desk;
use crate::{
    leaks::corpus::pieces,
    support::{assert_one_anchor_gone, hasty_cluster, renewer, runs, wait_for_tokens},
};

/// As many tokens as a job of six hours needs that live for 15 minutes: each is in the file before the one before it expires,
/// works, and is masked.
#[test]
fn a_long_command_always_has_a_token_that_works() {
    let desk = Desk::at(hasty_cluster());
    let script = r#"
        seen= tokens=0
        while [ "$tokens" -lt 25 ]; do
            token=$(cat "$JOBPASS_TOKEN_FILE")
            if [ "$token" != "$seen" ]; then
                seen=$token tokens=$((tokens + 1))
                echo "token $tokens: $token"; echo "$token" | base64
                kubectl get pods > pods || exit 3
            fi
            sleep 0.05
        done"#;
    let ended = desk.exec(&["--duration", "15m", "--renew-for", "6h"], script);
    assert_eq!(ended.code(), 0, "{}", ended.log);
    assert!(ended.log.contains("token 25: [MASKED]"), "{}", ended.log);
    let issued = desk.cluster.issued();
    // One more may be on its way when the command ends.
    let times =
        [issued.len() - 1, issued.len() - 2].map(|times| format!(", which was renewed {times} times: "));
    assert!(
        times.iter().any(|times| ended.log.contains(times)),
        "{}",
        ended.log
    );
    for token in &issued {
        assert_eq!(pieces(token, &ended.log), [""; 0], "{}", ended.log);
    }
    assert_one_anchor_gone(&desk.cluster, &ended.log);
    fs::remove_file(desk.path("pods")).expect("written");
    desk.assert_all_gone(&ended.log);
}

#[test]
fn a_token_in_a_file_is_renewed_until_it_is_revoked() {
    let desk = Desk::at(hasty_cluster());
    let options = ["--token-file", "token", "--duration", "10m", "--renew-for", "1h"];
    let minted = desk.mint(&options).succeeded();
    assert!(
        minted.log.contains("; renewed before, for 1 h\n"),
        "{}",
        minted.log
    );
    let journal = desk.path("token.journal");
    wait_for_tokens(&desk.cluster, 3);
    let renewer = renewer(&journal).expect("it has the journal");
    assert!(runs(renewer));
    let lives = desk.cluster.anchors()[0]["metadata"]["annotations"]["jobpass.dev/lifetime"].clone();
    assert_eq!(lives, "4200s", "for sweeping");

    let revoked = desk.run(&["revoke", "--token-file", "token"]).succeeded();
    assert!(revoked.log.contains(", which was renewed "), "{}", revoked.log);
    assert!(!runs(renewer));
    assert_one_anchor_gone(&desk.cluster, &revoked.log);
    desk.assert_nothing_left(&revoked.log);
}

#[rstest]
#[case(&["exec", "--renew-for", "1h", "--", "true"], "that is no longer than one token lives (`duration`)")]
#[case(&["exec", "--renew-for", "soon", "--", "true"], "this is no usable length of time")]
#[case(&["exec", "--renew-for", "2h", "--env", "TOKEN", "--", "true"], "and `env`: a variable of a command that runs")]
#[case(&["exec", "--renew-for", "2h", "--duration", "30s", "--", "true"], "a `duration` of less than 10 minutes")]
#[case(
    &["mint", "--renew-for", "2h", "--kubeconfig-file", "k", "--embed-token", "true"],
    "there is no file in which a new token could take the place"
)]
#[case(
    &["mint", "--renew-for", "2h", "--kubeconfig-file", "k", "--token-file", "t", "--embed-token", "true"],
    "input `embed-token` is `true`, and `renew-for` is given"
)]
fn what_cannot_be_renewed_is_not_minted(#[case] words: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let who = ["--service-account", "scanner", "--kubeconfig", "minter.yaml"];
    let ended = desk.run(&[&words[..1], &who, &words[1..]].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert!(desk.cluster.requests().is_empty());
}
