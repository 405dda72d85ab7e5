//! `jobpass setup`: a cluster accepts its output, and the set-up works.

mod advice;
mod attacker;
mod beside;
mod credential;
mod oidc;
mod removal;
mod rules;

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use jobpass_devkit::{FaultKind, LoggedRequest};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{cluster::Cluster, faults::api::inject, github::step::Ended, leaks::assert_absent, support};

const SCANNER: [&str; 2] = ["--service-account", "scanner"];
const MINTER: [&str; 2] = ["--minter", "serviceaccount:jobpass-minter"];
const SWEEPER: [&str; 2] = ["--sweeper-image", "registry.example.com/jobpass:0.1.0"];

/// The folder of a maintainer, with an administrator's kubeconfig.
struct Desk {
    cluster: Cluster,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::at(Cluster::start())
    }

    fn at(cluster: Cluster) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("admin.yaml"), cluster.admin_kubeconfig()).expect("written");
        Self { cluster, folder }
    }

    fn jobpass(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).spawn().expect("jobpass starts"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass")));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The arguments of `setup` in this test's namespace.
    fn arguments<'a>(&'a self, more: &[&[&'a str]]) -> Vec<&'a str> {
        [
            &["setup", "--namespace", self.cluster.namespace()],
            &*more.concat(),
        ]
        .concat()
    }

    /// The standard output of `setup`.
    fn printed(&self, more: &[&[&str]]) -> String {
        let output = self.command(&self.arguments(more)).output();
        let output = output.expect("jobpass starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `setup` as the administrator.
    fn setup(&self, more: &[&[&str]]) -> Ended {
        let mut arguments = self.arguments(more);
        arguments.extend(["--kubeconfig", "admin.yaml"]);
        self.jobpass(&arguments)
    }

    fn admin(&self, arguments: &[&str]) -> String {
        let arguments = [arguments, &["--namespace", self.cluster.namespace()]].concat();
        let output = support::kubectl(self.folder.path().join("admin.yaml"), &arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn token(&self, account: &str) -> String {
        let hour = Duration::from_secs(3600);
        self.cluster
            .service_account_token(self.cluster.namespace(), account, hour)
    }

    /// The path of a kubeconfig for this ServiceAccount.
    fn account(&self, name: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        let kubeconfig = self
            .cluster
            .kubeconfig(&self.token(name), self.cluster.namespace());
        fs::write(&path, kubeconfig).expect("written");
        path
    }
}

/// Whether a request changes nothing: it reads, or asks about permissions.
fn only_asks(request: &LoggedRequest) -> bool {
    request.method == "GET" || request.path.starts_with("/apis/authorization.k8s.io/")
}

/// Runs kubectl with `manifest` on its standard input. Returns whether it succeeded, and its output.
fn kubectl(kubeconfig: &std::path::Path, arguments: &[&str], manifest: &str) -> (bool, String) {
    let mut command = support::scrubbed(Command::new(support::tool("kubectl")));
    command.env("KUBECONFIG", kubeconfig).args(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(manifest.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("kubectl ends");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The minter and the sweeper can do their work with the permissions that `jobpass setup` gives them.
/// `attacker/` tests the limits of a minter.
#[test]
fn minter_and_sweeper_do_their_work() {
    let desk = Desk::new();
    desk.setup(&[&SCANNER, &MINTER, &SWEEPER, &["--example-rights", "--apply"]])
        .succeeded();
    let minter = desk.account("jobpass-minter");
    let mint = [
        "mint",
        "--kubeconfig",
        "jobpass-minter",
        "--kubeconfig-file",
        "scan.yaml",
    ];
    let minted = desk.jobpass(&[&mint[..], &SCANNER].concat()).succeeded();
    let job = desk.folder.path().join("scan.yaml");
    assert!(support::kubectl(&job, &["get", "pods"]).status.success());
    let kubeconfig = fs::read_to_string(&job).expect("a kubeconfig");
    let token = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "))
        .expect("a token");
    let revoked = desk
        .jobpass(&["revoke", "--kubeconfig-file", "scan.yaml"])
        .succeeded();
    assert!(desk.cluster.anchors().is_empty(), "{}", revoked.log);
    assert_absent(token, "what it printed", &(minted.log + &revoked.log));

    let anchor = "{kind: Secret, apiVersion: v1, metadata: {name: jobpass-aaaaaaaaaaaaaaaaaaaa}, type: jobpass.dev/anchor}";
    let create = ["create", "--filename", "-"];
    let (made, said) = kubectl(&minter, &create, anchor);
    assert!(made, "{said}");
    // The minter cannot change the objects of other users. The policies do not limit other users.
    desk.cluster.apply(
        "{apiVersion: v1, kind: Secret, metadata: {name: other, namespace: NAMESPACE}, stringData: {a: b}}",
    );
    let (done, said) = kubectl(&minter, &["delete", "secret", "other", "--wait=false"], "");
    assert!(!done && said.contains("may only touch anchors"), "{said}");

    let sweeper = desk.account("jobpass-sweeper");
    let args = "jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].args}";
    let args = desk.admin(&["get", "cronjob/jobpass-sweeper", "--output", args]);
    let mut args: Vec<&str> = serde_json::from_str(&args).expect("a list");
    args.extend(["--kubeconfig", "jobpass-sweeper"]);
    let swept = desk.jobpass(&args).succeeded();
    assert!(swept.log.contains(r#""event":"summary""#), "{}", swept.log);
    let (listed, said) = kubectl(&sweeper, &["get", "secrets"], "");
    assert!(listed && said.contains("jobpass-aaaa"), "{said}");
    let delete = ["delete", "secret", "jobpass-aaaaaaaaaaaaaaaaaaaa", "--wait=false"];
    assert!(kubectl(&sweeper, &delete, "").0);
    assert!(!kubectl(&sweeper, &create, anchor).0);
}

#[test]
fn apply_and_diff_say_what_is_and_was_different() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    let setup = |more: &[&str]| desk.setup(&[&SCANNER, &MINTER, &SWEEPER, more]);
    let before = setup(&["--diff"]);
    assert_eq!(before.code(), 5, "{}", before.log);
    let line = format!("missing    Role {namespace}/jobpass-minter-scanner\n");
    assert!(before.log.contains(&line), "{}", before.log);
    assert!(
        desk.cluster.requests().iter().all(only_asks),
        "`--diff` only reads"
    );

    let applied = setup(&["--apply"]).succeeded();
    let line = format!("created    CronJob {namespace}/jobpass-sweeper\n");
    // The namespace existed already.
    let unchanged = applied.log.matches("unchanged").count();
    assert!(applied.log.contains(&line) && unchanged == 1, "{}", applied.log);
    let same = setup(&["--diff"]).succeeded();
    assert!(!same.log.contains("differs"), "{}", same.log);

    // A person has weakened a policy, and another person has labelled a Role.
    let name = format!("jobpass-anchors.{namespace}.scanner");
    let policy = format!("validatingadmissionpolicy/{name}");
    let ignore = r#"{"spec": {"failurePolicy": "Ignore", "matchConstraints": {"excludeResourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}}}"#;
    desk.admin(&["patch", &policy, "--type=merge", "--patch", ignore]);
    let label = r#"{"metadata": {"labels": {"team": "security"}}}"#;
    let role = "role/jobpass-minter-scanner";
    desk.admin(&["patch", role, "--type=merge", "--patch", label]);
    let differs = setup(&["--diff"]);
    assert_eq!(differs.code(), 5, "{}", differs.log);
    let fields = ["spec.failurePolicy", "spec.matchConstraints.excludeResourceRules"];
    let line = format!(
        "differs    ValidatingAdmissionPolicy {name}: {}\n",
        fields.join(", ")
    );
    assert!(
        differs.log.contains(&line) && differs.log.contains("1 of 13 objects differ"),
        "{}",
        differs.log
    );

    let differs = setup(&["--diff", "--output", "json"]);
    let lines = differs
        .log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["result"] != "same").collect::<Vec<_>>();
    let line = json!({
        "kind": "ValidatingAdmissionPolicy", "namespace": null, "name": name, "result": "differs", "fields": fields,
    });
    assert_eq!(lines, [line], "{}", differs.log);

    let again = setup(&["--duration", "2h", "--apply"]).succeeded();
    for line in [
        format!(
            "changed    ValidatingAdmissionPolicy jobpass-tokens.{namespace}.scanner: spec.validations[2].expression"
        ),
        format!("changed    ValidatingAdmissionPolicy {name}: "),
        format!("unchanged  Role {namespace}/jobpass-minter-scanner"),
        format!("unchanged  RoleBinding {namespace}/jobpass-minter-scanner"),
    ] {
        assert!(again.log.contains(&line), "{line}: {}", again.log);
    }
    let left = "jsonpath={.spec.failurePolicy}{.spec.matchConstraints.excludeResourceRules}";
    assert_eq!(desk.admin(&["get", &policy, "--output", left]), "Fail");
    let labelled = ["get", role, "--output", "jsonpath={.metadata.labels.team}"];
    assert_eq!(desk.admin(&labelled), "security");
}

/// `setup` looks for a sweeper in the cluster before it warns that there is none.
#[test]
fn a_sweeper_in_the_cluster_is_found() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    let setup = |more: &[&str]| desk.setup(&[&SCANNER, &MINTER, more]);
    let missing =
        format!("no CronJob in the cluster runs `jobpass sweep` for namespace `{namespace}`. If a runner");
    for action in ["--apply", "--diff"] {
        let ended = setup(&[action]).succeeded();
        assert!(ended.log.contains(&missing), "{}", ended.log);
    }
    setup(&[SWEEPER[0], SWEEPER[1], "--apply"]).succeeded();
    for action in ["--apply", "--diff"] {
        let ended = setup(&[action]).succeeded();
        assert!(!ended.log.contains("warning"), "{}", ended.log);
    }
    desk.account("scanner");
    let unseen = desk.jobpass(&desk.arguments(&[&SCANNER, &MINTER, &["--diff", "--kubeconfig", "scanner"]]));
    let why = "does not know whether the cluster has a sweeper, because it cannot look at CronJob *: ";
    assert!(unseen.log.contains(why), "{}", unseen.log);
}

/// `setup` warns if jobs may run Pods. A Pod can outlive the token, and can use a minter of its namespace.
#[rstest]
#[case::a_minter_beside(&MINTER, "create,list", Some(true))]
#[case::a_minter_elsewhere(&["--minter", "user:jane"], "create", Some(false))]
#[case::no_escape(&MINTER, "get,list", None)]
fn an_account_that_may_create_pods_is_noticed(
    #[case] minter: &[&str],
    #[case] verbs: &str,
    #[case] beside: Option<bool>,
) {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    desk.admin(&["create", "role", "pods", "--verb", verbs, "--resource", "pods"]);
    let account = format!("{namespace}:scanner");
    desk.admin(&[
        "create",
        "rolebinding",
        "pods",
        "--role",
        "pods",
        "--serviceaccount",
        &account,
    ]);
    desk.cluster.wait_for_rbac("Role");
    let applied = desk.setup(&[&SCANNER, minter, &["--apply"]]).succeeded();
    let escape = format!("ServiceAccount {namespace}/scanner can outlive its token: it may run Pods");
    assert_eq!(applied.log.contains(&escape), beside.is_some(), "{}", applied.log);
    let reach = format!("The minter `serviceaccount:{namespace}/jobpass-minter` is in the same namespace");
    assert_eq!(
        applied.log.contains(&reach),
        beside == Some(true),
        "{}",
        applied.log
    );
    assert!(!applied.log.contains("cannot tell whether"), "{}", applied.log);
}

/// kubectl and the API server accept the output, whatever names are in it.
#[rstest]
#[case(&[MINTER[0], MINTER[1], SWEEPER[0], SWEEPER[1], "--audiences", "it's, vault"])]
#[case(&["--minter", r#"user:a'] || true || ['"\: {b} #c"#, "--minter", "group:null", "--example-rights"])]
fn kubectl_applies_what_is_printed(#[case] more: &[&str], #[values("text", "json")] format: &str) {
    let desk = Desk::new();
    let (applied, said) = kubectl(
        &desk.folder.path().join("admin.yaml"),
        &["apply", "--filename", "-"],
        &desk.printed(&[&SCANNER, more, &["--output", format]]),
    );
    assert!(applied, "{said}");
    desk.setup(&[&SCANNER, more, &["--diff"]]).succeeded();
}

#[rstest]
#[case(&[MINTER[0], MINTER[1], SWEEPER[0], SWEEPER[1], "--example-rights"])]
#[case(&[MINTER[0], MINTER[1], "--role-rules", "get pods\ncreate pods/exec target-pod"])]
#[case(&["--minter", "user:true", "--minter", "group:0x10", "--repository-id", "2", "--oidc-audience", "k8s"])]
fn it_is_as_the_schemas_of_kubernetes_say(#[case] more: &[&str]) {
    let desk = Desk::new();
    let path = desk.folder.path().join("setup.yaml");
    fs::write(&path, desk.printed(&[&SCANNER, more])).expect("written");
    // The first release with these policies, and the newest release that the tool supports.
    for version in ["1.30.0", "1.36.0"] {
        let mut validate = support::scrubbed(Command::new(support::tool("kubernetes-validate")));
        validate
            .args(["--strict", "--kubernetes-version", version])
            .arg(&path);
        let output = validate.output().expect("kubernetes-validate starts");
        assert!(output.status.success(), "{version}: {output:?}");
    }
}

#[test]
fn an_api_server_without_policies_is_said_to_be_one_before_anything_is_changed() {
    let desk = Desk::new();
    // API servers before 1.30 answer like this.
    let unknown = FaultKind::Answer {
        status: 404,
        headers: Vec::new(),
        body: "404 page not found\n".into(),
    };
    inject(
        &desk.cluster,
        "GET",
        "/validatingadmissionpolicies/",
        999,
        unknown,
    );
    let applied = desk.setup(&[&SCANNER, &MINTER, &["--apply"]]);
    assert_eq!(applied.code(), 4, "{}", applied.log);
    for text in [
        "does not know ValidatingAdmissionPolicy v1, which needs Kubernetes 1.30 or later",
        "Upgrade the cluster",
        "Without the policies, the minter could get unbound tokens and delete every Secret",
    ] {
        assert!(applied.log.contains(text), "no `{text}` in:\n{}", applied.log);
    }
    let asked = desk.cluster.requests();
    assert!(asked.iter().all(only_asks), "{asked:?}");
}

#[test]
fn who_is_no_administrator_is_told_so() {
    let desk = Desk::new();
    let minter = support::minter(&desk.cluster);
    fs::write(desk.folder.path().join("admin.yaml"), minter).expect("written");
    for action in ["--apply", "--diff"] {
        let refused = desk.setup(&[&SCANNER, &MINTER, &[action]]);
        assert_eq!(refused.code(), 4, "{}", refused.log);
        assert!(
            refused
                .log
                .contains("an administrator of the cluster must run this command"),
            "{}",
            refused.log
        );
    }
}

#[test]
fn wrong_input_prints_nothing() {
    let desk = Desk::new();
    for (more, why) in [
        (
            &["--repository-id", "team/app"][..],
            "input `repository-id` is `team/app`",
        ),
        (&["--minter", "jane"], "input `minter` is `jane`"),
        (&[], "input `minter` is missing"),
        (
            &["--minter", "user:jane", "--authentication-config"],
            "input `authentication-config`",
        ),
        (
            &["--minter", "user:jane", "--duration", "30s"],
            "input `duration` is `30s`",
        ),
        (
            &["--minter", "user:jane", "--role-rules", "create pods", "--apply"],
            "input `role-rules` has `create pods`, which jobs cannot get",
        ),
        (&["--minter", "user:jane", "--replace"], "--apply"),
    ] {
        let ended = desk.setup(&[&SCANNER, more]);
        assert_eq!(ended.code(), 2, "{}", ended.log);
        assert!(
            ended.log.contains(why) && !ended.log.contains("kind:"),
            "{}",
            ended.log
        );
    }
    assert!(desk.cluster.requests().is_empty());
}
