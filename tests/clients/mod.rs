//! The Kubernetes clients that jobs use. Each finds the cluster through the variable KUBECONFIG.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rstest::rstest;

use crate::{
    cli::Desk,
    cluster::Cluster,
    support::{self, scrubbed},
};

#[derive(Clone, Copy)]
enum Client {
    Kubectl,
    Python(&'static str),
    JavaScript,
    Java,
}

use Client::{Java, JavaScript, Kubectl, Python};

impl Client {
    /// Runs the client with a kubeconfig. The client prints the names of the Pods.
    fn list_pods(self, kubeconfig: &Path, namespace: &str) -> Output {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let command = match self {
            Kubectl => {
                let mut kubectl = Command::new(support::tool("kubectl"));
                kubectl.args(["get", "pods", "--output", "name", "--namespace", namespace]);
                kubectl
            }
            Python(client) => {
                let mut python = Command::new(installed("python").join("bin/python"));
                python
                    .arg(programs.join("list_pods.py"))
                    .args([client, namespace]);
                python
            }
            JavaScript => {
                let mut node = Command::new("node");
                let folder = installed("javascript");
                node.arg(programs.join("list_pods.mjs"))
                    .arg(folder)
                    .arg(namespace);
                node
            }
            Java => {
                let mut java = Command::new("java");
                java.arg("-classpath").arg(installed("java").join("*"));
                java.arg(programs.join("ListPods.java")).arg(namespace);
                java
            }
        };
        let mut client = scrubbed(command);
        // The client must not find another kubeconfig in its home folder.
        client.env("HOME", kubeconfig.parent().expect("a folder"));
        client.env("KUBECONFIG", kubeconfig).output().expect("it starts")
    }
}

/// The folder in which `cargo xtask test` installs the clients.
fn installed(language: &str) -> PathBuf {
    let tools = PathBuf::from(env::var_os("JOBPASS_TOOLS").unwrap_or_default());
    let folder = tools.join("../clients").join(language);
    assert!(
        folder.join("installed").is_file(),
        "{} has no clients: run `cargo xtask test`, which installs them",
        folder.display()
    );
    folder
}

/// Mints a token of `scanner`, which may list Pods. Then moves the token's folder, because container actions
/// and `docker run --volume` mount it at another path.
#[rstest]
#[case::kubectl(Kubectl)]
#[case::python_kubernetes(Python("kubernetes"))]
#[case::python_kubernetes_asyncio(Python("kubernetes_asyncio"))]
#[case::python_lightkube(Python("lightkube"))]
#[case::python_kr8s(Python("kr8s"))]
#[case::python_pykube(Python("pykube"))]
#[case::javascript(JavaScript)]
#[case::java_fabric8(Java)]
fn a_client_lists_pods_wherever_the_kubeconfig_is(#[case] client: Client) {
    let desk = Desk::at(Cluster::start());
    desk.cluster.apply(POD);
    let works = |kubeconfig: &str| {
        let listed = client.list_pods(&desk.path(kubeconfig), desk.cluster.namespace());
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        listed.status.success() && names.trim().ends_with("a-pod")
    };
    desk.mint(&["--kubeconfig-file", "job/kubeconfig"]).succeeded();
    assert!(works("job/kubeconfig"));
    fs::rename(desk.path("job"), desk.path("mounted")).expect("moved");
    assert!(works("mounted/kubeconfig"));

    // For a renewed token, the kubeconfig also names the token's file.
    desk.mint(&["--kubeconfig-file", "long/kubeconfig", "--renew-for", "6h"])
        .succeeded();
    assert!(works("long/kubeconfig"));
    fs::create_dir(desk.path("copied")).expect("made");
    fs::copy(desk.path("long/kubeconfig"), desk.path("copied/kubeconfig")).expect("copied");
    fs::remove_file(desk.path("long/kubeconfig.token")).expect("removed");
    let insists = matches!(client, Python("lightkube"));
    assert_eq!(
        works("copied/kubeconfig"),
        !insists,
        "docs/hand-over.md lists the clients that need the token's file"
    );
    // This ends the renewer.
    desk.run(&["revoke", "--kubeconfig-file", "long/kubeconfig"])
        .succeeded();

    // Behind a proxy, the kubeconfig needs no other file.
    desk.mint(&["--kubeconfig-file", "proxy/kubeconfig", "--proxy"])
        .succeeded();
    fs::copy(desk.path("proxy/kubeconfig"), desk.path("copied/proxy")).expect("copied");
    assert!(works("proxy/kubeconfig") && works("copied/proxy"));
    desk.run(&["revoke", "--kubeconfig-file", "proxy/kubeconfig"])
        .succeeded();
    assert!(!works("copied/proxy"), "its proxy is closed");
}

/// A Pod that no node runs.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a-pod, namespace: NAMESPACE}
spec:
  automountServiceAccountToken: false
  containers: [{name: a, image: none}]
";
