//! The control plane that all tests of this program share. The first test that needs it starts it.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use jobpass_devkit::Front;
use jobpass_tests::launch::{Kubelet, Launched, NEWEST, add_node, launch, minor_version};
use serde_json::Value;

use super::{place, trust};

/// A control plane of the tests' own, or a cluster that belongs to somebody else.
pub(super) struct ControlPlane {
    /// The kubeconfig of an administrator, for each API server.
    kubeconfigs: Vec<PathBuf>,
    /// The running program. `None` for somebody else's cluster.
    own: Option<Launched>,
    /// The node. The first test that runs a Pod starts it.
    kubelet: OnceLock<Kubelet>,
}

impl ControlPlane {
    /// The control plane that all tests share: the cluster of `JOBPASS_TEST_KUBECONFIG`, or else the one that
    /// the first call starts.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| match env::var_os("JOBPASS_TEST_KUBECONFIG") {
            Some(kubeconfig) => Self {
                kubeconfigs: vec![kubeconfig.into()],
                own: None,
                kubelet: OnceLock::new(),
            },
            None => Self::start(),
        })
    }

    fn start() -> Self {
        let program = program();
        let mut launched = launch(
            &program,
            Path::new(env!("CARGO_TARGET_TMPDIR")),
            |folder, command| {
                let [first, second] = trust::files(folder, minor_version(&program));
                // The second API server is for tests that change its issuers, or that need a short limit of
                // lifetimes.
                command
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
                    .arg(second);
            },
        );
        Self {
            kubeconfigs: std::mem::take(&mut launched.kubeconfigs),
            own: Some(launched),
            kubelet: OnceLock::new(),
        }
    }

    /// Starts a [`Front`] for the first API server. Each test has a front of its own.
    pub(super) fn front(&self, http2: bool) -> Front {
        Front::before(&self.kubeconfigs[0], http2).expect("an administrator's kubeconfig")
    }

    /// Starts a [`Front`] for the second API server. Each test has a front of its own.
    pub(super) fn second_front(&self) -> Front {
        place::assert_listed(place::OWN);
        let kubeconfig = self.kubeconfigs.get(1);
        let kubeconfig = kubeconfig.expect("only a control plane of our own has two API servers");
        Front::before(kubeconfig, true).expect("an administrator's kubeconfig")
    }

    /// Whether this is somebody else's cluster, which the tests must leave unchanged.
    pub(super) fn is_borrowed(&self) -> bool {
        self.own.is_none()
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.own().signing_key.sign(claims)
    }

    pub(super) fn audit_log(&self) -> &Path {
        &self.own().audit_log
    }

    /// The name of the node.
    pub(super) fn node(&self) -> &str {
        let start = || add_node(&program(), self.own());
        &self.kubelet.get_or_init(start).node
    }

    fn own(&self) -> &Launched {
        place::assert_listed(place::OWN);
        let own = self.own.as_ref();
        own.expect("this test needs a control plane of our own: run it without --kubeconfig")
    }
}

/// The name of the program with the release of Kubernetes that the tests run on.
fn program() -> String {
    env::var("JOBPASS_TEST_CONTROL_PLANE").unwrap_or_else(|_| NEWEST.to_owned())
}
