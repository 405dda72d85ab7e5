//! The control plane that all tests of this program share. It is started when the first test asks for it.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use jobpass_devkit::{Front, SigningKey};
use serde::Deserialize;
use serde_json::Value;

use super::trust;
use crate::support;

/// A running control plane, or somebody's cluster.
pub(super) struct ControlPlane {
    /// Of one administrator, for each API server.
    kubeconfigs: Vec<PathBuf>,
    own: Option<Own>,
}

/// What only a control plane of our own has.
struct Own {
    signing_key: SigningKey,
    audit_log: PathBuf,
    /// It ends when this is closed, which the end of this program does.
    _stdin: ChildStdin,
    _process: Child,
}

/// What `control-plane` prints when it is ready.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ready {
    kubeconfigs: Vec<PathBuf>,
    signing_key: PathBuf,
    audit_log: PathBuf,
}

impl ControlPlane {
    /// Starts it, once.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| match env::var_os("JOBPASS_TEST_KUBECONFIG") {
            Some(kubeconfig) => Self {
                kubeconfigs: vec![kubeconfig.into()],
                own: None,
            },
            None => Self::start(),
        })
    }

    fn start() -> Self {
        let folder = folder();
        let [first, second] = trust::files(&folder);
        // Of this Kubernetes or another one; the newest holds the etcd of all.
        let newest = support::tool("control-plane");
        let program = env::var("JOBPASS_TEST_CONTROL_PLANE");
        let program = program.map_or_else(|_| newest.clone(), |name| support::tool(&name));
        let mut command = support::scrubbed(Command::new(&program));
        if program != newest {
            command.arg("--etcd").arg(newest);
        }
        let mut process = command
            .arg("--dir")
            .arg(&folder)
            // The second API server is for the tests that change whom it trusts, and for those of a short limit.
            .args([
                "--api-servers",
                "2",
                "--longest-token",
                "720h",
                "--longest-token",
                "1h",
            ])
            .arg("--authentication-config")
            .arg(first)
            .arg("--authentication-config")
            .arg(second)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the control plane starts");
        let stdin = process.stdin.take().expect("piped");
        let stdout = process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "the control plane did not start; its logs are in {}",
                folder.display()
            )
        });
        let key = fs::read_to_string(ready.signing_key).expect("the key that signs tokens");
        Self {
            kubeconfigs: ready.kubeconfigs,
            own: Some(Own {
                signing_key: SigningKey::from_pem(&key),
                audit_log: ready.audit_log,
                _stdin: stdin,
                _process: process,
            }),
        }
    }

    /// A front of a test's own before the first API server.
    pub(super) fn front(&self, http2: bool) -> Front {
        Front::before(&self.kubeconfigs[0], http2).expect("an administrator's kubeconfig")
    }

    /// The same before the second one.
    pub(super) fn second_front(&self) -> Front {
        let kubeconfig = self.kubeconfigs.get(1);
        let kubeconfig = kubeconfig.expect("only a control plane of our own has two API servers");
        Front::before(kubeconfig, true).expect("an administrator's kubeconfig")
    }

    /// Whether it is somebody's cluster, on which nothing may stay.
    pub(super) fn is_borrowed(&self) -> bool {
        self.own.is_none()
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.own().signing_key.sign(claims)
    }

    pub(super) fn audit_log(&self) -> &Path {
        &self.own().audit_log
    }

    fn own(&self) -> &Own {
        let own = self.own.as_ref();
        own.expect("this test needs a control plane of our own: run it without --kubeconfig")
    }
}

/// Where it keeps its data. Those of test programs that have ended are removed.
fn folder() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-plane");
    fs::create_dir_all(&all).expect("made");
    for entry in fs::read_dir(&all).expect("it is there").flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    let folder = all.join(std::process::id().to_string());
    fs::create_dir(&folder).expect("made");
    folder
}
