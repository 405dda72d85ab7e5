//! `renew-for` in the action: jobs that last longer than their tokens.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio, time::Duration};

use jobpass_devkit::{Fault, FaultKind};
use rustix::process::{Signal, kill_process};

use super::step::{Ended, Step};
use crate::{
    cluster::{Cluster, claims_of},
    leaks::assert_absent,
    support::{self, assert_one_anchor_gone, group, wait_for_end, wait_for_tokens},
};

struct Job {
    cluster: Cluster,
    step: Step,
    /// The process id of main. The renewer is in its process group.
    main: u32,
}

impl Job {
    fn begin() -> Self {
        let cluster = Cluster::hasty();
        let inputs = [
            ("kubeconfig-file", "true"),
            ("duration", "15m"),
            ("renew-for", "6h"),
        ];
        let step = Step::scanner(&support::minter(&cluster), &inputs);
        let main = step.start("main", Stdio::piped());
        let leader = main.id();
        let main = Ended::of(main).succeeded();
        let says = ", after 1 s; renewed before then, for 6 h; revoked at the end of this job";
        assert!(main.log.contains(says), "{}", main.log);
        Self {
            cluster,
            step,
            main: leader,
        }
    }

    fn journal(&self) -> PathBuf {
        format!("{}.journal", self.step.outputs()["token-file"]).into()
    }

    /// Runs post, and returns its log.
    fn end(self) -> String {
        let post = self.step.post().succeeded();
        wait_for_end(self.main);
        assert_one_anchor_gone(&self.cluster, &post.log);
        assert!(
            self.step.left_in_temp().is_empty(),
            "{:?}",
            self.step.left_in_temp()
        );
        let kubeconfig = self.step.value("kubeconfig");
        let minter = kubeconfig
            .lines()
            .find_map(|line| line.trim().strip_prefix("token: "));
        let minter = minter.expect("a bearer").to_owned();
        for secret in self.cluster.issued().iter().chain([&minter]) {
            assert_absent(secret, "the log of post", &post.log);
            assert_absent(secret, "the summary", &self.step.summary());
        }
        post.log + &self.step.summary()
    }
}

#[test]
fn its_kubeconfig_goes_on_working() {
    let job = Job::begin();
    wait_for_tokens(&job.cluster, 4);
    let outputs = job.step.outputs();
    let pods = support::kubectl(&outputs["kubeconfig"], &["get", "pods"]);
    assert!(pods.status.success(), "{pods:?}");
    assert_ne!(
        fs::read_to_string(&outputs["token-file"]).expect("a token"),
        outputs["token"]
    );
    // Some clients ignore `tokenFile`, so the kubeconfig contains the token itself.
    let kubeconfig = fs::read_to_string(&outputs["kubeconfig"]).expect("a kubeconfig");
    assert!(
        !kubeconfig.contains(&outputs["token"]),
        "the kubeconfig still contains the first token"
    );
    let files = [&outputs["token-file"], &outputs["kubeconfig"]].map(PathBuf::from);
    for file in files.iter().chain([&job.journal()]) {
        assert_eq!(
            fs::metadata(file).expect("there").permissions().mode() & 0o777,
            0o600
        );
    }
    let log = job.end();
    assert!(log.contains(" renewal") && log.contains("| Renewed | "), "{log}");
}

#[test]
fn what_renews_can_be_killed() {
    let job = Job::begin();
    let renewer = group(job.main);
    kill_process(renewer[0], Signal::KILL).expect("it is there");
    // The token lives for one second.
    std::thread::sleep(Duration::from_millis(1100));
    let log = job.end();
    assert!(log.contains("its renewer stopped before the job ended"), "{log}");
}

#[test]
fn a_failure_is_tried_again_and_said_if_it_lasts() {
    let job = Job::begin();
    let refuse = |times| {
        job.cluster.inject(Fault {
            method: "POST",
            path_contains: "/token".into(),
            times,
            kind: FaultKind::Answer {
                status: 403,
                headers: Vec::new(),
                body: serde_json::json!({"kind": "Status", "reason": "Forbidden", "message": "not now", "code": 403})
                    .to_string(),
            },
        });
    };
    refuse(2);
    wait_for_tokens(&job.cluster, 3);
    refuse(usize::MAX);
    job.cluster.wait_for(Duration::from_secs(30), |_| {
        let journal = fs::read_to_string(job.journal()).ok()?;
        journal.lines().last()?.contains("not now").then_some(())
    });
    let log = job.end();
    assert!(
        log.contains("from 2")
            && log.contains(" on, jobpass could not renew the token: ")
            && log.contains("not now"),
        "{log}"
    );
}

/// Somebody may delete the ServiceAccount, and create one with its name and other permissions. Kubernetes
/// revokes the tokens of the deleted account, and jobpass must hand over no token of the new account.
#[test]
fn an_account_that_is_made_anew_gets_no_token() {
    let job = Job::begin();
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/scanner",
        job.cluster.namespace()
    );
    let (status, answer) = job.cluster.ask("DELETE", &path, None);
    assert_eq!(status, 200, "{answer}");
    job.cluster
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: scanner, namespace: NAMESPACE}}");
    let (_, anew) = job.cluster.ask("GET", &path, None);
    let said = "after this job began, and created another with its name";
    job.cluster.wait_for(Duration::from_secs(30), |_| {
        let journal = fs::read_to_string(job.journal()).ok()?;
        journal.lines().last()?.contains(said).then_some(())
    });
    let token = fs::read_to_string(&job.step.outputs()["token-file"]).expect("a token");
    let account = &claims_of(&token)["kubernetes.io"]["serviceaccount"];
    assert_ne!(account["uid"], anew["metadata"]["uid"], "{account}");
    let log = job.end();
    assert!(log.contains(said), "{log}");
}

/// jobpass records a renewal only after it has written the new token.
#[test]
fn a_token_that_cannot_be_put_in_place_does_not_count() {
    let job = Job::begin();
    let partial = format!("{}.jobpass-partial", job.step.outputs()["token-file"]);
    // The renewer may be writing a token at this moment.
    job.cluster
        .wait_for(Duration::from_secs(30), |_| fs::create_dir(&partial).ok());
    let journal = job.cluster.wait_for(Duration::from_secs(30), |_| {
        let journal = fs::read_to_string(job.journal()).ok()?;
        journal.contains("cannot write").then_some(journal)
    });
    let [announced, renewed] = ["{\"announced\"", "{\"renewed\""].map(|entry| journal.matches(entry).count());
    // The journal announces the first token as well.
    assert!(announced >= renewed + 2, "{announced} {renewed}");
    fs::remove_dir(&partial).expect("it is there");
    job.end();
}

/// The renewer ends after any revocation, such as one by a sweeper.
#[test]
fn it_ends_with_its_anchor() {
    let job = Job::begin();
    assert_eq!(group(job.main).len(), 1);
    let anchor = &job.cluster.anchors()[0]["metadata"]["name"];
    let admin = tempfile::NamedTempFile::new().expect("a file");
    fs::write(admin.path(), job.cluster.admin_kubeconfig()).expect("written");
    let delete = [
        "delete",
        "secret",
        anchor.as_str().expect("a name"),
        "--namespace",
        job.cluster.namespace(),
    ];
    assert!(support::kubectl(admin.path(), &delete).status.success());
    wait_for_end(job.main);
    job.end();
}
