//! `cargo xtask demo`: a GitHub job and a GitLab job each get a token, use it and lose it, on the dev cluster
//! or on a real one.
//!
//! The demo imitates the runners, and follows their sources. It checks each event before it prints a line
//! about that event. If an event did not happen, the demo fails.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgMatches, value_parser};
use jobpass_core::claims::Claims;
use jobpass_core::process::environment::Environment;
use jobpass_core::token::Token;
use jobpass_devkit::DevCluster;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::Verb;
use crate::cluster::{self, Cluster, MinterAccount, SERVICE_ACCOUNT, runtime};
use crate::dist::{self, Profile};
use crate::tools;
use crate::workspace::Workspace;

use self::screen::Screen;

mod github;
mod gitlab;
mod screen;

pub const VERB: Verb = Verb { command, run: verb };

/// The name of a small client for the steps of the demo's users, so that the demo needs no kubectl.
pub(crate) const LIST_PODS: &str = "list-pods";

const GITLAB: &str = "jobpass-gitlab";

/// The time limit of each program of the demo.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time limit for an API server to learn of a change, with a wide margin: of a new RoleBinding, or of a
/// revocation while its cache still accepts the token.
const NEWS: Duration = Duration::from_secs(15);

/// The values that both jobs need.
struct Demo<'a> {
    workspace: &'a Workspace,
    /// The folder with the built programs.
    programs: &'a Path,
    screen: Screen,
    cluster: Cluster,
    dev: Option<DevCluster>,
    folder: TempDir,
    /// The folder with the programs of a job's image. It comes first in the PATH of the jobs.
    bin: PathBuf,
}

