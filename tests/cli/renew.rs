//! `renew-for`: jobs that last longer than their tokens.

use std::{fs, process::Command, time::Duration};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{Desk, MINT};
use crate::{
    cluster::Cluster,
    github::step::Ended,
    leaks::corpus::pieces,
    support::{self, assert_one_anchor_gone, group, wait_for_end, wait_for_tokens},
};

/// The command sees 25 tokens. A job with tokens of 15 minutes, which jobpass renews after 12 minutes, sees
/// as many in about 5 hours. jobpass masks each token, and writes it to the file before the earlier token
/// expires. Each token works.
#[test]
fn a_long_command_always_has_a_token_that_works() {
    let desk = Desk::at(Cluster::hasty());
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
    // Another renewal may have begun when the command ends.
    let times = [issued.len() - 1, issued.len() - 2].map(|times| format!(" after {times} renewals: "));
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

/// jobpass renews the token while the command prints nothing. At its end, the command prints the last token
/// that it has read, after jobpass has removed the token's file.
#[test]
fn the_last_words_of_a_quiet_command_are_masked() {
    let desk = Desk::at(Cluster::hasty());
    let script = r#"
        trap 'while [ -e "$JOBPASS_TOKEN_FILE" ]; do sleep 0.05; done; echo "$token"; exit 3' TERM
        first=$(cat "$JOBPASS_TOKEN_FILE")
        while :; do
            # The file may be gone just before the signal is here.
            new=$(cat "$JOBPASS_TOKEN_FILE") && token=$new
            [ "$token" = "$first" ] || : > renewed
            sleep 0.05
        done"#;
    let child = desk.start_exec(&["--renew-for", "6h"], script);
    let renewed = desk.path("renewed");
    desk.cluster
        .wait_for(Duration::from_secs(30), |_| renewed.exists().then_some(()));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    let ended = Ended::of(child);
    assert_eq!(ended.code(), 3, "{}", ended.log);
    assert!(ended.log.contains("[MASKED]"), "{}", ended.log);
    for token in desk.cluster.issued() {
        assert_eq!(pieces(&token, &ended.log), [""; 0], "{}", ended.log);
    }
}

#[test]
fn a_token_in_a_file_is_renewed_until_it_is_revoked() {
    let desk = Desk::at(Cluster::hasty());
    let options = ["--token-file", "token", "--duration", "10m", "--renew-for", "1h"];
    let mint = desk.start(&[&MINT[..], &options].concat());
    let group_of_mint = mint.id();
    let minted = Ended::of(mint).succeeded();
    assert!(
        minted.log.contains("; renewed before then, for 1 h\n"),
        "{}",
        minted.log
    );
    wait_for_tokens(&desk.cluster, 3);
    assert_eq!(group(group_of_mint).len(), 1);
    let lives = desk.cluster.anchors()[0]["metadata"]["annotations"]["jobpass.dev/lifetime"].clone();
    assert_eq!(lives, "4200s", "for sweeping");

    let revoked = desk.run(&["revoke", "--token-file", "token"]).succeeded();
    assert!(revoked.log.contains(" renewal"), "{}", revoked.log);
    wait_for_end(group_of_mint);
    assert_one_anchor_gone(&desk.cluster, &revoked.log);
    desk.assert_nothing_left(&revoked.log);
}

/// A script may have saved its log in another descriptor. A renewer that held the descriptor would keep the
/// log open after the script.
#[test]
fn what_renews_holds_nothing_of_its_shell_open() {
    let desk = Desk::at(Cluster::hasty());
    let jobpass = support::binary("jobpass");
    let script = format!(
        "exec 3>&1; {} {} --token-file token --renew-for 2h > /dev/null",
        jobpass.display(),
        desk.here(&MINT.join(" "))
    );
    let mut shell = support::scrubbed(Command::new("sh"));
    let shell = shell.args(["-c", &script]).current_dir(desk.path(".")).output();
    // The output of the script has ended.
    assert!(shell.expect("sh starts").status.success());
    assert!(desk.path("token.journal").exists());
    desk.run(&["revoke", "--token-file", "token"]).succeeded();
}

/// The end of the job and log filters find the journal by its name. So jobpass must not renew a token without
/// a journal.
#[test]
fn nothing_is_renewed_without_its_journal() {
    let desk = Desk::at(Cluster::hasty());
    let mint = desk.start(&[&MINT[..], &["--token-file", "token", "--renew-for", "2h"]].concat());
    let group_of_mint = mint.id();
    Ended::of(mint).succeeded();
    fs::rename(desk.path("token.journal"), desk.path("elsewhere")).expect("it is there");
    wait_for_end(group_of_mint);
    fs::remove_file(desk.path("elsewhere")).expect("it is there");
    let revoked = desk.run(&["revoke", "--token-file", "token"]).succeeded();
    assert_one_anchor_gone(&desk.cluster, &revoked.log);
    desk.assert_nothing_left(&revoked.log);
}

#[rstest]
#[case(&["exec", "--renew-for", "1h", "--", "true"], "that is not longer than the life of one token (`duration`)")]
#[case(&["exec", "--renew-for", "soon", "--", "true"], "which jobpass cannot use as a duration")]
#[case(&["exec", "--renew-for", "2h", "--env", "TOKEN", "--", "true"], "is given with `env`, but jobpass cannot change a variable of a running command")]
#[case(&["exec", "--renew-for", "2h", "--duration", "30s", "--", "true"], "a `duration` of less than 10 minutes")]
#[case(&["mint", "--renew-for", "2h", "--state-file", "s"], "no file holds the token")]
fn what_cannot_be_renewed_is_not_minted(#[case] words: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let who = ["--service-account", "scanner", "--kubeconfig", "minter.yaml"];
    let ended = desk.run(&[&words[..1], &who, &words[1..]].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert!(desk.cluster.requests().is_empty());
}
