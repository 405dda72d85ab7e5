//! Tries the main uses of jobpass on the dev cluster, with the programs of a target.

mod action;
mod command_line;
mod job;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jobpass_devkit::{DevCluster, SigningKey, cli::MANIFESTS};
use serde_json::Value;
use tempfile::TempDir;

use super::Runner;
use crate::workspace::{output, run};

/// The time limit of each wait for a program. It is enough under an emulator on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The lifetime of the tokens in the trial of the renewer, in seconds. kube-apiserver issues no token for
/// less than ten minutes, and with such tokens the trial would take too long.
const SHORT: i64 = 5;

/// The path of the Pods. kubectl cannot find the path itself, because the dev cluster answers no discovery
/// requests.
const PODS: &str = "/api/v1/namespaces/ci/pods";

/// Tries each use on a cluster of its own. `kubectl` is the client of the jobs.
pub(super) fn run_all(machine: &Runner, programs: &Path, kubectl: &Path) -> Result<()> {
    let trial = || Trial::new(machine, programs, kubectl);
    command_line::mint_use_revoke(&trial()?)?;
    command_line::exec(&trial()?)?;
    command_line::interrupt(&trial()?)?;
    command_line::proxy(&trial()?)?;
    action::killed_while_it_mints(&trial()?)?;
    if machine.runs_its_own_programs() {
        action::renewed(&trial()?)?;
        action::proxied(&trial()?)?;
    } else {
        action::mint_and_revoke(&trial()?)?;
    }
    if machine.has_a_posix_shell() {
        job::handed_over(&trial()?)?;
    }
    if machine.has_a_posix_shell() && machine.runs_its_own_programs() {
        job::with_files(&trial()?)?;
    }
    Ok(())
}

/// A cluster, and a folder with the minter's kubeconfig.
struct Trial<'a> {
    machine: &'a Runner,
    programs: &'a Path,
    kubectl: &'a Path,
    cluster: DevCluster,
    folder: TempDir,
}

impl<'a> Trial<'a> {
    fn new(machine: &'a Runner, programs: &'a Path, kubectl: &'a Path) -> Result<Self> {
        let cluster = DevCluster::start();
        cluster.apply(MANIFESTS);
        let minter = cluster.service_account_token("ci", "jobpass-minter", Duration::from_secs(2 * 3600));
        let folder = tempfile::tempdir()?;
        fs::write(
            folder.path().join("minter.yaml"),
            cluster.kubeconfig(&minter, "ci"),
        )?;
        Ok(Self {
            machine,
            programs,
            kubectl,
            cluster,
            folder,
        })
    }

    fn program(&self, name: &str) -> Command {
        let mut command = self.machine.command(self.programs, name);
        command.current_dir(&self.folder);
        command
    }

    /// Lists Pods as a client of the job does.
    fn list_pods(&self, kubeconfig: &Path) -> Result<()> {
        let mut kubectl = Command::new(self.kubectl);
        kubectl
            .args(["get", "--raw", PODS, "--kubeconfig"])
            .arg(kubeconfig)
            .current_dir(&self.folder);
        output(&mut kubectl).map(drop)
    }

    /// Lets the cluster issue tokens that expire after [`SHORT`].
    fn issue_short_tokens(&self) {
        self.cluster.reissue(|answer| {
            let Some(mut claims) = claims(&answer["status"]["token"]) else {
                return;
            };
            claims["exp"] = (claims["iat"].as_i64().unwrap_or_default() + SHORT).into();
            answer["status"]["token"] = SigningKey::shared().sign(&claims).into();
        });
    }

    /// Fails if an anchor is left, or a token that works.
    fn nothing_is_left(&self) -> Result<()> {
        let (_, secrets) = self.cluster.ask("GET", "/api/v1/namespaces/ci/secrets", None);
        let left = secrets["items"].as_array().map_or(0, Vec::len);
        ensure!(left == 0, "{left} anchors are left");
        let works = |token: &String| self.cluster.accepts(token);
        ensure!(!self.cluster.issued().iter().any(works), "a token still works");
        Ok(())
    }
}

fn claims(token: &Value) -> Option<Value> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = URL_SAFE_NO_PAD.decode(token.as_str()?.split('.').nth(1)?);
    serde_json::from_slice(&claims.ok()?).ok()
}

/// Waits until `is_so` returns `true`.
fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(
            Instant::now() < end,
            "this did not happen within {} s: {what}",
            PATIENCE.as_secs()
        );
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Sends a signal of this machine to a program. wine turns SIGINT into Ctrl-C.
fn signal(name: &str, child: &Child) -> Result<()> {
    run(Command::new("kill").args([format!("-{name}"), child.id().to_string()]))
}