fn command() -> clap::Command {
    clap::Command::new("demo")
        .about("Watch a GitHub job and a GitLab job each get a token, use it and lose it")
        .arg(
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Run on the cluster of this kubeconfig, in a temporary namespace. Without this \
                       option: on a dev cluster inside the demo",
                ),
        )
        .arg(
            Arg::new("context")
                .long("context")
                .value_name("NAME")
                .requires("kubeconfig")
                .help("The context of that kubeconfig, if it is not the current one"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    tools::node()?;
    dist::build(workspace, Profile::Dev, GITLAB)?;
    let program = dist::build(workspace, Profile::Dev, dist::BINARY)?;
    let programs = program.parent().context("a program is in a folder")?;
    runtime()?.block_on(async {
        // The demo catches the signals before it creates anything that it must remove.
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let demo = Demo::set_up(workspace, programs, arguments).await?;
        let played = tokio::select! {
            played = demo.play() => played,
            _ = interrupted.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        };
        let removed = demo.cluster.remove().await;
        if demo.dev.is_none() && matches!(removed, Ok(true)) {
            let namespace = &demo.cluster.namespace;
            demo.screen.station(
                "removed",
                &format!("namespace {namespace}, and with it everything that the demo created"),
            );
        }
        played?;
        removed?;
        demo.conclude();
        Ok(())
    })
}

/// The small client, which lists Pods.
pub(crate) fn list_pods() -> Result<()> {
    let (path, status, pods) = runtime()?.block_on(cluster::list_pods())?;
    ensure!(status == 200, "GET {path}: HTTP {status}");
    println!("GET {path}: HTTP 200, {pods} Pods");
    Ok(())
}

impl<'a> Demo<'a> {
    async fn set_up(workspace: &'a Workspace, programs: &'a Path, arguments: &ArgMatches) -> Result<Self> {
        let screen = Screen::new();
        screen
            .title("jobpass: a GitHub job and a GitLab job each get a Kubernetes token, use it and lose it");
        screen.title("The cluster");
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let bin = tools_of_jobs(folder.path(), programs)?;
        let (dev, cluster) = match arguments.get_one::<PathBuf>("kubeconfig") {
            Some(path) => {
                let context = arguments.get_one::<String>("context").map(String::as_str);
                let environment = env::vars_os().collect::<Environment>();
                (None, Cluster::connect(path, context, &environment).await?)
            }
            None => {
                let dev = DevCluster::start();
                let path = folder.path().join("admin.kubeconfig");
                fs::write(&path, dev.admin_kubeconfig())?;
                // A proxy from the machine's environment would not reach this process.
                (
                    Some(dev),
                    Cluster::connect(&path, None, &Environment::default()).await?,
                )
            }
        };
        let version = cluster.version().await?;
        match &dev {
            Some(dev) => screen.station(
                "started",
                &format!(
                    "a dev cluster inside this process, at {}: TLS, signed tokens and RBAC,\n\
                     and it answers as Kubernetes {version} does",
                    dev.url()
                ),
            ),
            None => screen.station("reached", &format!("your cluster, Kubernetes {version}")),
        }
        Ok(Self {
            workspace,
            programs,
            screen,
            cluster,
            dev,
            folder,
            bin,
        })
    }

    async fn play(&self) -> Result<()> {
        let minter = self.prepare().await?;
        github::play(self, &minter)
            .await
            .context("the GitHub job of the demo failed")?;
        gitlab::play(self, &minter)
            .await
            .context("the GitLab job of the demo failed")
    }

    async fn prepare(&self) -> Result<MinterAccount> {
        let minter = self.cluster.prepare().await?;
        self.screen.never_show(&minter.token);
        let may = |verb, resource, name| self.cluster.may(&minter.token, verb, resource, name);
        let begin = Instant::now();
        // A large cluster needs a moment to learn of a new RoleBinding.
        while !may("create", "secrets", "").await? {
            ensure!(
                begin.elapsed() < NEWS,
                "the minter's RoleBinding has no effect after {} s: run the demo on a cluster that authorizes \
                 requests with RBAC",
                NEWS.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ensure!(
            may("delete", "secrets", "").await?
                && may("create", "serviceaccounts/token", SERVICE_ACCOUNT).await?
                && !may("create", "serviceaccounts/token", "minter").await?
                && !may("get", "secrets", "").await?,
            "the minter's permissions are not those that the demo granted, because other bindings or another \
             authorizer of the cluster also decide: run the demo on another cluster"
        );
        self.screen.station(
            "prepared",
            &format!(
                "namespace {} with two ServiceAccounts:\n{SERVICE_ACCOUNT}, to which the jobs' tokens \
                 belong, may list Pods;\nminter, whose credential the CI platform has, may create and \
                 delete Secrets here,\nand mint tokens for {SERVICE_ACCOUNT}. It may not even read Secrets",
                self.cluster.namespace
            ),
        );
        Ok(minter)
    }

    fn conclude(&self) {
        self.screen.title("Conclusion");
        self.screen.paragraph(&format!(
            "Each job had a token of its own, which worked while the job ran. No log shows it, no file \
             keeps it,\nand the API server refuses a copy of it. No clock revoked the tokens: jobpass \
             deleted each anchor\nwhen its job ended. The demo took {:.0} s.",
            self.screen.seconds()
        ));
        self.screen.title("What to try next");
        self.screen.paragraph(
            "docs/quickstart-cli.md                the command line, step by step, on a small cluster\n\
             docs/quickstart-github.md             your workflow and your cluster\n\
             docs/quickstart-gitlab.md             your pipeline and your cluster\n\
             cargo xtask demo --kubeconfig FILE    this demo on a cluster of yours, in a temporary namespace",
        );
    }

    /// Checks that the token belongs to [`SERVICE_ACCOUNT`], that it is bound to the only anchor in the
    /// namespace, and that this anchor has no data. Then prints that the token is bound.
    async fn bound(&self, token: &str) -> Result<()> {
        let claims = Claims::decode(&Token::parse(token, "token")?)?;
        let anchors = self.cluster.anchors().await?;
        let [anchor] = &anchors[..] else {
            bail!("the cluster has {} anchors instead of one", anchors.len());
        };
        let bound = claims.kubernetes.and_then(|kubernetes| kubernetes.secret);
        let bound = bound.context("the token is bound to no Secret")?;
        let uid = anchor["metadata"]["uid"].as_str();
        ensure!(
            uid.is_some() && bound.uid.as_deref() == uid,
            "the token is bound to another Secret"
        );
        ensure!(anchor.get("data").is_none(), "the anchor has data");
        let subject = format!(
            "system:serviceaccount:{}:{SERVICE_ACCOUNT}",
            self.cluster.namespace
        );
        ensure!(
            claims.sub.as_deref() == Some(&subject),
            "the token belongs to another account"
        );
        let url = anchor["metadata"]["annotations"]["jobpass.dev/url"].as_str();
        let url = url.context("the anchor does not name its job")?;
        self.screen.station(
            "bound",
            &format!(
                "the cluster has one anchor, {},\nmade for {url}: an empty Secret.\n\
                 The token names its uid, and works while that Secret exists",
                bound.name
            ),
        );
        Ok(())
    }

    /// Checks that no anchor is left. Then waits until the API server refuses the token, and prints that.
    async fn refused(&self, token: &str) -> Result<()> {
        ensure!(
            self.cluster.anchors().await?.is_empty(),
            "an anchor is still there"
        );
        let begin = Instant::now();
        let mut status = self.cluster.status_for(token).await?;
        if status == 200 {
            self.screen.station(
                "cached",
                match self.dev {
                    Some(_) => {
                        "HTTP 200 to a copy of the token: an API server caches a valid token for 10 \
                         s.\nInstead of waiting, the demo moves the dev cluster's clock 10 s ahead"
                    }
                    None => {
                        "HTTP 200 to a copy of the token: an API server caches a valid token for 10 s. So \
                         the demo waits\n(a job that must not end before the token is dead sets \
                         `verify-revocation: wait`)"
                    }
                },
            );
        }
        while status == 200 {
            ensure!(begin.elapsed() < NEWS, "the API server still accepts the token");
            match &self.dev {
                Some(dev) => dev.advance(Duration::from_secs(10)),
                None => tokio::time::sleep(Duration::from_millis(500)).await,
            }
            status = self.cluster.status_for(token).await?;
        }
        ensure!(status == 401, "the API server answers HTTP {status} to the token");
        self.screen.station(
            "refused",
            "HTTP 401 to a copy of the token that somebody kept: the token is dead, long before its expiry",
        );
        Ok(())
    }

    /// Builds a command of a job, with the tools and the variables that a machine provides.
    fn job_command(&self, program: &str, folder: &Path) -> Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.bin.clone()].into_iter().chain(env::split_paths(&path)))?;
        let kept = ["HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        let kept = kept
            .into_iter()
            .filter_map(|name| Some((name, env::var_os(name)?)));
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(kept)
            .env("PATH", path)
            .env("CI", "true")
            .current_dir(folder);
        Ok(command)
    }
}

/// Creates a folder with the programs of a job's image: `jobpass-gitlab` and [`LIST_PODS`].
fn tools_of_jobs(folder: &Path, programs: &Path) -> Result<PathBuf> {
    let bin = folder.join("bin");
    fs::create_dir(&bin)?;
    symlink(programs.join(GITLAB), bin.join(GITLAB))?;
    let this = env::current_exe()?;
    let this = this.to_str().context("the path of this program is not UTF-8")?;
    let script = format!("#!/bin/sh\nexec '{}' {LIST_PODS}\n", this.replace('\'', r"'\''"));
    let path = bin.join(LIST_PODS);
    fs::write(&path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(bin)
}

/// Runs a program of a job to its end. Returns its status and its log.
async fn log_of(command: &mut Command) -> Result<(ExitStatus, String)> {
    let command = command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .with_context(|| format!("a program of the job did not end within {} s", PATIENCE.as_secs()))?
        .context("cannot start a program of the job")?;
    let log = [output.stdout, output.stderr].concat();
    Ok((output.status, String::from_utf8_lossy(&log).into_owned()))
}
