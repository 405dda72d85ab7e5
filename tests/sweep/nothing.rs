//! Namespaces without anchors and legacy tokens, as most namespaces are. The API server answers `"items":
//! null` for them.

use std::process::{Command, Stdio};

use rstest::rstest;

use crate::{cluster::Cluster, github::step::Ended, support};

#[rstest]
#[case(&["list"], "no anchors in namespace `NAMESPACE`\n")]
#[case(&["list", "--output", "json"], "")]
#[case(&["sweep"], "looked at 0 anchors in namespace `NAMESPACE`")]
#[case(&["sweep", "--output", "json"], "\"complete\":true")]
fn nothing_is_there_and_nothing_goes_wrong(#[case] arguments: &[&str], #[case] said: &str) {
    let cluster = Cluster::start();
    let kubeconfig = support::admin(&cluster);
    let mut jobpass = support::scrubbed(Command::new(support::binary("jobpass")));
    jobpass
        .args(arguments)
        .args(["--namespace", cluster.namespace(), "--kubeconfig"])
        .arg(kubeconfig.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = Ended::of(jobpass.spawn().expect("jobpass starts")).succeeded();
    let said = said.replace("NAMESPACE", cluster.namespace());
    assert!(ended.log.contains(&said), "{}", ended.log);
    assert_eq!(said.is_empty(), ended.log.is_empty(), "{}", ended.log);
    // jobpass listed both types of Secrets.
    assert_eq!(cluster.requests().len(), 2);
}
