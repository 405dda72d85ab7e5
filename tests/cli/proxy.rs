//! Jobs whose token stays in a proxy of jobpass.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{Desk, MINT};
use crate::{
    cluster::Cluster,
    github::step::Ended,
    leaks::{
        assert_absent,
        corpus::{self, pieces},
    },
    support::{self, assert_one_anchor_gone, group, wait_for_end, wait_for_tokens},
};

pub(super) const WRITER: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: writer, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: writer, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}
subjects: [{kind: ServiceAccount, name: scanner, namespace: NAMESPACE}]
"#;

/// Copies into `seen` what a job can read: the files beside its kubeconfig, and the variables and arguments
/// of the processes of the job and of jobpass.
const LOOK: &str = r#"
mkdir seen; cp "$(dirname "$KUBECONFIG")"/* seen/
env > seen/env; kubectl config view --raw > seen/view
for process in /proc/[0-9]*; do
  # Only the processes of the job and of jobpass: other tests have tokens of their own.
  test $process = /proc/$PPID || tr '\0' '\n' < $process/environ | grep -qxF "KUBECONFIG=$KUBECONFIG" || continue
  tr '\0' '\n' < $process/environ >> seen/environ; tr '\0' '\n' < $process/cmdline >> seen/cmdline
done 2> seen/errors
cat seen/view seen/kubeconfig
"#;

impl Desk {
    pub(super) fn writer() -> Self {
        let desk = Self::new();
        desk.cluster.apply(WRITER);
        desk
    }

    /// The files below `seen` that hold a piece of one of the tokens. Removes `seen`.
    fn finds(&self, tokens: &[String]) -> Vec<String> {
        let mut finds = Vec::new();
        for entry in fs::read_dir(self.path("seen")).expect("a folder").flatten() {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).expect("a file")).into_owned();
            if tokens.iter().any(|token| !pieces(token, &text).is_empty()) {
                finds.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        fs::remove_dir_all(self.path("seen")).expect("removed");
        finds.sort();
        finds
    }

    /// Mints with a proxy, into the kubeconfig `kc`. Returns the log, and the process group of the proxy.
    pub(super) fn mint_with_proxy(&self, more: &[&str]) -> (String, u32) {
        let options = ["--proxy", "--kubeconfig-file", "kc"];
        let mint = self.start(&[&MINT[..], &options, more].concat());
        let group_of_mint = mint.id();
        (Ended::of(mint).succeeded().log, group_of_mint)
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> (bool, String) {
        let output = support::kubectl(self.path("kc"), arguments);
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

/// With the proxy, the search finds no token in the files, variables and arguments that the job can read.
/// Without the proxy, it finds the token, which shows that the search works.
#[rstest]
fn a_job_cannot_find_a_token_that_is_not_there(#[values(true, false)] proxy: bool) {
    let desk = Desk::writer();
    let options: &[&str] = if proxy { &["--proxy"] } else { &[] };
    let ended = desk.exec(options, LOOK).succeeded();
    let tokens = desk.cluster.issued();
    let expected: &[&str] = match proxy {
        true => &[],
        false => &["kubeconfig", "token", "view"],
    };
    assert_eq!(desk.finds(&tokens), expected, "{}", ended.log);
    assert_absent(&tokens[0], "the log", &ended.log);
    assert!(ended.log.contains("token: [MASKED]"), "{}", ended.log);
    let proof = "the proxy that held the token is closed: the job never had the token";
    assert_eq!(ended.log.contains(proof), proxy, "{}", ended.log);
    desk.assert_all_gone(&ended.log);
}

#[test]
fn clients_work_as_always() {
    let desk = Desk::writer();
    let script = r#"
        set -e
        kubectl create configmap a --from-literal=key=value
        echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {key: one}}' > b.yaml
        kubectl apply -f b.yaml
        sed -i s/one/two/ b.yaml
        kubectl diff -f b.yaml && exit 3
        kubectl apply --server-side --force-conflicts -f b.yaml
        test "$(kubectl get configmap b -o jsonpath='{.data.key}')" = two
        kubectl wait --for=jsonpath='{.data.key}'=two configmap/b --timeout=30s
        kubectl delete configmap a b
        kubectl auth whoami -o jsonpath='{.status.userInfo.username}{"\n"}'

        kubectl config view --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d > ca
        bearer=$(kubectl config view --raw -o jsonpath='{.users[0].user.token}')
        server=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')
        for version in http1.1 http2; do
          curl -sS --$version --cacert ca -H "Authorization: Bearer $bearer" -o /dev/null \
            -w 'curl %{http_version} %{http_code}\n' "$server/version"
        done
        curl -sS --cacert ca -o /dev/null -w 'stranger %{http_code}\n' "$server/version"
        kubectl get configmaps --as system:admin && exit 4
        # With an empty cache, kubectl first asks which APIs the server has. jobpass refuses this request.
        kubectl get configmaps --as system:admin --cache-dir empty && exit 5
        rm -rf ca b.yaml empty"#;
    let ended = desk.exec(&["--proxy"], script).succeeded();
    let refused = "Error from server (Forbidden): jobpass does not pass on impersonation";
    assert_eq!(ended.log.matches(refused).count(), 2, "{}", ended.log);
    let account = desk.here("system:serviceaccount:NAMESPACE:scanner");
    for says in [&*account, "curl 1.1 200", "curl 2 200", "stranger 401"] {
        assert!(ended.log.contains(says), "{says}: {}", ended.log);
    }
    desk.assert_all_gone(&ended.log);
}

/// Nothing masks this log. It shows the bearer of the proxy, and nothing of a token.
#[test]
fn careless_scripts_have_no_token_to_show() {
    let desk = Desk::writer();
    desk.mint_with_proxy(&[]);
    let (is_read, bearer) =
        desk.kubectl(&["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"]);
    assert!(is_read, "{bearer}");
    fs::write(desk.path("tmp.sh"), corpus::script()).expect("written");
    fs::write(desk.path("ca.pem"), desk.cluster.ca_pem()).expect("written");
    fs::write(desk.path("bearer"), &bearer).expect("written");
    let script = format!("export SERVER={} CA=ca.pem; sh tmp.sh 2>&1", desk.cluster.url());
    let mut shell = support::scrubbed(Command::new("sh"));
    shell.args(["-c", &script]).current_dir(desk.path("."));
    shell.envs([
        ("TOKEN", bearer.as_str()),
        ("JOBPASS_TOKEN_FILE", "bearer"),
        ("KUBECONFIG", "kc"),
    ]);
    let output = shell.output().expect("sh starts").stdout;
    let log = String::from_utf8_lossy(&output);
    assert!(log.contains(&bearer), "{log}");
    for token in desk.cluster.issued() {
        corpus::assert_no_piece(&token, &log);
    }
    desk.run(&["revoke", "--kubeconfig-file", "kc"]).succeeded();
}

/// helm keeps its releases in Secrets, waits with watches, and reads the API's own description.
#[test]
fn helm_works_as_always() {
    let desk = Desk::writer();
    desk.cluster.apply(
        &WRITER
            .replace("writer", "helm")
            .replace("configmaps", "configmaps, secrets"),
    );
    let script = r#"
        set -e
        export HELM_CACHE_HOME=$PWD/helm HELM_CONFIG_HOME=$PWD/helm HELM_DATA_HOME=$PWD/helm
        mkdir -p chart/templates
        echo '{apiVersion: v2, name: app, version: 1.0.0}' > chart/Chart.yaml
        echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: app}, data: {key: {{ .Values.key | quote }}}}' > chart/templates/app.yaml
        key() { kubectl get configmap app -o jsonpath='{.data.key}'; }
        helm install app chart --set key=one --wait; test "$(key)" = one
        helm upgrade app chart --set key=two --wait; test "$(key)" = two
        helm rollback app 1 --wait; test "$(key)" = one
        helm history app --max 1 | grep 'Rollback to 1'
        helm uninstall app --wait; ! key
        test -z "$(helm list --short)"
        rm -rf chart helm"#;
    let ended = desk.exec(&["--proxy"], script).succeeded();
    for says in ["Rollback to 1", "release \"app\" uninstalled"] {
        assert!(ended.log.contains(says), "{says}: {}", ended.log);
    }
    desk.assert_all_gone(&ended.log);
}

#[test]
fn its_end_closes_the_way_at_once() {
    let desk = Desk::writer();
    let (minted, group_of_mint) = desk.mint_with_proxy(&[]);
    assert_absent(&desk.cluster.issued()[0], "the log", &minted);
    let kubeconfig = fs::read_to_string(desk.path("kc")).expect("a kubeconfig");
    assert_absent(&desk.cluster.issued()[0], "the kubeconfig", &kubeconfig);
    let journal = fs::read_to_string(desk.path("kc.journal")).expect("a journal");
    assert_eq!(journal, "", "the journal must contain no token");
    fs::copy(desk.path("kc"), desk.path("copy")).expect("copied");

    let mut watch = support::scrubbed(Command::new(support::tool("kubectl")))
        .env("KUBECONFIG", desk.path("kc"))
        .args(["get", "configmaps", "--watch"])
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl starts");
    desk.cluster.wait_for(Duration::from_secs(60), |requests| {
        let is_watch = |path: &str| path.contains("configmaps") && path.contains("watch=");
        requests
            .iter()
            .any(|request| is_watch(&request.path) && request.status.is_some())
            .then_some(())
    });
    let begun = Instant::now();
    let revoke = ["revoke", "--kubeconfig-file", "kc", "--verify-revocation", "wait"];
    let revoked = desk
        .run(&[&revoke[..], &["--output", "json"]].concat())
        .succeeded();
    // Without the proxy, the API server's cache would accept the token for up to 10 s more.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    let line = revoked.log.lines().next().expect("a receipt");
    let receipt: serde_json::Value = serde_json::from_str(line).expect("one line of JSON");
    assert_eq!(receipt["proof"], "proxy-closed");
    watch.wait().expect("it ends");
    wait_for_end(group_of_mint);
    fs::rename(desk.path("copy"), desk.path("kc")).expect("renamed");
    let (succeeded, said) = desk.kubectl(&["get", "configmaps"]);
    assert!(!succeeded && said.contains("was refused"), "{said}");
    fs::remove_file(desk.path("kc")).expect("removed");
    desk.assert_nothing_left(&revoked.log);
}

/// A client reads the kubeconfig once, and works for longer than the tokens live.
#[test]
fn tokens_are_renewed_without_a_file() {
    let desk = Desk::at(Cluster::hasty());
    let script = r#"
        cp "$KUBECONFIG" first; ls "$(dirname "$KUBECONFIG")" > files
        until [ -e enough ]; do kubectl get pods > pods || exit 3; done
        cmp first "$KUBECONFIG" || exit 4"#;
    let child = desk.start_exec(&["--proxy", "--duration", "6h"], script);
    wait_for_tokens(&desk.cluster, 6);
    fs::write(desk.path("enough"), "").expect("written");
    let ended = Ended::of(child).succeeded();
    assert!(ended.log.contains(" renewal"), "{}", ended.log);
    let files = fs::read_to_string(desk.path("files")).expect("written");
    assert_eq!(
        files,
        "jobpass-mask.journal\nkubeconfig\nkubeconfig.journal\nstate.json\n"
    );
    for name in ["first", "files", "pods", "enough"] {
        fs::remove_file(desk.path(name)).expect("written");
    }
    for token in desk.cluster.issued() {
        assert_eq!(pieces(&token, &ended.log), [""; 0], "{}", ended.log);
    }
    assert_one_anchor_gone(&desk.cluster, &ended.log);
    desk.assert_all_gone(&ended.log);
}

#[test]
fn the_proxy_of_a_job_is_gone_with_its_process() {
    let desk = Desk::writer();
    let (_, group_of_mint) = desk.mint_with_proxy(&[]);
    let holder = group(group_of_mint);
    assert_eq!(holder.len(), 1);
    kill_process(holder[0], Signal::KILL).expect("it is there");
    wait_for_end(group_of_mint);
    let (succeeded, said) = desk.kubectl(&["get", "configmaps"]);
    assert!(!succeeded && said.contains("was refused"), "{said}");
    let revoked = desk
        .run(&["revoke", "--kubeconfig-file", "kc", "--verify-revocation", "wait"])
        .succeeded();
    assert!(
        revoked.log.contains("the job never had the token"),
        "{}",
        revoked.log
    );
    desk.assert_nothing_left(&revoked.log);
}

#[test]
fn what_allow_does_not_list_is_refused_and_all_is_recorded() {
    let desk = Desk::writer();
    let options = ["--proxy", "--allow", "list configmaps", "--record", "record"];
    let script = "kubectl get configmaps && ! kubectl get configmap a && ! kubectl get pods";
    let ended = desk.exec(&options, script).succeeded();
    for says in [
        "Error from server (Forbidden): jobpass refuses `get configmaps a in namespace NAMESPACE`: the input `allow`",
        "Error from server (Forbidden): jobpass refuses `list pods in namespace NAMESPACE`: the input `allow`",
    ] {
        assert!(ended.log.contains(&desk.here(says)), "{}", ended.log);
    }
    let scanner = desk.here("system:serviceaccount:NAMESPACE:scanner");
    let asked = desk.cluster.requests();
    let mut of_job = asked.iter().filter(|request| request.user == scanner);
    assert!(!of_job.any(|request| request.path.ends_with("/pods") || request.path.contains("/configmaps/a")));
    let record = fs::read_to_string(desk.path("record")).expect("a record");
    let lines = record
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let of_resources = lines.filter(|line| line["resource"].is_string()).map(|line| {
        assert_eq!(line["namespace"], desk.cluster.namespace());
        format!("{} {} {}", line["verb"], line["resource"], line["status"]).replace('"', "")
    });
    let of_resources = of_resources.collect::<Vec<_>>();
    assert_eq!(
        of_resources,
        ["list configmaps 200", "get configmaps 403", "list pods 403"]
    );
    fs::remove_file(desk.path("record")).expect("written");
    desk.assert_all_gone(&ended.log);
}

#[test]
fn the_time_of_a_proxy_is_limited() {
    let desk = Desk::writer();
    let script = "until kubectl get configmaps 2>&1 | grep 'was refused'; do sleep 0.1; done";
    let ended = desk.exec(&["--proxy", "--duration", "2s"], script).succeeded();
    assert!(
        ended.log.contains(
            "the command still runs, but jobpass revoked its token: the token's lifetime of 2 s is over"
        ),
        "{}",
        ended.log
    );
    desk.assert_all_gone(&ended.log);
}

#[rstest]
#[case(&["mint", "--proxy", "--token-file", "t"], "input `token-file` and `proxy` are both given")]
#[case(&["mint", "--proxy", "--state-file", "s"], "input `kubeconfig-file` is missing")]
#[case(&["exec", "--proxy", "--renew-for", "6h", "--", "true"], "input `renew-for` and `proxy` are both given")]
#[case(&["exec", "--record", "r", "--", "true"], "input `record` is given without `proxy`")]
#[case(&["exec", "--proxy", "--record", "minter.yaml", "--", "true"], "which exists already")]
fn what_contradicts_a_proxy_is_not_minted(#[case] words: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let who = ["--service-account", "scanner", "--kubeconfig", "minter.yaml"];
    let ended = desk.run(&[&words[..1], &who, &words[1..]].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert!(desk.cluster.requests().is_empty());
}

/// If a signal stops jobpass, no proxy stays.
#[rstest]
fn a_signal_ends_the_proxy_of_a_command(#[values(Signal::INT, Signal::TERM)] signal: Signal) {
    let desk = Desk::writer();
    let script =
        r#"cp "$KUBECONFIG" copy.partial; mv copy.partial kc; trap '' INT TERM; while sleep 0.1; do :; done"#;
    let child = desk.start_exec(&["--proxy"], script);
    let copy = desk.path("kc");
    desk.cluster
        .wait_for(Duration::from_secs(30), |_| copy.exists().then_some(()));
    assert!(desk.kubectl(&["get", "configmaps"]).0);
    let group_of_child = child.id();
    kill_process(Pid::from_child(&child), signal).expect("it is there");
    desk.cluster.wait_for(Duration::from_secs(30), |_| {
        desk.cluster.anchors().is_empty().then_some(())
    });
    let (succeeded, said) = desk.kubectl(&["get", "configmaps"]);
    assert!(!succeeded && said.contains("was refused"), "{said}");
    for process in group(group_of_child) {
        let _ = kill_process(process, Signal::KILL);
    }
    drop(Ended::of(child));
}
