//! Sends to Kubernetes itself the requests that a test run and the demo sent to the dev cluster. Fails if the
//! answers of the two differ.

mod compare;
mod player;
mod tests;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use jobpass_devkit::{Front, transcript};
use jobpass_tests::launch::{NEWEST, launch};

use self::player::Player;

/// The greatest number of differences to show.
const SHOWN: usize = 20;

#[test]
fn the_dev_cluster_answers_as_kubernetes_does() {
    let records = env::var_os("JOBPASS_TEST_RECORDS").map(PathBuf::from);
    let records = records.expect("run `cargo xtask test`, which records the requests to the dev cluster");
    let transcripts = transcript::read_all(&records).expect("the transcripts of a test run");
    let kubernetes = launch(NEWEST, Path::new(env!("CARGO_TARGET_TMPDIR")), |_, _| {});
    let front = Front::before(&kubernetes.kubeconfigs[0], true).expect("an administrator's kubeconfig");

    let mut compared = 0;
    let mut differences = Vec::new();
    for (name, entries) in &transcripts {
        let mut player = Player::new(name, entries, &front, &kubernetes.signing_key);
        for entry in entries {
            differences.extend(player.play(entry));
        }
        compared += player.compared();
        player.clear();
    }
    let verdict = format!(
        "compared {compared} requests in {} transcripts of the dev cluster with Kubernetes {}: {} differences",
        transcripts.len(),
        kubernetes.version,
        differences.len()
    );
    fs::write(records.join("replay"), format!("{verdict}\n")).expect("written");
    assert!(compared > 0, "the transcripts are empty");
    let shown: String = differences.iter().take(SHOWN).map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{shown}{verdict}");
}
