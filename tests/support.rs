//! The helpers for the tests of every platform: the programs, the tools, and a cluster with a minter.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tempfile::{NamedTempFile, TempDir};

pub(crate) use jobpass_tests::launch::tool;

use crate::cluster::Cluster;

/// A ServiceAccount that may list Pods, and a minter with only the permissions that jobpass needs.
pub(crate) const MANIFESTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: scanner, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: scanner, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: ["pods"], verbs: ["get", "list"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: scanner, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: scanner}
subjects: [{kind: ServiceAccount, name: scanner, namespace: NAMESPACE}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: minter, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: jobpass-minter, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["create", "delete"]}
- {apiGroups: [""], resources: ["serviceaccounts/token"], resourceNames: ["scanner"], verbs: ["create"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: jobpass-minter, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: jobpass-minter}
subjects: [{kind: ServiceAccount, name: minter, namespace: NAMESPACE}]
"#;

/// Waits until the API server has issued this many tokens.
pub(crate) fn wait_for_tokens(cluster: &Cluster, count: usize) {
    cluster.wait_for(Duration::from_secs(60), |_| {
        (cluster.issued().len() >= count).then_some(())
    });
}

/// Asserts that all tokens are bound to one anchor, that this anchor is gone, and that no token works.
pub(crate) fn assert_one_anchor_gone(cluster: &Cluster, log: &str) {
    let bound_to = |token: &String| {
        let token = jobpass_core::token::Token::parse(token, "token").expect("a token");
        let claims = jobpass_core::claims::Claims::decode(&token).expect("claims");
        claims
            .kubernetes
            .and_then(|it| it.secret)
            .and_then(|secret| secret.uid)
    };
    let anchors: BTreeSet<_> = cluster.issued().iter().map(bound_to).collect();
    assert!(anchors.len() == 1 && !anchors.contains(&None), "{anchors:?}");
    assert!(cluster.anchors().is_empty(), "{log}");
    assert!(
        !cluster.issued().iter().any(|token| cluster.accepts(token)),
        "{log}"
    );
}

/// The running processes of a process group, without zombies.
pub(crate) fn group(leader: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let running = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // In proc(5), the fields after the name in brackets are the state, the parent and the group.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let runs = fields.next()? != "Z";
        let group = fields.nth(1)?.parse::<u32>().ok()?;
        Pid::from_raw(pid).filter(|_| runs && group == leader)
    });
    running.collect()
}

/// Waits until the current processes of a process group have ended.
pub(crate) fn wait_for_end(leader: u32) {
    for process in group(leader) {
        let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else {
            continue;
        };
        let patience = Timespec::try_from(Duration::from_secs(30)).expect("it is short");
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
        assert_eq!(ended.expect("poll works"), 1, "a process did not end within 30 s");
    }
}

/// Prepares a cluster, and returns the minter's kubeconfig. Call it once for each cluster.
pub(crate) fn minter(cluster: &Cluster) -> String {
    cluster.kubeconfig(&minter_token(cluster), cluster.namespace())
}

/// Like [`minter`], but returns the bearer token.
pub(crate) fn minter_token(cluster: &Cluster) -> String {
    cluster.apply(MANIFESTS);
    cluster.service_account_token(cluster.namespace(), "minter", Duration::from_secs(7200))
}

/// A file with the administrator's kubeconfig.
pub(crate) fn admin(cluster: &Cluster) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), cluster.admin_kubeconfig()).expect("written");
    file
}

/// Removes the minter's permissions, by deleting its RoleBinding.
pub(crate) fn forbid_minter(cluster: &Cluster) {
    let deleted = kubectl(
        admin(cluster).path(),
        &[
            "delete",
            "rolebinding",
            "jobpass-minter",
            "--namespace",
            cluster.namespace(),
        ],
    );
    assert!(deleted.status.success(), "{deleted:?}");
    cluster.wait_for_rbac("Role");
}

