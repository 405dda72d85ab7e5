//! A sealed token. Only the identity opens it. Without the identity, no log, report or variable shows any
//! part of the token.

use std::{fs, path::PathBuf};

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rstest::rstest;

use super::{
    job::{Job, mode},
    life::{UNSEEN, assert_dead, says},
    revoked,
};
use crate::{cluster::Cluster, github::step::Ended, leaks};

/// A job that mints a token, and seals it for `identity`.
fn sealing(cluster: &Cluster, identity: &Identity, options: &[(&str, &str)]) -> Job {
    let recipient = identity.to_public().to_string();
    let sealed = [
        ("dotenv", "jobpass.env"),
        ("dotenv-mode", "sealed"),
        ("recipient", &recipient),
        ("token-file", ""),
    ];
    Job::with(cluster, &[&sealed, options].concat())
}

/// A later job. Also returns the path in its variable JOBPASS_IDENTITY, which has the type File.
fn opening(minting: &Job, identity: &str) -> (Job, PathBuf) {
    let mut job = minting.later();
    let path = job.project().join("identity");
    fs::write(&path, identity).expect("written");
    job.options(&[("token-file", "true"), ("identity", &path.display().to_string())]);
    (job, path)
}

/// An identity file in the form of `age-keygen`.
fn file(identity: &Identity) -> String {
    let secret = identity.to_string();
    format!(
        "# created: 2026-11-23T10:00:00Z\n# public key: {}\n{}\n",
        identity.to_public(),
        secret.expose_secret()
    )
}

#[test]
fn a_sealed_token_is_opened_with_the_identity() {
    let cluster = Cluster::start();
    let identity = Identity::generate();
    let minting = sealing(&cluster, &identity, &[]);
    let mint = minting.mint().succeeded();
    minting.assert_nothing_leaked(&cluster, &mint);
    says(
        &mint,
        &[&format!("jobpass.env, sealed to {}", identity.to_public())],
    );

    let token = &cluster.issued()[0];
    let report = fs::read_to_string(minting.project().join("jobpass.env")).expect("the report");
    leaks::assert_absent(token, "the report", &report);
    let variables = minting.dotenv();
    assert_eq!(variables.len(), 7);
    // The sealed token is an ordinary age file.
    let sealed = STANDARD.decode(&variables["JOBPASS_TOKEN"]).expect("base64");
    let opened = age::decrypt(&identity, &sealed).expect("an age file");
    assert_eq!(opened, token.as_bytes());

    // The file has Windows line ends, and an old key in addition to the needed one.
    let keys = (file(&Identity::generate()) + "\n" + &file(&identity)).replace('\n', "\r\n");
    let (using, _) = opening(&minting, &keys);
    let open = using.run(&["open"]).succeeded();
    using.assert_nothing_leaked(&cluster, &open);
    let path = using.temp().join("jobpass-7002.token");
    assert_eq!(fs::read_to_string(&path).expect("a token"), *token);
    assert_eq!(mode(&path), 0o600);
    assert!(cluster.accepts(token));

    // The job in `.post` has no identity.
    let revoke = minting.later().revoke("success", &["--handed-over"]).succeeded();
    says(&revoke, &[&revoked(&cluster), "the anchor is gone"]);
    assert_dead(&cluster);
}

#[rstest]
#[case::right(true, "the API server answers 401 to the token")]
#[case::wrong(false, "the anchor is gone")]
fn with_the_identity_revoking_asks_with_the_token(#[case] right: bool, #[case] proof: &str) {
    let cluster = Cluster::start();
    let identity = Identity::generate();
    let minting = sealing(&cluster, &identity, &[UNSEEN]);
    minting.mint().succeeded();
    let other = Identity::generate();
    let (post, _) = opening(&minting, &file(if right { &identity } else { &other }));
    let revoke = post.revoke("success", &["--handed-over"]).succeeded();
    says(&revoke, &[&revoked(&cluster), proof]);
    post.assert_nothing_leaked(&cluster, &revoke);
    assert_dead(&cluster);
}

#[test]
fn a_secret_key_as_recipient_is_not_shown() {
    let cluster = Cluster::start();
    let key = Identity::generate().to_string();
    let key = key.expose_secret();
    for key in [key.to_owned(), key.to_lowercase()] {
        let minting = sealing(&cluster, &Identity::generate(), &[("recipient", &key)]);
        let mint = minting.mint();
        assert_eq!(mint.code(), 2, "{}", mint.log);
        says(&mint, &["input `recipient` is a secret key", "create a new pair"]);
        assert_hidden(&key, &mint);
        assert!(cluster.issued().is_empty());
    }
}

