//! The state file. jobpass mints no token whose state it cannot record. `revoke` reads a state file of an
//! older version of jobpass, and refuses a state file of a later version.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use rstest::rstest;

use super::{Desk, Ended};
use crate::support;

/// A folder name, `café` in Latin-1. It is not UTF-8.
const CAFE: &[u8] = b"caf\xe9";

impl Desk {
    fn cafe(&self) -> PathBuf {
        let folder = self.folder.path().join(OsStr::from_bytes(CAFE));
        fs::create_dir(&folder).expect("made");
        folder
    }

    fn assert_refused_as_not_utf8(&self, ended: &Ended, what: &str) {
        assert_eq!(ended.code(), 2, "{}", ended.log);
        assert!(
            ended.log.contains(what) && ended.log.contains("is not UTF-8"),
            "{}",
            ended.log
        );
        assert!(self.cluster.requests().is_empty(), "{}", ended.log);
        assert!(self.cluster.anchors().is_empty(), "{}", ended.log);
    }
}

#[rstest]
#[case::token_file(&["--token-file", "token"], "input `token-file`")]
#[case::kubeconfig_file(&["--kubeconfig-file", "scan.yaml"], "input `kubeconfig-file`")]
#[case::state_file(&["--token-file", "/tmp/token", "--state-file", "record"], "input `state-file`")]
fn nothing_is_minted_in_a_folder_whose_name_cannot_be_recorded(#[case] files: &[&str], #[case] what: &str) {
    let desk = Desk::new();
    let (folder, minter) = (desk.cafe(), desk.path("minter.yaml"));
    let mint = ["mint", "--service-account", "scanner", "--kubeconfig"];
    let minter = minter.to_str().expect("UTF-8");
    let mut command = desk.command(&[&mint, &[minter][..], files].concat());
    let ended = Ended::of(command.current_dir(&folder).spawn().expect("jobpass starts"));
    desk.assert_refused_as_not_utf8(&ended, what);
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
}

#[rstest]
#[case::mint("KUBECONFIG", &["mint", "--service-account", "scanner", "--token-file", "token"], "KUBECONFIG")]
#[case::exec("TMPDIR", &["exec", "--service-account", "scanner", "--kubeconfig", "minter.yaml", "--", "true"], "input `TMPDIR`")]
fn a_variable_with_such_a_path_is_not_taken_for_one_that_is_not_set(
    #[case] variable: &str,
    #[case] arguments: &[&str],
    #[case] what: &str,
) {
    let desk = Desk::new();
    let folder = desk.cafe();
    let mut command = desk.command(arguments);
    let ended = Ended::of(command.env(variable, &folder).spawn().expect("jobpass starts"));
    desk.assert_refused_as_not_utf8(&ended, what);
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
}

/// Changes the state file into one of another version of jobpass.
fn of_another_version(desk: &Desk, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let record = desk.path("token.jobpass.json");
    let json = fs::read_to_string(&record).expect("a record");
    let mut json = serde_json::from_str(&json).expect("JSON");
    change(&mut json);
    fs::write(record, serde_json::to_string(&json).expect("JSON")).expect("written");
}

#[test]
fn what_0_1_recorded_is_revoked() {
    let desk = Desk::new();
    desk.mint(&["--token-file", "token"]).succeeded();
    of_another_version(&desk, |json| {
        assert_eq!(json.remove("version"), Some(1.into()));
    });
    let revoked = desk.run(&["revoke", "--token-file", "token"]).succeeded();
    desk.assert_nothing_left(&revoked.log);
}

#[test]
fn what_a_later_version_recorded_is_refused_with_the_command_that_revokes() {
    let desk = Desk::new();
    desk.mint(&["--token-file", "token"]).succeeded();
    of_another_version(&desk, |json| drop(json.insert("version".into(), 2.into())));
    let refused = desk.run(&["revoke", "--token-file", "token"]);
    assert_eq!(refused.code(), 7, "{}", refused.log);
    let command = refused
        .log
        .lines()
        .find_map(|line| line.trim().strip_prefix("kubectl "));
    let command = command.unwrap_or_else(|| panic!("no command in {}", refused.log));
    let deleted = support::kubectl(
        support::admin(&desk.cluster).path(),
        &command.split(' ').collect::<Vec<_>>(),
    );
    assert!(deleted.status.success(), "{deleted:?}");
    assert!(desk.cluster.anchors().is_empty());
}