/// Runs the `jobpass setup` command from an error message, like an administrator who pastes the command.
pub(crate) fn run_advice(cluster: &Cluster, log: &str) {
    let command = log.lines().find_map(|line| {
        let (_, command) = line.split_once("jobpass setup ")?;
        Some(command.split('`').next().unwrap_or_default())
    });
    let command = command.unwrap_or_else(|| panic!("no command in {log}"));
    // The command may write the kubeconfig of a new minter.
    let folder = tempfile::tempdir().expect("a folder");
    let mut shell = scrubbed(Command::new("sh"));
    let ended = shell
        .current_dir(folder.path())
        .arg("-c")
        .arg(format!("exec \"$0\" setup {command}"))
        .arg(binary("jobpass"))
        .env("KUBECONFIG", admin(cluster).path())
        .output()
        .expect("a shell");
    assert!(ended.status.success(), "{ended:?}");
}

/// Runs the real kubectl.
pub(crate) fn kubectl(kubeconfig: impl AsRef<OsStr>, arguments: &[&str]) -> Output {
    let mut command = scrubbed(Command::new(tool("kubectl")));
    command
        .env("KUBECONFIG", kubeconfig)
        .args(arguments)
        .output()
        .expect("kubectl starts")
}

/// A program of this workspace, built from the current source. JOBPASS_TEST_PROGRAMS may name a folder with
/// the programs of another target.
pub(crate) fn binary(name: &str) -> PathBuf {
    let elsewhere = env::var_os("JOBPASS_TEST_PROGRAMS").map(|folder| PathBuf::from(folder).join(name));
    if let Some(program) = elsewhere.filter(|program| program.exists()) {
        return program;
    }
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // `cargo xtask test` builds all targets with the same features, so this command builds nothing twice.
        // It runs without cargo's variables for this test, because build scripts watch them.
        cargo
            .args(["build", "--quiet", "--workspace", "--all-targets"])
            .current_dir(root());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_")
                || name.to_string_lossy().starts_with("CARGO_MANIFEST_")
            {
                cargo.env_remove(name);
            }
        }
        assert!(
            cargo.status().expect("cargo starts").success(),
            "the workspace does not build"
        );
        // The path is like target/debug/deps/e2e-...
        let test = env::current_exe().expect("the path of this test");
        test.ancestors().nth(2).expect("a target folder").to_owned()
    });
    folder.join(name)
}

/// Builds the action as in a release: `action.yml`, and `dist/` with a binary and its digest.
pub(crate) fn action() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let dist = folder.path().join("dist");
    fs::create_dir(&dist).expect("made");
    fs::copy(root().join("action.yml"), folder.path().join("action.yml")).expect("copied");
    for file in ["main.mjs", "post.mjs", "launch.mjs"] {
        fs::copy(root().join("dist").join(file), dist.join(file)).expect("copied");
    }
    xtask::dist::place(&binary("jobpass-github"), &dist).expect("a binary and its digest");
    folder
}

/// The root of this repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository")
}

/// Removes this machine's own variables: those of a CI job, of jobpass, of logging, of proxies, of
/// certificates and of a kubeconfig.
pub(crate) fn scrubbed(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_uppercase();
        let of_ci = [
            "GITHUB_", "RUNNER_", "ACTIONS_", "GITLAB_", "CI_", "JOBPASS_", "INPUT_", "STATE_", "KUBE",
        ];
        if of_ci.iter().any(|prefix| text.starts_with(prefix))
            || text.ends_with("_PROXY")
            || ["CI", "RUST_LOG", "SSL_CERT_FILE", "SSL_CERT_DIR"].contains(&&*text)
        {
            command.env_remove(name);
        }
    }
    command
}

/// Lets the minter read Secrets, as legacy tokens require.
pub(crate) fn allow_reading(cluster: &Cluster) {
    cluster.apply(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: legacy, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["get"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: legacy, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: legacy}
subjects: [{kind: ServiceAccount, name: minter, namespace: NAMESPACE}]
"#,
    );
}
