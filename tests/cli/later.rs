//! Tokens that a command gets after its filter has begun. The command mints and rotates tokens, and runs
//! commands that have filters of their own.

use std::fs;

use rstest::rstest;

use super::Desk;
use crate::{
    cluster::Cluster,
    leaks::{assert_absent, corpus::pieces},
    support,
};

/// Replaces `MINT`, `EXEC` and `REVOKE` in a script by commands of `jobpass`.
fn script(text: &str) -> String {
    let jobpass = support::binary("jobpass").display().to_string();
    let who = "--service-account scanner --namespace NAMESPACE --kubeconfig minter.yaml";
    text.replace("MINT", &format!("{jobpass} mint {who}"))
        .replace("EXEC", &format!("{jobpass} exec {who}"))
        .replace("REVOKE", &format!("{jobpass} revoke --kubeconfig minter.yaml"))
}

impl Desk {
    /// Runs a script below `jobpass exec`. Panics if the log shows a piece of one of the tokens.
    fn assert_masked(&self, text: &str) -> String {
        let ended = self.exec(&[], &script(text)).succeeded();
        for token in self.cluster.issued() {
            assert_eq!(pieces(&token, &ended.log), [""; 0], "{}", ended.log);
        }
        ended.log
    }
}

#[rstest]
#[case::a_second_token(
    2,
    "MINT --token-file t; echo \"it is $(cat t)\"; base64 t; kubectl --token \"$(cat t)\" get pods; REVOKE --token-file t"
)]
#[case::a_kubeconfig(
    2,
    "unset JOBPASS_TOKEN_FILE; MINT --kubeconfig-file kc; cat kc; base64 kc; echo \"it is $(sed -n 's/ *token: //p' kc)\"; REVOKE --kubeconfig-file kc"
)]
#[case::of_a_command_in_a_command(
    3,
    "EXEC -- sh -c 'cat $JOBPASS_TOKEN_FILE > inner; MINT --token-file t; cat t > outer; REVOKE --token-file t'; \
     cat inner; echo \"it is $(cat outer)\"; rm inner outer"
)]
fn a_token_that_the_command_mints_is_masked(#[case] tokens: usize, #[case] text: &str) {
    let desk = Desk::new();
    let log = desk.assert_masked(text);
    assert!(log.contains("it is [MASKED]\n"), "{log}");
    assert_eq!(desk.cluster.issued().len(), tokens);
    desk.assert_all_gone(&log);
}

/// The command mints a token with `--renew-for`. A background process renews this token, and must announce
/// each new one to the filter of `jobpass exec`.
#[test]
fn a_renewed_token_of_the_command_s_own_is_masked() {
    let desk = Desk::at(Cluster::hasty());
    let text = r#"
        MINT --token-file t --renew-for 6h
        seen= tokens=0
        while [ "$tokens" -lt 6 ]; do
            token=$(cat t)
            [ "$token" = "$seen" ] || { seen=$token tokens=$((tokens + 1)); echo "token $tokens: $token"; }
            sleep 0.05
        done
        REVOKE --token-file t"#;
    let log = desk.assert_masked(text);
    assert!(log.contains("token 6: [MASKED]\n"), "{log}");
}

/// The job has the bearer of its proxy, and never the token. The journal holds no token of the proxy.
#[test]
fn the_bearer_of_a_proxy_is_masked_and_its_token_is_not_there() {
    let desk = Desk::new();
    let text = r#"
        unset JOBPASS_TOKEN_FILE
        MINT --proxy --kubeconfig-file kc
        kubectl --kubeconfig kc config view --raw | tee seen | grep token:
        cat "$JOBPASS_MASK_JOURNAL" >> seen
        REVOKE --kubeconfig-file kc"#;
    let log = desk.assert_masked(text);
    assert!(log.contains("token: [MASKED]\n"), "{log}");
    let seen = fs::read_to_string(desk.path("seen")).expect("written");
    assert!(seen.contains("announced"), "{seen}");
    for token in desk.cluster.issued() {
        assert_absent(&token, "all that the job can read", &seen);
    }
}

/// Through a journal that every user can read and write, another user could read the token, or make the
/// filter hide words of the log. So jobpass mints no token if it finds such a journal.
#[test]
fn a_journal_that_others_could_write_gets_no_token() {
    let desk = Desk::new();
    let text =
        "chmod 666 \"$JOBPASS_MASK_JOURNAL\"; MINT --token-file t && exit 3; ls t && exit 4; echo over";
    let log = desk.assert_masked(text);
    assert!(log.contains("over"), "{log}");
    for says in [
        "cannot tell the log filter about the token, because jobpass cannot use the journal `",
        "which JOBPASS_MASK_JOURNAL names: other users may write to it (mode 666)",
        "find the command that changed them",
    ] {
        assert!(log.contains(says), "{log}");
    }
    // The input is wrong, so jobpass asks the API server for nothing.
    assert_eq!(desk.cluster.issued().len(), 1);
}
