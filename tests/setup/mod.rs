//! `jobpass setup`: what it prints loads into a cluster, and does what it says.

mod oidc;
mod rules;

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use jobpass_devkit::{DevCluster, Version};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{cluster::Cluster, github::step::Ended, leaks::assert_absent, support};

const COMMON: [&str; 5] = ["setup", "--service-account", "scanner", "--namespace", "ci"];
const MINTER: [&str; 2] = ["--minter", "serviceaccount:jobpass-minter"];
const SWEEPER: [&str; 2] = ["--sweeper-image", "registry.example.com/jobpass:0.1.0"];

/// A maintainer's folder, with an administrator's kubeconfig in it.
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

    /// What goes to standard output alone.
    fn printed(&self, more: &[&[&str]]) -> String {
        let output = self.command(&[&COMMON, &*more.concat()].concat()).output();
        let output = output.expect("jobpass starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn setup(&self, more: &[&[&str]]) -> Ended {
        self.jobpass(&[&COMMON, &*more.concat(), &["--kubeconfig", "admin.yaml"]].concat())
    }

    fn admin(&self, arguments: &[&str]) -> String {
        let output = support::kubectl(self.folder.path().join("admin.yaml"), arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A kubeconfig of this ServiceAccount.
    fn account(&self, name: &str) -> std::path::PathBuf {
        let token = self
            .cluster
            .service_account_token("ci", name, Duration::from_secs(3600));
        let path = self.folder.path().join(name);
        fs::write(&path, self.cluster.kubeconfig(&token, "ci")).expect("written");
        path
    }
}

/// kubectl with `manifest` on its standard input: whether it was done, and what it said.
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

fn secret(name: &str, type_: &str, more: &str) -> String {
    format!("{{kind: Secret, apiVersion: v1, metadata: {{name: {name}}}, type: {type_}{more}}}")
}

#[test]
fn what_a_minter_may_do_and_nothing_else() {
    let desk = Desk::new();
    desk.setup(&[&MINTER, &SWEEPER, &["--example-rights", "--apply"]])
        .succeeded();
    let minter = desk.account("jobpass-minter");

    let mint = [
        "mint",
        "--service-account",
        "scanner",
        "--kubeconfig",
        "jobpass-minter",
    ];
    let minted = desk
        .jobpass(&[&mint[..], &["--kubeconfig-file", "scan.yaml"]].concat())
        .succeeded();
    let job = desk.folder.path().join("scan.yaml");
    assert!(support::kubectl(&job, &["get", "pods"]).status.success());
    let token = fs::read_to_string(desk.folder.path().join("scan.yaml.token")).expect("a token");
    let revoked = desk
        .jobpass(&["revoke", "--kubeconfig-file", "scan.yaml"])
        .succeeded();
    assert!(desk.cluster.anchors().is_empty(), "{}", revoked.log);
    assert_absent(&token, "what it printed", &(minted.log + &revoked.log));

    let issued = desk.cluster.issued().len();
    let create = ["create", "--validate=false", "--filename", "-"];
    let (made, said) = kubectl(&minter, &create, &secret("anchor", "jobpass.dev/anchor", ""));
    assert!(made, "{said}");
    let uid = desk.cluster.anchors()[0]["metadata"]["uid"]
        .as_str()
        .expect("a uid")
        .to_owned();
    let token = ["create", "token", "scanner"];
    let bound = ["--bound-object-kind", "Secret", "--bound-object-name", "anchor"];
    let pinned = [&token[..], &bound, &["--bound-object-uid", &uid]].concat();
    let delete = ["delete", "secret", "anchor", "--wait=false"];
    let with_data = secret("x", "jobpass.dev/anchor", ", stringData: {a: b}");
    let with_finalizer = secret("x, finalizers: [a.example/b]", "jobpass.dev/anchor", "");
    for (arguments, manifest, why) in [
        (token.to_vec(), "", "must be bound to an anchor"),
        ([&token[..], &bound].concat(), "", "must be bound to an anchor"),
        (
            [&pinned[..], &["--duration", "48h"]].concat(),
            "",
            "may live for 1 h at most",
        ),
        (create.to_vec(), &*with_data, "has no data and no finalizers"),
        (create.to_vec(), &with_finalizer, "has no data and no finalizers"),
        (
            create.to_vec(),
            &secret("x", "Opaque", ""),
            "touches no Secrets but anchors",
        ),
        (
            [&delete[..], &["--cascade=foreground"]].concat(),
            "",
            "propagation policy Background",
        ),
        (
            [&delete[..], &["--cascade=orphan"]].concat(),
            "",
            "propagation policy Background",
        ),
    ] {
        let (done, said) = kubectl(&minter, &arguments, manifest);
        assert!(!done && said.contains(why), "{arguments:?}: {said}");
    }
    assert_eq!(desk.cluster.issued().len(), issued);
    // Others are not limited, and what they make is safe from the minter.
    let (made, said) = kubectl(
        &desk.folder.path().join("admin.yaml"),
        &[&create[..], &["--namespace", "ci"]].concat(),
        &secret("other", "Opaque", ", stringData: {a: b}"),
    );
    assert!(made, "{said}");
    let (done, said) = kubectl(&minter, &["delete", "secret", "other", "--wait=false"], "");
    assert!(!done && said.contains("touches no Secrets but anchors"), "{said}");
    assert!(kubectl(&minter, &[&pinned[..], &["--duration", "1h"]].concat(), "").0);

    let sweeper = desk.account("jobpass-sweeper");
    let args = "jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].args}";
    let args = desk.admin(&[
        "get",
        "cronjob/jobpass-sweeper",
        "--namespace",
        "ci",
        "--output",
        args,
    ]);
    let mut args: Vec<&str> = serde_json::from_str(&args).expect("a list");
    args.extend(["--kubeconfig", "jobpass-sweeper"]);
    let swept = desk.jobpass(&args).succeeded();
    assert!(swept.log.contains(r#""event":"summary""#), "{}", swept.log);
    let (listed, said) = kubectl(&sweeper, &["get", "secrets"], "");
    assert!(listed && said.contains("anchor"), "{said}");
    assert!(kubectl(&sweeper, &delete, "").0);
    assert!(!kubectl(&sweeper, &create, &secret("x", "jobpass.dev/anchor", "")).0);
}

#[test]
fn apply_and_diff_say_what_is_and_was_different() {
    let desk = Desk::new();
    let before = desk.setup(&[&MINTER, &SWEEPER, &["--diff"]]);
    assert_eq!(before.code(), 5, "{}", before.log);
    assert!(
        before.log.contains("missing    Role ci/jobpass-minter-scanner\n"),
        "{}",
        before.log
    );
    assert!(desk.cluster.secrets("ci").is_empty());

    let applied = desk.setup(&[&MINTER, &SWEEPER, &["--apply"]]).succeeded();
    assert!(
        applied.log.contains("created    CronJob ci/jobpass-sweeper\n") && !applied.log.contains("unchanged"),
        "{}",
        applied.log
    );
    let same = desk.setup(&[&MINTER, &SWEEPER, &["--diff"]]).succeeded();
    assert!(!same.log.contains("differs"), "{}", same.log);

    // Somebody wanted it to work, and took a lock off; and somebody else labelled a Role.
    let policy = "validatingadmissionpolicy/jobpass-anchors.ci.scanner";
    let ignore = r#"{"spec": {"failurePolicy": "Ignore", "matchConstraints": {"excludeResourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}}}"#;
    desk.admin(&["patch", policy, "--type=merge", "--patch", ignore]);
    let label = r#"{"metadata": {"labels": {"team": "security"}}}"#;
    let role = ["role/jobpass-minter-scanner", "--namespace", "ci"];
    desk.admin(&[&["patch"], &role[..], &["--type=merge", "--patch", label]].concat());
    let differs = desk.setup(&[&MINTER, &SWEEPER, &["--diff"]]);
    assert_eq!(differs.code(), 5, "{}", differs.log);
    let line = "differs    ValidatingAdmissionPolicy jobpass-anchors.ci.scanner: spec.failurePolicy, \
                spec.matchConstraints.excludeResourceRules\n";
    assert!(
        differs.log.contains(line) && differs.log.contains("1 of 13 objects differ"),
        "{}",
        differs.log
    );

    let differs = desk.setup(&[&MINTER, &SWEEPER, &["--diff", "--output", "json"]]);
    let lines = differs
        .log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["result"] != "same").collect::<Vec<_>>();
    let line = json!({
        "kind": "ValidatingAdmissionPolicy", "namespace": null, "name": "jobpass-anchors.ci.scanner", "result": "differs",
        "fields": ["spec.failurePolicy", "spec.matchConstraints.excludeResourceRules"],
    });
    assert_eq!(lines, [line], "{}", differs.log);

    let again = desk
        .setup(&[&MINTER, &SWEEPER, &["--duration", "2h", "--apply"]])
        .succeeded();
    assert!(
        again.log.contains(
            "changed    ValidatingAdmissionPolicy jobpass-tokens.ci.scanner: spec.validations[1].expression"
        ),
        "{}",
        again.log
    );
    assert!(
        again.log.contains("unchanged  Role ci/jobpass-minter-scanner"),
        "{}",
        again.log
    );
    assert_eq!(
        desk.admin(&[
            "get",
            policy,
            "--output",
            "jsonpath={.spec.failurePolicy}{.spec.matchConstraints.excludeResourceRules}"
        ]),
        "Fail"
    );
    let labelled = [
        &["get"],
        &role[..],
        &["--output", "jsonpath={.metadata.labels.team}"],
    ]
    .concat();
    assert_eq!(desk.admin(&labelled), "security");
}

/// kubectl and the API server take what is printed, whatever the names in it would like to be.
#[rstest]
#[case(&[MINTER[0], MINTER[1], SWEEPER[0], SWEEPER[1]])]
#[case(&["--minter", r#"user:a'] || true || ['"\: {b} #c"#, "--minter", "group:null", "--example-rights"])]
fn kubectl_applies_what_is_printed(#[case] more: &[&str]) {
    // To validate a List, kubectl asks for the OpenAPI that the dev cluster does not have.
    for (format, validate) in [("text", "--validate=true"), ("json", "--validate=false")] {
        let desk = Desk::new();
        let (applied, said) = kubectl(
            &desk.folder.path().join("admin.yaml"),
            &["apply", validate, "--filename", "-"],
            &desk.printed(&[more, &["--output", format]]),
        );
        assert!(applied, "{said}");
        desk.setup(&[more, &["--diff"]]).succeeded();
    }
}

#[rstest]
#[case(&[MINTER[0], MINTER[1], SWEEPER[0], SWEEPER[1], "--example-rights"])]
#[case(&[MINTER[0], MINTER[1], "--rules", "get pods\ncreate pods/exec target-pod"])]
#[case(&["--minter", "user:true", "--minter", "group:0x10", "--repository-id", "2", "--oidc-audience", "k8s"])]
fn it_is_as_the_schemas_of_kubernetes_say(#[case] more: &[&str]) {
    let desk = Desk::new();
    let path = desk.folder.path().join("setup.yaml");
    fs::write(&path, desk.printed(&[more])).expect("written");
    // Its releases and ours: from the first with these policies to the newest that was recorded.
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
fn an_api_server_without_policies_is_said_to_be_one_before_anybody_may_mint() {
    let desk = Desk::at(Cluster::on(
        DevCluster::builder()
            .version(Version::V1_27)
            .start()
            .expect("started"),
    ));
    let applied = desk.setup(&[&MINTER, &["--apply"]]);
    assert_eq!(applied.code(), 4, "{}", applied.log);
    assert!(applied.log.contains("from Kubernetes 1.30 on"), "{}", applied.log);
    assert!(!applied.log.contains("RoleBinding"), "{}", applied.log);
}

#[test]
fn who_is_no_administrator_is_told_so() {
    let desk = Desk::new();
    let minter = support::minter(&desk.cluster);
    fs::write(desk.folder.path().join("admin.yaml"), minter).expect("written");
    for action in ["--apply", "--diff"] {
        let refused = desk.setup(&[&MINTER, &[action]]);
        assert_eq!(refused.code(), 4, "{}", refused.log);
        assert!(
            refused
                .log
                .contains("an administrator of the cluster has to do this"),
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
    ] {
        let ended = desk.jobpass(&[&COMMON, more].concat());
        assert_eq!(ended.code(), 2, "{}", ended.log);
        assert!(
            ended.log.contains(why) && !ended.log.contains("kind:"),
            "{}",
            ended.log
        );
    }
    assert!(desk.cluster.requests().is_empty());
}