/// The cases are the kinds of wrong identities for a job that opens a token.
#[test]
fn an_identity_that_does_not_open_is_told_and_not_shown() {
    let cluster = Cluster::start();
    let identity = Identity::generate();
    let minting = sealing(&cluster, &identity, &[]);
    minting.mint().succeeded();
    let key = identity.to_string();
    let key = key.expose_secret();

    let something_else = "names a file that holds something other than age secret keys";
    let cut = &key[..40];
    let contents = [
        (
            file(&Identity::generate()),
            "JOBPASS_TOKEN`, which is encrypted for a recipient that does not belong to input `identity`",
        ),
        (String::new(), something_else),
        ("# a comment\n".into(), something_else),
        (cut.to_owned(), something_else),
        (file(&identity) + "more", something_else),
        (identity.to_public().to_string(), something_else),
    ];
    for (content, problem) in contents {
        let (using, _) = opening(&minting, &content);
        assert_closed(&cluster, &using, problem, key);
    }

    let (mut using, path) = opening(&minting, "");
    fs::write(&path, b"\xff").expect("written");
    assert_closed(&cluster, &using, "names a file that cannot be read", key);
    let missing = "is missing, but the token is encrypted";
    for (option, problem) in [
        ("no/such/file", "names a file that cannot be read"),
        ("/dev/zero", "names a file that cannot be read"),
        (key, "is a secret key, but must be the path"),
        ("", missing),
    ] {
        using.options(&[("identity", option)]);
        assert_closed(&cluster, &using, problem, key);
    }
}

/// The cases are the kinds of damage to a sealed token.
#[test]
fn a_damaged_token_is_told_and_not_opened() {
    let cluster = Cluster::start();
    let identity = Identity::generate();
    let minting = sealing(&cluster, &identity, &[]);
    minting.mint().succeeded();
    let sealed = &minting.dotenv()["JOBPASS_TOKEN"];
    let key = identity.to_string();

    let whole = sealed.len();
    let changed = |at: usize| {
        let other = if sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &sealed[..at], &sealed[at + 1..])
    };
    // The damage is in the header's words, its keys, its authentication code, or the encrypted token.
    let damaged = [0, 40, 90, 130, whole / 2, whole - 60].map(changed);
    let cut = [3, 28, 100, whole / 2, whole / 2 + 1, whole - 4].map(|length| sealed[..length].to_owned());
    let twice = format!("{sealed}{sealed}");
    for text in damaged.into_iter().chain(cut).chain([twice, "xyz".to_owned()]) {
        let (mut using, _) = opening(&minting, &file(&identity));
        using.set("JOBPASS_TOKEN", &text);
        let closed = assert_closed(
            &cluster,
            &using,
            "input `variable` is `JOBPASS_TOKEN`, wh",
            key.expose_secret(),
        );
        assert!(
            !closed.log.contains(&text) && !closed.log.contains(&sealed[30..60]),
            "{}",
            closed.log
        );
    }
}

/// Only the cluster knows how long the token will be. The longest token that fits is far longer than usual.
#[rstest]
#[case(1550, true)]
#[case(2800, false)]
fn a_sealed_token_that_does_not_fit_is_revoked(#[case] audience: usize, #[case] fits: bool) {
    let cluster = Cluster::start();
    let audience = format!("https://{}", "a".repeat(audience));
    let minting = sealing(&cluster, &Identity::generate(), &[("audiences", &audience)]);
    let mint = minting.mint();
    minting.assert_nothing_leaked(&cluster, &mint);
    if fits {
        mint.succeeded();
        assert!(cluster.issued()[0].len() > 3000);
        assert_eq!(minting.dotenv().len(), 5);
        return;
    }
    assert_eq!(mint.code(), 6, "{}", mint.log);
    says(&mint, &["GitLab accepts reports of less than 5120"]);
    assert_dead(&cluster);
    assert!(minting.left_in_project().is_empty());
}

fn assert_closed(cluster: &Cluster, using: &Job, problem: &str, key: &str) -> Ended {
    let open = using.run(&["open"]);
    assert_eq!(open.code(), 2, "{}", open.log);
    says(&open, &[problem]);
    using.assert_nothing_leaked(cluster, &open);
    assert_hidden(key, &open);
    assert!(using.left_in_temp().is_empty(), "{:?}", using.left_in_temp());
    open
}

/// Asserts that the output contains no useful part of a secret key.
fn assert_hidden(key: &str, said: &Ended) {
    let (log, key) = (said.log.to_uppercase(), key.to_uppercase());
    assert!(!log.contains(&key[20..40]), "{}", said.log);
}
