//! The Kubernetes for a measurement: the tests' own control plane, or the user's cluster.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, value_parser};
use jobpass_core::process::environment::Environment;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::control_plane::{self, RELEASES};
use crate::workspace::Workspace;

pub(super) struct Kubernetes {
    /// The administrator's kubeconfig.
    pub(super) kubeconfig: PathBuf,
    own: Option<(Running, TempDir)>,
}

/// A control plane. Dropping this value ends it.
struct Running(Child);

pub(super) fn argument() -> Arg {
    Arg::new("kubeconfig")
        .long("kubeconfig")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(
            "Measure on the cluster of this administrator's kubeconfig, in temporary namespaces. Without \
               this option: build and start Kubernetes itself",
        )
}

impl Kubernetes {
    pub(super) fn start(workspace: &Workspace, arguments: &ArgMatches) -> Result<Self> {
        if let Some(kubeconfig) = arguments.get_one::<PathBuf>("kubeconfig") {
            return Ok(Self {
                kubeconfig: kubeconfig.clone(),
                own: None,
            });
        }
        let release = &RELEASES[0];
        control_plane::install(workspace, release)?;
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let mut process = Command::new(workspace.target.join("tools/bin").join(release.program));
        process.arg("--dir").arg(folder.path());
        // The control plane ends when its standard input ends.
        process.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running(process.spawn().context("cannot start the control plane")?);
        let stdout = running.0.stdout.take().context("its standard output is a pipe")?;
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap_or_default();
        let kubeconfig = ready["kubeconfigs"][0].as_str();
        let kubeconfig = kubeconfig
            .context("the control plane did not start: see its error above")?
            .into();
        Ok(Self {
            kubeconfig,
            own: Some((running, folder)),
        })
    }

    pub(super) async fn connect(&self) -> Result<Cluster> {
        // A proxy from the machine's environment would not reach a server on this machine.
        let environment = match self.own {
            Some(_) => Environment::default(),
            None => std::env::vars_os().collect(),
        };
        Cluster::connect(&self.kubeconfig, None, &environment).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
