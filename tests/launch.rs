//! Starts Kubernetes itself: the program of `tests/control-plane`. `cargo xtask test` builds the program.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use jobpass_devkit::SigningKey;
use serde::Deserialize;

/// A running control plane.
pub struct Launched {
    /// The kubeconfig of an administrator, for each API server.
    pub kubeconfigs: Vec<PathBuf>,
    pub signing_key: SigningKey,
    pub audit_log: PathBuf,
    /// The version that the API server reports.
    pub version: String,
    /// The pipe that ends the control plane when it closes, at the latest at the end of this program.
    _stdin: ChildStdin,
    _process: Child,
}

/// The node of a control plane. Its Pods are processes of this machine.
pub struct Kubelet {
    /// The name of the node.
    pub node: String,
    /// The pipe that ends the kubelet when it closes.
    _stdin: ChildStdin,
    _process: Child,
}

/// The line that `control-plane` prints when it is ready.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ready {
    version: String,
    kubeconfigs: Vec<PathBuf>,
    signing_key: PathBuf,
    audit_log: PathBuf,
}

/// The program with the newest Kubernetes, and with the etcd for all releases.
pub const NEWEST: &str = "control-plane";

/// Starts the program of this name. The program keeps its data in a new folder below `folder`. `configure`
/// gets that folder, and adds arguments to the command.
///
/// # Panics
///
/// If the program does not start.
pub fn launch(program: &str, folder: &Path, configure: impl FnOnce(&Path, &mut Command)) -> Launched {
    let folder = of_this_program(&folder.join("control-plane"));
    let mut command = Command::new(tool(program));
    if program != NEWEST {
        command.arg("--etcd").arg(tool(NEWEST));
    }
    command.arg("--dir").arg(&folder);
    configure(&folder, &mut command);
    let (process, stdin, line) = start(command);
    let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|_| {
        panic!(
            "the control plane did not start; its logs are in {}",
            folder.display()
        )
    });
    let key = fs::read_to_string(ready.signing_key).expect("the key that signs tokens");
    Launched {
        kubeconfigs: ready.kubeconfigs,
        signing_key: SigningKey::from_pem(&key),
        audit_log: ready.audit_log,
        version: ready.version,
        _stdin: stdin,
        _process: process,
    }
}

/// Adds a node to a running control plane. `program` is the name of the control plane's program.
///
/// # Panics
///
/// If the kubelet does not start.
pub fn add_node(program: &str, plane: &Launched) -> Kubelet {
    let mut command = Command::new(tool(program));
    let folder = plane.audit_log.parent().expect("the folder of the control plane");
    command.arg("kubelet").arg("--dir").arg(folder);
    let (process, stdin, line) = start(command);
    let ready: serde_json::Value = serde_json::from_str(&line).expect("the kubelet starts");
    Kubelet {
        node: ready["node"].as_str().expect("a name").to_owned(),
        _stdin: stdin,
        _process: process,
    }
}

/// Starts a program that ends when its standard input ends. Returns the process, its standard input, and the
/// line that it prints when it is ready.
fn start(mut command: Command) -> (Child, ChildStdin, String) {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdin = process.stdin.take().expect("piped");
    let stdout = process.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("text");
    (process, stdin, line)
}

/// The minor version of the Kubernetes in this program.
///
/// # Panics
///
/// If the program does not print its version.
pub fn minor_version(program: &str) -> u32 {
    let output = Command::new(tool(program)).arg("--version").output();
    let said = String::from_utf8(output.expect("the control plane starts").stdout).expect("text");
    // The output is like `Kubernetes v1.37.2`.
    let minor = said.split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.unwrap_or_else(|| panic!("no version in {said:?}"))
}

/// The path of a program that `cargo xtask test` installs.
///
/// # Panics
///
/// If the program is not installed.
pub fn tool(name: &str) -> PathBuf {
    let folder = env::var_os("JOBPASS_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_default();
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{name} is not in JOBPASS_TOOLS: run `cargo xtask test`, which installs it and sets the variable"
    );
    path
}

/// Creates a new folder for this program. Removes the folders of earlier programs that have ended.
fn of_this_program(all: &Path) -> PathBuf {
    fs::create_dir_all(all).expect("made");
    for entry in fs::read_dir(all).expect("it is there").flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    let folder = all.join(std::process::id().to_string());
    fs::create_dir(&folder).expect("made");
    folder
}
