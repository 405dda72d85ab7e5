//! The secrets that a kubeconfig gives to an exec plugin and to a proxy. Neither the error of a failed plugin
//! nor the log of a job may show them.

use std::{fs, os::unix::process::CommandExt as _, process::Stdio, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, mkfifoat, open},
};

use super::assert_absent;
use crate::{
    cli::Desk,
    cluster::Cluster,
    github::step::Ended,
    leaks::corpus::pieces,
    support::{self, binary, scrubbed},
};

const FLAG: &str = "a-flag's \"secret\"/+";
const VARIABLE: &str = "a-variable's \"secret\"/+";
const PROXY: &str = "a-proxy%27s-secret%2F";
const PRINTED: &str = "a-printed-secret-of-one-line";

/// A plugin that prints all values that it gets and then fails. Real plugins do that.
const CARELESS: &str = r#"
cat <<'X'
{"kind": "ExecCredential", "status": {"clientKeyData": "-----BEGIN KEY-----\na-printed-secret-of-one-line\n-----END KEY-----"}}
X
{
    echo "unknown flag $2"
    echo "env $CLIENT_SECRET $KUBERNETES_EXEC_INFO"
    printf %s "$2" | base64
    printf 'token=%s' "$CLIENT_SECRET" | base64
    printf %s "$CLIENT_SECRET" | jq -Rr '@uri, @json, @sh, @html'
    printf %s "$2" | xxd -p
    printf 'key:\n-----BEGIN KEY-----\na-printed-secret-of-one-line\n'
    printf '%0400d\n' 0
    echo "$JWT"
} | eval "$PART" >&2
exit 1
"#;

fn kubeconfig(plugin: &std::path::Path) -> String {
    format!(
        "current-context: job\ncontexts:\n- {{name: job, context: {{cluster: c, user: u}}}}\n\
         clusters:\n- {{name: c, cluster: {{server: 'https://127.0.0.1:1', proxy-url: 'http://me:{PROXY}@127.0.0.1:1'}}}}\n\
         users:\n- name: u\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: sh\n      \
         interactiveMode: Never\n      provideClusterInfo: true\n      args: [{}, --client-secret, {}]\n      env:\n      \
         - {{name: CLIENT_SECRET, value: {}}}\n",
        serde_json::json!(plugin),
        serde_json::json!(FLAG),
        serde_json::json!(VARIABLE),
    )
}

/// The error shows only the end of the plugin's output. So each case has another part of the output at the
/// end.
#[test]
fn the_error_of_a_careless_plugin_shows_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("plugin.sh"), CARELESS).expect("written");
    fs::write(path("minter.yaml"), kubeconfig(&path("plugin.sh"))).expect("written");
    let jwt = format!("eyJhbGciOi.{}.c2lnbmF0dXJl", "dGFpbA".repeat(200));
    for part in (1..16)
        .map(|line| format!("sed -n {line}p"))
        .chain(["cat".into()])
    {
        let mut command = scrubbed(std::process::Command::new(binary("jobpass")));
        command
            .args([
                "mint",
                "--service-account",
                "scanner",
                "--token-file",
                "token",
                "--kubeconfig",
            ])
            .arg(path("minter.yaml"))
            .current_dir(folder.path())
            .envs([("JWT", &*jwt), ("PART", &part)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let ended = Ended::of(command.spawn().expect("jobpass starts"));
        assert_eq!(ended.code(), 2, "{}", ended.log);
        assert!(ended.log.contains("standard error"), "{}", ended.log);
        for secret in [FLAG, VARIABLE, PROXY, "a-proxy's-secret/", PRINTED] {
            assert_absent(secret, &part, &ended.log);
            assert!(pieces(secret, &ended.log).is_empty(), "{}", ended.log);
        }
        assert!(!ended.log.contains("dGFpbAdGFpbA"), "{}", ended.log);
    }
}

/// A script may print the whole kubeconfig, or single lines of it.
#[test]
fn a_log_shows_no_secret_that_a_kubeconfig_hands_on() {
    let cluster = Cluster::start();
    let token = support::minter_token(&cluster);
    let kubeconfig = cluster.kubeconfig(&token, cluster.namespace());
    let desk = Desk::at(cluster);
    let credential = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token},
    });
    fs::write(desk.path("credential.json"), credential.to_string()).expect("written");
    let more = serde_json::json!({
        "clusters": [{"name": "other", "cluster": {"server": "https://k8s", "proxy-url": format!("http://me:{PROXY}@p")}}],
        "users": [{"name": "plugin", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never",
            "args": ["-c", "cat credential.json", "--client-secret", FLAG],
            "env": [{"name": "CLIENT_SECRET", "value": VARIABLE}],
        }}}],
    });
    let mut whole: serde_json::Value = serde_yaml::from_str(&kubeconfig).expect("YAML");
    for list in ["clusters", "users"] {
        let entries = whole[list].as_array_mut().expect("a list");
        entries.extend(more[list].as_array().expect("a list").iter().cloned());
    }
    for context in whole["contexts"].as_array_mut().expect("a list") {
        context["context"]["user"] = "plugin".into();
    }
    fs::write(desk.path("minter.yaml"), whole.to_string()).expect("written");
    let script = "cat minter.yaml; jq -r '.. | strings | ., @base64' minter.yaml";
    let ended = desk
        .run(&[
            "exec",
            "--service-account",
            "scanner",
            "--namespace",
            "NAMESPACE",
            "--kubeconfig",
            "minter.yaml",
            "--",
            "sh",
            "-c",
            script,
        ])
        .succeeded();
    for secret in [FLAG, VARIABLE, PROXY, "a-proxy's-secret/"] {
        assert_absent(secret, "the log", &ended.log);
        assert!(pieces(secret, &ended.log).is_empty(), "{}", ended.log);
    }
    assert!(ended.log.contains("interactiveMode"), "{}", ended.log);
}

/// A plugin has the environment of the job. A runner that kills the processes of a step may not find the
/// plugin's process group, so the plugin must end with jobpass.
#[test]
fn a_plugin_does_not_outlive_a_jobpass_that_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for name in ["started", "alive"] {
        mkfifoat(CWD, path(name), Mode::RWXU).expect("a pipe");
    }
    // The plugin's child holds the other end of the pipe while it lives.
    let reader = open(path("alive"), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("opened");
    let plugin = "cd $(dirname $0) && sh -c 'echo > started; exec sleep 600' 3> alive & wait";
    fs::write(path("plugin.sh"), plugin).expect("written");
    fs::write(path("minter.yaml"), kubeconfig(&path("plugin.sh"))).expect("written");
    let mut command = scrubbed(std::process::Command::new(binary("jobpass")));
    command
        .args([
            "mint",
            "--service-account",
            "scanner",
            "--token-file",
            "token",
            "--kubeconfig",
        ])
        .arg(path("minter.yaml"))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut jobpass = command.spawn().expect("jobpass starts");
    fs::read(path("started")).expect("the plugin has started");
    jobpass.kill().expect("it is there");
    jobpass.wait().expect("it ends");
    let patience = Timespec::try_from(Duration::from_secs(20)).expect("a time");
    let mut end = [PollFd::new(&reader, PollFlags::empty())];
    poll(&mut end, Some(&patience)).expect("polled");
    assert!(
        end[0].revents().contains(PollFlags::HUP),
        "the plugin still runs after 20 s"
    );
}
