//! The minter's kubeconfig: `setup --apply --minter-kubeconfig FILE` writes it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rstest::rstest;
use serde_json::Value;

use super::{Desk, MINTER, SCANNER};
use crate::{cluster::Cluster, leaks::assert_absent};

const WRITE: [&str; 3] = ["--apply", "--minter-kubeconfig", "new/minter.yaml"];
const HALF_AN_HOUR: [&str; 2] = ["--minter-lifetime", "30m"];

/// The token in the kubeconfig of the minter.
fn token(desk: &Desk) -> String {
    let kubeconfig = fs::read_to_string(desk.folder.path().join("new/minter.yaml")).expect("a kubeconfig");
    let token = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "));
    token.expect("a token").to_owned()
}

/// The kubeconfig works in a job, and its token is in no other place.
#[test]
fn the_minters_kubeconfig_mints_and_its_token_is_in_the_file_alone() {
    let desk = Desk::new();
    let written = desk.setup(&[&SCANNER, &MINTER, &WRITE]).succeeded();
    let path = desk.folder.path().join("new/minter.yaml");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = path.to_str().expect("text");
    let namespace = desk.cluster.namespace();
    for line in [
        format!("written    kubeconfig {shown}\n"),
        format!("The token of {namespace}/jobpass-minter in it lives for 30 d, until 20"),
        format!(
            "\n  jobpass doctor --service-account scanner --namespace {namespace} --kubeconfig {shown}\n"
        ),
        format!("\n  gh secret set JOBPASS_KUBECONFIG --env ENVIRONMENT < {shown}\n"),
    ] {
        assert!(written.log.contains(&line), "{line}: {}", written.log);
    }
    // The tests' API server listens on 127.0.0.1, which no runner reaches.
    assert!(
        written.log.contains("it works on this machine alone"),
        "{}",
        written.log
    );
    let first = token(&desk);
    assert_absent(&first, "what it printed", &written.log);

    let mint = ["mint", "--kubeconfig", "new/minter.yaml", "--token-file", "token"];
    desk.jobpass(&[&mint[..], &SCANNER].concat()).succeeded();
    desk.jobpass(&["revoke", "--token-file", "token"]).succeeded();

    // The next run replaces the file.
    let json = ["--output", "json"];
    let again = desk
        .setup(&[&SCANNER, &MINTER, &WRITE, &HALF_AN_HOUR, &json])
        .succeeded();
    let second = token(&desk);
    assert_ne!(first, second);
    for token in [&first, &second] {
        assert_absent(token, "what it printed", &again.log);
    }
    let lines = again.log.lines();
    let line = lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .next_back();
    let line = line.expect("a line");
    assert_eq!(
        (&line["kind"], &line["result"]),
        (&"Kubeconfig".into(), &"written".into())
    );
}

/// `setup` overwrites no other file, such as the administrator's kubeconfig. It writes no kubeconfig for a
/// minter that it does not create.
#[rstest]
#[case::another_file(&["--minter-kubeconfig", "admin.yaml"], &MINTER, "this path exists")]
#[case::no_account(&["--minter-kubeconfig", "a.yaml"], &["--minter", "user:jane"], "does not create exactly one")]
#[case::too_short(&["--minter-kubeconfig", "a.yaml", "--minter-lifetime", "5m"], &MINTER, "no API server issues")]
fn what_cannot_be_written_is_refused_before_anything_is_created(
    #[case] file: &[&str],
    #[case] minter: &[&str],
    #[case] why: &str,
) {
    let desk = Desk::new();
    let admin = fs::read_to_string(desk.folder.path().join("admin.yaml")).expect("a kubeconfig");
    let refused = desk.setup(&[&SCANNER, minter, file, &["--apply"]]);
    assert_eq!(refused.code(), 2, "{}", refused.log);
    assert!(refused.log.contains(why), "{}", refused.log);
    assert!(desk.cluster.requests().is_empty());
    assert_eq!(
        fs::read_to_string(desk.folder.path().join("admin.yaml")).ok(),
        Some(admin)
    );
}

/// Many API servers limit the lifetime of tokens.
#[test]
fn the_lifetime_that_the_server_granted_is_said() {
    let desk = Desk::at(Cluster::capped());
    let written = desk.setup(&[&SCANNER, &MINTER, &WRITE]).succeeded();
    for said in [
        "the API server issues tokens for 1 h at most, and not for 30 d",
        "in it lives for 1 h, until 20",
    ] {
        assert!(written.log.contains(said), "{said}: {}", written.log);
    }
    assert_absent(&token(&desk), "what it printed", &written.log);
}
