//! The CI platforms whose ID tokens the API servers trust, in addition to their own tokens.
//!
//! From its start, the first API server trusts the issuers of the guide (`docs/oidc.md`), with the ids of the
//! tests' own issuers. A test that needs other issuers configures the second API server. Only one test does
//! that at a time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use jobpass_devkit::{CiAnswer, CiApi, issuer::Issuer};
use serde_json::Value;

use super::{Cluster, ISSUER, control_plane::ControlPlane};

/// The time limit for kube-apiserver to read the changed file and fetch the issuers' keys.
const PATIENCE: Duration = Duration::from_secs(60);

static FILES: OnceLock<Files> = OnceLock::new();

/// The endpoint from which a real API server reads the issuers' keys.
static DISCOVERY: LazyLock<CiApi> = LazyLock::new(|| {
    CiApi::start(|path| {
        let path = path.trim_start_matches('/');
        let (host, rest) = path.split_once('/').unwrap_or((path, ""));
        let issuer = issuer(host);
        let answer = match rest {
            "jwks" => issuer.jwks(),
            _ => issuer.discovery(&format!("{}/{host}/jwks", DISCOVERY.url())),
        };
        CiAnswer::json(200, &answer)
    })
});

/// The files that the API servers read.
struct Files {
    paths: [PathBuf; 2],
    /// The version of `AuthenticationConfiguration` for this release of Kubernetes.
    api_version: &'static str,
}

/// The files for API servers of this minor release.
pub(super) fn files(folder: &Path, minor_version: u32) -> &'static [PathBuf; 2] {
    let files = FILES.get_or_init(|| Files {
        paths: ["first", "second"].map(|name| folder.join(format!("authentication-{name}.yaml"))),
        api_version: match minor_version {
            ..34 => "apiserver.config.k8s.io/v1beta1",
            _ => "apiserver.config.k8s.io/v1",
        },
    });
    for path in &files.paths {
        files.write(path, &crate::oidc::documented("AuthenticationConfiguration"));
    }
    &files.paths
}

impl Cluster {
    /// Like [`Cluster::start`], for a test that chooses the issuers. Other tests that choose issuers wait
    /// until this one ends.
    pub(crate) fn trusting() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = Self::real(ControlPlane::shared().second_front());
        cluster.turn = Some(turn);
        cluster
    }

    /// Makes the API server trust only the issuers of an `AuthenticationConfiguration` from now on.
    ///
    /// # Panics
    /// If kube-apiserver does not accept the configuration.
    pub(crate) fn trust(&self, configuration: &str) {
        assert!(
            self.turn.is_some(),
            "other tests ask this API server: use `Cluster::trusting`"
        );
        let files = FILES.get().expect("the control plane was started");
        // A new issuer shows whether kube-apiserver has read the file and fetched all keys.
        let host = format!("probe-{}.example.com", self.namespace());
        let marked = with_probe(configuration, &host);
        files.write(&files.paths[1], &marked);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let token = issuer(&host).id_token(&host);
            if self.user_of(&token, ISSUER).is_some() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the API server does not accept the configuration:\n{configuration}"
            );
            // No event tells that kube-apiserver has read the file.
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The issuer for a host. [`DISCOVERY`] serves its keys.
fn issuer(host: &str) -> Issuer {
    match host {
        "token.actions.githubusercontent.com" => Issuer::github(),
        host if host.starts_with("github.") => Issuer::github_enterprise(host),
        host => Issuer::gitlab(host),
    }
}

fn with_probe(configuration: &str, host: &str) -> String {
    let mut configuration: Value = serde_yaml::from_str(configuration).expect("YAML");
    let probe = serde_json::json!({
        "issuer": {"url": format!("https://{host}"), "audiences": [host]},
        "claimMappings": {"username": {"expression": "'probe'"}},
    });
    configuration["jwt"].as_array_mut().expect("a list").push(probe);
    configuration.to_string()
}

impl Files {
    /// Writes a configuration for kube-apiserver, in which each issuer's keys come from [`DISCOVERY`].
    /// Replaces the file as a whole.
    fn write(&self, file: &Path, configuration: &str) {
        let mut configuration: Value = serde_yaml::from_str(configuration).expect("YAML");
        configuration["apiVersion"] = self.api_version.into();
        for jwt in configuration["jwt"].as_array_mut().expect("a list") {
            let issuer = &mut jwt["issuer"];
            let host = issuer["url"]
                .as_str()
                .expect("a URL")
                .trim_start_matches("https://");
            let host = host.split('/').next().unwrap_or_default().to_owned();
            issuer["discoveryURL"] =
                format!("{}/{host}/.well-known/openid-configuration", DISCOVERY.url()).into();
            issuer["certificateAuthority"] = DISCOVERY.ca_pem().into();
        }
        let new = file.with_extension("new");
        fs::write(&new, configuration.to_string()).expect("written");
        fs::rename(new, file).expect("put in place");
    }
}
